"""A step that puts a setting back which the whole host shares."""

from __future__ import annotations

from collections.abc import Iterable

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Command, Runner
from vpcctl_lib.resources import forwarders
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation
from vpcctl_lib.resources.operations import SETTINGS


@frozen
class PutBack(Operation):
    """A shared setting of the host to put back as it was found, unless somebody has changed it since.

    `along` are settings that the kernel changed with it: each with its old value, and the kernel's.
    """

    key: str
    old: str
    ours: str
    along: tuple[tuple[str, str, str], ...] = ()
    beside: frozenset[str] = frozenset()
    """What else could use it (`forwarders`) and was there before us."""

    def carry_out(self, desk: Desk) -> Facts:
        """Put it back, or note why it stays."""
        command = self.command()
        if command is None:
            desk.notes.append(f"{self.key} is not as vpcctl set it: it stays as somebody else did")
            return NO_FACTS
        stays = self._stays(desk.runner)
        if stays:
            desk.notes.append(stays)
            return NO_FACTS
        outcome = desk.runner.change(command)
        if outcome.status != 0:
            raise VpcctlError(f"sysctl failed: {outcome.reason()}")
        return NO_FACTS

    def typed(self, desk: Desk) -> str:
        """The command, or why there is none."""
        stays = self._stays(desk.runner)
        return f"# {stays}" if stays else str(self)

    def _stays(self, runner: Runner) -> str:
        """Why it is not put back; empty if it is."""
        others = forwarders.newcomers(forwarders.look(runner), self.beside)
        return forwarders.stays(self.key, self.ours, self.old, others) if others else ""

    def command(self) -> Command | None:
        """What puts it back, by what the kernel has now; None if that is not ours any more."""
        if _setting(self.key) != self.ours:
            return None
        rest = [(key, old if _setting(key) == ours else _setting(key)) for key, old, ours in self.along]
        return self._write((key, value) for key, value in rest if value is not None)

    def _write(self, rest: Iterable[tuple[str, str]]) -> Command:
        pairs = (f"{key}={value}" for key, value in ((self.key, self.old), *rest))
        return Command(("sysctl", "-q", "-e", "-w", *pairs))

    def __str__(self) -> str:
        return str(self._write((key, old) for key, old, _ in self.along))


def _setting(key: str) -> str | None:
    """A kernel setting; sysctl(8): where a slash separates, dots belong to a name such as eth0.10."""
    path = SETTINGS / (key if "/" in key else key.replace(".", "/"))
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None
