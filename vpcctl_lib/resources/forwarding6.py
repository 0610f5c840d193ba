"""Forwarding of IPv6 by one of the host's links, without which nothing that comes in there goes on."""

from __future__ import annotations

from collections.abc import Hashable

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import setting
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Remains, Resource, changed, within
from vpcctl_lib.resources.host import IDENTITY
from vpcctl_lib.resources.ipv6 import NO_MORE
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Sysctl
from vpcctl_lib.resources.renamed import name_now, numbers
from vpcctl_lib.resources.settings import WAS

EVERYWHERE = "net.ipv6.conf.all.forwarding"
"""The host's own switch, which is left alone if links have their own."""


def key_of(device: str) -> str:
    """The switch of one link, since Linux 6.17; slashes keep the dots of a name such as eth0.10."""
    return f"net/ipv6/conf/{device}/force_forwarding"


def is_possible() -> bool:
    """Whether links have such a switch."""
    return setting(key_of("all")) is not None


@frozen
class Forwarding6(Resource):
    """The switch of a link: of the way out, or of one of our cables, with which it goes."""

    device: str
    own: bool = False

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("forwarding6", self.device)

    @property
    def homes(self) -> frozenset[Place]:
        """Our own link."""
        return within(HOST, self.device) if self.own else frozenset()

    def survey(self, runner: Runner) -> dict[str, str]:
        """The old value; of our own cable, if it exists."""
        held = setting(key_of(self.device))
        if held is None:
            return {}
        # Our own cable goes with its switch.
        known = {} if self.own else numbers([self.device])
        return {self._fact: held, IDENTITY: netns.own_identity(), **known}

    @property
    def _fact(self) -> str:
        """Its name among the facts: cleanup.sh puts back the host's own, and deletes our cable."""
        return f"{WAS}{key_of(self.device)}" if self.own else key_of(self.device)

    def is_outlived(self, facts: Facts) -> bool:
        """A boot of the host sets it again."""
        return facts.get(IDENTITY, "") not in ("", netns.own_identity())

    def make(self) -> Operations:
        """On."""
        return (Sysctl(key_of(self.device), "1"),)

    def unmake(self, facts: Facts) -> Operations:
        """Back to the value found since the boot, whatever the link is called by now."""
        found = facts.get(self._fact) == "0" and not self.is_outlived(facts)
        return (Sysctl(key_of(name_now(self.device, facts)), "0"),) if found else ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must be on, if this kernel has it. A cable that is recreated has it off."""
        if self.own and kernel.link(HOST, self.device) is None:
            return MISSING
        held = kernel.setting(HOST, key_of(self.device))
        if held is None and self.own and is_possible():
            return changed(NO_MORE)
        return changed(f"{key_of(self.device)} is not 1") if held == "0" else None

    def relearn(self, remains: Remains) -> dict[str, str]:
        """The previous value is unknown."""
        if not self.own:
            remains.notes.append(f"the value of {key_of(self.device)} before is unknown: it will stay on")
        return {}

    def __str__(self) -> str:
        return f"forwarding of IPv6 from {self.device}"
