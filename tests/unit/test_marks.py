"""What the marks in the kernel tell of a network whose record is lost: every field but for a few."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.fields import FIELDS, FULL, IN_TURN, TOGETHER, Field, changes, with_changes, without
from tests.made import Made
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine import found_names, found_subnets, rebuild
from vpcctl_lib.engine.rebuild import Rebuilder
from vpcctl_lib.kernel import netns
from vpcctl_lib.model import kinds, names
from vpcctl_lib.model.policies import Acl, AclRule, Policy, Rule
from vpcctl_lib.model.topology import Machine, Nat, Subnet, Topology, Variant, Vpc
from vpcctl_lib.workloads import members

pytestmark = pytest.mark.usefixtures("bare_host")

UNKNOWN = {
    Field(Nat, "follows"): "docs/reliability.md",
    Field(Acl, "description"): "docs/reliability.md",
    Field(AclRule, "description"): "docs/reliability.md",
    Field(Policy, "description"): "docs/reliability.md",
    Field(Rule, "description"): "docs/reliability.md",
    Field(Topology, "guarded"): "`restore` finds it out anew",
    Field(Topology, "quotes"): "`restore` finds it out anew",
}
"""What no mark tells."""

UNGUARDED = {
    Field(Machine, "forwards"): "only the guard checks sources",
    Field(Vpc, "acls"): "without nft, there are none",
    Field(Subnet, "acl"): "without nft, there are none",
    Field(Machine, "groups"): "without nft, no router lists its groups",
    Field(Vpc, "groups"): "without nft, no router lists its groups",
    **{Field(Vpc, name): "they need the guard" for name in ("route_tables", "nat_gateways")},
    Field(Subnet, "route_table"): "it needs the guard",
}
"""What no mark tells where ports are not guarded."""


def rebuilder(topology: Topology, folder: Path, patch: pytest.MonkeyPatch) -> Rebuilder:
    """Reads a host where that network was made and its record lost."""
    kernel = Made(topology)
    kernel.write_files(folder)
    patch.setattr(rebuild, "NAMESPACE_FILES", str(folder))
    patch.setattr(rebuild, "keepers", kernel.keepers)
    patch.setattr(found_subnets, "keepers", kernel.keepers)
    patch.setattr(found_names, "keepers", kernel.keepers)
    patch.setattr(names, "FILES", str(folder))
    patch.setattr(members, "kept_identity", lambda _: {})
    # There are no such namespaces: nothing to enter, in a thread for each.
    patch.setattr(netns, "identity", lambda _: "")
    return Rebuilder(kernel, topology.iptables or Variant.NFT)


def by_name(home: Any) -> Any:
    """The home with all that it holds in the order of names."""
    for kind in kinds.inside(type(home)):
        home = kind.put(home, map(by_name, sorted(kind.things(home), key=kind.named)))
    return home


def in_order(topology: Topology) -> Topology:
    """The network with all in the order of names."""
    return replace(by_name(topology), iptables=topology.iptables or Variant.NFT)


def known(topology: Topology, guarded: bool) -> Topology:
    """What marks tell of the network where its ports are guarded, and where they are not."""
    return in_order(without(topology, UNKNOWN if guarded else {**UNKNOWN, **UNGUARDED}))


@cache
def full(guarded: bool) -> Topology:
    """What marks tell of the one that has everything."""
    return known(FULL, guarded)


@pytest.mark.parametrize("field", IN_TURN, ids=str)
def test_marks_tell_of_every_field(field: Field | None, tmp_path: Path,
                                   monkeypatch: pytest.MonkeyPatch) -> None:
    for number, changed in enumerate(with_changes(field)):
        found = in_order(rebuilder(changed, tmp_path / str(number), monkeypatch).topology())
        assert found == known(changed, changed.guarded)


@TOGETHER
def test_what_they_tell_differs_with_every_field() -> None:
    for field in FIELDS:
        for changed in changes(field):
            same = known(changed, changed.guarded) == full(changed.guarded)
            assert same == (field in UNKNOWN), str(field)


def test_what_marks_tell_of_is_recorded_with_all_that_it_needs(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = rebuilder(FULL, tmp_path / "0", monkeypatch)
    state = reader.state()
    assert in_order(state.topology) == known(FULL, guarded=True)
    assert [one.name for one in state.topology.vpcs] == [one.name for one in FULL.vpcs], "with NAT or without"
    assert [entry.resource for entry in state.ledger] == blueprint(state.topology)
    assert not [note for note in reader.notes if "marked as vpcctl's" in note]


def test_what_root_marks_in_a_namespace_of_its_own_is_noted_unless_a_machine_is_in_it(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = rebuilder(FULL, tmp_path / "0", monkeypatch)
    kernel, added = reader._kernel, {"vpc1-range.lab", "alone"}
    marked = {"ifname": "lo", "ifalias": "vpcctl:vpc1/web"}
    links, kernel.namespaces = kernel.links, {*kernel.namespaces, *added}
    monkeypatch.setattr(kernel, "links", lambda space: [marked] if space in added else links(space))
    reader.state()
    assert [note for note in reader.notes if "marked as vpcctl's" in note] == [
        "alone: marked as vpcctl's, but neither the host nor a router has a link to it: it stays as it is"]
