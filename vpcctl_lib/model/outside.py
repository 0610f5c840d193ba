"""What leads into VPCs from outside: ports of the host, and addresses of the network there."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Family


class Transport(Enum):
    """The protocols that have ports."""

    TCP = "tcp"
    UDP = "udp"


@frozen
class Publish:
    """A port of the host that leads to one of a machine, as docker's -p does."""

    port: int
    """The host's."""

    to: int
    """The machine's."""

    protocol: Transport = Transport.TCP
    listen: IPv4Address | IPv6Address | None = None
    """The one address of the host that has it; None for all of them, of both families."""

    @property
    def name(self) -> str:
        """The host's side of it, which no two have."""
        return f"{self._at}{self.port}/{self.protocol.value}"

    @property
    def _at(self) -> str:
        if self.listen is None:
            return ""
        return f"[{self.listen}]:" if self.listen.version == 6 else f"{self.listen}:"

    def is_of(self, family: Family) -> bool:
        """Whether packets of that family can be for it."""
        return self.listen is None or self.listen.version == family.number

    def meets(self, other: Publish) -> bool:
        """Whether a packet can be for both."""
        return (self.port, self.protocol) == (other.port, other.protocol) \
            and (self.listen == other.listen or None in (self.listen, other.listen))

    def __str__(self) -> str:
        return f"{self._at}{self.port}:{self.to}/{self.protocol.value}"


@frozen
class Pool:
    """Addresses of the outside that machines may get."""

    cidr: IPv4Network
    interface: str
    """The link of the host that leads to who uses them."""

    @property
    def name(self) -> str:
        """Its CIDR."""
        return str(self.cidr)


@frozen
class Elastic:
    """An address of the outside, and the machine that has it; an empty VPC: nobody has."""

    address: IPv4Address
    vpc: str = ""
    subnet: str = ""
    machine: str = ""
    """Empty for the subnet's own machine."""

    @property
    def name(self) -> str:
        """The address."""
        return str(self.address)

    @property
    def place(self) -> tuple[str, str, str] | None:
        """The machine's place; None if nobody has it."""
        return (self.vpc, self.subnet, self.machine) if self.vpc else None

    @property
    def associated(self) -> str:
        """The machine's place as it is written; empty if nobody has it."""
        return "/".join(filter(None, (self.vpc, self.subnet, self.machine)))
