"""Copies of all packets that pass a port of a bridge, in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.mirrors import PORT
from vpcctl_lib.model.naming import MIRROR_MAC
from vpcctl_lib.resources.base import MISSING, Condition, Fault, Operations, Place, on, within
from vpcctl_lib.resources.hooks import hooks_of
from vpcctl_lib.resources.links import Link
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.redirect import PREF as LAST
from vpcctl_lib.resources.traffic import ANY, Filter, Match, Tc, clsact, copied, led
from vpcctl_lib.resources.vxlan import TTL

ANSWERED, PASSED, PLAIN = 10, 11, 12
"""The order of the filters: errors about copies, copies that pass, plain ones."""

COPIED = {"ingress": 20, "egress": 21}
"""Then all else is copied. Not with one number: `tc` would list the filters of both directions in either, for
u32 keeps those of a queueing discipline together."""

_UDP, _ICMP = 17, 1


@frozen
class Copying(Link):
    """The copies go to other links, one for each mirror."""

    to: tuple[str, ...]
    router: IPv4Address
    is_target: bool = False
    """Whether the machine itself gets copies: those are not copied again, so that none goes in a circle."""

    through: str = ""
    """Where what comes in waits if the machine is limited: also what is not copied."""

    @property
    def homes(self) -> frozenset[Place]:
        """The port."""
        return within(self.namespace, self.device)

    @property
    def stands_in(self) -> frozenset[Place]:
        """What it hangs at, and the links that packets go to: the kernel has their numbers in it."""
        others = (*self.to, self.through) if self.through else self.to
        return self.homes.union({(self.namespace, hooks_of(self.device))},
                                *(within(self.namespace, device) for device in others))

    @property
    def shall(self) -> tuple[Filter, ...]:
        """Those of both directions."""
        deeds = copied(*self.to)
        return (*(self._exempt() if self.is_target else ()),
                *(Filter(way, pref, (ANY,), deeds) for way, pref in COPIED.items()))

    def _exempt(self) -> Iterator[Filter]:
        """What has to do with copies: those that come, and errors about them.

        The IP header of the router's own packets has no options, so that its ports are at byte 20.
        """
        router = int(self.router)
        yield Filter("ingress", ANSWERED, (
            Match(8, 0xFF0000, _ICMP << 16), Match(16, 0xFFFFFFFF, router),
            # The header that the error quotes begins at byte 28 (RFC 792).
            Match(36, 0xFF0000, _UDP << 16), Match(40, 0xFFFFFFFF, router), Match(48, 0xFFFF, PORT)),
                     led(self.through) if self.through else (), "ip")
        yield Filter("egress", PASSED, (
            Match(8, 0xFFFF0000, TTL << 24 | _UDP << 16), Match(12, 0xFFFFFFFF, router)), (), "ip")
        # The first bytes of the MAC that a frame is for are 14 before the network header.
        yield Filter("egress", PLAIN, (Match(-16, 0xFFFF, MIRROR_MAC >> 32),
                                       Match(-12, 0xFF000000, MIRROR_MAC & 0xFF000000)))

    def _tc(self, *words: tuple[str, ...]) -> Operations:
        return tuple(Tc(self.namespace, line) for line in words)

    def make(self) -> Operations:
        """What must not be copied comes first, so that nothing goes in a circle even for a moment."""
        return self._tc(*(one.added(self.device) for one in self.shall))

    def unmake(self, facts: Facts) -> Operations:
        """What copies goes first."""
        return self._tc(*(one.deleted(self.device) for one in self.shall[::-1]))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Exactly these filters must be in their places."""
        held = clsact(kernel.queues(self.namespace).get(self.device, [])) or {}
        found = [Filter.of(one) for one in held.get("filters", ()) if one["pref"] < LAST]
        if not found:
            return MISSING
        if set(found) == set(self.shall) and len(found) == len(self.shall):
            return None
        ours = {(one.direction, one.pref) for one in self.shall}
        others = dict.fromkeys((one.direction, one.pref) for one in found)
        away = self._tc(*(Filter(*place).deleted(self.device) for place in others if place not in ours))
        return Fault(Condition.CHANGED,
                     "other packets are copied, or to another link, or meet no other filter", away)

    def __str__(self) -> str:
        return f"copies of what passes {self.device}{on(self.namespace)}"
