"""What `apply` makes of every field of a file, and the names that completion offers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fields import FIELDS, FULL, Field, changes, classes, without
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.files.documents import Document
from vpcctl_lib.files.topology import to_document
from vpcctl_lib.kernel.containers import Container
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers import TopologyManager, attaching
from vpcctl_lib.managers.base import Change, Context
from vpcctl_lib.model.names import Record
from vpcctl_lib.model.policies import Acl, Group
from vpcctl_lib.model.routes import NatGateway, RouteTable
from vpcctl_lib.model.topology import Machine, Nat, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.ledger import State

FOUND = {
    **{Field(Topology, name): "the first VPC settles it"
       for name in ("iptables", "guarded", "quotes", "forwarding", "front", "front6", "entrances",
                    "whole6")},
    Field(Vpc, "link"): "a free number is found for each cable",
    Field(Vpc, "routed"): "the host gets a route where none of its own is in the way, allowed or not",
    Field(RouteTable, "number"): "a free number is found for each",
    Field(Nat, "mtu"): "it is the interface's",
    Field(Nat, "resolvers"): "they are the host's",
}
"""What is found on the host, whatever a file says."""


def applied(vpcctl: Any, before: Topology, wanted: Topology, patch: pytest.MonkeyPatch) -> Topology:
    """What `apply` of the one decides where the other is; with none of the host's own."""
    decided: list[Topology] = []

    def change(_: object, decide: Any) -> Change:
        decided.append(decide(before))
        return Change(decided[0], False, commands=())

    patch.setattr(TopologyManager, "change", change)
    # No such container runs here.
    patch.setattr(attaching, "find", lambda _, name: Container(name, 1))
    patch.setattr(attaching, "check", lambda *_: "")
    manager = TopologyManager(Context(vpcctl.store, Runner()))
    manager.apply(Document("file", to_document(wanted)), Path(), True, lambda _: None)
    return decided[0]


def of_host(topology: Topology) -> Topology:
    """The network out of the one uplink that the host here has; `auto` finds the same."""
    vpcs = (replace(vpc, nat=vpc.nat and replace(vpc.nat, interface="eth0")) for vpc in topology.vpcs)
    return without(replace(topology, vpcs=tuple(vpcs)), FOUND)


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_apply_makes_every_field_as_the_file_has_it(field: Field, vpcctl: Any,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    for wanted in map(of_host, changes(field)):
        assert without(applied(vpcctl, Topology(), wanted, monkeypatch), FOUND) == wanted


def test_apply_of_what_is_there_changes_nothing(vpcctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert applied(vpcctl, FULL, FULL, monkeypatch) == FULL


COMPLETED = {
    Field(Vpc, "name"): ("vpc show --name ", "exec --vpc ", "reach --to "),
    Field(Subnet, "name"): ("subnet set --name ", "exec --subnet ", "reach --from "),
    Field(Machine, "name"): ("reach --from ", "reach --to "),
    Field(Acl, "name"): ("acl show --name ", "acl associate --name ", "acl dissociate --name "),
    Field(Group, "name"): ("group show --name ", "group join --name ", "instance add --group "),
    Field(RouteTable, "name"): ("route-table show --name ", "route-table associate --name "),
    Field(Record, "name"): ("dns delete --name ",),
    Field(NatGateway, "name"): ("nat-gateway delete --name ",),
    Field(Workload, "name"): ("deploy logs --name ", "deploy stop --name "),
}
"""The commands that complete a name."""


def test_whatever_has_a_name_is_completed() -> None:
    assert set(COMPLETED) == {Field(kind, "name") for kind in classes() if Field(kind, "name") in FIELDS}


@pytest.mark.parametrize(("field", "words"), [
    (field, one) for field, some in COMPLETED.items() for one in some])
def test_a_name_is_offered(field: Field, words: str, vpcctl: Any) -> None:
    offers = []
    vpcctl.folder.mkdir()
    for topology in (FULL, changes(field)[0]):
        vpcctl.store.save(State(topology, difference((), blueprint(topology)).after))
        done = vpcctl(_VPCCTL_COMPLETE="bash_complete", COMP_WORDS=f"vpcctl {words}",
                      COMP_CWORD=str(len(words.split(" "))))
        offers.append(done.out.split())
    assert offers[0] != offers[1]
