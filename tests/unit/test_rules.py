"""The exact iptables rules of the routers and of the host."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.firewall.rules import (
    genuine,
    host_answers,
    host_forward,
    host_guard,
    host_guard_from,
    host_guard_out,
    host_input,
    host_nat,
    host_refused,
    outward,
    router_forward,
    router_input,
    router_mangle,
    router_nat,
)
from vpcctl_lib.model import naming
from vpcctl_lib.model.outside import Elastic, Pool
from vpcctl_lib.model.topology import Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.resources import Chain, SingleRule
from vpcctl_lib.resources.rules import mark_of

PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
PRIVATE = Subnet("private", IPv4Network("10.0.2.0/24"))
CLOSED = Vpc("vpc1", IPv4Network("10.0.0.0/16"), link=3, subnets=(PUBLIC, PRIVATE))
NAT = Nat("eth0")
OPEN = replace(CLOSED, nat=NAT)
PEER = Vpc("vpc2", IPv4Network("172.16.0.0/16"), link=1)
STRANGER = Vpc("vpc3", IPv4Network("192.168.0.0/24"), link=2)
PEERED = Topology((OPEN, PEER, STRANGER), (Peering("vpc1", "vpc2"), Peering("vpc2", "vpc3")))


def lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def test_a_router_lets_its_own_and_the_host_through_and_nothing_else() -> None:
    assert router_forward(Topology((CLOSED,)), CLOSED) == lines("""
        ! -o lo -m conntrack --ctstate ESTABLISHED -j ACCEPT
        -m conntrack --ctstate INVALID -j DROP
        -o lo -j REJECT --reject-with icmp-net-unreachable
        -s 10.0.0.0/16 -d 10.0.0.0/16 -i br-vpc1 -o br-vpc1 -j ACCEPT
        -s 169.254.64.6/32 -i uplink -o br-vpc1 -j ACCEPT
        -i uplink -o br-vpc1 -m conntrack --ctstate RELATED --ctorigsrc 10.0.0.0/16 -j ACCEPT
        -d 169.254.64.6/32 -i br-vpc1 -o uplink -m conntrack --ctstate RELATED --ctorigsrc HOST -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """.replace("HOST", "169.254.64.6"))


def test_nobody_speaks_to_a_router_but_its_own_its_peers_and_the_host() -> None:
    assert router_input(PEERED, OPEN) == lines("""
        -m conntrack --ctstate ESTABLISHED -j ACCEPT
        -m conntrack --ctstate INVALID -j DROP
        -i lo -j ACCEPT
        -s 10.0.0.0/16 -i br-vpc1 -j ACCEPT
        -s 169.254.64.6/32 -i uplink -j ACCEPT
        -s 172.16.0.0/16 -i pcx-vpc2 -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """)


def test_nat_lets_public_subnets_out_but_not_to_the_clouds_credentials() -> None:
    assert router_forward(Topology((OPEN,)), OPEN)[7:] == lines("""
        -d 169.254.0.0/16 -i br-vpc1 -o uplink -j REJECT --reject-with icmp-net-unreachable
        -d 100.100.100.200/32 -i br-vpc1 -o uplink -j REJECT --reject-with icmp-net-unreachable
        -d 168.63.129.16/32 -i br-vpc1 -o uplink -j REJECT --reject-with icmp-net-unreachable
        -d 192.0.0.192/32 -i br-vpc1 -o uplink -j REJECT --reject-with icmp-net-unreachable
        -s 10.0.1.0/24 -i br-vpc1 -o uplink -m comment --comment vpcctl:vpc1/public -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """)


def test_a_resolver_among_the_refused_is_asked_for_names_and_nothing_else() -> None:
    """Azure's and Google's resolvers have the address of their metadata service."""
    azure = replace(OPEN, nat=replace(NAT, resolvers=(IPv4Address("168.63.129.16"), IPv4Address("9.9.9.9"))))
    accepts = lines("""
        -p udp -m udp --dport 53 -m comment --comment vpcctl:vpc1/public -j ACCEPT
        -p tcp -m tcp --dport 53 -m comment --comment vpcctl:vpc1/public -j ACCEPT
    """)
    ways = {"br-vpc1 -o uplink": router_forward(Topology((azure,)), azure)[7:],
            "vpc-vpc1 -o eth0": host_refused([(azure, True)])[2:]}
    for way, rules in ways.items():
        assert rules[:2] == tuple(f"-s 10.0.1.0/24 -d 168.63.129.16/32 -i {way} {rest}" for rest in accepts)
        assert "-j REJECT" in rules[2]
        assert not any("9.9.9.9" in rule for rule in rules)


def test_a_peering_joins_exactly_two_cidrs_and_never_leads_on() -> None:
    forward = router_forward(PEERED, OPEN)
    assert forward[12:] == lines("""
        -s 10.0.0.0/16 -d 172.16.0.0/16 -i br-vpc1 -o pcx-vpc2 -m comment --comment vpcctl:vpc1+vpc2 -j ACCEPT
        -s 172.16.0.0/16 -d 10.0.0.0/16 -i pcx-vpc2 -o br-vpc1 -m comment --comment vpcctl:vpc1+vpc2 -j ACCEPT
        -j REJECT --reject-with icmp-net-unreachable
    """)
    assert not any("-i pcx" in rule and "-o pcx" in rule for rule in router_forward(PEERED, PEER))
    assert len([rule for rule in router_forward(PEERED, PEER) if "pcx-" in rule]) == 4


def test_the_host_masquerades_public_subnets_only() -> None:
    assert host_nat([(CLOSED, True)]) == ()
    assert host_nat([(OPEN, True)]) == (
        "-s 10.0.1.0/24 -o eth0 -m comment --comment vpcctl:vpc1/public -j MASQUERADE --random-fully",)


def test_a_vpc_without_a_route_is_masqueraded_twice() -> None:
    assert router_nat(OPEN) == ("-s 10.0.1.0/24 -o uplink -j MASQUERADE --random-fully",)
    assert host_nat([(OPEN, False)]) == (
        "-s 169.254.64.7/32 -o eth0 -m comment --comment vpcctl:vpc1 -j MASQUERADE --random-fully",)
    assert host_forward([(OPEN, False)])[5].startswith("-s 169.254.64.7/32 -i vpc-vpc1 -o eth0 ")


def test_the_host_forwards_between_a_cable_and_its_uplink_only() -> None:
    both = [(OPEN, True), (PEER, True)]
    assert host_answers(both) == lines("""
        -i eth0 -o vpc-vpc1 -m conntrack --ctstate ESTABLISHED,RELATED OURS -j ACCEPT
        -s 10.0.1.0/24 -i vpc-vpc1 -o eth0 -m conntrack --ctstate ESTABLISHED OURS/public -j ACCEPT
    """.replace("OURS", "-m comment --comment vpcctl:vpc1"))
    assert host_forward(both) == lines("""
        -m conntrack --ctstate INVALID REFUSED
        -d 169.254.0.0/16 REFUSED
        -d 100.100.100.200/32 REFUSED
        -d 168.63.129.16/32 REFUSED
        -d 192.0.0.192/32 REFUSED
        -s 10.0.1.0/24 -i vpc-vpc1 -o eth0 -m comment --comment vpcctl:vpc1/public -j ACCEPT
        -i vpc-vpc1 -m comment --comment vpcctl:vpc1 NET
        -o vpc-vpc1 -m comment --comment vpcctl:vpc1 NET
        -i vpc-vpc2 -m comment --comment vpcctl:vpc2 NET
        -o vpc-vpc2 -m comment --comment vpcctl:vpc2 NET
    """.replace("NET", "-j REJECT --reject-with icmp-net-unreachable")
        .replace("REFUSED", "-m comment --comment vpcctl:host -j VPCCTL-REFUSED"))


def test_the_host_refuses_metadata_and_what_tracking_calls_invalid() -> None:
    assert host_refused([(OPEN, True), (PEER, True)]) == lines("""
        -i vpc-vpc1 -m conntrack --ctstate INVALID -m comment --comment vpcctl:vpc1 -j DROP
        -o vpc-vpc1 -m conntrack --ctstate INVALID -m comment --comment vpcctl:vpc1 -j DROP
        -d 169.254.0.0/16 -i vpc-vpc1 -o eth0 -m comment --comment vpcctl:vpc1 NET
        -d 100.100.100.200/32 -i vpc-vpc1 -o eth0 -m comment --comment vpcctl:vpc1 NET
        -d 168.63.129.16/32 -i vpc-vpc1 -o eth0 -m comment --comment vpcctl:vpc1 NET
        -d 192.0.0.192/32 -i vpc-vpc1 -o eth0 -m comment --comment vpcctl:vpc1 NET
        -i vpc-vpc2 -m conntrack --ctstate INVALID -m comment --comment vpcctl:vpc2 -j DROP
        -o vpc-vpc2 -m conntrack --ctstate INVALID -m comment --comment vpcctl:vpc2 -j DROP
    """.replace("NET", "-j REJECT --reject-with icmp-net-unreachable"))
    assert not any("169.254" in rule for rule in host_forward([(CLOSED, True)])), "nothing is accepted"


def test_a_vpc_may_only_answer_the_host() -> None:
    assert host_input([(OPEN, True)]) == lines("""
        -i vpc-vpc1 -m conntrack --ctstate INVALID -m comment --comment vpcctl:vpc1 -j DROP
        -i vpc-vpc1 -m conntrack --ctstate ESTABLISHED -m comment --comment vpcctl:vpc1 -j ACCEPT
        -i vpc-vpc1 -m conntrack --ctstate RELATED --ctorigdst 169.254.64.7 OURS -j ACCEPT
        -i vpc-vpc1 -m conntrack --ctstate RELATED --ctorigdst 10.0.0.0/16 OURS -j ACCEPT
        -i vpc-vpc1 -m comment --comment vpcctl:vpc1 -j REJECT --reject-with icmp-host-prohibited
    """.replace("OURS", "-m comment --comment vpcctl:vpc1"))
    assert not any("10.0.0.0/16" in rule for rule in host_input([(OPEN, False)])), "another has that CIDR"


def test_the_addresses_of_a_vpc_come_by_its_cable_only() -> None:
    assert tuple(host_guard_from([(OPEN, True)])) == lines("""
        -i lo -m comment --comment vpcctl:host -j RETURN
        -s 10.0.0.0/16 ! -i vpc-vpc1 OURS -j DROP
        -s 169.254.64.6/31 ! -i vpc-vpc1 OURS -j DROP
        -i vpc-vpc1 -m conntrack --ctstate INVALID OURS -j DROP
        -i vpc-vpc1 -m conntrack --ctstate RELATED ! --ctorigsrc 10.0.0.0/16 ! --ctorigdst 10.0.0.0/16 MORE
    """.replace("MORE", "-m conntrack ! --ctorigdst 169.254.64.7 OURS -j DROP")
        .replace("OURS", "-m comment --comment vpcctl:vpc1"))
    for rules in (host_guard, host_guard_from, genuine):
        assert not any("10.0.0.0/16" in rule for rule in rules([(OPEN, False)])), "another has that CIDR"


def test_the_guard_looks_at_all_that_it_may_have_to_drop() -> None:
    """By what its rules ask for; whatever comes with another source and is part of a connection passes."""
    led = [re.split(" -m comment| -g", rule)[0] for rule in host_guard([(OPEN, True), (PEER, False)])]
    dropped = [rule for rule in host_guard_from([(OPEN, True), (PEER, False)]) if rule.endswith("DROP")]
    assert len(dropped) > 4
    for rule in dropped:
        source = next((IPv4Network(one) for one in re.findall(r"(?<!! )-s (\S+)", rule)), None)
        state = re.findall(r"--ctstate (\S+)", rule)
        by_source = source and any(source.subnet_of(IPv4Network(one.split()[1]))
                                   for one in led if one.startswith("-s"))
        assert by_source or (state and any(state[0] in one for one in led)), rule


def test_what_leaves_meets_the_guard_with_its_first_packet() -> None:
    """Whatever goes on with a connection was let out as it began, or its VPC could not begin it."""
    jumps = [one for one in blueprint(Topology((OPEN, PEER))) if isinstance(one, SingleRule)]
    (rule,) = (one.rule for one in jumps if one.rule.endswith(f"-j {naming.HOST_GUARD_OUT}"))
    assert rule == ("-m conntrack ! --ctstate ESTABLISHED,RELATED -m comment --comment vpcctl:host "
                    "-j VPCCTL-GUARD-OUT")


def test_what_most_packets_are_passes_the_guard_at_once() -> None:
    ours = "-m comment --comment vpcctl:vpc1 -j RETURN"
    for routed, source in ((True, "10.0.0.0/16"), (False, "169.254.64.7/32")):
        assert list(genuine([(OPEN, routed)])) == [
            f"-s {source} ! -d 127.0.0.0/8 -i vpc-vpc1 -m conntrack --ctstate NEW,ESTABLISHED {ours}"]
        assert f"-s {source} -o eth0 {ours}" in list(outward([(OPEN, routed)]))
    assert list(outward([(PEER, True)])) == [], "it has no way out"


def test_what_comes_of_a_vpc_leaves_by_its_uplink_only() -> None:
    assert tuple(host_guard_out([(OPEN, True), (PEER, True)])) == lines("""
        ! -s 169.254.64.6/32 -o vpc-vpc1 NEW -m comment --comment vpcctl:vpc1 -j DROP
        -s 10.0.0.0/16 ! -o eth0 OTHERS -m comment --comment vpcctl:vpc1 -j DROP
        -s 169.254.64.7/32 ! -o eth0 OTHERS -m comment --comment vpcctl:vpc1 -j DROP
        ! -s 169.254.64.2/32 -o vpc-vpc2 NEW -m comment --comment vpcctl:vpc2 -j DROP
        -s 172.16.0.0/16 OTHERS -m comment --comment vpcctl:vpc2 -j DROP
        -s 169.254.64.3/32 OTHERS -m comment --comment vpcctl:vpc2 -j DROP
    """.replace("NEW", "-m conntrack ! --ctstate ESTABLISHED,RELATED")
        .replace("OTHERS", "-m addrtype ! --src-type LOCAL"))


def test_tcp_learns_of_a_small_mtu() -> None:
    assert router_mangle(OPEN) == (
        "-o uplink -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",)


def test_every_rule_on_the_host_bears_a_mark() -> None:
    """People leave our rules out of what they save by it, and `cleanup.sh` finds them."""
    network = Topology((OPEN, replace(PEER, nat=NAT)), pools=(Pool(IPv4Network("198.51.100.0/28"), "eth0"),),
                       eips=(Elastic(IPv4Address("198.51.100.1"), "vpc1", "public"),))
    rules = [rule for one in Chain.among(blueprint(network)) if not one.namespace for rule in one.rules]
    assert len(rules) > 50
    assert [rule for rule in rules if not mark_of(rule)] == []
