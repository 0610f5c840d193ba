"""The host as a whole: is it as recorded, and making it so again."""

from __future__ import annotations

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.inspection import Finding, findings, inspect
from vpcctl_lib.kernel import Kernel
from vpcctl_lib.managers.base import Change, Manager, need_root
from vpcctl_lib.plan import Faults
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

    def faults(self, state: State) -> Faults:
        """All that is wrong, as all of it is to be mended."""
        need_root()
        return inspect(Kernel(self.runner), state.ledger)
