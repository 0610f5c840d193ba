"""What keeps the collector of flow logs from writing, as far as it can be seen without asking it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.blueprint.flows import PROGRAM
from vpcctl_lib.flows.names import FOLDER, READ, SAVED
from vpcctl_lib.keeper.log import has_room
from vpcctl_lib.model import endpoints, flowlogs
from vpcctl_lib.model.topology import Topology, Vpc

LATE = 3 * READ
"""Seconds without a reading from which on a warning comes."""


def hindered(state: Path, topology: Topology) -> str:
    """A warning if records are not written; empty also where this user can't see it."""
    logged = [vpc for vpc in topology.vpcs if _has_machines(vpc)]
    folder = state / FOLDER
    with suppress(OSError):
        if logged and not has_room(os.statvfs(folder)):
            return f"flow logs get no records, because the disk of {folder} is nearly full: make room there"
        late = time.time() - _last(folder, logged) if logged else 0
        if late > LATE:
            return (f"the collector of flow logs has written nothing for {late:.0f} s, not even what it "
                    f"keeps every {READ} s: see {state}/logs/{PROGRAM}.log")
    return ""


def _has_machines(vpc: Vpc) -> bool:
    return any(log.covers(one.site.subnet, one.site.machine)
               for log in vpc.flow_logs for one in endpoints.in_vpc(vpc))


def _last(folder: Path, logged: list[Vpc]) -> float:
    """When it last kept what it had read, or got orders; OSError if it has none, which `status` says."""
    last = [(Path(flowlogs.folder()) / vpc.name).lstat().st_mtime for vpc in logged]
    with suppress(FileNotFoundError):
        last.append((folder / SAVED).lstat().st_mtime)
    return max(last)
