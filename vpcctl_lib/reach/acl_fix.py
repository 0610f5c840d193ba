"""The rule that a network ACL lacks for a packet, in words and as a command; pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from ipaddress import ip_network

from vpcctl_lib.firewall.acl_nft import Direction
from vpcctl_lib.model.acls import FIRST, LAST, called, in_force
from vpcctl_lib.model.policies import Acl, AclRule, Action, Ports
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.reach.edges import EPHEMERAL, far_end
from vpcctl_lib.reach.packet import Blocked, Packet

STEP = 10
"""Between the numbers of rules, so that others fit in."""


def asked(blocked: Blocked) -> tuple[str, Direction]:
    """The name of the ACL that denied a packet, and the direction."""
    direction = next(one for one in Direction if blocked.cause.chain.startswith(one.chain("")))
    return blocked.cause.chain.removeprefix(direction.chain("")), direction


def why(blocked: Blocked) -> str:
    """What is denied by which rule, and what to open."""
    name, direction = asked(blocked)
    packet = blocked.cause.packet
    what = "the answer" if packet and packet.answer else "the packet"
    ports = _ports(packet) if packet else None
    opened = "" if packet is None else f": open {packet.protocol.value}" if ports is None else \
        f": open {str(ports).replace('-', '–')}"
    return f"{what} is denied by acl `{name}` {direction.word} rule `{blocked.cause.rule}`{opened}"


def _ports(packet: Packet) -> Ports | None:
    """The ports to open: for answers those of all clients."""
    ports = packet.flow.destination_port
    return EPHEMERAL if ports and packet.answer else ports


def command(vpc: Vpc, acl: Acl, blocked: Blocked) -> str | None:
    """The ACL with one rule more, before the one that denied the packet; None if it can have no more."""
    # Imported late: most questions need no ACL written.
    from vpcctl_lib.files.acl import to_document

    _, direction = asked(blocked)
    packet = blocked.cause.packet
    rules = acl.ingress if direction is Direction.INGRESS else acl.egress
    denying = next((rule for rule in in_force(rules) if called(rule) == blocked.cause.rule), None)
    if packet is None or denying is None or len(rules) >= LAST:
        return None
    more = AclRule(denying.number, packet.protocol, Action.ALLOW, _ports(packet),
                   ip_network(far_end(packet, direction)))
    found = _before(rules, more)
    changed = replace(acl, ingress=found) if direction is Direction.INGRESS else replace(acl, egress=found)
    text = shlex.quote(json.dumps(to_document(changed)))
    return (f"rules=$(mktemp) && echo {text} >$rules && "
            f"vpcctl acl apply --vpc {vpc.name} --name {acl.name} --rules $rules")


def _before(rules: tuple[AclRule, ...], more: AclRule) -> tuple[AclRule, ...]:
    """The rules with one more that stands right before its number."""
    before = tuple(rule for rule in rules if rule.number < more.number)
    after = rules[len(before):]
    last = before[-1].number if before else 0
    round_ = (last // STEP + 1) * STEP
    number = round_ if round_ < more.number else more.number - 1
    if last < number <= LAST:
        return (*before, replace(more, number=number), *after)
    # There is no number left between the two.
    return tuple(replace(rule, number=FIRST + place) for place, rule in enumerate((*before, more, *after)))
