"""The host's chains with jumps to ours, in both families."""

from __future__ import annotations

from vpcctl_lib.model import naming

JUMPS = (("filter", "FORWARD", naming.HOST_FORWARD), ("filter", "INPUT", naming.HOST_INPUT),
         ("mangle", "PREROUTING", naming.HOST_GUARD), ("mangle", "POSTROUTING", naming.HOST_GUARD_OUT))
"""The tables, the chains, and ours."""

JUMP_IN = ("security", "INPUT", naming.HOST_GUARD_IN)
"""Not with iptables-legacy, whose kernels may lack that table."""
