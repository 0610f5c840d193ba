"""Which commands wait for which: as little as can be, and never two in one place at once."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.schedule import Group, groups, waits
from vpcctl_lib.model.topology import Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.resources.operations import Make

pytestmark = pytest.mark.usefixtures("bare_host")

TWO = Topology(tuple(
    Vpc(name, IPv4Network(f"10.{number}.0.0/16"), number, nat=Nat("eth0"), subnets=tuple(
        Subnet(f"s{part}", IPv4Network(f"10.{number}.{part}.0/24"), SubnetType.PUBLIC) for part in (1, 2)))
    for number, name in enumerate(("left", "right"))), (Peering("left", "right"),))


def planned(before: Topology, after: Topology) -> list[Group]:
    ledger = difference((), blueprint(before)).after
    return list(groups(difference(ledger, blueprint(after)).steps))


def behind(told: list[frozenset[int]]) -> list[set[int]]:
    """For each group all that have ended before it begins."""
    found: list[set[int]] = []
    for waits_for in told:
        found.append(set(waits_for).union(*(found[number] for number in waits_for)))
    return found


@given(st.from_type(Topology), st.from_type(Topology))
def test_in_one_place_the_order_stays(one: Topology, other: Topology) -> None:
    found = planned(one, other)
    before = behind(waits(found))
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
    before = behind(waits(found))
    inside, cable = named(found, "ip -n left-s1 "), named(found, "link add s-s1 type veth peer name eth0")
    other = named(found, "link add s-s1 type veth peer name eth0 netns right-s1")
    assert cable in before[inside]
    assert other not in before[inside]
    assert inside not in before[other]


def test_a_peerings_cable_waits_for_both_routers() -> None:
    found = planned(Topology(), TWO)
    before = behind(waits(found))
    cable = named(found, "link add pcx-right")
    assert {named(found, "link set br-left"), named(found, "link set br-right")} <= before[cable] | {cable}


def test_the_host_forwards_last_and_files_wait_for_files_only() -> None:
    asking = Topology(tuple(replace(vpc, nat=Nat("eth0", resolvers=(IPv4Address("8.8.8.8"),)))
                            for vpc in TWO.vpcs))
    found = planned(Topology(), asking)
    before = behind(waits(found))
    files = {number for number, group in enumerate(found) if isinstance(group.items[0].operation, Make)}
    forwarding = named(found, "net.ipv4.ip_forward=1")
    assert before[forwarding] == set(range(len(found))) - {forwarding}
    assert len(files) == 9, "a folder for all, and folder and file of each subnet"
    assert all(before[number] == {file for file in files if file < number} for number in files)


def test_what_goes_goes_one_after_the_other() -> None:
    found = planned(TWO, Topology())
    assert [set(told) for told in waits(found)] == [set(), *({number} for number in range(len(found) - 1))]
