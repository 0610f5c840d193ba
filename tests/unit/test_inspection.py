"""What status finds where a namespace is gone: that alone, and not all that was in it."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from tests.fields import FULL
from tests.made import Made
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.inspection import inspect, kept_apart
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import MISSING, Condition, Fault, Operations, Resource
from vpcctl_lib.resources.base import Place
from vpcctl_lib.resources.operation import Facts

pytestmark = pytest.mark.usefixtures("bare_host")

GONE = Fault(Condition.GONE, "its container has ended", where="web")
LAB = "vpc1-range.lab"
LATER = Fault(Condition.GONE, "its container has ended, too", where="db")


@frozen
class Thing(Resource):
    """Something in a place, or the home of a place, with a fault or without one."""

    name: str
    fault: Fault | None = None
    home: Place | None = None
    place: Place | None = None

    @property
    def key(self) -> Hashable:
        """Its name."""
        return self.name

    @property
    def homes(self) -> frozenset[Place]:
        """The one that it is in."""
        return frozenset({self.home} if self.home else ())

    @property
    def places(self) -> frozenset[Place]:
        """The one that it is the home of."""
        return frozenset({self.place} if self.place else ())

    def make(self) -> Operations:
        """Nothing."""
        return ()

    def unmake(self, facts: Facts) -> Operations:
        """Nothing."""
        return ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """As it was given."""
        return self.fault


def found(*things: Thing) -> dict[Hashable, Fault]:
    return inspect(Made(Topology()), map(Entry, things))


WEB, LINK, OTHER = ("web", ""), ("web", "eth0"), ("db", "")
LOST = Thing("web", GONE, place=WEB)
INSIDE = (Thing("link", MISSING, WEB, LINK), Thing("address", MISSING, LINK), Thing("sound", None, WEB))


def test_what_is_in_a_gone_namespace_has_no_other_fault_than_that() -> None:
    assert found(LOST, *INSIDE, Thing("outside", MISSING, OTHER)) == {
        "web": GONE, "link": GONE, "address": GONE, "outside": MISSING}


def test_each_gone_namespace_has_its_own_reason() -> None:
    assert found(LOST, Thing("db", LATER, WEB, OTHER), Thing("table", MISSING, OTHER)) == {
        "web": GONE, "db": LATER, "table": LATER}


def test_a_sound_cable_to_a_gone_namespace_is_sound_and_so_is_what_is_on_it() -> None:
    assert found(LOST, Thing("cable", None, WEB, LINK), Thing("address", MISSING, LINK)) == {
        "web": GONE, "address": MISSING}


def test_where_nothing_is_gone_each_fault_is_told() -> None:
    assert found(Thing("web", MISSING, place=WEB), *INSIDE) == {
        "web": MISSING, "link": MISSING, "address": MISSING}


def test_a_machine_s_namespace_that_somebody_else_made_is_not_offered_for_removal(
        monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, ledger = Made(FULL), tuple(map(Entry, blueprint(FULL)))
    links, marked = kernel.links, {"ifname": "lo", "ifalias": "vpcctl:vpc1/web"}
    # Whoever is root inside can mark it.
    kernel.namespaces |= {LAB, "alone"}
    monkeypatch.setattr(kernel, "links", lambda space: [marked] if space in (LAB, "alone") else links(space))
    assert [one.what for one in kept_apart(kernel, ledger)] == ["namespace alone"]
