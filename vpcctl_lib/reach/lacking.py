"""Ends of a conversation that have no IPv6 by the record, and links on which it is off; pure."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Endpoint, endpoint
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.reach.intent import Intent
from vpcctl_lib.reach.packet import Blocked, Cause, Code
from vpcctl_lib.reach.question import Question
from vpcctl_lib.reach.scene import Namespace

SYMPTOMS = frozenset({Code.NO_ROUTE, Code.NO_ADDRESS, Code.NO_NEIGHBOUR, Code.NO_FORWARDING,
                      Code.FIREWALL_DENY, Code.NO_NAT})
"""What is met where a link has no IPv6 any more: its addresses and routes went with it."""


def lacking(question: Question) -> Blocked | None:
    """The end that has no IPv6: its VPC has none, or it is a NAT gateway."""
    if question.family is Family.INET:
        return None
    return next((found for vpc, one in _ends(question) if (found := _without(vpc, one))), None)


def _ends(question: Question) -> Iterator[tuple[Vpc, Endpoint | None]]:
    if question.vpc:
        yield question.vpc, question.sender
    if question.to_vpc:
        there = question.to_subnet
        yield question.to_vpc, endpoint(question.to_vpc, there, question.to_machine) if there else None


def _without(vpc: Vpc, one: Endpoint | None) -> Blocked | None:
    if vpc.ipv6 is None:
        return Blocked(Code.NO_IPV6, vpc.name, f"VPC '{vpc.name}' has no IPv6")
    if one is None or one.ipv6:
        return None
    return Blocked(Code.NO_IPV6, str(one.site), "a NAT gateway has no IPv6")


def command(blocked: Blocked, question: Question) -> str | None:
    """What gives IPv6 to the VPC that has none."""
    vpcs = (vpc for vpc, _ in _ends(question) if vpc.ipv6 is None and vpc.name == blocked.where)
    return next((f"vpcctl vpc set --name {vpc.name} --ipv6 auto" for vpc in vpcs), None)


def turned_off(intent: Intent, here: Namespace, blocked: Blocked) -> Blocked | None:
    """The link there on which IPv6 is off, so that the packet does not get on."""
    if blocked.code not in SYMPTOMS:
        return None
    off = next((one for one in intent.sixth(here.name)
                if one in here.links and here.per_link(one, "disable_ipv6")), None)
    if off is None:
        return None
    setting = f"net/ipv6/conf/{off}/disable_ipv6"
    return Blocked(Code.NO_IPV6, here.title, f"{setting} = 1", Cause(setting=setting, device=off))
