"""A kind of thing that `apply` loses, or whose names Tab does not offer, fails the tests of fields."""

from __future__ import annotations

from typing import Any

import pytest

from tests import taken
from tests.cli import test_fields_used
from tests.fields import FIELDS, Field
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers import TopologyManager
from vpcctl_lib.model import kinds
from vpcctl_lib.model.kinds import Kind

KINDS = list(kinds.REGISTERED.values())
NAMED = [kind for kind in KINDS if Field(kind.model, "name") in FIELDS]


@pytest.mark.parametrize("kind", NAMED, ids=lambda kind: kind.model.__name__)
def test_a_kind_whose_names_are_not_completed_is_reported(kind: Kind, vpcctl: Any,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    taken.from_completion(kind, monkeypatch)
    field = Field(kind.model, "name")
    with pytest.raises(AssertionError):
        test_fields_used.test_a_name_is_offered(field, test_fields_used.COMPLETED[field][0], vpcctl)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model.__name__)
def test_a_kind_that_apply_does_not_make_is_reported(kind: Kind, vpcctl: Any,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    decide = TopologyManager._wanted
    monkeypatch.setattr(TopologyManager, "_wanted", lambda *given: taken.less(decide(*given), kind))
    with pytest.raises((AssertionError, VpcctlError)):
        test_fields_used.test_apply_makes_every_field_as_the_file_has_it(
            Field(kind.home, kind.field), vpcctl, monkeypatch)
