"""A kind of thing whose support is missing somewhere is reported by the tests of fields, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings

from tests import taken
from tests.dear import by_lot
from tests.fields import FIELDS, FULL, Field
from tests.unit import test_fields, test_keys, test_marks, test_views
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import kinds
from vpcctl_lib.model.kinds import Kind
from vpcctl_lib.model.topology import Topology

pytestmark = pytest.mark.usefixtures("bare_host")

KINDS = list(kinds.REGISTERED.values())

CACHED = (test_fields.resources, test_fields.ledger, test_fields.drawings, test_views.full)
"""What is remembered of a blueprint, a picture and views."""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing is remembered of a program with all its parts, nor of one without."""
    for one in CACHED:
        one.cache_clear()
    yield
    for one in CACHED:
        one.cache_clear()


def check_schema(_: Field) -> None:
    """The check of the schema of what is printed."""
    test_views.test_the_schema_names_every_key()


def check_editors(_: Field) -> None:
    """The check of the schema of files."""
    test_keys.test_the_file_has_every_key()


PARTS: dict[str, tuple[Callable[[Kind, pytest.MonkeyPatch], None], Callable[[Field], None]]] = {
    "export": (taken.from_export, test_fields.test_a_file_has_every_field_that_a_person_asks_for),
    "apply": (taken.from_apply, test_fields.test_what_a_file_has_is_read_back),
    "plan": (taken.from_comparison, test_fields.test_a_comparison_tells_of_every_field),
    "blueprint": (taken.from_blueprint, test_fields.test_a_plan_carries_every_field_to_the_kernel),
    "graph": (taken.from_graph, test_fields.test_every_graph_shows_every_field),
    "views": (taken.from_views, test_views.test_a_view_shows_every_field),
    "schema": (taken.from_schema, check_schema),
    "schema of files": (taken.from_editors, check_editors),
}
"""The parts of the program that must know each kind: how to take it away, and the test that must see that."""


def check_all(check: Callable[[Field], None], kind: Kind) -> None:
    """Check the field that holds such things, and theirs."""
    for field in (Field(kind.home, kind.field), *(field for field in FIELDS if field.kind is kind.model)):
        check(field)


FEW = 2
"""As many parts of the program lose each kind; with --slow all do."""


@pytest.mark.parametrize(("kind", "part"), [
    pytest.param(kind, part, id=f"{kind.model.__name__}-{part}")
    for kind in KINDS for part in by_lot(list(PARTS), FEW, kind.model.__name__)])
def test_a_kind_that_a_part_does_not_know_is_reported(part: str, kind: Kind,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    take, check = PARTS[part]
    take(kind, monkeypatch)
    with pytest.raises((AssertionError, VpcctlError)):
        check_all(check, kind)


@pytest.mark.parametrize("kind", by_lot(KINDS, 6, "marks"), ids=lambda kind: kind.model.__name__)
def test_a_kind_that_no_mark_tells_of_is_reported(kind: Kind, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    taken.from_rebuild(kind, monkeypatch)
    with pytest.raises(AssertionError):
        test_marks.test_marks_tell_of_every_field(Field(kind.home, kind.field), tmp_path, monkeypatch)


NAMED = [kind for kind in KINDS if kind.in_kernel(("a", "b", "c"))]


@pytest.mark.parametrize("kind", by_lot(NAMED, 1, "names"), ids=lambda kind: kind.model.__name__)
def test_a_kind_whose_names_are_not_told_apart_is_reported(kind: Kind) -> None:
    @settings(max_examples=500, derandomize=True, database=None, phases=(Phase.generate,))
    @given(test_fields.crowds())
    def check(topology: Topology) -> None:
        test_fields.check_names(topology)

    with taken.from_names(kind), pytest.raises(AssertionError):
        check()


def test_every_thing_that_a_person_asks_for_is_of_a_kind() -> None:
    """Those that are not are parts of one: a rule of a policy, the upkeep of a workload."""
    assert {type(one.thing) for one in kinds.everything(FULL)} == {kind.model for kind in KINDS}
    assert {Field(kind.home, kind.field) for kind in KINDS} <= set(FIELDS)
