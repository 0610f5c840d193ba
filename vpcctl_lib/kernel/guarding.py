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
UNQUOTED = ("subnets of one VPC can send each other forged ICMP errors: this nft can't look into what an "
            "ICMP error quotes")
UNGUARDED = ("the ports of bridges are not guarded, so that subnets of one VPC can take each other's "
             "addresses: nft {}")


def missing(runner: Runner) -> str:
    """What keeps this host from it, in words that follow "nft"; empty if nothing does.

    The probe is only checked by the kernel, and never takes effect (`nft --check`).
    """
    if not has(TOOL):
        return "is not there; install it: apt-get install nftables"
    if os.geteuid() != 0:
        # A rehearsal by a plain user can't ask the kernel.
        return ""
    outcome = runner.ask((TOOL, "--check", "--file", "-"), stdin=PROBE)
    return f"has no family bridge in this kernel ({outcome.reason()})" if outcome.status else ""


def reads_quotes(runner: Runner) -> bool:
    """Whether nft here can look into what an ICMP error quotes (raw payload in the type of a set).

    Where it can, nothing is `missing`: to ask for the more is enough, as a check takes the kernel 15 ms.
    """
    if not has(TOOL):
        return False
    return os.geteuid() != 0 or runner.ask((TOOL, "--check", "--file", "-"), stdin=QUOTING).status == 0
