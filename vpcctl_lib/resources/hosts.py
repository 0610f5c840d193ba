"""The file with the names of a VPC, which its DNS server reads whenever it changes."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import Fault, Operations, Resource
from vpcctl_lib.resources.host import File
from vpcctl_lib.resources.operation import Facts

BETWEEN = "; "
"""What is between the lines of one machine, which may have several addresses."""


@frozen
class Hosts(Resource):
    """Lines of hosts(5): the first says whose they are, those of machines come before a person's own."""

    path: str
    owner: str
    packed: str = ""
    """A line for each machine."""

    records: tuple[str, ...] = ()

    in_place = True

    @property
    def key(self) -> Hashable:
        """Its path."""
        return ("hosts", self.path)

    @property
    def lines(self) -> list[str]:
        """The machines."""
        return self.packed.splitlines()

    @cached_property
    def file(self) -> File:
        """The file as it is written."""
        # The first name of an address is the one that it has in reverse.
        machines = self.packed.replace(BETWEEN, "\n").splitlines()
        return File(self.path, "".join(f"{line}\n" for line in (f"# {self.owner}", *machines, *self.records)))

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses to take over a file that is there."""
        return self.file.survey(runner)

    def make(self) -> Operations:
        """Written whole."""
        return self.file.make()

    def unmake(self, facts: Facts) -> Operations:
        """Gone."""
        return self.file.unmake(facts)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The file must exist, with our names."""
        return self.file.check(kernel, facts)

    def __str__(self) -> str:
        return f"names in {self.path}"
