"""Whether this kernel can limit and copy what passes a link."""

from __future__ import annotations

import os

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Runner, need


def check_able(runner: Runner, module: str, *argv: str) -> None:
    """Refuse what this kernel lacks: the same in a network that lasts as long as the question."""
    need(argv[0], "unshare")
    if os.geteuid() != 0:
        # A dry run by a plain user can't ask the kernel.
        return
    outcome = runner.ask_once(("unshare", "--net", *argv))
    if outcome.status:
        raise VpcctlError(f"this kernel has no {module} ({outcome.reason()})",
                          f"load its module: modprobe {module}")
