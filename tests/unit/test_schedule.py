"""Which commands wait for which: as little as can be, and never two in one place at once."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from hypothesis import given

from tests.dear import DEAR
from tests.topologies import topologies
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.schedule import Group, groups, waits
from vpcctl_lib.engine.step import Step, ready
from vpcctl_lib.model.topology import Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import Address, Folder, Forwarding, Namespace, Operation, Resource, Settings, Veth
from vpcctl_lib.resources.operations import FILES, Ip, Iptables, Make, Sysctl
from vpcctl_lib.resources.processes import EmptyNamespaces
from vpcctl_lib.resources.tracking import Forget, Keep

pytestmark = pytest.mark.usefixtures("bare_host")

TWO = Topology(tuple(
    Vpc(name, IPv4Network(f"10.{number}.0.0/16"), number, nat=Nat("eth0"), subnets=tuple(
        Subnet(f"s{part}", IPv4Network(f"10.{number}.{part}.0/24"), SubnetType.PUBLIC) for part in (1, 2)))
    for number, name in enumerate(("left", "right"))), (Peering("left", "right"),))


def planned(before: Topology, after: Topology) -> list[Group]:
    ledger = difference((), blueprint(before)).after
    return list(groups(difference(ledger, blueprint(after)).steps))


def behind(groups_in_order: list[Group]) -> list[set[int]]:
    """For each group all that have ended before it begins."""
    found: list[set[int]] = []
    for _, others in waits(groups_in_order):
        found.append(set(others).union(*(found[number] for number in others)))
    return found


@given(topologies(), topologies())
@DEAR
def test_in_one_place_the_order_stays(one: Topology, other: Topology) -> None:
    found = planned(one, other)
    before = behind(found)
    for late, group in enumerate(found):
        for early, earlier in enumerate(found[:late]):
            if group.places is None or earlier.places is None or group.places & earlier.places:
                assert early in before[late]


def named(found: list[Group], text: str) -> int:
    """The number of the first command that has the text."""
    batches = (group.batch() for group in found)
    return next(number for number, batch in enumerate(batches) if batch and text in str(batch.command()))


def test_a_subnet_waits_for_its_cable_and_not_for_another_vpc() -> None:
    found = planned(Topology(), TWO)
    before = behind(found)
    inside, cable = named(found, "ip -n left-s1 "), named(found, "link add s-s1 type veth peer name eth0")
    other = named(found, "link add s-s1 type veth peer name eth0 netns right-s1")
    assert cable in before[inside]
    assert other not in before[inside]
    assert inside not in before[other]


def test_a_guard_waits_for_its_namespace_and_nothing_for_the_guard() -> None:
    found = planned(Topology(), replace(TWO, guarded=True))
    before = behind(found)
    guard = named(found, "ip netns exec left nft")
    assert before[guard] == {named(found, "netns add left")}
    assert all(guard not in before[number] for number, group in enumerate(found) if group.places is not None)


def test_a_peerings_cable_waits_for_both_routers() -> None:
    found = planned(Topology(), TWO)
    before = behind(found)
    cable = named(found, "link add pcx-right")
    assert {named(found, "link set br-left"), named(found, "link set br-right")} <= before[cable] | {cable}


def test_the_host_forwards_last_and_files_wait_for_files_only() -> None:
    asking = Topology(tuple(replace(vpc, nat=Nat("eth0", resolvers=(IPv4Address("8.8.8.8"),)))
                            for vpc in TWO.vpcs))
    found = planned(Topology(), asking)
    before = behind(found)
    files = {number for number, group in enumerate(found) if isinstance(group.items[0].operation, Make)}
    forwarding = named(found, "net.ipv4.ip_forward=1")
    assert before[forwarding] == set(range(len(found))) - {forwarding}
    assert len(files) == 9, "a folder for all, and folder and file of each subnet"
    assert all(before[number] == {file for file in files if file < number} for number in files)


def test_what_goes_goes_one_after_the_other() -> None:
    found = planned(TWO, Topology())
    one_by_one = [set(), *({number} for number in range(len(found) - 1))]
    assert [set(others) for _, others in waits(found)] == one_by_one


def step(verb: Verb, resource: Resource, *work: Operation) -> Step:
    return Step(verb, Entry(resource), ready(work) if work else resource.make, tuple)


SPACE = Namespace("vpc1", "vpcctl:vpc1")
INSIDE = Address("vpc1", "uplink", IPv4Interface("10.0.0.1/24"))


def cut(*steps: Step, forward: bool = True) -> list[tuple[int, bool]]:
    """The groups: how many operations each has, and whether it is tolerant."""
    return [(len(group.items), group.tolerant) for group in groups(steps, forward)]


def test_a_command_is_of_one_tool_in_one_namespace_and_of_one_tolerance() -> None:
    host, other = Ip("", ("a", "b")), Ip("vpc1", ("a", "b"))
    rule, setting = Iptables("vpc1", "filter", "-A INPUT"), Sysctl("net.ipv4.ip_forward", "1")
    assert cut(step(Verb.MAKE, SPACE, host, host), step(Verb.CHANGE, SPACE, host)) == [(3, False)]
    assert cut(step(Verb.MAKE, SPACE, host, other, other, rule, rule, other)) == [
        (1, False), (2, False), (2, False), (1, False)]
    assert cut(step(Verb.MAKE, SPACE, setting, setting, host)) == [(2, False), (1, False)]
    away = step(Verb.UNMAKE, SPACE, host)
    assert cut(away, away, step(Verb.MAKE, SPACE, host)) == [(2, True), (1, False)]
    # An undo is tolerant by itself, and in one go.
    assert cut(away, away, step(Verb.MAKE, SPACE, host), forward=False) == [(3, False)]


def test_what_is_no_command_stands_alone() -> None:
    make = Make(Path("/etc/netns"))
    found = list(groups([step(Verb.MAKE, Folder("/etc/netns"), make, make)]))
    assert [(len(group.items), group.batch()) for group in found] == [(1, None), (1, None)]


def test_a_group_is_cut_by_step() -> None:
    one, other = Ip("", ("a", "b")), Ip("", ("c",))
    steps = [step(Verb.UNMAKE, SPACE, one, other), step(Verb.UNMAKE, SPACE, other)]
    (whole,) = groups(steps)
    parts = list(whole.by_step())
    assert [len(part.items) for part in parts] == [2, 1]
    assert {(part.tolerant, part.places) for part in parts} == {(True, whole.places)}


def test_where_a_group_has_to_do_with() -> None:
    def places(verb: Verb, resource: Resource, *work: Operation) -> frozenset[str] | None:
        return next(groups([step(verb, resource, *work)])).places

    assert places(Verb.MAKE, INSIDE) == {"vpc1"}
    assert places(Verb.MAKE, Veth("vpc1", "s-a", "vpc1-a", "eth0")) == {"vpc1", "vpc1-a"}
    assert places(Verb.MAKE, SPACE) == {"", "vpc1"}
    assert places(Verb.MAKE, Settings("vpc1", profile="router 2")) == {"vpc1"}
    assert places(Verb.MAKE, INSIDE, Forget("vpc1", ())) == {"vpc1"}
    assert places(Verb.MAKE, INSIDE, Keep("vpc1")) == {"vpc1"}
    assert places(Verb.MAKE, Folder("/etc/netns")) == FILES
    # What holds for all makes all of its command do so.
    kept = [step(Verb.MAKE, INSIDE), step(Verb.UNMAKE, Address("", "vpc-a", IPv4Interface("169.254.64.0/31")),
                                          Ip("vpc1", ("a", "b")))]
    assert [group.places for group in groups(kept, forward=False)] == [None]
    # What goes on the host, or with its namespace, may take along what it does not name.
    assert places(Verb.UNMAKE, INSIDE, Ip("vpc1", ("a", "b"))) == {"vpc1"}
    on_host = Address("", "vpc-a", IPv4Interface("169.254.64.0/31"))
    assert places(Verb.UNMAKE, on_host, Ip("", ("a", "b"))) is None
    assert places(Verb.UNMAKE, SPACE, Ip("vpc1", ("a", "b"))) is None
    assert places(Verb.MAKE, Forwarding()) is None
    assert places(Verb.MAKE, SPACE, EmptyNamespaces(("vpc1",))) is None
    (group,) = groups([step(Verb.MAKE, SPACE), step(Verb.MAKE, Namespace("vpc2", "vpcctl:vpc2"))])
    assert group.places == {"", "vpc1", "vpc2"}


def test_what_stands_apart_in_a_namespace_waits_for_itself_and_for_the_namespace() -> None:
    def group(*places: str) -> Group:
        return Group((), False, frozenset(places))

    found = [group("vpc1"), group("vpc1 guard"), group("vpc2"), group("vpc1 guard"), group("vpc1")]
    assert [set(others) for _, others in waits(found)] == [set(), {0}, set(), {0, 1}, {0}]
