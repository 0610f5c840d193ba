"""What is in our routers and we did not make, where packets meet it: no tenant gets in there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources import Chain, OtherLine, Resource
from vpcctl_lib.resources.otherline import (
    is_built_in,
    is_kernel_s,
    line_of_route,
    line_of_rule,
    other_rule,
    route_words,
)

ACCEPT = "ACCEPT"
BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


def intruders(kernel: Kernel, recorded: Sequence[Resource]) -> Iterator[Resource]:
    """All of them, each as the resource that it would be if recorded."""
    ours, keys = {one.route_line for one in recorded}, {one.key for one in recorded}
    for namespace, family in dict.fromkeys(place for one in recorded for place in one.routes_in):
        # What can't be read is a fault of its own.
        with suppress(Unreadable):
            for rule in kernel.route_rules(namespace, family):
                if not is_built_in(rule) and line_of_rule(namespace, rule, family) not in ours:
                    yield other_rule(namespace, rule, family)
            for route in kernel.all_routes(namespace, family):
                if not is_kernel_s(route) and line_of_route(namespace, route, family) not in ours:
                    yield OtherLine(namespace, route_words(route), family)
            yield from (chain for chain in _chains(kernel, namespace, family) if chain.key not in keys)


def _chains(kernel: Kernel, namespace: str, family: Family) -> Iterator[Chain]:
    """The chains that the kernel leads packets to, as far as they do something with them."""
    held = kernel.chains(namespace, family)
    for table, name in held:
        rules, policy = tuple(held.lines((table, name))), held[table, name].policy
        if name in BUILT_IN and (rules or policy != ACCEPT):
            yield Chain(namespace, table, name, rules, "" if policy == ACCEPT else policy,
                        family=family)
