"""A step that puts back a setting that the whole host shares."""

from __future__ import annotations

from collections.abc import Iterable

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.proc import setting
from vpcctl_lib.kernel.run import Command, Runner
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation


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
    """What else could use it (`forwarders`) and existed before us."""

    def carry_out(self, desk: Desk) -> Facts:
        """Put it back, or note why it stays."""
        command = self.command()
        if command is None:
            desk.notes.append(f"{self.key} was changed by something else: it stays as it is")
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
        # Imported late: few changes end the last NAT.
        from vpcctl_lib.resources import forwarders

        others = forwarders.newcomers(forwarders.look(runner), self.beside)
        return forwarders.stays(self.key, self.ours, self.old, others) if others else ""

    def command(self) -> Command | None:
        """The command that puts it back, for the kernel's current value; None if that is no longer ours."""
        if setting(self.key) != self.ours:
            return None
        rest = [(key, old if setting(key) == ours else setting(key)) for key, old, ours in self.along]
        return self._write((key, value) for key, value in rest if value is not None)

    def _write(self, rest: Iterable[tuple[str, str]]) -> Command:
        pairs = (f"{key}={value}" for key, value in ((self.key, self.old), *rest))
        return Command(("sysctl", "-q", "-e", "-w", *pairs))

    def __str__(self) -> str:
        return str(self._write((key, old) for key, old, _ in self.along))
