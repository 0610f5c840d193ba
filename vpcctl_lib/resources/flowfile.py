"""The file of a flow log, which the collector writes, and which goes with the log."""

from __future__ import annotations

from pathlib import Path

from vpcctl_lib.flows.names import FOLDER
from vpcctl_lib.frozen import frozen
from vpcctl_lib.keeper.log import OLDER
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import Condition, Fault, Leavings, Operations, Resource
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Remove
from vpcctl_lib.workloads import logs


@frozen
class FlowFile(Resource):
    """Nothing is made: it is there once there is a record."""

    file: str
    """Its name."""

    in_place = True

    def make(self) -> Operations:
        """Nothing."""
        return ()

    def unmake(self, facts: Facts) -> Operations:
        """Nothing: it goes when all else has gone."""
        return ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Nobody knows what was in it."""
        return None

    def check_file(self, state: Path) -> Fault | None:
        """Nothing but files may be there: the folder is the collector's."""
        for file in self._files(state):
            if (found := logs.instead(file)):
                return Fault(Condition.CHANGED, f"{found} is in the place of {file}",
                             (Remove(file, folder=file.is_dir() and not file.is_symlink()),))
        return None

    def _files(self, state: Path) -> tuple[Path, Path]:
        folder = state / FOLDER
        return folder / self.file, folder / f"{self.file}{OLDER}"

    def leavings(self, state: Path) -> Leavings | None:
        """The file, and the older one."""
        return Leavings(self._files(state), state / FOLDER)

    def __str__(self) -> str:
        return f"records in {FOLDER}/{self.file}"
