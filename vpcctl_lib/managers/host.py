"""The host as a whole: is it as recorded, and making it so again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vpcctl_lib import unit
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.inspection import Finding, findings, inspect
from vpcctl_lib.kernel import Kernel
from vpcctl_lib.managers.base import Change, Manager, need_root
from vpcctl_lib.model import Topology
from vpcctl_lib.operations import Make, Remove
from vpcctl_lib.plan import Faults, difference
from vpcctl_lib.rebuild import Rebuilder
from vpcctl_lib.rehearsal import commands
from vpcctl_lib.run import need
from vpcctl_lib.state import State


class HostManager(Manager):
    """Compares the kernel with the record, both ways, and makes it match again."""

    def status(self) -> list[Finding]:
        """What differs; an empty list when in sync."""
        need_root()
        need("ip", "iptables")
        state = self.context.store.load()
        return findings(Kernel(self.runner), state.ledger, blueprint(state.topology))

    def restore(self) -> Change:
        """Everything recorded is there again; what is there already stays untouched."""
        return self.change(lambda topology: topology)

    def from_kernel(self) -> Change:
        """The record made anew from the marks in the kernel, and then all of it there again."""
        need_root()
        need("ip", "iptables")
        if not self.context.store.lost():
            raise VpcctlError("the record is sound: nothing is to be rebuilt", "see: vpcctl status")
        rebuilder = Rebuilder(Kernel(self.runner))
        if self.context.dry_run:
            return self._rehearsed(rebuilder.state())
        with self.context.store.locked():
            state = rebuilder.state()
            for path in self.context.store.put_aside():
                self.warn(f"what was left of the record is kept as {path}")
            self.context.store.save(state)
        for note in dict.fromkeys(rebuilder.notes):
            self.warn(note)
        return replace(self.restore(), changed=True)

    def _rehearsed(self, state: State) -> Change:
        plan = difference(state.ledger, blueprint(state.topology), self.faults(state))
        return Change(state.topology, True, (), tuple(commands(plan, self.context.store.folder)))

    def install_unit(self, program: str, folder: Path) -> Change:
        """A systemd unit that restores at boot; written again if it is ours."""
        return self._unit(Make(folder / unit.NAME, unit.text(program, self.context.store.folder.absolute())))

    def remove_unit(self, folder: Path) -> Change:
        """The unit gone."""
        return self._unit(Remove(folder / unit.NAME))

    def _unit(self, work: Make | Remove) -> Change:
        """The unit's file is no part of any VPC: it is written as it is, without the ledger."""
        if self.context.dry_run:
            return Change(Topology(), True, (), (str(work),))
        need_root()
        try:
            work.carry_out()
        except OSError as error:
            raise VpcctlError(f"{work.path}: {error.strerror}") from None
        verb = "enable" if isinstance(work, Make) else "disable"
        self.warn(f"type: systemctl daemon-reload; systemctl {verb} {unit.NAME}")
        return Change(Topology(), True, tuple(self._warnings))

    def faults(self, state: State) -> Faults:
        """All that is wrong, as all of it is to be mended."""
        need_root()
        return inspect(Kernel(self.runner), state.ledger)
