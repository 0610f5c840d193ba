"""Sets up one side of the cable between the sandbox and its internet."""

from __future__ import annotations

from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Command, Runner, has

_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def check_firewall() -> None:
    """Refuse a host whose iptables can't do anything with this kernel, before somebody builds on it."""
    usual = Runner().ask(("iptables", "-w", "-S", "FORWARD"))
    if usual.status == 0:
        return
    for other in ("iptables-legacy", "iptables-nft"):
        if has(other) and Runner().ask((other, "-w", "-S", "FORWARD")).status == 0:
            raise VpcctlError(f"iptables does not work with this kernel, but {other} does: {usual.reason()}",
                              f"type: sudo update-alternatives --set iptables /usr/sbin/{other}")
    raise VpcctlError(f"iptables does not work with this kernel: {usual.reason()}",
                      "load its modules: sudo modprobe -a nf_tables ip_tables; or install the other kind: "
                      "sudo apt-get install iptables")


def configure(batch: str) -> None:
    """Run an `ip -batch` in this process's network namespace, which starts out not forwarding."""
    # A new namespace takes over what the real host has set.
    _FORWARDING.write_text("0")
    outcome = Runner().change(Command(("ip", "-batch", "-"), batch))
    if outcome.status != 0:
        raise VpcctlError(f"could not set up the sandbox's network: {outcome.reason()}")
