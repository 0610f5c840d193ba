"""What a change of a network with network ACLs or flow logs is checked for: what they need of the host."""

from __future__ import annotations

import os

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import guarding
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.topology import Topology, Vpc


def check_needs(runner: Runner, before: Topology, topology: Topology) -> None:
    """Refuse what this host can't make."""
    for vpc in topology.vpcs if not topology.guarded else ():
        if vpc.acls or vpc.flow_logs:
            why = f"nft {guarding.missing(runner)}"
            raise _refusal(vpc, "network ACLs" if vpc.acls else "flow logs", why,
                           "install nftables, on a kernel with its family bridge")
    logged = [vpc for vpc in topology.vpcs if vpc.flow_logs]
    # A dry run by a plain user can't ask the kernel.
    if not logged or any(vpc.flow_logs for vpc in before.vpcs) or os.geteuid() != 0:
        return
    # Imported late: most networks have none.
    from vpcctl_lib.flows.reading import is_possible

    if not is_possible():
        raise _refusal(logged[0], "flow logs", "this kernel can't set a counter back as it is read",
                       "use Linux 6.5 or later")


def _refusal(vpc: Vpc, what: str, why: str, hint: str) -> VpcctlError:
    return VpcctlError(f"VPC '{vpc.name}' can't have {what}: {why}", hint)
