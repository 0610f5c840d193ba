"""DHCP in a VPC."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model.names import Dhcp


class DhcpManager(Manager):
    """Turns DHCP on and off."""

    def enable(self, vpc_name: str, ntp: tuple[IPv4Address, ...], lease: int | None) -> Change:
        """Turn it on, or change what it says of time servers and how long its leases last."""
        return self.change_vpc(vpc_name, lambda vpc: replace(vpc, dhcp=Dhcp(ntp, lease)))

    def disable(self, vpc_name: str) -> Change:
        """Turn it off; machines keep their addresses."""
        return self.change_vpc(vpc_name, lambda vpc: replace(vpc, dhcp=None))
