"""One rule more at the end of a policy, and what the rules before it make of it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.policies import Action, Network, Policy, Protocol, Rule, meet


def with_rule(policy: Policy | None, rule: Rule) -> tuple[Policy, str]:
    """The policy with that ingress rule, unless it says the same already; and a note, or nothing.

    Without a policy everything is open: then the rest is denied after an `allow`, and stays open after a
    `deny`. VpcctlError if an earlier rule decides about all that the new one matches, the other way.
    """
    if policy is None:
        if rule.action is Action.DENY:
            return Policy((rule,), default=Action.ALLOW), "there was no policy: everything else stays open"
        return Policy((rule,)), "there was no policy: everything else that comes in is now denied"
    for number, earlier in enumerate(policy.ingress):
        if _covers(earlier, rule):
            if earlier.action is rule.action:
                return policy, ""
            told = f"the rule would have no effect: ingress[{number}] {_verb(earlier)} all of it before"
            raise VpcctlError(told, "put the rules in order in a file: vpcctl firewall apply --policy FILE")
    others = ", ".join(_deciding(policy, rule))
    note = f"a part of it is decided before, by {others}" if others else ""
    return replace(policy, ingress=(*policy.ingress, rule)), note


def _verb(rule: Rule) -> str:
    return "allows" if rule.action is Action.ALLOW else "denies"


def _deciding(policy: Policy, rule: Rule) -> Iterator[str]:
    """The rules that decide about a part of what the new one matches, the other way."""
    for number, earlier in enumerate(policy.ingress):
        if earlier.action is not rule.action and meet(earlier, rule):
            yield f"ingress[{number}]"


def _covers(wide: Rule, narrow: Rule) -> bool:
    """Whether the first matches every packet that the second matches."""
    if wide.protocol not in (Protocol.ALL, narrow.protocol):
        return False
    if wide.ports and not (narrow.ports and wide.ports.first <= narrow.ports.first
                           and narrow.ports.last <= wide.ports.last):
        return False
    return wide.network is None or (narrow.network is not None and _is_inside(narrow.network, wide.network))


def _is_inside(narrow: Network, wide: Network) -> bool:
    if isinstance(narrow, IPv4Network):
        return isinstance(wide, IPv4Network) and narrow.subnet_of(wide)
    return isinstance(wide, IPv6Network) and narrow.subnet_of(wide)
