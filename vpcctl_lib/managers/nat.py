"""NAT: the way of public subnets to the internet."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib import host, naming
from vpcctl_lib.lookup import find_vpc
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import Nat, Topology


class NatManager(Manager):
    """Enables and disables NAT for a VPC."""

    def enable(self, vpc_name: str, interface: str | None) -> Change:
        """NAT out of that interface, by default that of the host's default route."""
        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, vpc_name)
            return topology.with_vpc(replace(vpc, nat=self.uplink(topology, interface)))

        return self.change(decide)

    def uplink(self, topology: Topology, interface: str | None) -> Nat:
        """That interface, or the default route's, as NAT needs to know it; only asks."""
        ours = {naming.device("vpc-", vpc.name) for vpc in topology.vpcs}
        found = self.host.links
        uplink = host.link(found, interface or self.host.default_interface, ours)
        resolvers = host.resolvers(found)
        if not resolvers:
            self.warn("the host has no name server that a VPC can reach: names won't resolve in it")
        return Nat(uplink.name, uplink.mtu, resolvers)

    def disable(self, vpc_name: str) -> Change:
        """No NAT; where there is none, nothing changes."""
        def decide(topology: Topology) -> Topology:
            return topology.with_vpc(replace(find_vpc(topology, vpc_name), nat=None))

        return self.change(decide)
