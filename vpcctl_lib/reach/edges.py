"""The network ACLs that a packet meets at the edges of subnets, as the kernel has them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vpcctl_lib.firewall.acl_nft import Direction
from vpcctl_lib.model.acls import called
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.addressing6 import router
from vpcctl_lib.model.naming import ACL_TABLE
from vpcctl_lib.model.policies import AclRule, Action, Ports, Protocol, concerns
from vpcctl_lib.reach.packet import Blocked, Cause, Code, Packet, Undecided
from vpcctl_lib.reach.scene import Namespace
from vpcctl_lib.resources.acl_table import INSIDE, Held

EPHEMERAL = Ports(1024, 65535)
"""The ports of clients, to which answers go: AWS's advice
(https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports)."""


def met(here: Namespace, packet: Packet, incoming: str, outgoing: str) -> Iterator[str]:
    """The rules that let the packet through, in words; raises Blocked or Undecided if it is stopped.

    An empty port is the router: the packet is for it, or from it.
    """
    held = here.passage().acls
    if held is None:
        _check_foreign(here, incoming, outgoing)
        return
    for chain in _chains(held, packet, incoming, outgoing):
        yield _passed(here, held, chain, packet)


def _check_foreign(here: Namespace, incoming: str, outgoing: str) -> None:
    """A changed table of ours, or another one, may decide about frames."""
    hook = "output" if not incoming else "forward" if outgoing else "input"
    found = here.foreign.get(hook, "")
    if found.startswith("nft chain bridge "):
        raise Undecided(here.title, f"{found} is not modelled; see: nft list ruleset")


def _chains(held: Held, packet: Packet, incoming: str, outgoing: str) -> Iterator[str]:
    """The chains that it meets: that of the subnet which it leaves, and that of the one it gets into."""
    flow, mark = packet.flow, held.subnets.get(incoming)
    near = (*held.near, *((router(held.prefix),) if held.prefix else ()))
    if (not outgoing and flow.destination in near) or (not incoming and flow.source in near):
        return
    if flow.family is Family.INET6 and held.prefix is None:
        return
    if incoming and outgoing and f'{mark} . "{outgoing}"' in held.sets[INSIDE]:
        return
    yield from filter(None, (held.out.get(incoming), held.into.get(outgoing)))


def _passed(here: Namespace, held: Held, chain: str, packet: Packet) -> str:
    direction = next(one for one in Direction if chain.startswith(one.chain("")))
    name = chain.removeprefix(direction.chain(""))
    rules = held.rules(chain)
    if rules is None:
        raise Undecided(here.title, f"there is no network ACL for chain {chain}")
    rule = decisive(here.title, rules, packet, direction)
    told = f"acl {name} {direction.word} rule {called(rule)}"
    if rule.action is Action.ALLOW:
        return told
    cause = Cause(ACL_TABLE, chain, called(rule), packet=packet)
    raise Blocked(Code.ACL_DENY, here.title, told, cause)


def decisive(where: str, rules: Sequence[AclRule], packet: Packet, direction: Direction) -> AclRule:
    """The rule that decides about a packet; Undecided if that depends on a port that the kernel chooses."""
    doubtful: list[AclRule] = []
    for rule in rules:
        found = matches(rule, packet, direction)
        if found is None:
            doubtful.append(rule)
        elif found:
            if any(one.action is not rule.action for one in doubtful):
                numbers = ", ".join(called(one) for one in doubtful)
                raise Undecided(where, f"whether rule {numbers} of a network ACL matches depends on the "
                                       f"port, one of {packet.flow.destination_port}, chosen when the packet "
                                       "is sent")
            return rule
    raise AssertionError("the last rule of a network ACL matches everything")


def matches(rule: AclRule, packet: Packet, direction: Direction) -> bool | None:
    """Whether a rule matches; None if that depends on a port that the kernel chooses."""
    if rule.protocol not in (Protocol.ALL, packet.protocol) or not concerns(rule, packet.flow.family) \
            or not _is_far(rule, packet, direction):
        return False
    there = packet.flow.destination_port
    if rule.ports is None or there is None:
        return rule.ports is None
    if rule.ports.first <= there.first and there.last <= rule.ports.last:
        return True
    return None if rule.ports.first <= there.last and there.first <= rule.ports.last else False


def _is_far(rule: AclRule, packet: Packet, direction: Direction) -> bool:
    return rule.network is None or far_end(packet, direction) in rule.network


def far_end(packet: Packet, direction: Direction) -> Address:
    """The address that a rule of that direction tests."""
    return packet.flow.source if direction is Direction.INGRESS else packet.flow.destination
