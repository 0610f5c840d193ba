"""DHCP in a VPC."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.names import Dhcp
from vpcctl_lib.model.topology import Topology


class DhcpManager(Manager):
    """Turns DHCP on and off."""

    def enable(self, vpc_name: str, ntp: tuple[IPv4Address, ...], lease: int | None) -> Change:
        """Turn it on, or change what it says of time servers and how long its leases last."""
        def decide(topology: Topology) -> Topology:
            return topology.with_vpc(replace(find_vpc(topology, vpc_name), dhcp=Dhcp(ntp, lease)))

        return self.change(decide)

    def disable(self, vpc_name: str) -> Change:
        """Turn it off; machines keep their addresses."""
        def decide(topology: Topology) -> Topology:
            return topology.with_vpc(replace(find_vpc(topology, vpc_name), dhcp=None))

        return self.change(decide)
