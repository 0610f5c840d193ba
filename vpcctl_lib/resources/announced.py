"""Addresses that the host answers for on a link although it does not have them itself (proxy ARP)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Hashable
from ipaddress import IPv4Address

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.kernel.sayings import is_gone
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Resource, changed
from vpcctl_lib.resources.operation import NO_FACTS, Deed, Desk, Facts, Operation
from vpcctl_lib.resources.operations import HOST

_ARP, _ETHERNET, _IP = 0x0806, 1, 0x0800
"""ETH_P_ARP and ETH_P_IP of linux/if_ether.h, ARPHRD_ETHER of linux/if_arp.h."""

_EVERYBODY, _MAC = b"\xff" * 6, 6


@frozen
class Answer(Operation):
    """Answer ARP for an address on a link, or no longer; a missing link is no reason to undo everything else.

    By a command of its own: ip(8) ends at once if it can't change a neighbour, even with -force, and does
    nothing of what follows in its batch (ipneigh_modify() of ip/ipneigh.c).
    """

    device: str
    address: IPv4Address
    gone: bool = False

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """The host."""
        return ends | {HOST}

    @property
    def _command(self) -> Command:
        verb = "del" if self.gone else "add"
        return Command(("ip", "neigh", verb, "proxy", str(self.address), "dev", self.device))

    def carry_out(self, desk: Desk) -> Facts:
        """As ip(8) does."""
        outcome = desk.runner.change(self._command)
        if outcome.status and is_gone(outcome.stderr):
            if self.gone:
                return NO_FACTS
            desk.notes.append(f"link {self.device} does not exist: nobody there reaches {self.address}")
        elif outcome.status:
            verb = "stop answering" if self.gone else "answer"
            raise VpcctlError(f"the host can't {verb} for {self.address} on {self.device}: "
                              f"{outcome.reason()}")
        return NO_FACTS

    def __str__(self) -> str:
        return str(self._command)


@frozen
class Tell(Deed):
    """Tell everybody on a link where an address is now: whoever knew it elsewhere forgets that (RFC 5227)."""

    device: str
    address: IPv4Address

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """The host."""
        return ends | {HOST}

    def do(self) -> None:
        """One unrequested ARP request and one answer, since some listen to one kind only."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as link:
            try:
                link.bind((self.device, _ARP))
                mac = link.getsockname()[4]
                if len(mac) == _MAC:
                    for kind in (1, 2):
                        link.send(frame(mac, self.address, kind))
            except OSError:
                # A link that is missing or down tells nobody; whoever comes later asks.
                return

    def __str__(self) -> str:
        lines = "".join(f"  arping -{how} -c 1 -I {self.device} {self.address} || true\n" for how in "UA")
        return f"if command -v arping; then\n{lines}fi >/dev/null 2>&1"


def frame(mac: bytes, address: IPv4Address, kind: int) -> bytes:
    """A frame of ARP (RFC 826) that says that the address has this MAC; the kind is 1 or 2."""
    target = _EVERYBODY if kind == 2 else bytes(_MAC)  # noqa: PLR2004  a reply, ARPOP_REPLY
    return (_EVERYBODY + mac + struct.pack("!HHHBBH", _ARP, _ETHERNET, _IP, _MAC, len(address.packed), kind)
            + mac + address.packed + target + address.packed)


@frozen
class Announced(Resource):
    """An elastic address on a link of the host."""

    device: str
    address: IPv4Address
    owner: str
    """The machine that has it: when it moves, everybody on the link must learn of it."""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link and the address."""
        return ("announced", self.device, self.address)

    def make(self) -> Operations:
        """Answer for it, and say so."""
        return (Answer(self.device, self.address), Tell(self.device, self.address))

    def unmake(self, facts: Facts) -> Operations:
        """No longer."""
        return (Answer(self.device, self.address, gone=True),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The kernel must answer for it, and not have it itself: then packets for it end on the host."""
        if (self.device, str(self.address)) not in kernel.proxied:
            return MISSING
        own = next((f"{one['local']}/{one['prefixlen']} dev {link['ifname']}" for link in kernel.links(HOST)
                    for one in link.get("addr_info", ()) if one.get("local") == str(self.address)), "")
        return changed(f"the host itself has that address; take it away: ip addr del {own}") if own else None

    def __str__(self) -> str:
        return f"elastic address {self.address} on {self.device}"
