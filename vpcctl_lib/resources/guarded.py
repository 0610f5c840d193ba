"""The machines behind the ports of a VPC's bridge, as their guard has them, and packed for the record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import groupby

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import Subnet

OWN, MACS, FORWARDERS, MACHINES, RANGES = "own", "macs", "forwarders", "machines", "ranges"
QUOTED = "quoted"
"""The guard's sets."""

OWN6, MACHINES6, QUOTED6 = "own6", "machines6", "quoted6"
"""Those of IPv6, if the VPC has it."""

_FORWARDS = "forwards"


def comment(subnet: Subnet, forwards: bool) -> str:
    """What rebuilds the record: the CIDR and type of a machine's subnet, and whether the machine forwards."""
    return " ".join((str(subnet.cidr), subnet.type.value, *((_FORWARDS,) if forwards else ())))


@frozen
class Member:
    """A machine behind a port, with its `comment`."""

    device: str
    mac: str
    address: IPv4Address
    comment: str

    @property
    def elements(self) -> dict[str, str]:
        """Its element in each set."""
        port = f'"{self.device}" . {self.mac}'
        return {OWN: f'{port} . {self.address} comment "{self.comment}"', MACS: port,
                **({FORWARDERS: port} if self.forwards else {}), MACHINES: f"{self.address} : {self.mac}",
                QUOTED: f'"{self.device}" . {int(self.address):#x}'}

    @property
    def subnet(self) -> tuple[str, str]:
        """The CIDR and type of its subnet, as the comment has them; empty without one."""
        cidr, kind, *_ = (*self.comment.split(), "", "")
        return cidr, kind

    @property
    def forwards(self) -> bool:
        """Whether it may send packets of others."""
        return _FORWARDS in self.comment.split()


@frozen
class Member6:
    """The same machine with an address of IPv6; its comment is at the other."""

    device: str
    mac: str
    address: IPv6Address

    @property
    def elements(self) -> dict[str, str]:
        """Its element in each set."""
        port = f'"{self.device}"'
        return {OWN6: f"{port} . {self.mac} . {self.address}", MACHINES6: f"{self.address} : {self.mac}",
                QUOTED6: f"{port} . {int(self.address):#x}"}


@frozen
class Range:
    """A subnet without machines: no rule is about it, but nothing else in the kernel tells of it."""

    name: str
    cidr: str
    kind: str
    ipv6: str = ""

    @property
    def element(self) -> str:
        """Its element, which has no use but its comment."""
        told = " ".join(filter(None, (self.name, self.cidr, self.kind, self.ipv6)))
        return f'{self.cidr.partition("/")[0]} comment "{told}"'


def packed(device: str, mac: str, addresses: Iterable[IPv4Address | IPv6Address], comment: str) -> str:
    """A machine with all its addresses, in one line: a thousand objects in the record take long to read."""
    return f"{device} {mac} {','.join(map(str, addresses))} {comment}"


def unpacked(lines: Iterable[str]) -> Iterator[Member | Member6]:
    """One for each address."""
    for line in lines:
        device, mac, addresses, told = line.split(" ", 3)
        yield from (Member6(device, mac, IPv6Address(one)) if ":" in one else
                    Member(device, mac, IPv4Address(one), told) for one in addresses.split(","))


def lines_of(members: Iterable[Member]) -> Iterator[str]:
    """The lines of members as records of earlier versions have them."""
    for (device, mac, told), some in groupby(members, lambda one: (one.device, one.mac, one.comment)):
        yield packed(device, mac, (one.address for one in some), told)
