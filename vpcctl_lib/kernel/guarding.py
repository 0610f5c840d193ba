"""Whether this host can guard the ports of bridges: nft, and a kernel with its family bridge."""

from __future__ import annotations

import os

from vpcctl_lib.kernel.run import Runner, has

TOOL = "nft"
PROBE = """table bridge vpcctl-probe {
	chain in {
		type filter hook prerouting priority -200
	}
}
"""
QUOTING = """table bridge vpcctl-probe {
	set quoted {
		typeof iifname . @th,192,32
	}
	chain in {
		iifname . @th,192,32 @quoted accept
	}
}
"""
UNQUOTED = ("subnets of one VPC can send each other forged ICMP errors: this nft can't match what an "
            "ICMP error quotes")
UNGUARDED = ("the ports of bridges are not guarded, so that subnets of one VPC can take each other's "
             "addresses: nft {}")


def missing(runner: Runner) -> str:
    """Why this host can't, as words after "nft"; empty if it can.

    The kernel only checks the probe, which never takes effect (`nft --check`).
    """
    if not has(TOOL):
        return "not found; install it: apt-get install nftables"
    if os.geteuid() != 0:
        # A dry run by a plain user can't ask the kernel.
        return ""
    outcome = runner.ask((TOOL, "--check", "--file", "-"), stdin=PROBE)
    return f"has no family bridge in this kernel ({outcome.reason()})" if outcome.status else ""


def reads_quotes(runner: Runner) -> bool:
    """Whether this nft can match what an ICMP error quotes (raw payload in the type of a set).

    If it can, nothing is `missing`: this one check is enough, since a check takes the kernel 15 ms.
    """
    if not has(TOOL):
        return False
    return os.geteuid() != 0 or runner.ask((TOOL, "--check", "--file", "-"), stdin=QUOTING).status == 0
