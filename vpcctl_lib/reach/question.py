"""What is asked of `reach`; pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.naming import subnet_namespace
from vpcctl_lib.model.topology import Protocol, Subnet, Vpc


@frozen
class Question:
    """From a subnet to an address, which may be that of a subnet or of a VPC's router."""

    vpc: Vpc
    subnet: Subnet
    address: IPv4Address
    protocol: Protocol
    port: int | None = None
    to_vpc: Vpc | None = None
    to_subnet: Subnet | None = None

    @property
    def start(self) -> str:
        """The namespace that sends."""
        return subnet_namespace(self.vpc.name, self.subnet.name)

    @property
    def target(self) -> str | None:
        """The namespace that shall get it, if one was named."""
        if self.to_vpc is None:
            return None
        return subnet_namespace(self.to_vpc.name, self.to_subnet.name) if self.to_subnet else self.to_vpc.name
