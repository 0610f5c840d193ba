"""Route tables of a person's own: what leads packets to them, and their lines in the router; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from vpcctl_lib.blueprint import dual
from vpcctl_lib.firewall.route_rules import answers, by_router, go_back
from vpcctl_lib.firewall.rules import router_raw
from vpcctl_lib.model import addressing, addressing6, naming, tables
from vpcctl_lib.model.addressing import ANYWHERE, Address, Family, Network
from vpcctl_lib.model.endpoints import Endpoint, endpoint
from vpcctl_lib.model.routes import RouteTable, Via, VpcRoute
from vpcctl_lib.model.routing import EVERYWHERE, LAST, NOWHERE
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.resources import Chain, Resource, Steering, Way, WayRule
from vpcctl_lib.resources.hops import Hop
from vpcctl_lib.resources.steering import FORM, Detour, Listed, Origin
from vpcctl_lib.resources.way import THROW, UNREACHABLE

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
                   vpc.ipv6, tuple(one for table in tables.used(vpc) for one in _hops(vpc, peers, table)),
                   FORM)


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
    mac = naming.instance_mac(vpc.name, near) if isinstance(near, IPv4Address) else ""
    return Hop(table.number, IPv4Network(route.destination), mac)


def _detours(vpc: Vpc, subnet: Subnet) -> list[Detour]:
    """What a NAT gateway or another middlebox sends back to a subnet, by the middlebox of its table."""
    return [one for family in Family for one in _of_family(vpc, subnet, family)]


def _of_family(vpc: Vpc, subnet: Subnet, family: Family) -> list[Detour]:
    table = tables.of(vpc, subnet)
    target = subnet.cidr if family is Family.INET else subnet.ipv6
    if table is None or target is None:
        return []
    routes = sorted((one for one in table.routes if one.family is family),
                    key=lambda one: -one.destination.prefixlen)
    found = [_detour(vpc, target, route) for route in routes]
    # After the last middlebox all goes straight anyway.
    while found and not found[-1].port:
        found.pop()
    return found


def _detour(vpc: Vpc, target: Network, route: VpcRoute) -> Detour:
    found = tables.middlebox(vpc, route)
    if found is None or tables.next_hop(vpc, route) is None:
        return Detour(route.destination, target)
    box = endpoint(vpc, *found)
    return Detour(route.destination, target, box.port, box.mac)


def _words(vpc: Vpc, table: RouteTable) -> tuple[str, ...]:
    routes = (f"route {one.destination} {one.target}" for one in table.routes)
    users = (f"subnet {subnet.name}" for subnet in tables.subnets(vpc, table.name))
    return (f"number {table.number}", *routes, *users)


def router(topology: Topology, vpc: Vpc) -> Iterator[Resource]:
    """The tables that subnets have, and the rules that lead to them."""
    views = [View(topology, vpc, family) for family in Family if tables.networks(vpc, family)]
    for view in views:
        for table in view.routed:
            yield from _lines(view, table)
    raw = router_raw(topology, vpc)
    if raw:
        yield Chain(vpc.name, "raw", "PREROUTING", raw)
    for view in views:
        back = go_back(vpc, view.family)
        if back:
            yield Chain(vpc.name, "mangle", "PREROUTING", back, family=view.family)
    for view in views:
        for table in view.routed:
            yield WayRule(vpc.name, MARKED + table.number, naming.device("br-", vpc.name),
                          tables.KERNEL + table.number, tables.mark(table.number), family=view.family)
        yield from dict.fromkeys(_answers(view))


class View:
    """A VPC's routing in one family."""

    def __init__(self, topology: Topology, vpc: Vpc, family: Family) -> None:
        self.vpc = vpc
        self.family = family
        self.peers = list(topology.peers_of(vpc.name))
        self.used = tables.used(vpc)
        self.routed = by_router(topology, vpc, family)
        """Those by which the router routes: its bridge leads what the others are about past it."""

    def routes(self, table: RouteTable) -> list[VpcRoute]:
        """Those of a table."""
        return tables.routes(self.vpc, self.peers, table.name, self.family)

    @property
    def host(self) -> Network:
        """Where the host's connections come from."""
        if self.vpc.ipv6 and self.family is Family.INET6:
            return IPv6Network(addressing6.host_end(self.vpc.ipv6))
        return addressing.link_network(self.vpc.link)

    @property
    def outward(self) -> Address:
        """The host's end of the cable."""
        return addressing.host_end(self.vpc.link) if self.family is Family.INET else dual.ENDS[0]

    def beyond(self, peer: Vpc) -> Address:
        """The peer's end of the cable."""
        return addressing.gateway(peer.cidr) if self.family is Family.INET else dual.far_end(self.vpc, peer)

    def target(self, subnet: Subnet) -> Network | None:
        """The addresses of a subnet."""
        return subnet.cidr if self.family is Family.INET else subnet.ipv6


def _lines(view: View, table: RouteTable) -> Iterator[Resource]:
    vpc, number = view.vpc, tables.KERNEL + table.number
    if view.family is Family.INET:
        for network in vpc.networks:
            yield Way(vpc.name, number, network, naming.device("br-", vpc.name))
        # The host comes in by this link, and answers to it are never routed.
        yield Way(vpc.name, number, view.host, naming.UPLINK)
    elif vpc.ipv6:
        # The main table has a route to each machine, and one to the host.
        yield Way(vpc.name, number, vpc.ipv6, dead_end=THROW)
    for route in view.routes(table):
        yield _line(view, number, route)
    # The router's FORWARD refuses these, with an answer to each; the main table ends in the same way.
    last = Way(vpc.name, number, EVERYWHERE, NOWHERE, metric=LAST)
    yield last if view.family is Family.INET else replace(
        last, destination=addressing6.EVERYWHERE, device="", dead_end=UNREACHABLE)


def _line(view: View, number: int, route: VpcRoute) -> Way:
    vpc = view.vpc
    near = tables.next_hop(vpc, route)
    if near:
        return Way(vpc.name, number, route.destination, naming.device("br-", vpc.name), near)
    if route.via in tables.OUTWARD and vpc.nat:
        return Way(vpc.name, number, route.destination, naming.UPLINK, view.outward)
    peer = next((one for one in view.peers if route.via is Via.PEER and one.name == route.hop
                 and tables.networks(one, view.family)), None)
    if peer:
        return Way(vpc.name, number, route.destination, naming.device("pcx-", peer.name), view.beyond(peer))
    return Way(vpc.name, number, route.destination)


def _answers(view: View) -> Iterator[Resource]:
    """What comes from outside to a subnet whose packets go there by a middlebox goes by it, too."""
    vpc, everywhere = view.vpc, ANYWHERE[view.family]
    boxes = sorted({route.hop for table in view.used for route in table.routes if route.family is view.family
                    and route.via is Via.INSTANCE and tables.next_hop(vpc, route)})
    if not boxes:
        return
    links = [(naming.UPLINK, everywhere), *((naming.device("pcx-", peer.name), network) for peer in view.peers
                                            for network in tables.networks(peer, view.family))]
    yield WayRule(vpc.name, HOME, naming.UPLINK, source=view.host, family=view.family)
    for number, name in enumerate(boxes, tables.MOST + 1):
        near = tables.next_hop(vpc, VpcRoute(everywhere, Via.INSTANCE, name))
        yield Way(vpc.name, tables.KERNEL + number, everywhere, naming.device("br-", vpc.name), near)
    for table in view.used:
        yield from _back(view, table, boxes, links)


def _back(view: View, table: RouteTable, boxes: Sequence[str],
          links: Sequence[tuple[str, Network]]) -> Iterator[Resource]:
    """By source as the table has it by destination, the longest prefix first."""
    routes = view.routes(table)
    if not any(route.via is Via.INSTANCE and route.hop in boxes for route in routes):
        return
    for route in routes:
        box = route.hop if route.via is Via.INSTANCE and route.hop in boxes else ""
        number = tables.KERNEL + tables.MOST + 1 + boxes.index(box) if box else 0
        priority = BACK + route.destination.max_prefixlen - route.destination.prefixlen
        for subnet in tables.subnets(view.vpc, table.name):
            target = view.target(subnet)
            for link, beyond in links if target else ():
                if route.destination.overlaps(beyond):
                    yield WayRule(view.vpc.name, priority, link, number, source=_source(route),
                                  destination=target, family=view.family)


def _source(route: VpcRoute) -> Network | None:
    return None if route.destination.prefixlen == 0 else route.destination
