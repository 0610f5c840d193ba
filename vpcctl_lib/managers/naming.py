"""What every change checks of names, whatever the command."""

from __future__ import annotations

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import has
from vpcctl_lib.model import resolving
from vpcctl_lib.model.topology import Topology

SERVER = "dnsmasq"


def check_names(before: Topology, after: Topology) -> list[str]:
    """Refuse names that can't be served, and a server that is not installed; return warnings."""
    had = {vpc.name for vpc in before.vpcs if vpc.dns}
    new = next((vpc.name for vpc in after.vpcs if vpc.dns and vpc.name not in had), None)
    if new is not None and not has(SERVER):
        raise VpcctlError(f"VPC '{new}' can't have DNS: {SERVER} is not installed",
                          "install it: apt-get install dnsmasq-base, or dnf install dnsmasq")
    for vpc in after.vpcs:
        if vpc.dhcp and not vpc.dns:
            raise VpcctlError(f"VPC '{vpc.name}' can't have DHCP without DNS: one server does both",
                              f"turn DNS on first: vpcctl dns enable --vpc {vpc.name}; or DHCP off: "
                              f"vpcctl dhcp disable --vpc {vpc.name}")
    old = resolving.check(before)
    return [warning for warning in resolving.check(after) if warning not in old]
