"""What AWS would do with a packet, on paper: route tables, network ACLs and security groups.

Written from AWS's pages alone, so that it can disagree with vpcctl:
route tables    https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html
which route     https://docs.aws.amazon.com/vpc/latest/userguide/route-tables-priority.html
network ACLs    https://docs.aws.amazon.com/vpc/latest/userguide/nacl-basics.html
security groups https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html
NAT gateways    https://docs.aws.amazon.com/vpc/latest/userguide/nat-gateway-basics.html
peering         https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-routing.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

EVERYWHERE = IPv4Network("0.0.0.0/0")
EPHEMERAL = 50000
"""A port that Linux chooses for a client (net.ipv4.ip_local_port_range is 32768 to 60999)."""

INTERNET = IPv4Address("8.8.8.8")
MOST_HOPS = 8


@dataclass(frozen=True)
class Ports:
    """A range of ports; for a protocol without ports it says nothing."""

    first: int = 0
    last: int = 65535

    def __contains__(self, port: object) -> bool:
        return isinstance(port, int) and self.first <= port <= self.last


@dataclass(frozen=True)
class AclRule:
    """A numbered rule of a network ACL."""

    number: int
    protocol: str
    ports: Ports
    far: IPv4Network
    allows: bool


@dataclass(frozen=True)
class Acl:
    """Stateless rules for what comes into a subnet, and for what leaves it."""

    ingress: tuple[AclRule, ...] = ()
    egress: tuple[AclRule, ...] = ()


@dataclass(frozen=True)
class GroupRule:
    """What a security group allows; the far end is a CIDR or another group's members."""

    protocol: str
    ports: Ports
    far: IPv4Network | str


@dataclass(frozen=True)
class Group:
    """A security group; without egress rules of its own all may leave."""

    ingress: tuple[GroupRule, ...] = ()
    egress: tuple[GroupRule, ...] | None = None


@dataclass(frozen=True)
class Route:
    """A route: `internet`, `nat:NAME`, `peer:VPC` or `blackhole`."""

    to: IPv4Network
    via: str


@dataclass(frozen=True)
class Machine:
    """A network interface with its address and its groups."""

    address: IPv4Address
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subnet:
    """A range with its route table and its network ACL (none: AWS's default one, which allows all)."""

    cidr: IPv4Network
    table: str
    acl: str = ""
    machines: dict[str, Machine] = field(default_factory=dict)


@dataclass(frozen=True)
class Gateway:
    """A NAT gateway, in a subnet, with an address there."""

    subnet: str
    address: IPv4Address


@dataclass(frozen=True)
class Vpc:
    """A VPC with an internet gateway, or without one."""

    cidr: IPv4Network
    has_internet: bool
    subnets: dict[str, Subnet]
    tables: dict[str, tuple[Route, ...]]
    acls: dict[str, Acl] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """All VPCs, and which of them are peered."""

    vpcs: dict[str, Vpc]
    peerings: frozenset[frozenset[str]] = frozenset()


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection, or its answer."""

    protocol: str
    source: IPv4Address
    source_port: int
    destination: IPv4Address
    port: int

    @property
    def answer(self) -> Packet:
        """What comes back."""
        return Packet(self.protocol, self.destination, self.port, self.source, self.source_port)


@dataclass(frozen=True)
class Place:
    """A machine's name: VPC, subnet, name."""

    vpc: str
    subnet: str
    name: str


class Lost(Exception):  # noqa: N818 - a verdict, not a mistake
    """The packet does not arrive; why."""


def verdict(layout: Layout, start: Place, to: Place | None, protocol: str, port: int) -> str:
    """Empty if the other machine, or the internet, answers a question of the machine; else who refuses."""
    paper = _Paper(layout)
    try:
        paper.converse(start, to, protocol, port)
    except Lost as why:
        return str(why)
    return ""


class _Paper:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._translated: dict[IPv4Address, IPv4Address] = {}
        """Whose packets a NAT gateway's address stands for."""

    def converse(self, start: Place, to: Place | None, protocol: str, port: int) -> None:
        """The question, and its answer by the other end."""
        near = self._machine(start)
        far = self._machine(to).address if to else INTERNET
        ports = (0, 0) if protocol == "icmp" else (EPHEMERAL, port)
        question = Packet(protocol, near.address, ports[0], far, ports[1])
        self._group(start, question, leaving=True)
        seen = self._travel(start.vpc, start.subnet, question, to)
        # A security group tracks connections: it is not asked about the answer.
        if to is None:
            self._enter(start.vpc, seen.answer, start)
        else:
            self._group(to, seen, leaving=False)
            answer = self._travel(to.vpc, to.subnet, seen.answer, start)
            if answer.source != far:
                # A NAT gateway that knows only the answer has given it its own address.
                raise Lost(f"{start}: the answer is from {answer.source}")

    def _travel(self, vpc: str, subnet: str, packet: Packet, to: Place | None) -> Packet:
        """From a subnet to the other end; the packet as it is seen there."""
        one = self._layout.vpcs[vpc]
        home = one.subnets[subnet]
        if packet.destination in home.cidr:
            return packet
        kind, _, name = _route(one, home, packet.destination).partition(":")
        if kind == "nat":
            return self._translate(vpc, subnet, one.gateways[name], packet, to)
        self._acl(vpc, subnet, packet, leaving=True)
        if kind == "local":
            return self._enter(vpc, packet, to)
        if kind == "peer" and frozenset((vpc, name)) in self._layout.peerings:
            return self._enter(name, packet, to)
        if kind == "internet" and one.has_internet and to is None:
            return packet
        raise Lost(f"{vpc}/{subnet}: {kind} {name}".strip())

    def _translate(self, vpc: str, subnet: str, gateway: Gateway, packet: Packet,
                   to: Place | None) -> Packet:
        """By a NAT gateway: it is in a subnet, whose ACL and whose route table it meets, too."""
        if gateway.subnet != subnet:
            self._acl(vpc, subnet, packet, leaving=True)
            self._acl(vpc, gateway.subnet, packet, leaving=False)
        self._translated[gateway.address] = packet.source
        return self._travel(vpc, gateway.subnet, replace(packet, source=gateway.address), to)

    def _enter(self, vpc: str, packet: Packet, to: Place | None) -> Packet:
        """Into the subnet that has the address."""
        for name, subnet in self._layout.vpcs[vpc].subnets.items():
            if packet.destination in subnet.cidr:
                self._acl(vpc, name, packet, leaving=False)
                if inside := self._translated.get(packet.destination):
                    return self._travel(vpc, name, replace(packet, destination=inside), to)
                return packet
        raise Lost(f"{vpc}: {packet.destination} is nobody's")

    def _machine(self, place: Place) -> Machine:
        return self._layout.vpcs[place.vpc].subnets[place.subnet].machines[place.name]

    def _acl(self, vpc: str, subnet: str, packet: Packet, *, leaving: bool) -> None:
        one = self._layout.vpcs[vpc]
        name = one.subnets[subnet].acl
        if not name:
            return
        acl = one.acls[name]
        rules = acl.egress if leaving else acl.ingress
        far = packet.destination if leaving else packet.source
        for rule in sorted(rules, key=lambda rule: rule.number):
            if _fits(rule.protocol, rule.ports, packet) and far in rule.far:
                if rule.allows:
                    return
                raise Lost(f"acl {name} of {vpc}/{subnet}, {_way(leaving)} rule {rule.number}")
        raise Lost(f"acl {name} of {vpc}/{subnet}, {_way(leaving)} rule *")

    def _group(self, place: Place, packet: Packet, *, leaving: bool) -> None:
        groups = self._machine(place).groups
        if not groups:
            return
        for name in groups:
            group = self._layout.vpcs[place.vpc].groups[name]
            rules = group.egress if leaving else group.ingress
            if rules is None:
                return
            far = packet.destination if leaving else packet.source
            if any(_fits(rule.protocol, rule.ports, packet) and self._is_of(place.vpc, rule.far, far)
                   for rule in rules):
                return
        raise Lost(f"groups of {place}, {_way(leaving)}")

    def _is_of(self, vpc: str, far: IPv4Network | str, address: IPv4Address) -> bool:
        if isinstance(far, IPv4Network):
            return address in far
        other, _, name = far.rpartition("/")
        other = other or vpc
        if other != vpc and frozenset((vpc, other)) not in self._layout.peerings:
            return False
        return any(name in machine.groups and machine.address == address
                   for machine in self._machines(other))

    def _machines(self, vpc: str) -> Iterator[Machine]:
        for subnet in self._layout.vpcs[vpc].subnets.values():
            yield from subnet.machines.values()


def _fits(protocol: str, ports: Ports, packet: Packet) -> bool:
    if protocol == "all":
        return True
    return protocol == packet.protocol and (protocol == "icmp" or packet.port in ports)


def _route(vpc: Vpc, subnet: Subnet, destination: IPv4Address) -> str:
    """The target of the longest prefix that holds the address; the VPC's own range is local."""
    if destination in vpc.cidr:
        return "local"
    fitting = [route for route in vpc.tables[subnet.table] if destination in route.to]
    return max(fitting, key=lambda route: route.to.prefixlen).via if fitting else "no route"


def _way(leaving: bool) -> str:
    return "egress" if leaving else "ingress"
