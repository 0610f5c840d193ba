"""Policies of both families: what ip6tables and iptables decide is what the policy says on paper."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.walk import Packet, Walk
from tests.dear import DEAR
from vpcctl_lib.firewall import decision_tree, filter_rules, splits
from vpcctl_lib.firewall.additions import with_rule
from vpcctl_lib.firewall.families import ADDRESSES, BITS, word
from vpcctl_lib.firewall.filter_rules import (
    EGRESS,
    INGRESS,
    Filter,
    egress_filter,
    ingress_filter,
    ingress_rules,
)
from vpcctl_lib.kernel.saves import Saved, words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import (
    Action,
    Network,
    Policy,
    Ports,
    Protocol,
    Rule,
    concerns,
    denied,
    family_of,
)
from vpcctl_lib.reach import governed

ENDS: dict[Family, tuple[int, ...]] = {
    Family.INET: (0, 0x0A000001, 0x0A000100, 0x0AFFFFFF, 2**32 - 1),
    Family.INET6: (0, 0xFD << 120, (0xFD << 120) + 1, (0xFD << 120) + (1 << 64), (0x2A01 << 112) + 5,
                   2**128 - 1)}
LENGTHS = {Family.INET: (0, 8, 24, 31, 32), Family.INET6: (0, 8, 32, 56, 63, 64, 65, 127, 128)}
PLACES = st.sampled_from(Family).flatmap(lambda family: st.tuples(
    st.just(family), st.sampled_from(ENDS[family]) | st.integers(0, 2**BITS[family] - 1)))


def network(family: Family, address: int, length: int) -> Network:
    kind = IPv4Network if family is Family.INET else IPv6Network
    return kind((address, length), strict=False)


networks = PLACES.flatmap(lambda place: st.sampled_from(LENGTHS[place[0]]).map(
    lambda length: network(*place, length)))
port = st.sampled_from((1, 22, 80, 81, 65535)) | st.integers(1, 65535)
spans = st.builds(lambda one, other: Ports(min(one, other), max(one, other)), port, port)
rules = st.one_of(
    st.builds(Rule, st.sampled_from((Protocol.TCP, Protocol.UDP)), st.sampled_from(Action), st.none() | spans,
              st.none() | networks),
    st.builds(Rule, st.just(Protocol.ALL), st.sampled_from(Action), st.none(), st.none() | networks),
    st.builds(Rule, st.sampled_from((Protocol.ICMP, Protocol.ICMPV6)), st.sampled_from(Action), st.none(),
              st.none())).filter(lambda rule: any(concerns(rule, family) for family in Family))
questions = st.tuples(PLACES, st.sampled_from((Protocol.TCP, Protocol.UDP, None)), port)


def beside(policy: Sequence[Rule], seed: int) -> list[tuple[tuple[Family, int], Protocol | None, int]]:
    """Packets at the edges of the rules, and just outside."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    found = []
    for rule in policy:
        if rule.network:
            family, first, last = (family_of(rule.network), int(rule.network[0]), int(rule.network[-1]))
            whole = 2**rule.network.max_prefixlen
            for end in (first - 1, first, last, last + 1):
                at = dice.choice((rule.ports.first, rule.ports.last) if rule.ports else (22, 80))
                protocol = dice.choice((Protocol.TCP, Protocol.UDP, None))
                found.append(((family, end % whole), protocol, at))
    return found


def compiled(found: Filter, family: Family, protocol: Protocol | None, end: int, to: int) -> bool:
    """Whether iptables lets it pass; the protocol None is the family's ICMP."""
    name = word(protocol or (Protocol.ICMP if family is Family.INET else Protocol.ICMPV6))
    # The errors that always pass have types: a walk does not ask for them.
    kept = tuple(rule for rule in found.rules if "--icmpv6-type" not in rule)
    verdict = Walk(found.inner, Packet(name, end, to if protocol else 0)).verdict(kept) or ""
    return verdict.endswith("-j ACCEPT")


def on_paper(policy: Policy, family: Family, protocol: Protocol | None, end: int, to: int,
             is_ingress: bool) -> bool:
    far, near = ADDRESSES[family](end), ADDRESSES[family](7)
    kind = protocol or (Protocol.ICMP if family is Family.INET else Protocol.ICMPV6)
    ends = (far, near) if is_ingress else (near, far)
    return governed._decided(policy, governed.Packet(*ends, kind, to if protocol else None), is_ingress)


SMALL = ((filter_rules, "MANY", 4), (decision_tree, "LEAF", 2), (splits, "LEAF", 2),
         (decision_tree, "WORTH_BLOCKS", 4))
"""So that a few rules become a tree."""


@given(st.lists(rules, max_size=40), st.lists(questions, max_size=20), st.sampled_from(Action), st.booleans(),
       st.integers(0, 99))
@DEAR
def test_each_family_gets_what_the_policy_says(held: list[Rule], some: list[tuple[tuple[Family, int],
                                               Protocol | None, int]], default: Action, is_tree: bool,
                                               seed: int) -> None:
    policy = Policy(tuple(held), tuple(held), default)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in SMALL if is_tree else ():
            patch.setattr(module, name, value)
        made = {family: [make(policy, family, alone=False) for make in (ingress_filter, egress_filter)]
                for family in Family}
    for (family, end), protocol, to in (*some, *beside(held, seed)):
        for number, found in enumerate(made[family]):
            assert compiled(found, family, protocol, end, to) \
                is on_paper(policy, family, protocol, end, to, number == 0)


def test_errors_pass_before_anything_is_dropped() -> None:
    policy = Policy((Rule(Protocol.ALL, Action.DENY),), ())
    for found in (ingress_filter(policy, Family.INET6), egress_filter(policy, Family.INET6)):
        passing, dropping = (min(number for number, rule in enumerate(found.rules) if words in rule)
                             for words in ("--icmpv6-type 2 -j ACCEPT", "-j DROP"))
        assert passing < dropping
        assert sum("--icmpv6-type" in rule for rule in found.rules) == 4
    assert "icmp6" not in " ".join(ingress_filter(policy).rules)


def test_without_a_source_a_rule_is_for_everybody_in_both_families() -> None:
    policy = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)),
                     Rule(Protocol.TCP, Action.ALLOW, Ports(81, 81), IPv4Network("0.0.0.0/0")),
                     Rule(Protocol.TCP, Action.ALLOW, Ports(82, 82), IPv6Network("::/0")),
                     Rule(Protocol.ICMP, Action.ALLOW), Rule(Protocol.ICMPV6, Action.ALLOW)))
    numbers = {family: [rule.partition("ingress[")[2][0] for rule in ingress_rules(policy, family)
                        if "ingress[" in rule] for family in Family}
    assert numbers == {Family.INET: ["0", "1", "3"], Family.INET6: ["0", "2", "4"]}
    assert "-s 0.0.0.0/0" in " ".join(ingress_rules(policy))
    ping = "-p ipv6-icmp -m comment --comment vpcctl:ingress[4] -j ACCEPT"
    assert ping in ingress_rules(policy, Family.INET6)


TCP_80 = Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80))


@pytest.mark.parametrize(("earlier", "more", "note"), [
    ("0.0.0.0/0", "::/0", ""), ("fd00::/8", "10.0.0.0/8", ""),
    ("fd00::/8", "fd00::/16", None),
    ("fd00::/16", "fd00::/8", "ingress[0]"), ("fd00::/8", "", "ingress[0]"),
    ("", "fd00::/8", None)])
def test_one_rule_more_is_compared_with_those_of_its_family(earlier: str, more: str,
                                                            note: str | None) -> None:
    def rule(action: Action, source: str) -> Rule:
        kind = IPv6Network if ":" in source else IPv4Network
        return Rule(Protocol.TCP, action, Ports(80, 80), kind(source) if source else None)

    policy = Policy((rule(Action.DENY, earlier),))
    if note is None:
        with pytest.raises(Exception, match=r"no effect: ingress\[0\]"):
            with_rule(policy, rule(Action.ALLOW, more))
    else:
        assert note in with_rule(policy, rule(Action.ALLOW, more))[1]
        assert bool(note) is bool(with_rule(policy, rule(Action.ALLOW, more))[1])


def test_icmp_of_two_families_has_nothing_in_common() -> None:
    denied = Rule(Protocol.ICMP, Action.DENY)
    sixth = Rule(Protocol.ALL, Action.ALLOW, None, IPv6Network("::/0"))
    assert with_rule(Policy((denied,)), Rule(Protocol.ICMPV6, Action.ALLOW))[1] == ""
    assert with_rule(Policy((denied,)), sixth)[1] == ""
    others = replace(sixth, action=Action.DENY)
    assert with_rule(Policy((others,)), replace(denied, action=Action.ALLOW))[1] == ""
    assert "ingress[0]" in with_rule(Policy((denied,)), replace(sixth, network=None))[1]


def test_notes_are_only_of_what_is_not_there() -> None:
    policy = Policy((TCP_80, Rule(Protocol.ICMPV6, Action.ALLOW)), (Rule(Protocol.ICMPV6, Action.DENY),))
    assert ingress_filter(policy).inner.keys() == {"VPCCTL-IN-OTHERS"}
    assert egress_filter(policy).inner.keys() == {"VPCCTL-OUT-OTHERS"}
    for family in Family:
        assert ingress_filter(policy, family, alone=False).inner == {}
    assert (INGRESS, EGRESS) == ("ingress", "egress")


def test_families_of_addresses() -> None:
    assert ADDRESSES[Family.INET6](1) == IPv6Address("::1")
    assert ADDRESSES[Family.INET](1) == IPv4Address("0.0.0.1")


SAVED = """*filter
:INPUT ACCEPT [0:0]
:VPCCTL-IN-OTHERS - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 1 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 2 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 3 -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 4 -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -s fd12:101::2/128 -p tcp -m tcp --dport 83 -m comment --comment "vpcctl:ingress[0]" -j ACCEPT
-A INPUT -s fd00::/8 -p ipv6-icmp -m comment --comment "vpcctl:ingress[1]" -j DROP
-A INPUT -m comment --comment "vpcctl:ingress.default" -j DROP
COMMIT
"""
"""What ip6tables-save 1.8.9 prints of it, of either kind."""


def test_what_ip6tables_really_prints_is_what_was_written() -> None:
    policy = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(83, 83), IPv6Network("fd12:101::2")),
                     Rule(Protocol.ICMPV6, Action.DENY, None, IPv6Network("fd00::/8"))))
    assert Saved(SAVED)["filter", "INPUT"].rules == tuple(map(words, ingress_rules(policy, Family.INET6)))


@pytest.mark.parametrize(("sources", "places"), [
    (("10.0.0.0/8", "0.0.0.0/0"), ["ingress[0]", "ingress[1]"]), (("10.0.0.0/8", "fd00::/8"), []),
    (("",), []), (("fd00::/8",), [])])
def test_which_rules_deny_in_ipv4_only(sources: Sequence[str], places: list[str]) -> None:
    found = tuple(Rule(Protocol.ALL, Action.DENY, None, ip_network(one) if one else None) for one in sources)
    assert denied(Policy(found)) == places
