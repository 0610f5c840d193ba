"""A group's rules in words, as its VPC's router keeps them for a lost record, and back; pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network

from vpcctl_lib.firewall.filter_rules import EGRESS, INGRESS
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule

OPEN, LISTED = "egress open", "egress as listed"
ANY = "any"
MEMBERS = "group:"


def in_words(policy: Policy) -> tuple[str, ...]:
    """One line for what goes out, and one for each rule: direction, protocol, ports, far end."""
    return (OPEN if policy.egress is None else LISTED, *(_line(INGRESS, rule) for rule in policy.ingress),
            *(_line(EGRESS, rule) for rule in policy.egress or ()))


def _line(direction: str, rule: Rule) -> str:
    far = f"{MEMBERS}{rule.group}" if rule.group else str(rule.network or ANY)
    return f"{direction} {rule.protocol.value} {rule.ports or ANY} {far}"


def from_words(lines: Sequence[str]) -> Policy:
    """The policy, without descriptions; ValueError if it is not as `in_words` would write it."""
    first, *others = lines
    rules: dict[str, list[Rule]] = {INGRESS: [], EGRESS: []}
    for line in others:
        direction, protocol, ports, far = line.split(" ")
        rules.setdefault(direction, []).append(_rule(protocol, ports, far))
    found = Policy(tuple(rules[INGRESS]), None if first == OPEN else tuple(rules[EGRESS]))
    if in_words(found) != tuple(lines):
        raise ValueError(f"not vpcctl's: {lines!r:.80}")
    return found


def _rule(protocol: str, ports: str, far: str) -> Rule:
    first, _, last = ports.partition("-")
    group = far.removeprefix(MEMBERS) if far.startswith(MEMBERS) else ""
    return Rule(Protocol(protocol), Action.ALLOW,
                None if ports == ANY else Ports(int(first), int(last or first)),
                None if group or far == ANY else ip_network(far), "", group)
