"""Route tables of a person's own and NAT gateways, as frozen values; pure."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Family, Network

MAIN, PUBLIC = "main", "public"
BUILT_IN = (MAIN, PUBLIC)
"""The tables that every VPC has: that of its private subnets, and that of its public ones."""


class Via(Enum):
    """What a route of a route table leads to."""

    INTERNET = "internet"
    EGRESS = "egress-only"
    NAT = "nat"
    PEER = "peer"
    INSTANCE = "instance"
    BLACKHOLE = "blackhole"


@frozen
class VpcRoute:
    """A line of a route table."""

    destination: Network
    via: Via
    hop: str = ""
    """The NAT gateway, the peer, or the machine as SUBNET/NAME."""

    @property
    def family(self) -> Family:
        """That of its destination."""
        return Family.INET6 if self.destination.version == 6 else Family.INET

    @property
    def target(self) -> str:
        """What it leads to, as it is written: `internet`, `nat:NAME`."""
        return f"{self.via.value}:{self.hop}" if self.hop else self.via.value

    def __str__(self) -> str:
        return f"{self.destination} {self.target}"


@frozen
class RouteTable:
    """A route table; of the built-in ones only the routes that were added to them, if there are any."""

    name: str
    number: int = 0
    """What the packets of its subnets are marked with; 0 until a free one is found."""

    routes: tuple[VpcRoute, ...] = ()


@frozen
class NatGateway:
    """A machine of ours in a public subnet: what is routed to it gets out, with its address as source."""

    name: str
    subnet: str
    address: IPv4Address | None = None
    """None until a free one is found."""
