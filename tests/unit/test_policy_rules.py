"""A policy is read back from its rules as it was, and not at all where they are others'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.firewall.filter_rules import egress_filter, ingress_filter
from vpcctl_lib.firewall.policy_rules import Misread, policy_of
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.saves import HeldChain, Saved
from vpcctl_lib.model.addressing import ANYWHERE, Family
from vpcctl_lib.model.policies import ECHOES, Action, Network, Policy, Ports, Protocol, Rule, concerns

SPACE = "vpc1-web"
ALL = IPv4Network("0.0.0.0/0")
POLICY = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 90), IPv4Network("10.0.0.0/16")),
                 Rule(Protocol.ICMP, Action.DENY)), (Rule(Protocol.ALL, Action.ALLOW),), Action.DENY)


class Held(Kernel):
    """A kernel in which one namespace has rules, of IPv4 and perhaps of IPv6."""

    def __init__(self, *texts: str) -> None:
        self._texts = dict(zip(Family, texts, strict=False))

    def chains(self, namespace: str, family: Family = Family.INET) -> Saved:
        return Saved(self._texts.get(family, ""))

    def chain(self, namespace: str, table: str, name: str, family: Family = Family.INET) -> HeldChain | None:
        return self.chains(namespace, family).get((table, name))


def saved(policy: Policy, family: Family = Family.INET, alone: bool = True) -> str:
    filters = {"INPUT": ingress_filter(policy, family, alone)}
    if policy.egress is not None:
        filters["OUTPUT"] = egress_filter(policy, family, alone)
    chains: Mapping[str, tuple[str, ...]] = {
        name: rules for chain, found in filters.items() for name, rules in ((chain, found.rules),
                                                                             *found.inner.items())}
    return "\n".join(("*filter", *(f":{name} - [0:0]" for name in chains),
                      *(f"-A {name} {rule}" for name, rules in chains.items() for rule in rules), "COMMIT"))


def both(policy: Policy) -> list[str]:
    return [saved(policy, family, alone=False) for family in Family]


def bare(policy: Policy, dual: bool = False) -> Policy:
    """Without what no rule tells: descriptions, and with one family, whether all addresses are its own."""
    def plain(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(replace(rule, description="", network=network(rule),
                             ports=rule.ports if rule.protocol in (Protocol.TCP, Protocol.UDP) else None)
                     for rule in rules)

    def network(rule: Rule) -> Network | None:
        if not any(concerns(rule, family) for family in Family):
            return None
        needless = rule.network == ALL and not dual or rule.protocol in ECHOES
        return None if rule.network in ANYWHERE.values() and needless else rule.network

    return replace(policy, description="", ingress=plain(policy.ingress),
                   egress=None if policy.egress is None else plain(policy.egress))


PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: Ports(*sorted(pair)))
NETWORKS = st.builds(lambda address, prefix: IPv4Network((address, prefix), strict=False),
                     st.integers(0, 2**32 - 1), st.integers(0, 32)) | st.builds(
    lambda address, prefix: IPv6Network((address, prefix), strict=False),
    st.integers(2**96, 2**128 - 1), st.integers(0, 128))
RULES = st.lists(st.builds(Rule, st.sampled_from(Protocol), st.sampled_from(Action), st.none() | PORTS,
                           st.none() | NETWORKS), max_size=4).map(tuple)


@given(st.builds(Policy, RULES, st.none() | RULES, st.sampled_from(Action)))
def test_it_is_read_as_it_was_written(policy: Policy) -> None:
    policy = bare(policy)
    assert policy_of(Held(saved(policy)), SPACE) == policy


@given(st.builds(Policy, RULES, st.none() | RULES, st.sampled_from(Action)))
def test_of_both_families_too(policy: Policy) -> None:
    policy = bare(policy, dual=True)
    assert policy_of(Held(*both(policy)), SPACE, families=tuple(Family)) == policy


SIXTH = IPv6Network("fd12:3456::/32")
DUAL = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)), Rule(Protocol.ICMPV6, Action.ALLOW),
               Rule(Protocol.TCP, Action.ALLOW, Ports(22, 22), SIXTH)), default=Action.DENY)


def test_a_rule_of_a_family_that_is_not_there_is_noted() -> None:
    text = saved(DUAL)
    note = "-A VPCCTL-IN-OTHERS -m comment --comment vpcctl:ingress[1]~icmpv6~any~any~allow -j RETURN"
    assert f"{note}\n" in text
    assert "::" not in text.replace("fd12:3456::/32~allow", "")
    assert policy_of(Held(text), SPACE) == DUAL
    assert "OTHERS" not in "".join(both(DUAL))


@pytest.mark.parametrize(("old", "new"), [
    ("~22~", "~x~"), ("~allow -j RETURN", "~allow -j ACCEPT"), ("fd12:3456::/32~", "fd12:3456::1/32~"),
    ("~icmpv6~any~", "~icmpv6~"), ("ingress[1]~", "ingress[7]~")])
def test_a_note_that_vpcctl_would_not_write_is_not_believed(old: str, new: str) -> None:
    text = saved(DUAL)
    assert old in text
    with pytest.raises(Misread):
        policy_of(Held(text.replace(old, new)), SPACE)


@pytest.mark.parametrize(("old", "new"), [
    ("vpcctl:ingress.default -j DROP", "vpcctl:ingress.default -j ACCEPT"),
    ("--dport 80 ", "--dport 81 "), ("vpcctl:ingress[2] ", "vpcctl:ingress[3] "),
    ("vpcctl:ingress[1] ", "vpcctl:other ")])
def test_what_differs_between_the_families_is_not_believed(old: str, new: str) -> None:
    fourth, sixth = both(DUAL)
    assert old in sixth
    with pytest.raises(Misread):
        policy_of(Held(fourth, sixth.replace(old, new)), SPACE, families=tuple(Family))


def test_a_policy_of_many_rules_too() -> None:
    rules = tuple(Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80 + number), IPv4Network((number << 8, 24)))
                  for number in range(1, 300))
    assert policy_of(Held(saved(Policy(rules))), SPACE) == Policy(rules)


def test_it_is_read_beside_other_rules() -> None:
    text = saved(POLICY).replace("*filter", "*mangle").replace("INPUT", "VPCCTL-IN").replace(
        "OUTPUT", "VPCCTL-OUT")
    assert policy_of(Held(text), SPACE) is None
    assert policy_of(Held(text), SPACE, beside=True) == bare(POLICY)


def test_without_ours_there_is_none() -> None:
    assert policy_of(Held("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\nCOMMIT"), SPACE) is None


@pytest.mark.parametrize(("old", "new"), [
    ("-s 10.0.0.0/16", "! -s 10.0.0.0/16"),
    ("-s 10.0.0.0/16", "-s 10.0.0.0/nonsense"),
    ("--dport 80:90", "--dport 80,90"),
    ("-p icmp", "-p sctp"),
    ("vpcctl:ingress[0]", "vpcctl:ingress[7]"),
    ("vpcctl:ingress[1]", "vpcctl:ingress[0]"),
    ("vpcctl:ingress.default -j DROP", "vpcctl:ingress.default -j ACCEPT"),
    ("vpcctl:ingress.default -j DROP", "vpcctl:ingress.default -j LOG"),
    ("-j DROP", "-i eth1 -j DROP"),
])
def test_what_vpcctl_would_not_write_is_not_believed(old: str, new: str) -> None:
    text = saved(POLICY)
    assert old in text
    with pytest.raises(Misread):
        policy_of(Held(text.replace(old, new)), SPACE)
