"""The relay by which a VPC's DNS server asks other servers."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.keeper.folders import OWN
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import Condition, Fault, Operations
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip
from vpcctl_lib.resources.processes import Start
from vpcctl_lib.resources.workload import Program

HERE, PORT = "127.0.0.1", 5300
"""Where it is asked, in the router: no packet of anybody else's gets there."""

RESOLVERS = tuple(f"{OWN[-1]}/{name}" for name in (
    "systemd/resolve", "NetworkManager", "resolvconf", "connman", "netconfig"))
"""The folders that a host's /etc/resolv.conf may lead to."""


@frozen
class Relay(Program):
    """It runs in the router, and asks with sockets of the host's network that it is given."""

    servers: tuple[str, ...] = ()
    """Those that it asks; without any those of the host, as they are then."""

    def make(self) -> Operations:
        """Start it."""
        # Imported late: few changes start one.
        from vpcctl_lib.workloads.interpreter import relay

        return (Start(self.namespace, self.mark, relay(PORT, self.servers), self.log, number=self.number,
                      upkeep=self.upkeep, shows=RESOLVERS, outside=True),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must run, and the server must get to it: somebody may have flushed the loopback's addresses."""
        link = kernel.link(self.namespace, "lo") or {}
        held = [one.get("local") for one in link.get("addr_info", ())]
        if self.namespace in kernel.namespaces and HERE not in held:
            address = Ip(self.namespace, ("addr", "add", f"{HERE}/8", "dev", "lo"))
            return Fault(Condition.CHANGED, f"{HERE} is missing", (address,))
        return super().check(kernel, facts)

    def __str__(self) -> str:
        return f"DNS relay of {self.namespace}"
