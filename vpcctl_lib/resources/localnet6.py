"""The host's end of a cable, by which its own ::1 gets to published ports."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources.addresses import dual
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Ip

ITSELF = "::1"


@frozen
class Localnet6(Resource):
    """A route to ::1 by one link of ours, for the answers that are translated back to it.

    The kernel looks for ::1 on the link by which a packet came (rt6_need_strict of net/ipv6/route.c), and
    drops what comes for ::1 itself before any rule is asked.
    """

    device: str
    metric: int
    """Another one for each link: it is all that tells such routes from each other."""

    @property
    def homes(self) -> frozenset[Place]:
        """The link, as long as it has IPv6."""
        return within(HOST, self.device) | {dual(HOST, self.device)}

    @property
    def _words(self) -> tuple[str, ...]:
        return ("local", ITSELF, "dev", self.device, "table", "local", "metric", str(self.metric))

    def make(self) -> Operations:
        """Fails if there is one."""
        return (Ip(HOST, ("route", "add", *self._words)),)

    def unmake(self, facts: Facts) -> Operations:
        """Removes exactly this one."""
        return (Ip(HOST, ("route", "del", *self._words)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must be in the table of the host's own addresses."""
        shall = ("local", ITSELF, self.device, self.metric)
        held = [(one.get("type"), one["dst"], one.get("dev"), one.get("metric"))
                for one in kernel.all_routes(HOST, Family.INET6)]
        return None if shall in held else MISSING

    def __str__(self) -> str:
        return f"route {' '.join(self._words)} on the host"
