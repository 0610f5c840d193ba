"""A program that runs in a subnet."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import field
from pathlib import Path

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.workloads import Upkeep
from vpcctl_lib.resources.base import Fault, Leavings, Operations, Remains, Resource, changed
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.processes import STOP_SECONDS, Start, Stop


@frozen
class Program(Resource):
    """A workload's process; a `port` is one that answers HTTP when it is ready."""

    namespace: str
    mark: str
    log: str
    argv: tuple[str, ...] = ()
    port: int | None = None
    address: str = ""
    number: int = field(default=0, compare=False)
    """The number of the VPC's cable; it never changes, and an older record without it causes no restart."""

    user: str = ""
    pids: int | None = None
    memory: int | None = None
    upkeep: Upkeep = Upkeep()

    @property
    def key(self) -> Hashable:
        """Its mark."""
        return ("program", self.mark)

    @property
    def workload(self) -> str:
        """Its mark."""
        return self.mark

    def make(self) -> Operations:
        """Start it and wait until it is ready."""
        argv = self.argv
        if self.port is not None:
            # Imported late: few changes start a web server.
            from vpcctl_lib.workloads.interpreter import web_server

            vpc, _, machine = self.mark.rpartition("/")[0].partition("/")
            argv = web_server(vpc, machine, self.address, self.port)
        return (Start(self.namespace, self.mark, argv, self.log, self.port, self.number, self.user, self.pids,
                      self.memory, self.upkeep),)

    def unmake(self, facts: Facts) -> Operations:
        """Stop it, with its children; its log goes, too."""
        seconds = STOP_SECONDS if self.upkeep.stop_timeout is None else self.upkeep.stop_timeout
        return (Stop(self.namespace, self.mark, self.log, dict(facts), seconds),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The very process that was started, still in its namespace, and apart from others' workloads."""
        # Imported late, as all here that has to do with processes: most changes touch none.
        from vpcctl_lib.workloads.members import is_kept

        process = kernel.process(facts)
        if process is None:
            return changed("it is not running")
        if not kernel.is_inside(process, self.namespace):
            return changed("its namespace is missing")
        return None if is_kept(facts) else changed("an older vpcctl started it, among other VPCs' workloads")

    def relearn(self, remains: Remains) -> dict[str, str]:
        """Of the keeper that runs for it."""
        from vpcctl_lib.workloads.members import kept_identity

        keeper = remains.keeper(self.namespace, self.mark)
        return kept_identity(keeper) if keeper else {}

    def leavings(self, state: Path) -> Leavings | None:
        """Its log, and all that belongs to it."""
        from vpcctl_lib.workloads import logs

        log = state / self.log
        return Leavings(tuple(logs.files(log)), log.parent)

    def __str__(self) -> str:
        return f"workload {self.mark}"
