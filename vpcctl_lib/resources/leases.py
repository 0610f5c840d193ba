"""The file with the addresses of a VPC's machines for DHCP, which its server reads again at a signal."""

from __future__ import annotations

import os
import signal

from vpcctl_lib.frozen import frozen
from vpcctl_lib.resources.base import Operations, Resource
from vpcctl_lib.resources.hosts import Hosts
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation


@frozen
class Reread(Operation):
    """Have a program read its files again; one that does not run yet will read them as it starts."""

    namespace: str
    mark: str

    def carry_out(self, desk: Desk) -> Facts:
        """SIGHUP, by its keeper."""
        # Imported late, as all that has to do with processes: most changes touch none.
        from vpcctl_lib.kernel import processes
        from vpcctl_lib.workloads import members

        desk.runner.announce(self)
        for process in members.of_workload(self.namespace, self.mark, {}):
            if processes.is_keeper(process):
                os.kill(process.pid, signal.SIGHUP)
        return NO_FACTS

    def __str__(self) -> str:
        keeper = r"grep -qs '^NSpid:.*[[:space:]]1$' /proc/$pid/status"
        marked = f"grep -qsz '^VPCCTL_WORKLOAD={self.mark}$' /proc/$pid/environ"
        tell = f"{keeper} && {marked} && kill -HUP $pid"
        return f"for pid in $(ip netns pids {self.namespace}); do {tell}; done; true"


@frozen
class Leases(Hosts):
    """Lines for dnsmasq(8), --dhcp-hostsfile: a machine's MAC, its subnet's tag, its address and name."""

    namespace: str = ""
    mark: str = ""
    """Those of the server."""

    def make(self) -> Operations:
        """Written whole, then read."""
        return (*super().make(), Reread(self.namespace, self.mark))

    def change(self, old: Resource) -> Operations:
        """Likewise."""
        return self.make()

    def __str__(self) -> str:
        return f"addresses in {self.path}"
