"""Subnets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.lookup import find_subnet, find_vpc, has_subnet
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Subnet, SubnetType, Topology, Vpc


def setting(vpc: str, name: str, kind: SubnetType) -> str:
    """The command that changes a subnet's type."""
    return f"vpcctl subnet set --vpc {vpc} --name {name} --type {kind.value}"


class SubnetManager(Manager):
    """Adds subnets to VPCs and deletes them."""

    def add(self, vpc_name: str, name: str, cidr: IPv4Network, kind: SubnetType) -> Change:
        """A subnet of that name, CIDR and type; the same again changes nothing."""
        naming.check_name(name, "subnet")

        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, vpc_name)
            existing = vpc.subnet(name)
            if existing is None:
                addressing.check_subnet(cidr, vpc.cidr, ((other.name, other.cidr) for other in vpc.subnets))
                addressing.check_count(vpc_name, len(vpc.subnets) + 1)
                self._look_around(topology, vpc, cidr)
                return topology.with_vpc(vpc.with_subnet(Subnet(name, cidr, kind)))
            if (existing.cidr, existing.type) != (cidr, kind):
                way = "delete it first, or choose another name" if existing.cidr != cidr \
                    else f"change its type where it is: {setting(vpc_name, name, kind)}"
                raise VpcctlError(f"subnet '{name}' exists in VPC '{vpc_name}' as {existing.type.value} "
                                  f"{existing.cidr}", way)
            return topology

        return self.change(decide)

    def set(self, vpc_name: str, name: str, kind: SubnetType) -> Change:
        """A subnet of another type, in place: its address, policy, workloads and connections inside stay."""
        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, vpc_name, name)
            return topology.with_vpc(vpc.with_subnet(replace(subnet, type=kind)))

        return self.change(decide)

    def _look_around(self, topology: Topology, vpc: Vpc, cidr: IPv4Network) -> None:
        """What of the host came into its way since the VPC was made."""
        ours = {naming.device("vpc-", one.name) for one in topology.vpcs}
        route = self.host.overlap(cidr, ours) if routed(topology, vpc) else None
        if route is not None and route.network.prefixlen >= vpc.cidr.prefixlen:
            self.warn(f"{cidr} overlaps {route}: the host, and answers by NAT, may not reach the subnet")

    def delete(self, vpc_name: str, name: str) -> Change:
        """The subnet and what runs in it."""
        def decide(topology: Topology) -> Topology:
            if not has_subnet(topology, vpc_name, name) and self.was_finished(
                    lambda before: has_subnet(before, vpc_name, name)):
                return topology
            vpc, _ = find_subnet(topology, vpc_name, name)
            return topology.with_vpc(vpc.without_subnet(name))

        return self.change(decide)
