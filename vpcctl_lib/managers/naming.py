"""What every change checks of names, whatever the command."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import has
from vpcctl_lib.model import endpoints, resolving
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
    old = (*resolving.check(before), *unanswered(before))
    return [warning for warning in (*resolving.check(after), *unanswered(after)) if warning not in old]


def unanswered(topology: Topology) -> Iterator[str]:
    """A warning for each virtual machine that asks for its address in vain."""
    for vpc in topology.vpcs:
        for one in endpoints.in_vpc(vpc) if vpc.dhcp and topology.guarded is False else ():
            if one.tap:
                yield (f"{one.site} gets no address by DHCP: where ports are not guarded, nothing carries "
                       f"its questions past its namespace. Set {one.address} in the guest, or install "
                       "nftables and run: vpcctl restore")
