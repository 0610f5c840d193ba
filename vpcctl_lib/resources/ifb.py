"""A link in which what comes in at another one waits: a queue is only where something goes out."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.queueing import check_able
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import MISSING, Fault, Operations, changed
from vpcctl_lib.resources.links import Single
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip

KIND = "ifb"
"""What the kernel calls the kind of such a link (intermediate functional block)."""


@frozen
class Ifb(Single):
    """One of them."""

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses where the kernel has none."""
        check_able(runner, "ifb", "ip", "link", "add", "type", KIND)
        return {}

    def make(self) -> Operations:
        """Down at first; its `Port` brings it up."""
        return (Ip(self.namespace, ("link", "add", self.device, "type", KIND)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There must be one."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        kind = link.get("linkinfo", {}).get("info_kind", "")
        return None if kind == KIND else changed(f"it is not a queue, but {kind or 'another link'}")

    def __str__(self) -> str:
        return f"queue {self.device} in {self.namespace}"
