"""Route tables of a person's own: what leads packets to them, and their lines in the router; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network

from vpcctl_lib.firewall.route_rules import answers, go_back
from vpcctl_lib.firewall.rules import router_raw
from vpcctl_lib.model import addressing, naming, tables
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routes import RouteTable, Via, VpcRoute
from vpcctl_lib.model.routing import EVERYWHERE, LAST, NOWHERE
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.resources import Chain, Resource, Steering, Way, WayRule
from vpcctl_lib.resources.hops import Hop
from vpcctl_lib.resources.steering import Detour, Listed, Origin

MARKED, HOME, BACK = 10000, 20000, 20100
"""Where `ip rule` has the rules by mark, that for the host, and those for answers by a middlebox."""


def steering(vpc: Vpc, machines: Sequence[Endpoint], peers: Sequence[Vpc]) -> Iterator[Resource]:
    """Who is marked with which table; also with NAT gateways alone, since a sender could write their MAC."""
    numbers = {subnet.name: tables.number(vpc, subnet) for subnet in vpc.subnets}
    origins = tuple(Origin(one.port, numbers[one.site.subnet]) for one in machines
                    if numbers[one.site.subnet])
    yield Steering(vpc.name, naming.mac(vpc.name), vpc.cidr, origins,
                   tuple(Listed(table.name, _words(vpc, table)) for table in vpc.route_tables),
                   tuple(one for subnet in vpc.subnets for one in _detours(vpc, subnet)), vpc.cidrs,
                   tuple(one for table in tables.used(vpc) for one in _hops(vpc, peers, table)))


def _hops(vpc: Vpc, peers: Sequence[Vpc], table: RouteTable) -> list[Hop]:
    """What goes from the table's subnets to a NAT gateway or a middlebox, past the router."""
    routes = sorted(tables.routes(vpc, peers, table.name), key=lambda one: -one.destination.prefixlen)
    found = [_hop(vpc, table, route) for route in routes]
    # After the last of them all is routed anyway.
    while found and not found[-1].mac:
        found.pop()
    # The router knows the answers by published ports, whose way is the one that the question came.
    return [] if answers(vpc, table) else found


def _hop(vpc: Vpc, table: RouteTable, route: VpcRoute) -> Hop:
    near = tables.next_hop(vpc, route)
    return Hop(table.number, route.destination, naming.instance_mac(vpc.name, near) if near else "")


def _detours(vpc: Vpc, subnet: Subnet) -> list[Detour]:
    """What a NAT gateway or another middlebox sends back to a subnet, by the middlebox of its table."""
    table = tables.of(vpc, subnet)
    routes = sorted(table.routes if table else (), key=lambda one: -one.destination.prefixlen)
    found = [_detour(vpc, subnet, route) for route in routes]
    # After the last middlebox all goes straight anyway.
    while found and not found[-1].port:
        found.pop()
    return found


def _detour(vpc: Vpc, subnet: Subnet, route: VpcRoute) -> Detour:
    near = tables.next_hop(vpc, route) if route.via is Via.INSTANCE else None
    if near is None:
        return Detour(route.destination, subnet.cidr)
    return Detour(route.destination, subnet.cidr, naming.port(*route.hop.split("/")),
                  naming.instance_mac(vpc.name, near))


def _words(vpc: Vpc, table: RouteTable) -> tuple[str, ...]:
    routes = (f"route {one.destination} {one.target}" for one in table.routes)
    users = (f"subnet {subnet.name}" for subnet in tables.subnets(vpc, table.name))
    return (f"number {table.number}", *routes, *users)


def router(topology: Topology, vpc: Vpc) -> Iterator[Resource]:
    """The tables that subnets have, and the rules that lead to them."""
    peers = list(topology.peers_of(vpc.name))
    used = tables.used(vpc)
    for table in used:
        yield from _lines(vpc, peers, table)
    raw = router_raw(topology, vpc)
    if raw:
        yield Chain(vpc.name, "raw", "PREROUTING", raw)
    back = go_back(vpc)
    if back:
        yield Chain(vpc.name, "mangle", "PREROUTING", back)
    for table in used:
        yield WayRule(vpc.name, MARKED + table.number, naming.device("br-", vpc.name),
                      tables.KERNEL + table.number, tables.mark(table.number))
    yield from dict.fromkeys(_answers(vpc, peers, used))


def _lines(vpc: Vpc, peers: Sequence[Vpc], table: RouteTable) -> Iterator[Resource]:
    number = tables.KERNEL + table.number
    for network in vpc.networks:
        yield Way(vpc.name, number, network, naming.device("br-", vpc.name))
    # The host comes in by this link, and answers to it are never routed.
    yield Way(vpc.name, number, addressing.link_network(vpc.link), naming.UPLINK)
    for route in tables.routes(vpc, peers, table.name):
        yield _line(vpc, peers, number, route)
    # The router's FORWARD refuses these, with an answer to each; the main table ends in the same way.
    yield Way(vpc.name, number, EVERYWHERE, NOWHERE, metric=LAST)


def _line(vpc: Vpc, peers: Sequence[Vpc], number: int, route: VpcRoute) -> Way:
    near = tables.next_hop(vpc, route)
    if near:
        return Way(vpc.name, number, route.destination, naming.device("br-", vpc.name), near)
    if route.via is Via.INTERNET and vpc.nat:
        return Way(vpc.name, number, route.destination, naming.UPLINK, addressing.host_end(vpc.link))
    peer = next((one for one in peers if route.via is Via.PEER and one.name == route.hop), None)
    if peer:
        return Way(vpc.name, number, route.destination, naming.device("pcx-", peer.name),
                   addressing.gateway(peer.cidr))
    return Way(vpc.name, number, route.destination)


def _answers(vpc: Vpc, peers: Sequence[Vpc], used: Sequence[RouteTable]) -> Iterator[Resource]:
    """What comes from outside to a subnet whose packets go there by a middlebox goes by it, too."""
    boxes = sorted({route.hop for table in used for route in table.routes
                    if route.via is Via.INSTANCE and tables.next_hop(vpc, route)})
    if not boxes:
        return
    links = [(naming.UPLINK, EVERYWHERE),
             *((naming.device("pcx-", peer.name), network) for peer in peers for network in peer.networks)]
    yield WayRule(vpc.name, HOME, naming.UPLINK, source=addressing.link_network(vpc.link))
    for number, name in enumerate(boxes, tables.MOST + 1):
        near = tables.next_hop(vpc, VpcRoute(EVERYWHERE, Via.INSTANCE, name))
        yield Way(vpc.name, tables.KERNEL + number, EVERYWHERE, naming.device("br-", vpc.name), near)
    for table in used:
        yield from _back(vpc, peers, table, boxes, links)


def _back(vpc: Vpc, peers: Sequence[Vpc], table: RouteTable, boxes: Sequence[str],
          links: Sequence[tuple[str, IPv4Network]]) -> Iterator[Resource]:
    """By source as the table has it by destination, the longest prefix first."""
    routes = tables.routes(vpc, peers, table.name)
    if not any(route.via is Via.INSTANCE and route.hop in boxes for route in routes):
        return
    for route in routes:
        box = route.hop if route.via is Via.INSTANCE and route.hop in boxes else ""
        number = tables.KERNEL + tables.MOST + 1 + boxes.index(box) if box else 0
        for subnet in tables.subnets(vpc, table.name):
            for link, beyond in links:
                if route.destination.overlaps(beyond):
                    yield WayRule(vpc.name, BACK + 32 - route.destination.prefixlen, link, number,
                                  source=_source(route), destination=subnet.cidr)


def _source(route: VpcRoute) -> IPv4Network | None:
    return None if route.destination == EVERYWHERE else route.destination
