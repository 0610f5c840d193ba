"""Sets up one side of the cable between the sandbox and its internet."""

from __future__ import annotations

from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.run import Command, Runner

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def configure(batch: str) -> None:
    """Run an `ip -batch` in this process's network namespace, which starts out not forwarding."""
    # A new namespace takes over what the real host has set.
    _FORWARDING.write_text("0")
    outcome = Runner().change(Command(("ip", "-batch", "-"), batch))
    if outcome.status != 0:
        raise VpcctlError(f"could not set up the sandbox's network: {outcome.reason()}")
