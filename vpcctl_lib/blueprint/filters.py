"""Where a machine's rules are: in built-in chains, or in chains of their own beside other rules; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from vpcctl_lib.model import naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Endpoint, Stand
from vpcctl_lib.resources import Chain, Resource, SingleRule
from vpcctl_lib.resources.packing import packed

if TYPE_CHECKING:
    from vpcctl_lib.firewall.filter_rules import Filter


def incoming(one: Endpoint, found: Filter, family: Family = Family.INET) -> Iterator[Resource]:
    """The rules for what comes in."""
    return _placed(one, one.stand.incoming, f"-i {one.interface} -j {naming.POLICY_IN}", found, family)


def outgoing(one: Endpoint, found: Filter, resolvers: Sequence[IPv4Address] = (),
             family: Family = Family.INET) -> Iterator[Resource]:
    """The rules for what goes out; packets to resolvers pass before all of them."""
    if resolvers:
        # Imported late: most networks have no DNS.
        from vpcctl_lib.firewall.name_rules import asking

        found = replace(found, rules=(*asking(resolvers), *found.rules))
    return _placed(one, one.stand.outgoing, f"-o {one.interface} -j {naming.POLICY_OUT}", found, family)


def _placed(one: Endpoint, chain: str, jump: str, found: Filter, family: Family) -> Iterator[Resource]:
    """The rules as a whole built-in chain.

    Where they are for one link only, they are a chain of ours, to which its packets are led.
    """
    inner, table = packed(found.inner), one.stand.table
    if one.stand is Stand.ENDS:
        yield Chain(one.namespace, table, chain, found.rules, inner=inner, family=family)
        return
    yield Chain(one.namespace, table, jump.split()[-1], found.rules, inner=inner, family=family)
    if one.is_ours:
        # Whole as well: where an undo finds it still there, the same rule added again would be there twice.
        yield Chain(one.namespace, table, chain, (jump,), family=family)
    else:
        yield SingleRule(table, chain, jump, top=True, family=family, namespace=one.namespace)
