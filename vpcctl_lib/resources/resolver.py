"""The DNS server of a VPC: dnsmasq, in its router."""

from __future__ import annotations

import os

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import Fault, Operations, changed
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.processes import Start
from vpcctl_lib.resources.workload import Program

NET_ADMIN = 12
"""dnsmasq gives no addresses without it: it makes entries for neighbours (linux/capability.h). Ours exist."""


@frozen
class Resolver(Program):
    """It reads the files in a folder of the host's, whenever they change."""

    folder: str = ""
    leases: str = ""
    """The folder with the addresses of machines, if it gives them by DHCP."""

    def make(self) -> Operations:
        """Start it, and wait until it answers."""
        return (Start(self.namespace, self.mark, self.argv, self.log, number=self.number,
                      upkeep=self.upkeep, shows=tuple(self._folders),
                      capability=NET_ADMIN if self.leases else None),)

    @property
    def _folders(self) -> list[str]:
        return [one for one in (self.folder, self.leases) if one]

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must run, and see the folders that are there now: somebody may have made them again."""
        faults = (check_folder(folder, facts) for folder in self._folders)
        return super().check(kernel, facts) or next(filter(None, faults), None)

    def __str__(self) -> str:
        return f"DNS server of {self.namespace}"


def check_folder(folder: str, facts: Facts) -> Fault | None:
    """Whether a program sees the folder that is there now."""
    try:
        here, there = (os.stat(f"{root}{folder}") for root in ("", f"/proc/{facts['pid']}/root"))
    except OSError:
        return None if os.path.isdir(folder) else changed(f"{folder} is missing")
    return None if os.path.samestat(here, there) else changed(f"{folder} is another folder now")
