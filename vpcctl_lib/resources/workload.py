"""A program that runs in a subnet."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from vpcctl_lib.interpreter import web_server
from vpcctl_lib.resources.base import Facts, Operations, Resource
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
