"""Route tables: which one a subnet has, what is in it, and who gets out by it; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import addressing, addressing6, endpoints
from vpcctl_lib.model.addressing import ANYWHERE, Address, Family, Network
from vpcctl_lib.model.routes import BUILT_IN, MAIN, PUBLIC, NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.topology import Machine, Subnet, SubnetType, Topology, Vpc

EVERYWHERE = IPv4Network("0.0.0.0/0")
TYPES = {MAIN: SubnetType.PRIVATE, PUBLIC: SubnetType.PUBLIC}
"""The type of the subnets that have a built-in table."""

SHIFT, MASK = 16, 0x7FFF0000
"""The bits of a packet's mark in the router that have the number of its subnet's route table."""

CAME_IN = "0x80000000/0x80000000"
"""The mark of connections that came in by a published port, with its mask; no packet has it."""

MOST = MASK >> SHIFT
KERNEL = 1000
"""The kernel's table is this plus the number; it has 253 to 255 itself (ip-route(8))."""

LOCAL = "local"

OUTWARD = (Via.INTERNET, Via.EGRESS)
"""What leads out of the VPC to whoever is there."""

PRIVATE: tuple[Network, ...] = (*addressing.PRIVATE, addressing6.LOCAL)
"""Networks to which the internet has no route."""


class State(Enum):
    """Whether a route leads anywhere, in AWS's words."""

    ACTIVE = "active"
    BLACKHOLE = "blackhole"


@frozen
class Row:
    """A line of a table as it is listed."""

    destination: Network
    target: str
    state: State = State.ACTIVE


def own(vpc: Vpc, name: str) -> RouteTable | None:
    """The table of that name that a person made or added to, if there is one."""
    return next((table for table in vpc.route_tables if table.name == name), None)


def of(vpc: Vpc, subnet: Subnet) -> RouteTable | None:
    """The table that a subnet has, if a person made it or added to it."""
    return own(vpc, subnet.table) if vpc.route_tables else None


def mark(number: int) -> str:
    """What iptables and ip match the packets of a table's subnets by."""
    return f"{number << SHIFT:#x}/{MASK:#x}"


def number(vpc: Vpc, subnet: Subnet) -> int:
    """That of a subnet's table; 0 if it has a built-in one as it is."""
    table = of(vpc, subnet)
    return table.number if table else 0


def subnets(vpc: Vpc, name: str) -> list[Subnet]:
    """The subnets that have a table."""
    return [subnet for subnet in vpc.subnets if subnet.table == name]


def used(vpc: Vpc) -> list[RouteTable]:
    """Those of a person's own that some subnet has."""
    names = {subnet.table for subnet in vpc.subnets} if vpc.route_tables else set()
    return [table for table in vpc.route_tables if table.name in names]


def in_order(routes: Iterable[VpcRoute]) -> tuple[VpcRoute, ...]:
    """Routes as a table has them."""
    return tuple(sorted(routes, key=lambda one: (
        one.destination.version, one.destination.network_address, one.destination.prefixlen)))


def routes(vpc: Vpc, peers: Iterable[Vpc], name: str, family: Family = Family.INET) -> list[VpcRoute]:
    """All of a table but `local`: what a built-in one has by itself, and what was added, which wins."""
    table = own(vpc, name)
    added = [one for one in table.routes if one.family is family] if table else []
    taken = {route.destination for route in added}
    return [*(one for one in _given(vpc, peers, name, family) if one.destination not in taken), *added]


def _given(vpc: Vpc, peers: Iterable[Vpc], name: str, family: Family) -> Iterator[VpcRoute]:
    if family is Family.INET6 and vpc.ipv6 is None:
        return
    if name == PUBLIC and vpc.nat:
        # Nothing gets in until somebody says so, and each address of IPv6 may be one of the internet.
        yield VpcRoute(ANYWHERE[family], Via.INTERNET if family is Family.INET else Via.EGRESS)
    if name in BUILT_IN:
        for peer in peers:
            yield from (VpcRoute(network, Via.PEER, peer.name) for network in networks(peer, family))


def networks(vpc: Vpc, family: Family) -> tuple[Network, ...]:
    """What is local in all of a VPC's tables: its CIDRs, or its prefix of IPv6."""
    if family is Family.INET:
        return vpc.networks
    return (vpc.ipv6,) if vpc.ipv6 else ()


def rows(topology: Topology, vpc: Vpc, name: str) -> list[Row]:
    """A table as it is listed, `local` first."""
    peers = list(topology.peers_of(vpc.name))
    return [*(Row(network, LOCAL) for family in Family for network in networks(vpc, family)),
            *(Row(one.destination, one.target, state(vpc, peers, one)) for family in Family
              for one in in_order(routes(vpc, peers, name, family)))]


def state(vpc: Vpc, peers: Iterable[Vpc], route: VpcRoute) -> State:
    """Whether what a route leads to is there."""
    is_there = next_hop(vpc, route) is not None
    if route.via in OUTWARD:
        is_there = vpc.nat is not None
    if route.via is Via.PEER:
        is_there = any(peer.name == route.hop for peer in peers)
    return State.ACTIVE if is_there else State.BLACKHOLE


def next_hop(vpc: Vpc, route: VpcRoute) -> Address | None:
    """The address of the machine or NAT gateway that a route leads to, if there is one that forwards."""
    if route.via is Via.NAT:
        return next((one.address for one in vpc.nat_gateways if one.name == route.hop), None)
    found = middlebox(vpc, route) if route.via is Via.INSTANCE else None
    if found is None or not found[1].forwards:
        return None
    if route.family is Family.INET6:
        return next(iter(endpoints.endpoint(vpc, *found).ipv6), None)
    return next((one for one in found[1].addresses if isinstance(one, IPv4Address)), None)


def middlebox(vpc: Vpc, route: VpcRoute) -> tuple[Subnet, Machine] | None:
    """The machine that a route leads to, with its subnet, if it is there."""
    subnet_name, _, name = route.hop.partition("/")
    subnet = vpc.subnet(subnet_name)
    machine = subnet.machine(name) if subnet and name else None
    return (subnet, machine) if subnet and machine else None


@frozen
class Leave:
    """Packets of a subnet that may leave by the uplink with their own source."""

    subnet: Subnet
    destination: Network = EVERYWHERE
    number: int | None = None
    """That of the table of the port from which they come to the router; None without a condition."""

    direct: bool = True
    """Whether no middlebox sends them on."""

    via: Via = Via.INTERNET


def leaves(vpc: Vpc, family: Family = Family.INET) -> Iterator[Leave]:
    """What may leave by the uplink: by its subnet's table, or sent on by a middlebox by that of its own."""
    for subnet in vpc.subnets:
        if family is Family.INET and not vpc.route_tables:
            yield from (Leave(subnet),) if subnet.type is SubnetType.PUBLIC else ()
        else:
            yield from dict.fromkeys(_leaves(vpc, subnet, subnet, ANYWHERE[family], ()))


def _leaves(vpc: Vpc, sender: Subnet, at: Subnet, within: Network,
            passed: tuple[str, ...]) -> Iterator[Leave]:
    plain = not passed and number(vpc, at) == 0
    for route in routes(vpc, (), at.table, Family.INET if within.version == 4 else Family.INET6):
        common = _common(within, route.destination)
        if common is None:
            continue
        if route.via in OUTWARD:
            # What goes by a middlebox to a private address is for a peer.
            if passed and any(_common(common, block) == common for block in PRIVATE):
                continue
            yield Leave(sender, common, None if plain else number(vpc, at), not passed, route.via)
        elif route.via is Via.INSTANCE and route.hop not in passed:
            found = middlebox(vpc, route)
            if found and next_hop(vpc, route):
                yield from _leaves(vpc, sender, found[0], common, (*passed, route.hop))


def _common(one: Network, other: Network) -> Network | None:
    if addressing.inside(one, other):
        return one
    return other if addressing.inside(other, one) else None


def is_public(vpc: Vpc, subnet: Subnet) -> bool:
    """Whether its table leads anything to the internet, also a built-in one to which that was added."""
    table = of(vpc, subnet)
    return subnet.type is SubnetType.PUBLIC or (
        table is not None and type_by(table) is SubnetType.PUBLIC)


def leaving(vpc: Vpc) -> list[Subnet]:
    """The subnets whose packets may leave by the uplink with their own source."""
    if not vpc.route_tables:
        return [subnet for subnet in vpc.subnets if subnet.type is SubnetType.PUBLIC]
    return list(dict.fromkeys(one.subnet for one in leaves(vpc)))


def gets_out(vpc: Vpc, subnet: Subnet) -> bool:
    """Whether its packets to the internet have a way, be it by a NAT gateway: then it can ask for names."""
    if not vpc.route_tables:
        return subnet.type is SubnetType.PUBLIC
    default = next((one for one in routes(vpc, (), subnet.table) if one.destination == EVERYWHERE), None)
    return default is not None and state(vpc, (), default) is State.ACTIVE


def settled(before: Topology, topology: Topology) -> Topology:
    """The topology with what follows: numbers of tables, types of subnets, addresses of NAT gateways."""
    vpcs = tuple(_settled(before.vpc(vpc.name), vpc) if vpc.route_tables or vpc.nat_gateways or any(
        subnet.route_table for subnet in vpc.subnets) else vpc for vpc in topology.vpcs)
    return replace(topology, vpcs=vpcs) if vpcs != topology.vpcs else topology


def _settled(before: Vpc | None, vpc: Vpc) -> Vpc:
    kept = tuple(table for table in vpc.route_tables if table.name not in BUILT_IN or table.routes)
    gateways: list[NatGateway] = []
    for one in vpc.nat_gateways:
        had = next((old for old in before.nat_gateways if old.name == one.name), None) if before else None
        gateways.append(_addressed(vpc, one, had, gateways))
    vpc = replace(vpc, route_tables=_numbered(before, kept), nat_gateways=tuple(gateways))
    return replace(vpc, subnets=tuple(_typed(vpc, subnet) for subnet in vpc.subnets))


def _numbered(before: Vpc | None, tables: Sequence[RouteTable]) -> tuple[RouteTable, ...]:
    """The tables with the numbers that they had, or else the lowest free ones."""
    had = {table.name: table.number for table in before.route_tables} if before else {}
    known = [replace(table, number=table.number or had.get(table.name, 0)) for table in tables]
    taken = {table.number for table in known}
    free = (number for number in range(1, MOST + 1) if number not in taken)
    return tuple(table if table.number else replace(table, number=next(free)) for table in known)


def _addressed(vpc: Vpc, one: NatGateway, had: NatGateway | None, others: Sequence[NatGateway]) -> NatGateway:
    """The gateway with the address that it had, or else the lowest free one."""
    subnet = vpc.subnet(one.subnet)
    if one.address or subnet is None:
        return one
    if had and had.subnet == one.subnet and had.address and had.address in subnet.cidr:
        return replace(one, address=had.address)
    taken = {address for machine in subnet.machines for address in machine.addresses
             if isinstance(address, IPv4Address)}
    return replace(one, address=addressing.free_address(subnet.cidr, {
        *taken, *(other.address for other in (*vpc.nat_gateways, *others) if other.address)}))


def _typed(vpc: Vpc, subnet: Subnet) -> Subnet:
    """The subnet with the type that follows from its table: public is one with a way to the internet."""
    name = subnet.route_table
    if not name:
        return subnet
    if name in BUILT_IN:
        return replace(subnet, type=TYPES[name], route_table="")
    table = own(vpc, name)
    kind = type_by(table) if table else SubnetType.PRIVATE
    return subnet if subnet.type is kind else replace(subnet, type=kind)


def type_by(table: RouteTable) -> SubnetType:
    """The type of the subnets that have a table of a person's own: what it says of IPv4 decides."""
    is_public = any(route.via is Via.INTERNET and route.family is Family.INET for route in table.routes)
    return SubnetType.PUBLIC if is_public else SubnetType.PRIVATE
