"""What a sound record takes up of what the kernel has besides."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from tests.fields import FULL
from vpcctl_lib.engine.union import added, united
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.flowlogs import FlowLog, Traffic
from vpcctl_lib.model.kinds import REGISTERED, Kind, inside
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.outside import Elastic, Pool, Publish, Transport
from vpcctl_lib.model.policies import Acl, AclRule, Action, Group, Policy, Protocol, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable
from vpcctl_lib.model.topology import OWN, Machine, Nat, Peering, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

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
    elsewhere = replace(WEB, machines=(replace(web1, addresses=(IPv4Address("10.0.1.9"),)),))
    assert united(has, Topology((replace(ONE, subnets=(elsewhere,)),))) == has, "no two of one name"
    more = replace(ONE, groups=(group, Group("late")), acls=(Acl("a"), Acl("late")))
    assert added(Topology((replace(ONE, groups=(group,), acls=(Acl("a"),)),)), Topology((more,))) \
        == ["group late of one", "acl late of one"]
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


def test_cidrs_that_the_record_lacks_are_taken_up_with_their_subnets() -> None:
    first, second, over = map(IPv4Network, ("10.8.0.0/16", "10.9.0.0/16", "10.9.0.0/17"))
    far, beyond = Subnet("far", IPv4Network("10.8.1.0/24")), Subnet("beyond", IPv4Network("10.50.1.0/24"))
    recorded = Topology((replace(ONE, cidrs=(second,)),))
    result = united(recorded, Topology((replace(ONE, cidrs=(first, over), subnets=(WEB, far, beyond)),)))
    assert result.vpcs == (replace(ONE, cidrs=(first, second), subnets=(WEB, far)),)
    assert added(recorded, result) == [f"CIDR {first} of one", "one/far"]


def test_dns_and_dhcp_that_the_record_lacks_are_taken_up() -> None:
    recorded, found = Topology((ONE,)), replace(ONE, dns=Dns("found"), dhcp=Dhcp(lease=60))
    result = united(recorded, Topology((found,)))
    assert result.vpcs == (found,)
    assert added(recorded, result) == ["dns of one", "dhcp of one"]
    has = Topology((replace(ONE, dns=Dns("recorded"), dhcp=Dhcp(lease=600)),))
    assert united(has, Topology((found,))) == has
    assert added(has, has) == []


def test_route_tables_and_nat_gateways_that_the_record_lacks_are_taken_up() -> None:
    recorded = Topology((replace(ONE, route_tables=(RouteTable("app", 1),),
                                 nat_gateways=(NatGateway("nat1", "web"),)),))
    late = NatGateway("nat2", "web")
    result = united(recorded, Topology((replace(
        ONE, route_tables=(RouteTable("app", 3), RouteTable("of-its-number", 1), RouteTable("late", 2)),
        nat_gateways=(NatGateway("nat1", "db"), late)),)))
    assert result.vpcs[0].route_tables == (RouteTable("app", 1), RouteTable("late", 2))
    assert result.vpcs[0].nat_gateways == (NatGateway("nat1", "web"), late)
    assert added(recorded, result) == ["route table late of one", "NAT gateway nat2 of one"]


@pytest.mark.parametrize(("recorded", "found", "part"), [
    ("fd00::/56", "fd00::/56", "fd00:0:0:7::/64"), ("fd00::/56", "fd01::/56", "fd00:0:0:1::/64"),
    (None, "fd00::/56", None)])
def test_a_subnet_has_a_part_of_the_recorded_prefix(recorded: str | None, found: str,
                                                    part: str | None) -> None:
    late = replace(LATE, ipv6=IPv6Network(found.replace("::/56", ":0:0:7::/64")))
    one = replace(ONE, ipv6=IPv6Network(recorded) if recorded else None, subnets=())
    other = replace(ONE, ipv6=IPv6Network(found), subnets=(late,))
    assert united(Topology((one,)), Topology((other,))).vpcs \
        == (replace(one, subnets=(replace(LATE, ipv6=IPv6Network(part) if part else None),)),)


def test_ports_of_the_host_that_the_record_lacks_are_taken_up() -> None:
    ports = Publish(8080, 80), Publish(8080, 81), Publish(5353, 53, Transport.UDP)

    def publishing(*publishes: Publish) -> Topology:
        return Topology((replace(ONE, subnets=(replace(WEB, machines=(Machine(publishes=publishes),)),)),))

    assert united(publishing(ports[0]), publishing(*ports[1:])) == publishing(ports[0], ports[2])
    both = ports[0], Publish(9090, 90)
    assert united(publishing(*both), publishing(*ports[1:])) == publishing(*both, ports[2])
    assert united(publishing(ports[0]), publishing()) == publishing(ports[0])
    assert united(publishing(ports[0]), Topology((replace(ONE, subnets=(replace(WEB, machines=()),)),))) \
        == publishing(ports[0])
    assert added(publishing(ports[0]), publishing(ports[0], ports[2])) == ["port 5353/udp to one/web"]


def test_how_ipv6_comes_to_ports_is_as_recorded_or_else_as_found() -> None:
    recorded = Topology(front6=IPv6Address("2001:db8::2"), entrances=("eth0",), whole6="0")
    found = Topology(front6=IPv6Address("2001:db8::3"), entrances=("wg0",), whole6="1")
    assert united(recorded, found) == united(recorded, Topology()) == recorded
    assert united(Topology(), found) == found


def test_pools_and_elastic_addresses_that_the_record_lacks_are_taken_up() -> None:
    here, far, over, other = (Pool(IPv4Network(cidr), "eth0") for cidr in (
        "198.51.100.0/28", "192.0.2.0/28", "198.51.100.8/29", "203.0.113.0/28"))
    first, *others = (IPv4Address(f"198.51.100.{last}") for last in range(1, 7))
    recorded = Topology((ONE,), pools=(here, far), eips=(Elastic(first, "one", "web"), Elastic(others[0])))
    late, free = Elastic(others[1], "one", "db"), Elastic(others[2])
    result = united(recorded, Topology((ONE,), front=others[4], pools=(over, other), eips=(
        Elastic(first, "one", "db"), Elastic(others[3], "one", "web"), late, free)))
    assert result == replace(recorded, front=others[4], pools=(here, far, other),
                             eips=(*recorded.eips, late, free))
    assert added(recorded, result) == [f"pool {other.cidr}", f"elastic address {late.address}",
                                       f"elastic address {free.address}"]
    assert united(replace(recorded, front=first), Topology(front=others[4])).front == first


def test_flow_logs_that_the_record_lacks_are_taken_up() -> None:
    recorded = Topology((replace(ONE, flow_logs=(FlowLog(interval=5),)),))
    late = FlowLog("db", "", Traffic.REJECT)
    found = replace(ONE, flow_logs=(FlowLog(interval=9), late, FlowLog("over"), FlowLog("web", "gone")),
                    subnets=(WEB, DB, Subnet("over", IPv4Network("10.0.0.0/22"))))
    result = united(recorded, Topology((found,)))
    assert result.vpcs == (replace(ONE, flow_logs=(FlowLog(interval=5), late), subnets=(WEB, DB)),)
    assert added(recorded, result) == ["flow log one/db", "one/db"]
    mine = replace(ONE, flow_logs=(FlowLog(), FlowLog("web"), FlowLog("web", "web1")),
                   subnets=(replace(WEB, machines=(Machine("web1", (IPv4Address("10.0.1.4"),)),)),))
    assert united(Topology((replace(mine, flow_logs=()),)), Topology((mine,))).vpcs == (mine,)


def test_mirrors_and_bandwidths_that_the_record_lacks_are_taken_up() -> None:
    def seen(bandwidth: str = "", *mirrors: Mirror, late: tuple[Subnet, ...] = ()) -> Topology:
        own = Machine(mirrors=mirrors, bandwidth=bandwidth)
        return Topology((replace(ONE, subnets=(replace(WEB, machines=(own,)), DB, *late)),))

    first, second = Mirror("db", 1), Mirror("late", 2, plain=True)
    there = replace(LATE, machines=(Machine(mirrors=(Mirror("web", 3),)),))
    recorded, found = seen(), seen("10mbit", first, second, late=(there,))
    result = united(recorded, found)
    assert result == found
    assert added(recorded, result) == ["mirror of one/web to db", "mirror of one/web to late",
                                       "bandwidth of one/web", "one/late"]
    has = seen("1gbit", Mirror("db", 2))
    assert united(has, found) == seen("1gbit", Mirror("db", 2), late=(there,)), "the number, and the way"
    assert added(seen("", first), seen("", first, Mirror("web", 3))) == ["mirror of one/web to web"]
    assert united(recorded, seen("", Mirror("gone", 1))) == recorded
    over = replace(LATE, cidr=IPv4Network("10.0.0.0/22"), machines=there.machines)
    assert united(recorded, seen("", second, late=(over,))) == recorded, "to what is not taken up"


LEFT_TO_THE_RECORD = {Nat, Policy, Record, Workload}
"""Kinds of which the kernel adds nothing to what a sound record has, whose home stays as it is recorded."""


def without(home: Any, kind: Kind) -> Any:
    """A home with no thing of a kind in it, nor in what is in it."""
    for one in inside(type(home)):
        home = one.put(home, () if one is kind else [without(thing, kind) for thing in one.things(home)])
    return home


def things(home: Any, kind: Kind) -> list[str]:
    """All things of a kind, in words and in order."""
    return sorted(found for one in inside(type(home)) for thing in one.things(home)
                  for found in ([repr(thing)] if one is kind else things(thing, kind)))


@pytest.mark.parametrize("kind", REGISTERED.values(), ids=lambda kind: kind.model.__name__)
def test_each_kind_that_the_record_lacks_is_adopted_or_named_here(kind: Kind) -> None:
    lacking = without(FULL, kind)
    result = united(lacking, FULL)
    assert things(FULL, kind), "there are some"
    if kind.model in LEFT_TO_THE_RECORD:
        assert things(result, kind) == []
    else:
        assert things(result, kind) == things(FULL, kind)
        assert added(lacking, result), "the person hears of it"
