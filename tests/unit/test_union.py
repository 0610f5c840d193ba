"""What a sound record takes up of what the kernel has besides."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from vpcctl_lib.engine.union import added, united
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.policies import Acl, AclRule, Action, Group, Policy, Protocol, Rule
from vpcctl_lib.model.topology import OWN, Machine, Peering, Subnet, Topology, Vpc

WEB, DB, LATE = (
    Subnet(name, IPv4Network(f"10.0.{number}.0/24")) for number, name in enumerate(("web", "db", "late"), 1)
)
ONE = Vpc("one", IPv4Network("10.0.0.0/16"), subnets=(WEB,))
TWO = Vpc("two", IPv4Network("172.16.0.0/16"), 1)
THREE = Vpc("three", IPv4Network("192.168.0.0/16"), 2, subnets=(Subnet("a", IPv4Network("192.168.1.0/24")),))


def test_vpcs_subnets_and_peerings_that_the_record_lacks_come_behind_its_own() -> None:
    recorded = Topology((TWO, ONE), (Peering("one", "two"),))
    found = Topology(
        (replace(ONE, subnets=(DB, WEB, LATE)), TWO, THREE), (Peering("one", "three"), Peering("one", "two"))
    )
    result = united(recorded, found)
    assert result == Topology(
        (TWO, replace(ONE, subnets=(WEB, DB, LATE)), THREE), (Peering("one", "two"), Peering("one", "three"))
    )
    assert added(recorded, result) == ["one/db", "one/late", "three", "one+three"]
    assert united(result, found) == result
    assert added(result, result) == []


def test_network_acls_that_the_record_lacks_are_taken_up_with_their_subnets() -> None:
    acl, other = Acl("a"), Acl("a", (AclRule(1, Protocol.TCP, Action.ALLOW),))
    found = replace(ONE, acls=(acl,), subnets=(replace(WEB, acl="a"), replace(DB, acl="a")))
    recorded = Topology((ONE,))
    result = united(recorded, Topology((found,)))
    # What is recorded decides about its own subnets.
    assert result.vpcs == (replace(found, subnets=(WEB, replace(DB, acl="a"))),)
    assert added(recorded, result) == ["acl a of one", "one/db"]
    has = Topology((replace(ONE, acls=(other,)),))
    assert united(has, Topology((replace(ONE, acls=(acl,)),))) == has


def test_machines_and_groups_that_the_record_lacks_are_taken_up() -> None:
    web1, web2 = (Machine(name, (IPv4Address(f"10.0.1.{last}"),), groups=("g",))
                  for name, last in (("web1", 4), ("web2", 5)))
    group, other = Group("g"), Group("g", Policy((Rule(Protocol.TCP, Action.ALLOW),)))
    recorded, found = Topology((ONE,)), replace(ONE, groups=(group,), subnets=(
        replace(WEB, machines=(OWN, web1)), replace(DB, machines=(web2,))))
    result = united(recorded, Topology((found,)))
    assert result == Topology((found,))
    assert added(recorded, result) == ["group g of one", "one/web/web1", "one/db"]
    has = Topology((replace(found, groups=(other,), subnets=found.subnets[:1]),))
    taken = replace(WEB, machines=(OWN, replace(web1, name="other"), replace(web1, name="own", addresses=())))
    assert united(has, Topology((replace(ONE, groups=(group,), subnets=(taken,)),))) == has
    moved = replace(found.subnets[0], cidr=IPv4Network("10.0.0.0/20"))
    assert united(recorded, Topology((replace(ONE, subnets=(moved,)),))) == recorded


def test_what_is_recorded_stays_as_it_is_recorded() -> None:
    recorded = Topology((ONE,), forwarding="0")
    other = replace(ONE, routed=False, subnets=(replace(WEB, cidr=IPv4Network("10.0.9.0/24")),))
    assert united(recorded, Topology((other,), forwarding="1")) == recorded
    assert united(replace(recorded, forwarding=None), Topology((other,), forwarding="1")).forwarding == "1"


def test_a_vpc_of_another_network_and_a_subnet_over_a_recorded_one_are_not_taken_up() -> None:
    recorded = Topology((ONE,))
    moved = replace(ONE, cidr=IPv4Network("10.0.0.0/15"), subnets=(WEB, DB))
    assert united(recorded, Topology((moved,))) == recorded
    over = Subnet("over", IPv4Network("10.0.0.0/22"))
    both = Topology((replace(ONE, subnets=(WEB, Subnet("far", IPv4Network("10.0.9.0/24")))),))
    assert united(both, Topology((replace(ONE, subnets=(over,)),))) == both, "over one of two is enough"
    assert united(recorded, Topology((replace(ONE, subnets=(over, DB)),))) == Topology(
        (replace(ONE, subnets=(WEB, DB)),)
    )


def test_two_vpcs_of_one_link_address_are_refused() -> None:
    with pytest.raises(VpcctlError, match="VPC 'four' has the link address of VPC 'two'") as caught:
        united(Topology((ONE, TWO)), Topology((Vpc("four", IPv4Network("10.9.0.0/16"), 1),)))
    assert caught.value.hint == "remove one of the two: ip netns del four"
