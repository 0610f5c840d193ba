"""What a machine's rules surely let pass, in nft's words: what counts flows need not look at it twice; pure.

A packet that belongs to a connection passes by the first of the rules. Of the others, those count here that
allow, and that no earlier rule which denies can forestall.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vpcctl_lib.firewall.filter_rules import EGRESS, INGRESS
from vpcctl_lib.firewall.group_rules import Direction
from vpcctl_lib.firewall.marks import MASK, SHIFT
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import ECHOES, Action, Policy, Protocol, Rule, family_of, meet

MOST = 8
"""The most tests in a direction: the first packet of each connection meets them twice."""

EVERYTHING = ("",)
"""One test that everything passes."""

_WORDS = {Family.INET: "ip", Family.INET6: "ip6"}
_FAR_ENDS = {INGRESS: "saddr", EGRESS: "daddr"}
_NFPROTO = {Family.INET: "ipv4", Family.INET6: "ipv6"}


def by_policy(direction: str, policy: Policy) -> tuple[str, ...]:
    """Tests that only packets pass which the policy lets pass, if they begin a connection."""
    rules = policy.ingress if direction == INGRESS else policy.egress or ()
    if policy.default is Action.ALLOW and all(rule.action is Action.ALLOW for rule in rules):
        return EVERYTHING
    return _first(_test(direction, rule) for rule in certain(rules))


def certain(rules: Sequence[Rule]) -> list[Rule]:
    """Those that allow all that they match, whatever the others say; of what has ports, and many flows."""
    return [rule for number, rule in enumerate(rules) if _is_simple(rule)
            and not any(one.action is Action.DENY and meet(one, rule) for one in rules[:number])]


def by_groups(direction: str, rules: Direction) -> tuple[str, ...]:
    """Likewise for a machine in groups, whose rules only allow."""
    return _first(_test(direction, one.rule, one.number) for one in rules.lines if _is_simple(one.rule))


def _first(tests: Iterable[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(tests))
    return EVERYTHING if "" in found else found[:MOST]


def _is_simple(rule: Rule) -> bool:
    return rule.action is Action.ALLOW and rule.protocol not in ECHOES


def _test(direction: str, rule: Rule, number: int = 0) -> str:
    return " ".join((*_far_end(direction, rule), *_mark(number), *_ports(rule)))


def _far_end(direction: str, rule: Rule) -> Iterable[str]:
    if rule.network is None:
        return
    family = family_of(rule.network)
    if rule.network.prefixlen:
        length = rule.network.prefixlen
        network = rule.network if length < rule.network.max_prefixlen else rule.network.network_address
        yield f"{_WORDS[family]} {_FAR_ENDS[direction]} {network}"
    else:
        yield f"meta nfproto {_NFPROTO[family]}"


def _mark(number: int) -> Iterable[str]:
    """The far end is in the rule's group: the number is in the mark before the rules are asked."""
    if number:
        first = number << SHIFT
        yield f"meta mark {first}-{first | ~MASK & 0xFFFFFFFF}"


def _ports(rule: Rule) -> Iterable[str]:
    if rule.protocol is Protocol.ALL:
        return
    yield f"{rule.protocol.value} dport {rule.ports}" if rule.ports else f"meta l4proto {rule.protocol.value}"
