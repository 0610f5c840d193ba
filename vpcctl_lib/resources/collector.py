"""The collector of flow logs: one for the host, in a namespace in which nothing is."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.flows.names import FOLDER, SAVED, UNDER_WAY
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.flowlogs import folder
from vpcctl_lib.resources.base import Fault, Leavings, Operations, changed
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.processes import Start
from vpcctl_lib.resources.resolver import check_folder
from vpcctl_lib.resources.workload import Program

NET_ADMIN, SYS_ADMIN = 12, 21
"""The kernel shows counters to the first, and lets the second into other namespaces (capabilities(7))."""

NAMESPACES = "/run/netns"


@frozen
class Collector(Program):
    """It sees the host's namespaces by their names, and writes below the state folder."""

    def make(self) -> Operations:
        """Start it."""
        # Imported late: few changes start it.
        from vpcctl_lib.workloads.interpreter import collector

        return (Start(self.namespace, self.mark, collector(folder()), self.log, number=self.number,
                      upkeep=self.upkeep, shows=(folder(),), opens=(NAMESPACES,), writes=FOLDER,
                      powers=(NET_ADMIN, SYS_ADMIN)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must run, its keeper alone is not enough, and see the folders that are there now."""
        # Imported late: most hosts have none.
        from vpcctl_lib.workloads.members import main

        fault = super().check(kernel, facts)
        if fault is not None:
            return fault
        program = main(facts)
        if program is None:
            return changed("it has ended, and is to be started again")
        return changed("the folder of its records was removed") if _is_homeless(program) \
            else check_folder(folder(), facts)

    def leavings(self, state: Path) -> Leavings | None:
        """Its own log, and what it had not written yet."""
        found = super().leavings(state)
        files = found.files if found else ()
        saved = (state / FOLDER / name for name in (SAVED, f"{SAVED}.new", UNDER_WAY))
        return Leavings((*files, *saved), state / FOLDER)

    def __str__(self) -> str:
        return "collector of flow logs"


def _is_homeless(program: int) -> bool:
    """Whether a folder that a program holds open was removed."""
    with suppress(FileNotFoundError, ProcessLookupError), os.scandir(f"/proc/{program}/fd") as held:
        for one in held:
            found = os.stat(one.path)
            if stat.S_ISDIR(found.st_mode) and not found.st_nlink:
                return True
    return False
