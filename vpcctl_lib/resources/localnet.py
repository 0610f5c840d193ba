"""The host's end of a cable, by which its own 127.0.0.1 gets to published ports."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Sysctl


@frozen
class Localnet(Resource):
    """`route_localnet` of one link of ours; the router at its other end passes nothing on for 127.0.0.0/8."""

    device: str

    in_place = True

    @property
    def _setting(self) -> str:
        return f"net.ipv4.conf.{self.device}.route_localnet"

    @property
    def homes(self) -> frozenset[Place]:
        """The link."""
        return within(HOST, self.device)

    def make(self) -> Operations:
        """On."""
        return (Sysctl(self._setting, "1"),)

    def unmake(self, facts: Facts) -> Operations:
        """Off."""
        return (Sysctl(self._setting, "0"),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """On, as long as the link is there."""
        if kernel.link(HOST, self.device) is None:
            return MISSING
        return None if kernel.setting(HOST, self._setting) == "1" else changed(f"{self._setting} is not 1")

    def __str__(self) -> str:
        return f"{self._setting} on the host"
