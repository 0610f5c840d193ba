"""What is asked of `reach`; pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.endpoints import Endpoint, Site, endpoint
from vpcctl_lib.model.policies import Protocol, family_of
from vpcctl_lib.model.topology import OWN, Machine, Subnet, Vpc

INTERNET: Mapping[Family, Address] = {
    Family.INET: IPv4Address("8.8.8.8"), Family.INET6: IPv6Address("2001:4860:4860::8888")}
"""An address there, by family."""


class Outside(Enum):
    """The ends that are no machines."""

    HOST = "host"
    INTERNET = "internet"


@frozen
class Question:
    """From a machine, the host or the internet to an address, perhaps that of a machine or a VPC's router."""

    vpc: Vpc | None
    subnet: Subnet | None
    address: Address
    """Unspecified if the target has none of the family."""

    protocol: Protocol
    port: int | None = None
    to_vpc: Vpc | None = None
    to_subnet: Subnet | None = None
    machine: Machine = OWN
    to_machine: Machine = OWN
    outside: Outside | None = None
    """Who sends, if it is no machine."""

    to_outside: Outside | None = None
    """Whose address it is, if that was named and is no machine."""

    seen_as: Address | None = None
    """The address that it is from where it arrives, if another one than the sender's."""

    @property
    def family(self) -> Family:
        """That of the packet."""
        return family_of(self.address)

    @property
    def is_either(self) -> bool:
        """Whether both ends have addresses of the other family as well, by which it might be asked."""
        vpcs = [vpc for vpc in (self.vpc, self.to_vpc) if vpc]
        named = self.to_vpc is not None or self.to_outside is not None
        return named and bool(vpcs) and all(vpc.ipv6 for vpc in vpcs)

    @cached_property
    def sender(self) -> Endpoint | None:
        """The machine that sends."""
        return endpoint(self.vpc, self.subnet, self.machine) if self.vpc and self.subnet else None

    @property
    def start(self) -> str:
        """The namespace that sends; the empty name is the host, where packets from the internet come in."""
        return self.sender.namespace if self.sender else ""

    @property
    def source(self) -> Address | None:
        """The address that it is from; the host chooses its own by the route."""
        if self.seen_as or self.sender:
            return self.seen_as or (self.sender.at(self.family) if self.sender else None)
        return INTERNET[self.family] if self.outside is Outside.INTERNET else None

    @property
    def origin(self) -> str:
        """Who sends, as it is written."""
        return str(self.sender.site if self.sender else (self.outside or Outside.HOST).value)

    @property
    def goal(self) -> str:
        """The target as it is written; an address if it has no name."""
        if self.to_outside is Outside.HOST:
            return Outside.HOST.value
        if self.to_vpc is None:
            return str(self.address)
        if self.to_subnet is None:
            return self.to_vpc.name
        return str(Site(self.to_vpc.name, self.to_subnet.name, self.to_machine.name))

    @property
    def target(self) -> str | None:
        """The namespace that must get it, if one was named."""
        if self.to_vpc is None or self.to_subnet is None:
            return self.to_vpc.name if self.to_vpc else None
        return endpoint(self.to_vpc, self.to_subnet, self.to_machine).namespace
