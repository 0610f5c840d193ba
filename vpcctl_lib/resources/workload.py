"""A program that runs in a subnet."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from vpcctl_lib.interpreter import web_server
from vpcctl_lib.kernel import Kernel
from vpcctl_lib.processes import inside_of, recognise
from vpcctl_lib.resources.base import Facts, Fault, Operations, Resource, changed
from vpcctl_lib.resources.processes import Start, Stop


@dataclass(frozen=True)
class Program(Resource):
    """A workload's process; a `port` is one that answers HTTP when it is ready."""

    namespace: str
    mark: str
    log: str
    argv: tuple[str, ...] = ()
    port: int | None = None
    address: str = ""

    @property
    def key(self) -> Hashable:
        """Whose it is."""
        return ("program", self.mark)

    def make(self) -> Operations:
        """Ready when this is done."""
        argv = self.argv
        if self.port is not None:
            vpc, subnet, _ = self.mark.split("/")
            argv = web_server(vpc, subnet, self.address, self.port)
        return (Start(self.namespace, self.mark, argv, self.log, self.port),)

    def unmake(self, facts: Facts) -> Operations:
        """With its children and its log."""
        return (Stop(self.namespace, self.mark, self.log, dict(facts)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The very process that was started, still in its namespace."""
        process = recognise(facts)
        if process is None:
            return changed("it is not running")
        return None if inside_of(process, self.namespace) else changed("it left its namespace, which is gone")

    def __str__(self) -> str:
        return f"workload {self.mark}"
