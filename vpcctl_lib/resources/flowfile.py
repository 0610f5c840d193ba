"""The file of a flow log, which the collector writes, and which goes with the log."""

from __future__ import annotations

from pathlib import Path

from vpcctl_lib.flows.names import FOLDER
from vpcctl_lib.frozen import frozen
from vpcctl_lib.keeper.log import OLDER
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import Fault, Leavings, Operations, Resource
from vpcctl_lib.resources.operation import Facts


@frozen
class FlowFile(Resource):
    """Nothing is made: it is there once there is a record."""

    file: str
    """Its name."""

    def make(self) -> Operations:
        """Nothing."""
        return ()

    def unmake(self, facts: Facts) -> Operations:
        """Nothing: it goes when all else has gone."""
        return ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Nobody knows what was in it."""
        return None

    def leavings(self, state: Path) -> Leavings | None:
        """The file, and the older one."""
        folder = state / FOLDER
        return Leavings((folder / self.file, folder / f"{self.file}{OLDER}"), folder)

    def __str__(self) -> str:
        return f"records in {FOLDER}/{self.file}"
