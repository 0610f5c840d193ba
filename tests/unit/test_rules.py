"""The exact iptables rules of the routers and of the host."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from vpcctl_lib.model import Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.rules import host_forward, host_input, masquerade, router_forward, router_mangle, router_nat

PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
PRIVATE = Subnet("private", IPv4Network("10.0.2.0/24"))
CLOSED = Vpc("vpc1", IPv4Network("10.0.0.0/16"), link=3, subnets=(PUBLIC, PRIVATE))
OPEN = replace(CLOSED, nat=Nat("eth0"))
PEER = Vpc("vpc2", IPv4Network("172.16.0.0/16"), link=1)
STRANGER = Vpc("vpc3", IPv4Network("192.168.0.0/24"), link=2)
PEERED = Topology((OPEN, PEER, STRANGER), (Peering("vpc1", "vpc2"), Peering("vpc2", "vpc3")))


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def test_a_router_lets_its_own_and_the_host_through_and_nothing_else() -> None:
    assert router_forward(Topology((CLOSED,)), CLOSED) == lines("""
        -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
        -s 10.0.0.0/16 -d 10.0.0.0/16 -i br-vpc1 -o br-vpc1 -j ACCEPT
        -s 169.254.64.6/32 -i uplink -o br-vpc1 -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """)


def test_nat_lets_public_subnets_out_but_not_to_the_clouds_credentials() -> None:
    assert router_forward(Topology((OPEN,)), OPEN)[3:] == lines("""
        -d 169.254.0.0/16 -i br-vpc1 -o uplink -j REJECT --reject-with icmp-net-unreachable
        -s 10.0.1.0/24 -i br-vpc1 -o uplink -m comment --comment vpcctl:vpc1/public -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """)


def test_a_peering_joins_exactly_two_cidrs_and_never_leads_on() -> None:
    forward = router_forward(PEERED, OPEN)
    assert forward[5:] == lines("""
        -s 10.0.0.0/16 -d 172.16.0.0/16 -i br-vpc1 -o pcx-vpc2 -m comment --comment vpcctl:vpc1+vpc2 -j ACCEPT
        -s 172.16.0.0/16 -d 10.0.0.0/16 -i pcx-vpc2 -o br-vpc1 -m comment --comment vpcctl:vpc1+vpc2 -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """)
    assert not any("-i pcx" in rule and "-o pcx" in rule for rule in router_forward(PEERED, PEER))
    assert len([rule for rule in router_forward(PEERED, PEER) if "pcx-" in rule]) == 4


def test_the_host_masquerades_public_subnets_only() -> None:
    assert masquerade(CLOSED, routed=True) == []
    assert masquerade(OPEN, routed=True) == [
        "-s 10.0.1.0/24 -o eth0 -m comment --comment vpcctl:vpc1/public -j MASQUERADE"]


def test_a_vpc_without_a_route_is_masqueraded_twice() -> None:
    assert router_nat(OPEN) == ("-s 10.0.1.0/24 -o uplink -j MASQUERADE",)
    assert masquerade(OPEN, routed=False) == [
        "-s 169.254.64.7/32 -o eth0 -m comment --comment vpcctl:vpc1 -j MASQUERADE"]
    assert host_forward([(OPEN, False)])[0].startswith("-s 169.254.64.7/32 -i vpc-vpc1 -o eth0 ")


def test_the_host_forwards_between_a_cable_and_its_uplink_only() -> None:
    forward = host_forward([(OPEN, True), (PEER, True)])
    assert forward[1] == ("-i eth0 -o vpc-vpc1 -m conntrack --ctstate ESTABLISHED,RELATED "
                          "-m comment --comment vpcctl:vpc1 -j ACCEPT")
    assert (forward[0], *forward[2:]) == lines("""
        -s 10.0.1.0/24 -i vpc-vpc1 -o eth0 -m comment --comment vpcctl:vpc1/public -j ACCEPT
        -i vpc-vpc1 -m comment --comment vpcctl:vpc1 -j REJECT --reject-with icmp-net-unreachable
        -o vpc-vpc1 -m comment --comment vpcctl:vpc1 -j REJECT --reject-with icmp-net-unreachable
        -i vpc-vpc2 -m comment --comment vpcctl:vpc2 -j REJECT --reject-with icmp-net-unreachable
        -o vpc-vpc2 -m comment --comment vpcctl:vpc2 -j REJECT --reject-with icmp-net-unreachable
    """)


def test_a_vpc_may_only_answer_the_host() -> None:
    assert host_input([OPEN]) == lines("""
        -i vpc-vpc1 -m conntrack --ctstate ESTABLISHED,RELATED -m comment --comment vpcctl:vpc1 -j ACCEPT
        -i vpc-vpc1 -m comment --comment vpcctl:vpc1 -j REJECT --reject-with icmp-host-prohibited
    """)


def test_tcp_learns_of_a_small_mtu() -> None:
    assert router_mangle() == (
        "-o uplink -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",)
