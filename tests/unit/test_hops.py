"""What a VPC's bridge switches to a NAT gateway or a middlebox by itself, and what stays with the router."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.model import naming
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.reach.ports import Steered
from vpcctl_lib.resources import Chain, Steering, Way, WayRule
from vpcctl_lib.resources.hops import Hop

VPC = IPv4Network("10.0.0.0/16")
EVERYWHERE = IPv4Network("0.0.0.0/0")
GATEWAY = IPv4Address("10.0.1.4")
MAC = naming.instance_mac("vpc1", GATEWAY)
TO_GATEWAY = VpcRoute(EVERYWHERE, Via.NAT, "nat1")


def network(*routes: VpcRoute, name: str = "out", published: bool = False) -> Topology:
    """A VPC with a NAT gateway and a private subnet with such a table, and a peer."""
    machine = Machine("", (IPv4Address("10.0.2.2"),), publishes=(Publish(8080, 80),) if published else ())
    subnets = (
        Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC,
               machines=(Machine("", (IPv4Address("10.0.1.2"),)),)),
        Subnet("private", IPv4Network("10.0.2.0/24"), SubnetType.PRIVATE, machines=(machine,),
               route_table=name if name == "out" else ""))
    vpc = Vpc("vpc1", VPC, 0, nat=Nat("eth0"), subnets=subnets, route_tables=(RouteTable(name, 1, routes),),
              nat_gateways=(NatGateway("nat1", "public", GATEWAY),))
    peer = Vpc("vpc2", IPv4Network("172.16.0.0/16"), 1)
    return Topology((vpc, peer), (Peering("vpc1", "vpc2"),), guarded=True, quotes=True)


def hops(topology: Topology) -> list[Hop]:
    """What its bridge switches."""
    return [hop for one in blueprint(topology) if isinstance(one, Steering) for hop in one.hops]


def test_a_default_route_to_a_nat_gateway_is_switched() -> None:
    assert hops(network(TO_GATEWAY)) == [Hop(1, EVERYWHERE, MAC)]


def test_longer_routes_to_elsewhere_come_first_and_stay_with_the_router() -> None:
    block = VpcRoute(IPv4Network("8.8.8.8/32"), Via.BLACKHOLE)
    peer = VpcRoute(IPv4Network("172.16.0.0/16"), Via.PEER, "vpc2")
    assert hops(network(TO_GATEWAY, peer, block)) == [
        Hop(1, block.destination), Hop(1, peer.destination), Hop(1, EVERYWHERE, MAC)]


def test_the_routes_to_peers_that_main_has_by_itself_stay_with_the_router() -> None:
    assert hops(network(TO_GATEWAY, name="main")) == [
        Hop(1, IPv4Network("172.16.0.0/16")), Hop(1, EVERYWHERE, MAC)]


@pytest.mark.parametrize("route", [VpcRoute(EVERYWHERE, Via.INTERNET), VpcRoute(EVERYWHERE, Via.BLACKHOLE),
                                   VpcRoute(EVERYWHERE, Via.NAT, "gone")], ids=str)
def test_what_no_machine_sends_on_is_not_switched(route: VpcRoute) -> None:
    assert hops(network(route)) == []


def test_answers_by_a_published_port_need_the_router() -> None:
    assert hops(network(TO_GATEWAY, published=True)) == []


def by_router(topology: Topology) -> list[str]:
    """What the router has for tables: lines, what leads to them, and what it does not track or sends back."""
    found = [str(one) for one in blueprint(topology) if isinstance(one, (Way, WayRule))]
    return found + [rule for one in Chain.among(blueprint(topology)) if one.namespace == "vpc1"
                    for rule in one.rules if "--mark 0x" in rule and one.name != "FORWARD"]


def test_the_router_has_nothing_for_a_table_that_the_bridge_follows_wholly() -> None:
    """A rule that leads to tables costs each packet, of all subnets."""
    assert by_router(network(TO_GATEWAY)) == []
    everything = ("lookup 1001", "table 1001", "-j CT --notrack")
    for topology in (network(TO_GATEWAY, VpcRoute(IPv4Network("8.8.8.8/32"), Via.BLACKHOLE)),
                     network(VpcRoute(IPv4Network("8.0.0.0/8"), Via.NAT, "nat1")),
                     network(TO_GATEWAY, name="main"), network(TO_GATEWAY, published=True)):
        found = "\n".join(by_router(topology))
        assert [one for one in everything if one not in found] == []


SWITCHED = Steered((VPC,), "router", {"s-private": 1 << 16, "s-other": 2 << 16}, (),
                   (Hop(1, IPv4Network("9.0.0.0/8")), Hop(1, EVERYWHERE, "gateway")))


@pytest.mark.parametrize(("port", "source", "destination", "mac"), [
    ("s-private", "10.0.2.2", "8.8.8.8", "gateway"),
    ("s-private", "10.0.2.2", "9.1.2.3", "router"),
    ("s-private", "10.0.2.2", "10.0.1.2", ""),
    ("s-private", "10.0.2.2", "169.254.169.253", "router"),
    ("s-private", "10.0.2.2", "255.255.255.255", "router"),
    ("s-private", "8.8.4.4", "8.8.8.8", "router"),
    ("s-other", "10.0.3.2", "8.8.8.8", "router"),
    ("s-public", "10.0.1.2", "8.8.8.8", "router")])
def test_reach_knows_where_a_packet_is_led(port: str, source: str, destination: str, mac: str) -> None:
    assert SWITCHED.mac(port, IPv4Address(source), IPv4Address(destination)) == mac


def test_the_table_says_so() -> None:
    (one,) = (one for one in blueprint(network(TO_GATEWAY)) if isinstance(one, Steering))
    mark = "\tchain via-1 {\n\t\tmeta mark set 0x00010000\n"
    assert (f"{mark}\t\tip saddr != 10.0.0.0/16 return\n\t\tip daddr 169.254.0.0/16 return\n"
            f"\t\tip daddr 224.0.0.0/3 return\n\t\tether daddr set {MAC} accept\n\t}}\n") in one.text()
    assert '"s-private" : jump via-1\n' in one.text()
    assert f"{mark}\t}}\n" in replace(one, hops=()).text()
