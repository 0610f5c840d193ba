"""The mark that a packet gets from the nft table of a machine in groups; pure."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.firewall.marks import MASK, SHIFT, Test
from vpcctl_lib.model.policies import Ports, Protocol
from vpcctl_lib.reach.packet import Packet, State
from vpcctl_lib.resources.marking import Held

INCOMING, OUTGOING = "incoming", "outgoing"


def marked(held: Held, chain: str, packet: Packet, link: str) -> Packet:
    """The packet after that chain, by way of that link; an unknown port leaves its mark unknown."""
    tests = held.tests.get(chain, ()) if held.interface in ("", link) else ()
    if not tests or packet.state is State.ESTABLISHED or packet.mark is None:
        return packet
    far = packet.flow.source if chain == INCOMING else packet.flow.destination
    low = packet.mark & ~MASK
    for test in tests:
        is_so = far in held.members.get(test.group, ()) and _matches(test, packet)
        if is_so is None:
            return replace(packet, mark=None)
        if is_so:
            return replace(packet, mark=low | test.number << SHIFT)
    return replace(packet, mark=low)


def _matches(test: Test, packet: Packet) -> bool | None:
    """Whether protocol and ports fit; None if that depends on a port that the kernel chooses."""
    if test.protocol not in (Protocol.ALL, packet.protocol):
        return False
    there = packet.flow.destination_port
    if test.ports is None or there is None:
        return test.ports is None
    return True if _within(there, test.ports) else None if _overlap(there, test.ports) else False


def _within(inner: Ports, outer: Ports) -> bool:
    return outer.first <= inner.first and inner.last <= outer.last


def _overlap(one: Ports, other: Ports) -> bool:
    return one.first <= other.last and other.first <= one.last
