"""A tap: a link whose other end is a program, such as QEMU, that opens it."""

from __future__ import annotations

import os

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import MISSING, Fault, Operations, changed
from vpcctl_lib.resources.links import Single
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip

KIND = "tun"
"""What the kernel calls the kind of such a link."""

DOOR = "/dev/net/tun"


@frozen
class Tap(Single):
    """A tap that stays when the program goes."""

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses where no program could open it."""
        if not os.path.exists(DOOR):
            raise VpcctlError(f"{DOOR} does not exist: there can be no taps here",
                              "load its module: modprobe tun")
        return {}

    def make(self) -> Operations:
        """In its namespace from the start, and nowhere else."""
        return (Ip(self.namespace, ("tuntap", "add", "dev", self.device, "mode", "tap")),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There must be one, whether a program has it open or not."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        kind = link.get("linkinfo", {}).get("info_kind", "")
        return None if kind == KIND else changed(f"it is not a tap, but {kind or 'another link'}")

    def __str__(self) -> str:
        return f"tap {self.device} in {self.namespace}"
