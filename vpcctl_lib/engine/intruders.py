"""Lines of `ip rule` and of route tables in our routers that we did not make: no tenant gets in there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.resources import OtherLine, Resource
from vpcctl_lib.resources.otherline import (
    is_built_in,
    is_kernel_s,
    line_of_route,
    line_of_rule,
    other_rule,
    route_words,
)


def intruders(kernel: Kernel, recorded: Sequence[Resource]) -> Iterator[Resource]:
    """All of them, each as the resource that it would be if recorded."""
    ours = {one.route_line for one in recorded}
    for namespace in dict.fromkeys(one.routes_in for one in recorded if one.routes_in):
        # What can't be read is a fault of its own.
        with suppress(Unreadable):
            for rule in kernel.route_rules(namespace):
                if not is_built_in(rule) and line_of_rule(namespace, rule) not in ours:
                    yield other_rule(namespace, rule)
            for route in kernel.all_routes(namespace):
                if not is_kernel_s(route) and line_of_route(namespace, route) not in ours:
                    yield OtherLine(namespace, route_words(route))
