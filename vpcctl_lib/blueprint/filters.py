"""Where a machine's rules are: in built-in chains, or in chains of their own beside other rules; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from vpcctl_lib.model import naming
from vpcctl_lib.model.endpoints import Endpoint, Stand
from vpcctl_lib.resources import Chain, Resource, SingleRule
from vpcctl_lib.resources.rules import packed

if TYPE_CHECKING:
    from vpcctl_lib.firewall.filter_rules import Filter


def incoming(one: Endpoint, found: Filter) -> Iterator[Resource]:
    """The rules for what comes in."""
    return _placed(one, one.stand.incoming, f"-i {one.interface} -j {naming.POLICY_IN}", found)


def outgoing(one: Endpoint, found: Filter, resolvers: Sequence[IPv4Address] = ()) -> Iterator[Resource]:
    """The rules for what goes out; packets to resolvers pass before all of them."""
    if resolvers:
        # Imported late: most networks have no DNS.
        from vpcctl_lib.firewall.name_rules import asking

        found = replace(found, rules=(*asking(resolvers), *found.rules))
    return _placed(one, one.stand.outgoing, f"-o {one.interface} -j {naming.POLICY_OUT}", found)


def _placed(one: Endpoint, chain: str, jump: str, found: Filter) -> Iterator[Resource]:
    """The rules as a whole built-in chain.

    Where they are for one link only, they are a chain of ours, to which its packets are led.
    """
    inner, table = packed(found.inner), one.stand.table
    if one.stand is Stand.ENDS:
        yield Chain(one.namespace, table, chain, found.rules, inner=inner)
        return
    yield Chain(one.namespace, table, jump.split()[-1], found.rules, inner=inner)
    if one.is_ours:
        # Whole as well: where an undo finds it still there, the same rule added again would be there twice.
        yield Chain(one.namespace, table, chain, (jump,))
    else:
        yield SingleRule(table, chain, jump, top=True, namespace=one.namespace)
