"""What is asked of `reach`; pure."""

from __future__ import annotations

from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.endpoints import Endpoint, endpoint
from vpcctl_lib.model.topology import OWN, Machine, Protocol, Subnet, Vpc


@frozen
class Question:
    """From a machine to an address, which may be that of a machine or of a VPC's router."""

    vpc: Vpc
    subnet: Subnet
    address: IPv4Address
    protocol: Protocol
    port: int | None = None
    to_vpc: Vpc | None = None
    to_subnet: Subnet | None = None
    machine: Machine = OWN
    to_machine: Machine = OWN

    @property
    def sender(self) -> Endpoint:
        """The machine that sends."""
        return endpoint(self.vpc, self.subnet, self.machine)

    @property
    def start(self) -> str:
        """The namespace that sends."""
        return self.sender.namespace

    @property
    def target(self) -> str | None:
        """The namespace that shall get it, if one was named."""
        if self.to_vpc is None or self.to_subnet is None:
            return self.to_vpc.name if self.to_vpc else None
        return endpoint(self.to_vpc, self.to_subnet, self.to_machine).namespace
