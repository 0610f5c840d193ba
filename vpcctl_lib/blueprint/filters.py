"""Where a machine's rules are: in built-in chains, or beside those of its namespace's owner; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vpcctl_lib.model import naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.resources import Chain, Resource, SingleRule
from vpcctl_lib.resources.rules import packed

if TYPE_CHECKING:
    from vpcctl_lib.firewall.filter_rules import Filter


def placed(one: Endpoint, chain: str, found: Filter) -> Iterator[Resource]:
    """The rules of INPUT or OUTPUT, as the whole chain.

    In somebody else's namespace they are a chain of ours, to which our link's packets are led.
    """
    inner = packed(found.inner)
    if one.is_ours:
        yield Chain(one.namespace, "filter", chain, found.rules, inner=inner)
        return
    own, side = (naming.POLICY_IN, "-i") if chain == "INPUT" else (naming.POLICY_OUT, "-o")
    yield Chain(one.namespace, naming.POLICY_TABLE, own, found.rules, inner=inner)
    yield SingleRule(naming.POLICY_TABLE, chain, f"{side} {one.interface} -j {own}", top=True,
                     namespace=one.namespace)
