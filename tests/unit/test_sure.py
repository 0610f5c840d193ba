"""What a machine's rules surely let pass: never a packet that they would refuse, and in nft's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.policies import far_ends
from benchmarks.walk import Packet
from tests.unit.test_decision_tree import corners, packets, rules
from vpcctl_lib.firewall import sure
from vpcctl_lib.firewall.filter_rules import EGRESS, INGRESS
from vpcctl_lib.firewall.group_rules import incoming
from vpcctl_lib.model.policies import Action, Group, Network, Policy, Ports, Protocol, Rule

OFFICE = IPv4Network("10.9.0.0/16")
EVERYBODY = IPv4Network("0.0.0.0/0")


def allow(protocol: Protocol, first: int = 0, last: int = 0, network: Network | None = None) -> Rule:
    return Rule(protocol, Action.ALLOW, Ports(first, last or first) if first else None, network)


def deny(protocol: Protocol, first: int = 0, network: Network | None = None) -> Rule:
    return Rule(protocol, Action.DENY, Ports(first, first) if first else None, network)


def matches(rule: Rule, packet: Packet) -> bool:
    first, last = far_ends(rule.network) if rule.network else (0, 2**32 - 1)
    return rule.protocol.value in ("all", packet.protocol) and first <= packet.far_end <= last and (
        rule.ports is None or rule.ports.first <= packet.port <= rule.ports.last)


def is_allowed(some: Sequence[Rule], packet: Packet) -> bool:
    return next((rule.action for rule in some if matches(rule, packet)), Action.DENY) is Action.ALLOW


@given(st.lists(rules, min_size=2, max_size=8), st.lists(packets, max_size=20), st.integers(0, 99))
def test_what_is_certain_is_allowed(some: list[Rule], others: list[Packet], seed: int) -> None:
    found = sure.certain(some)
    for packet in (*others, *corners(some, seed)):
        assert is_allowed(some, packet) or not any(matches(rule, packet) for rule in found), packet


def test_only_an_earlier_rule_that_denies_takes_its_certainty() -> None:
    web, dns = allow(Protocol.TCP, 80), allow(Protocol.UDP, 53)
    assert sure.certain([web, deny(Protocol.TCP, 80), dns]) == [web, dns]
    assert sure.certain([deny(Protocol.TCP, 80, OFFICE), web, dns]) == [dns]
    assert sure.certain([deny(Protocol.ALL, network=OFFICE), allow(Protocol.TCP, 80, network=OFFICE)]) == []
    assert sure.certain([deny(Protocol.TCP, 81), web, allow(Protocol.ICMP)]) == [web]


def test_a_test_says_what_the_rule_says() -> None:
    expected = {
        allow(Protocol.TCP, 80): "tcp dport 80", allow(Protocol.UDP, 80, 90): "udp dport 80-90",
        allow(Protocol.TCP): "meta l4proto tcp", allow(Protocol.ALL, network=OFFICE): "ip FAR 10.9.0.0/16",
        allow(Protocol.TCP, 22, network=OFFICE): "ip FAR 10.9.0.0/16 tcp dport 22",
        allow(Protocol.TCP, 22, network=IPv4Network("10.9.0.1/32")): "ip FAR 10.9.0.1 tcp dport 22",
        allow(Protocol.TCP, 22, network=EVERYBODY): "meta nfproto ipv4 tcp dport 22",
        allow(Protocol.UDP, 53, network=IPv6Network("fd00::/8")): "ip6 FAR fd00::/8 udp dport 53",
        allow(Protocol.UDP, 53, network=IPv6Network("::/0")): "meta nfproto ipv6 udp dport 53"}
    for rule, test in expected.items():
        policy = Policy((rule,), (rule,))
        assert sure.by_policy(INGRESS, policy) == (test.replace("FAR", "saddr"),)
        assert sure.by_policy(EGRESS, policy) == (test.replace("FAR", "daddr"),)
    assert sure.by_policy(INGRESS, Policy((allow(Protocol.ICMP),))) == ()


def test_what_is_open_needs_one_test_and_many_rules_need_some() -> None:
    web, ports = allow(Protocol.TCP, 80), tuple(allow(Protocol.TCP, port) for port in range(1, 20))
    assert sure.by_policy(INGRESS, Policy(default=Action.ALLOW)) == sure.EVERYTHING
    assert sure.by_policy(INGRESS, Policy((deny(Protocol.TCP, 80),), default=Action.ALLOW)) == ()
    assert sure.by_policy(INGRESS, Policy((web, allow(Protocol.ALL)))) == sure.EVERYTHING
    assert sure.by_policy(EGRESS, Policy((web,))) == (), "it is open: nothing is asked"
    assert sure.by_policy(INGRESS, Policy((web, web))) == ("tcp dport 80",)
    assert sure.by_policy(INGRESS, Policy(ports)) == tuple(
        f"tcp dport {port}" for port in range(1, 1 + sure.MOST))


def test_members_of_a_group_are_known_by_the_mark_of_its_rule() -> None:
    some = (*(replace(allow(Protocol.TCP, 80), group=name) for name in ("web", "api")),
            allow(Protocol.UDP, 53, network=OFFICE), allow(Protocol.ICMP))
    assert sure.by_groups(INGRESS, incoming((Group("db", Policy(some)),))) == (
        f"meta mark {1 << 24}-{(2 << 24) - 1} tcp dport 80",
        f"meta mark {2 << 24}-{(3 << 24) - 1} tcp dport 80", "ip saddr 10.9.0.0/16 udp dport 53")
