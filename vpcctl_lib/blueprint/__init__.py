"""From the topology to its resources, in the order in which they are made; pure.

The order lets consecutive steps share a command: all namespaces, all cables, then namespace by namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from vpcctl_lib.blueprint import host, machines, routers
from vpcctl_lib.blueprint.parts import Frames as Frames
from vpcctl_lib.blueprint.parts import Part, Seat
from vpcctl_lib.model import naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routing import forwards6, routed
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources import Namespace, Resource

if TYPE_CHECKING:
    from vpcctl_lib.blueprint.groups import Groups


def blueprint(topology: Topology) -> list[Resource]:
    """All resources, each once and after those that it needs."""
    return [one for part in parts(topology) for unit in part.units for one in part.resources(unit)]


def parts(topology: Topology, frames: Frames | None = None) -> Iterator[Part]:
    """The blueprint in parts; with the frames of another topology, equal parts of both are found faster."""
    frames = frames or Frames()
    seats = {vpc.name: tuple(frames.seats(vpc)) for vpc in topology.vpcs}
    for vpc in topology.vpcs:
        yield Part((vpc.name,), _namespace, (vpc.name,))
        yield Part((vpc.name,), _machine, seats[vpc.name])
    if topology.guarded:
        # Early, since it takes a while, and nothing waits for it.
        for vpc in topology.vpcs:
            yield from _at_the_ports(topology, vpc, seats[vpc.name])
    groups = _groups(topology, seats)
    if groups:
        for vpc in topology.vpcs:
            yield Part((vpc.name,), _roster, (vpc,), (groups,))
    found = _resolvers([vpc for vpc in topology.vpcs if vpc.dns])
    yield from _cables(topology)
    for vpc in topology.vpcs:
        yield from _routers(vpc, seats[vpc.name])
    if topology.peerings:
        # Imported late: many hosts have none.
        from vpcctl_lib.blueprint import peerings

        for peering in topology.peerings:
            yield Part((peering.vpc1, peering.vpc2), peerings.cable, (topology,), (peering,))
    yield from _rules(topology)
    for vpc in topology.vpcs:
        if vpc.is_mirrored:
            # Once the router takes no VXLAN from anybody.
            yield Part((vpc.name,), _mirrors, (vpc,), (seats[vpc.name],))
        peers = tuple(network for peer in topology.peers_of(vpc.name)
                      for network in (*peer.networks, *((peer.ipv6,) if peer.ipv6 else ())))
        yield Part((vpc.name,), _inside, seats[vpc.name], (peers, groups, found.get(vpc.name, ())))
        guests = tuple(seat for seat in seats[vpc.name] if seat.machine.tap) if vpc.dhcp else ()
        if guests and topology.guarded:
            yield Part((vpc.name,), _discovery, guests)
    yield Part((), host.host, (topology,))
    if topology.eips:
        # Imported late: most hosts have none.
        from vpcctl_lib.blueprint import openings

        yield Part((), openings.addresses, (topology,))
    if found:
        yield from _names(topology, seats, found)
    if any(vpc.flow_logs for vpc in topology.vpcs):
        yield from _flows(topology, seats, groups, bool(found))
    for vpc in topology.vpcs:
        busy = tuple(seat for seat in seats[vpc.name] if seat.machine.workloads)
        yield Part((vpc.name,), machines.programs, busy)


def _routers(vpc: Vpc, seats: Sequence[Seat]) -> Iterator[Part]:
    yield Part((vpc.name,), routers.router, (vpc,))
    yield Part((vpc.name,), routers.port, seats)
    yield Part((vpc.name,), routers.switching, (vpc,))
    hooked = tuple(seat for seat in seats if seat.machine.bandwidth or seat.machine.mirrors)
    if hooked:
        yield Part((vpc.name,), _hooks, hooked)
    limited = tuple(seat for seat in seats if seat.machine.bandwidth)
    if limited:
        yield Part((vpc.name,), _limits, limited)
    if vpc.ipv6:
        yield Part((vpc.name,), routers.routes, seats)
    yield Part((vpc.name,), routers.neighbours, seats)
    yield Part((vpc.name,), routers.station, seats)


def _resolvers(named: Sequence[Vpc]) -> Mapping[str, tuple[IPv4Address, ...]]:
    """By VPC, the addresses that its machines ask for names."""
    if not named:
        return {}
    # Imported late, here and below: most networks have no DNS.
    from vpcctl_lib.model.resolving import resolvers

    return {vpc.name: resolvers(vpc) for vpc in named}


def _names(topology: Topology, seats: Mapping[str, Sequence[Seat]],
           resolvers: Mapping[str, tuple[IPv4Address, ...]]) -> Iterator[Part]:
    """The files with names, the addresses where servers answer, and the servers: workloads may ask them."""
    from vpcctl_lib.blueprint import names
    from vpcctl_lib.model.resolving import domain, listening

    yield Part((), names.folders, (topology,))
    named = [vpc for vpc in topology.vpcs if vpc.dns]
    for vpc in named:
        yield Part((vpc.name,), names.addresses, (vpc.name,), (resolvers[vpc.name],))
        records = vpc.dns.records if vpc.dns else ()
        yield Part((vpc.name,), names.hosts, seats[vpc.name], (vpc.name, domain(vpc), records), names.line)
        if vpc.dhcp:
            yield Part((vpc.name,), names.leases, seats[vpc.name], (vpc.name,), names.lease)
    for vpc in named:
        yield Part((vpc.name,), names.programs, (vpc,), (listening(vpc), names.peers(topology, vpc)))


def _flows(topology: Topology, seats: Mapping[str, Sequence[Seat]], groups: Groups | None,
           has_folder: bool) -> Iterator[Part]:
    """What flow logs need: the collector comes last, and finds everything."""
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint import flows
    from vpcctl_lib.model.naming import ACL_TABLE

    yield Part((), flows.folders, (has_folder,))
    yield Part((), flows.network, (None,))
    for vpc in (vpc for vpc in topology.vpcs if vpc.flow_logs):
        held = tuple(seat for seat in seats[vpc.name]
                     if flows.covered(vpc, seat.subnet.name, seat.machine.name))
        yield Part((vpc.name,), flows.counting, held, (groups,))
        yield Part((vpc.name,), flows.watch, held,
                   (vpc.name, vpc.flow_logs, ACL_TABLE if vpc.acls and topology.guarded else ""), flows.line)
        yield Part((vpc.name,), flows.files, vpc.flow_logs, (vpc.name,))
    yield Part((), flows.collector, (None,))


def _at_the_ports(topology: Topology, vpc: Vpc, seats: Sequence[Seat]) -> Iterator[Part]:
    """The nft tables of family bridge."""
    given = (vpc.name, routers.ranges(vpc), bool(topology.quotes), bool(vpc.dhcp), vpc.ipv6 is not None,
             vpc.networks)
    yield Part((vpc.name,), routers.guard, seats, given, routers.guarded)
    if vpc.acls:
        yield Part((vpc.name,), _acls, (vpc,), (seats,))
    if vpc.route_tables or vpc.nat_gateways:
        yield Part((vpc.name,), _steering, (vpc,), (seats, tuple(topology.peers_of(vpc.name))))


def _namespace(vpc: str) -> Iterator[Resource]:
    yield Namespace(vpc, naming.owner(vpc))


def _machine(_: Vpc, one: Endpoint) -> Iterator[Resource]:
    return machines.namespaces((one,))


def _cables(topology: Topology) -> Iterator[Part]:
    """The cables to the host; what the host's rules say of IPv6 is there before it is on any."""
    dual = [vpc for vpc in topology.vpcs if vpc.ipv6]
    if dual:
        yield Part((), _host6, (topology,))
    for vpc in topology.vpcs:
        yield Part((vpc.name,), host.cable, (vpc,), (routed(topology, vpc),))
    for vpc in dual:
        yield Part((vpc.name,), _cable6, (vpc,))


def _rules(topology: Topology) -> Iterator[Part]:
    """The routers' rules, then the route tables of a person's own, and what lets IPv6 out."""
    for vpc in topology.vpcs:
        yield Part((vpc.name,), routers.rules, (topology,), (vpc,))
    for vpc in topology.vpcs:
        if vpc.route_tables:
            yield Part((vpc.name,), _tables, (topology,), (vpc,))
    if forwards6(topology):
        yield Part((), _forwarding6, (topology,))


def _forwarding6(topology: Topology) -> Iterator[Resource]:
    # Imported late, here and below: most networks have no IPv6.
    from vpcctl_lib.blueprint.dual import forwarding

    return forwarding(topology)


def _host6(topology: Topology) -> Iterator[Resource]:
    from vpcctl_lib.blueprint.dual import host

    return host(topology)


def _cable6(vpc: Vpc) -> Iterator[Resource]:
    from vpcctl_lib.blueprint.dual import cable

    return cable(vpc)


def _acls(vpc: Vpc, seats: Sequence[Seat]) -> Iterator[Resource]:
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint.acls import acls

    return acls(vpc, seats)


def _steering(vpc: Vpc, seats: Sequence[Seat], peers: Sequence[Vpc]) -> Iterator[Resource]:
    # Imported late, here and below: most VPCs have only the built-in tables.
    from vpcctl_lib.blueprint.tables import steering

    return steering(vpc, [seat.endpoint for seat in seats], peers)


def _tables(topology: Topology, vpc: Vpc) -> Iterator[Resource]:
    from vpcctl_lib.blueprint.tables import router

    return router(topology, vpc)


def _inside(vpc: Vpc, one: Endpoint, peers: Sequence[IPv4Network | IPv6Network], groups: Groups | None,
            resolvers: Sequence[IPv4Address]) -> Iterator[Resource]:
    if one.ipv6:
        # First: a machine that gets IPv6 later must not have an address before it has the rules for it.
        yield from machines.firewall(vpc, one, groups, (), Family.INET6)
    yield from machines.inside(vpc, one, peers, resolvers)
    yield from machines.firewall(vpc, one, groups, resolvers)


def _hooks(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    # Imported late, here and below: few machines have any.
    from vpcctl_lib.resources import Hooks

    yield Hooks(vpc.name, one.port)


def _mirrors(vpc: Vpc, seats: Sequence[Seat]) -> Iterator[Resource]:
    from vpcctl_lib.blueprint.mirrors import mirrors

    return mirrors(vpc, seats)


def _limits(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    from vpcctl_lib.blueprint.limits import limits

    return limits(vpc, one)


def _discovery(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    # Imported late: few VPCs have virtual machines that ask for their addresses.
    from vpcctl_lib.blueprint.taps import discovery

    return discovery(vpc, one)


def _roster(vpc: Vpc, groups: Groups) -> Iterator[Resource]:
    return groups.roster(vpc)


def _groups(topology: Topology, seats: Mapping[str, Sequence[Seat]]) -> Groups | None:
    """The groups, if there are any."""
    if not any(vpc.groups for vpc in topology.vpcs):
        return None
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint.groups import Groups

    return Groups(topology, {name: [seat.endpoint for seat in held if seat.machine.groups]
                             for name, held in seats.items()})
