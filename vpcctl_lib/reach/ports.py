"""What a VPC's nft tables do at the ports of its bridge: whom they let in, and where that is led; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Network
from vpcctl_lib.model.tables import SHIFT
from vpcctl_lib.resources.guard import members6_of, members_of, parts_of
from vpcctl_lib.resources.guarded import FORWARDERS

if TYPE_CHECKING:
    from vpcctl_lib.resources.hops import Hop
    from vpcctl_lib.resources.steering import Detour


@frozen
class Guarded:
    """What the guard of a namespace's bridges lets in at their ports."""

    own: frozenset[tuple[str, str, Address]] = frozenset()
    """Each machine's port, MAC and address."""

    forwarders: frozenset[tuple[str, ...]] = frozenset()
    """The port and MAC of each machine that may send packets of others."""

    def lets_in(self, port: str, mac: str, address: Address, is_question: bool = False) -> bool:
        """Whether a frame with that sender may come in; one of ARP only with a machine's own address.

        Questions about neighbours of IPv6 are dropped.
        """
        if is_question and address.version == 6:
            return False
        return (port, mac, address) in self.own or (not is_question and (port, mac) in self.forwarders)


@frozen
class Steered:
    """What leads packets from a namespace's ports to route tables."""

    near: Sequence[Network]
    """Packets for addresses in none of these go to the router, whatever MAC they are for."""

    router: str
    """Its MAC."""

    marks: Mapping[str, int]
    """By the port at which they come in."""

    detours: Sequence[Detour] = ()
    """Answers that go by a middlebox; the first that matches decides."""

    hops: Sequence[Hop] = ()
    """What goes to a NAT gateway or a middlebox without the router; of a table, the first that matches."""

    def mac(self, port: str, source: Address, destination: Address) -> str:
        """Where a packet that came in at a port is led; empty if it goes where it would anyway."""
        if not any(destination in one for one in self.near):
            return self._hop(port, source, destination) or self.router
        if any(source in one for one in self.near):
            return ""
        fitting = (one for one in self.detours if port != one.port and source in one.source
                   and destination in one.target)
        return next((one.mac for one in fitting), "")

    def mark(self, port: str, destination: Address) -> int:
        """The mark of a packet that came in at a port."""
        return 0 if any(destination in one for one in self.near) else self.marks.get(port, 0)

    def _hop(self, port: str, source: Address, destination: Address) -> str:
        """The MAC of the next machine on the way to the outside; empty if that is the router's."""
        # Imported late: most routers have none.
        from vpcctl_lib.resources.hops import ROUTED

        is_own = any(source in one for one in self.near) and not any(destination in one for one in ROUTED)
        number = self.marks.get(port, 0) >> SHIFT
        fitting = (one.mac for one in self.hops if one.number == number and destination in one.target)
        return next(fitting, "") if is_own and number else ""


def parse_guard(listed: list[dict[str, Any]]) -> Guarded:
    """Whom the rules of our own table let in."""
    own = [(one.device, one.mac, one.address) for one in members_of(listed)]
    own6 = [(one.device, one.mac, one.address) for one in members6_of(listed)]
    return Guarded(frozenset((*own, *own6)), frozenset(parts_of(listed, FORWARDERS)))


def parse_steered(listed: list[dict[str, Any]]) -> Steered | None:
    """What our table for route tables does, if it has our rules and no others."""
    # Imported late: most routers have none.
    from vpcctl_lib.resources.hops import hops_of
    from vpcctl_lib.resources.steering import detours_of, far_of, is_whole, origins_of

    far = far_of(listed) if is_whole(listed) else None
    return Steered(*far, origins_of(listed), detours_of(listed), hops_of(listed)) if far else None
