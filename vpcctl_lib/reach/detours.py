"""Policy rules (`ip rule`) that send a packet elsewhere: found by walking again without them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family, Network
from vpcctl_lib.reach.intent import Intent
from vpcctl_lib.reach.routes import PolicyRule
from vpcctl_lib.reach.scene import Namespace

FIRST = 1
"""The priority of a rule before all others except the one for a host's own addresses (0)."""

MOST = 64
"""The most rules to try: each costs a walk."""

Progress = Callable[[], float]
"""Walks again; returns how far the packet got, infinite if it arrived."""


@frozen
class Detour:
    """The rule at fault; `around` is a rule that helps without removing it, None if there is none."""

    namespace: Namespace
    rule: PolicyRule
    around: PolicyRule | None

    @property
    def added(self) -> str | None:
        """The command that sends the packet past it."""
        return f"{self._ip} rule add pref {FIRST} {self.around}" if self.around else None

    @property
    def deleted(self) -> str:
        """The command that removes it."""
        return f"{self._ip} rule del pref {self.rule.priority} {quoted(self.rule)}"

    @property
    def _ip(self) -> str:
        return tool(self.namespace)

    def __str__(self) -> str:
        return f"ip rule {self.rule.priority} of {self.namespace.title} ({self.rule}) decides that"


def tool(namespace: Namespace) -> str:
    """The beginning of a command that changes routes and rules there."""
    family = " -6" if namespace.family is Family.INET6 else ""
    return f"ip{family}{f' -n {namespace.name}' if namespace.name else ''}"


def quoted(thing: object) -> str:
    """A route or rule as a shell reads it: who made the link in it chose the link's name."""
    return shlex.join(str(thing).split())


def find(places: Iterable[Namespace], intent: Intent, ends: Sequence[Address],
         progress: Progress) -> Detour | None:
    """The rule without which the packet gets further; None if these namespaces have no such rule."""
    tried = [(place, rule) for place in places for rule in place.rules
             if not rule.is_built_in and not rule.odd and not intent.leads(place.name, rule)]
    if not tried:
        return None
    so_far = progress()
    for place, rule in tried[:MOST]:
        rules = [one for one in place.rules if one is not rule]
        reached = _with(place, rules, progress)
        if reached > so_far:
            fitting = (one for one in _around(place, intent, ends) if rule.priority > FIRST
                       and _with(place, _first(place, one), progress) >= reached)
            return Detour(place, rule, next(fitting, None))
    return None


def _with(place: Namespace, rules: list[PolicyRule], progress: Progress) -> float:
    """How far the packet would get with these rules in force there."""
    held, place.rules = place.rules, rules
    try:
        return progress()
    finally:
        place.rules = held


def _first(place: Namespace, rule: PolicyRule) -> list[PolicyRule]:
    before = [one for one in place.rules if one.priority <= FIRST]
    return [*before, rule, *place.rules[len(before):]]


def _around(place: Namespace, intent: Intent, ends: Sequence[Address]) -> Iterator[PolicyRule]:
    """Rules that make the namespace use its main table for one end's VPC, or for one address."""
    networks: list[Network] = [*(network for vpc in intent.topology.vpcs for network in vpc.networks),
                               *(vpc.ipv6 for vpc in intent.topology.vpcs if vpc.ipv6)]
    held = [next((network for network in networks if end in network), ip_network(end)) for end in ends]
    yield from (PolicyRule("main", destination=cidr, priority=FIRST) for cidr in held)
    yield from (PolicyRule("main", source=cidr, priority=FIRST) for cidr in held)
