"""What is wrong with route tables and NAT gateways, and what a target is written as; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network

from vpcctl_lib.errors import BadInput, VpcctlError, quoted
from vpcctl_lib.model import addressing, addressing6, endpoints, naming, tables
from vpcctl_lib.model.addressing import Family, Network
from vpcctl_lib.model.lookup import find_vpc, nearest
from vpcctl_lib.model.routes import BUILT_IN, NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.tables import State
from vpcctl_lib.model.topology import Topology, Vpc

TARGETS = "use internet, egress-only, nat:NAME, peer:VPC, instance:SUBNET/NAME or blackhole"


def parse_target(text: str) -> tuple[Via, str]:
    """What a route leads to, and the name of it; BadInput if the text says nothing of the kind."""
    kind, colon, name = text.partition(":")
    known = {via.value: via for via in Via}
    parts = name.split("/") if colon else []
    wanted = {Via.INSTANCE: 2, Via.NAT: 1, Via.PEER: 1}.get(known.get(kind, Via.BLACKHOLE), 0)
    if kind not in known or len(parts) != wanted or not all(map(naming.is_name, parts)):
        raise BadInput(f"{quoted(repr(text))} is not a target of a route", TARGETS)
    return known[kind], name


def parse_destination(text: str) -> Network:
    """Where the packets of a route go, in either family; BadInput says what is wrong with it."""
    return addressing6.parse_network(text) if ":" in text else addressing.parse_network(text)


def check_family(route: VpcRoute) -> None:
    """Refuse a target that the other family has (AWS, "Egress-only internet gateways", "NAT gateways")."""
    if route.via is Via.EGRESS and route.family is Family.INET:
        raise BadInput(f"{route.target} is for IPv6, and {route.destination} is not",
                       "use nat:NAME for IPv4")
    if route.via is Via.NAT and route.family is Family.INET6:
        raise BadInput(f"{route.target} is for IPv4, and {route.destination} is not",
                       f"use {Via.EGRESS.value} for IPv6")


def check_destination(vpc: Vpc, destination: Network) -> None:
    """Refuse a destination whose packets are never routed by a table."""
    if destination.version == 6:
        _check_destination6(vpc, destination)
        return
    own = next((one for one in vpc.networks if addressing.inside(destination, one)), None)
    if own:
        raise VpcctlError(f"{destination} is inside the VPC's CIDR {own}, which is always local",
                          "choose a destination outside")
    if addressing.inside(destination, addressing.LINKS):
        raise VpcctlError(f"{destination} is among the addresses of vpcctl's own links ({addressing.LINKS})",
                          "choose another destination")


def _check_destination6(vpc: Vpc, destination: Network) -> None:
    if vpc.ipv6 is None:
        raise VpcctlError(f"VPC '{vpc.name}' has no IPv6, and {destination} is of IPv6",
                          f"give it a prefix: vpcctl vpc set --name {vpc.name} --ipv6 auto")
    if addressing.inside(destination, vpc.ipv6):
        raise VpcctlError(f"{destination} is inside the VPC's prefix {vpc.ipv6}, which is always local",
                          "choose a destination outside")


def check_local(vpc: Vpc, cidr: IPv4Network) -> None:
    """Refuse a new CIDR of a VPC that has all of a destination to which a route leads elsewhere."""
    for table in vpc.route_tables:
        for route in table.routes:
            if addressing.inside(route.destination, cidr):
                raise VpcctlError(f"route table '{table.name}' of VPC '{vpc.name}' leads {route.destination} "
                                  f"to {route.target}, and all of {cidr} would be local",
                                  "delete that route first: vpcctl route-table delete-route "
                                  f"--vpc {vpc.name} --name {table.name} --to {route.destination}")


def check_new(vpc: Vpc, destination: Network) -> None:
    """Refuse the destination of a new route if nothing that is sent there may leave."""
    check_destination(vpc, destination)
    block = unroutable(destination)
    if block:
        raise VpcctlError(f"{destination} can't be the destination of a route: it is in {block}",
                          "choose another destination")


def unroutable(destination: Network) -> str:
    """The block in which no route leads anywhere, with what it is; empty for other networks."""
    blocks: Iterable[tuple[Network, str]] = (
        *addressing.METADATA.items(), *addressing.NOT_PRIVATE.items(), *addressing6.METADATA.items(),
        *addressing6.NOT_FOR_HOSTS.items())
    return next((f"{block}, {what}" for block, what in blocks
                 if block != addressing6.DOCUMENTATION and addressing.inside(destination, block)), "")


def find_table(topology: Topology, vpc_name: str, name: str) -> tuple[Vpc, RouteTable]:
    """The table of that name, a built-in one perhaps without routes; with the nearest right name if none."""
    vpc = find_vpc(topology, vpc_name)
    found = tables.own(vpc, name)
    if found is None and name not in BUILT_IN:
        known = sorted({*BUILT_IN, *(table.name for table in vpc.route_tables)})
        raise VpcctlError(f"route table '{name}' does not exist in VPC '{vpc_name}'", nearest(
            name, known, f"create it: vpcctl route-table create --vpc {vpc_name} --name …"))
    return vpc, found or RouteTable(name)


def find_gateway(topology: Topology, vpc_name: str, name: str) -> tuple[Vpc, NatGateway]:
    """The NAT gateway of that name with its VPC; with the nearest right name if there is none."""
    vpc = find_vpc(topology, vpc_name)
    found = next((one for one in vpc.nat_gateways if one.name == name), None)
    if found is None:
        raise VpcctlError(f"NAT gateway '{name}' does not exist in VPC '{vpc_name}'", nearest(
            name, [one.name for one in vpc.nat_gateways],
            f"create it: vpcctl nat-gateway create --vpc {vpc_name} --subnet … --name …"))
    return vpc, found


def check_target(topology: Topology, vpc: Vpc, route: VpcRoute) -> None:
    """Refuse a new route to what is not there, or does not forward."""
    check_family(route)
    if route.via is Via.NAT:
        find_gateway(topology, vpc.name, route.hop)
    if route.via is Via.PEER:
        find_vpc(topology, route.hop)
        if route.hop == vpc.name:
            raise BadInput(f"VPC '{vpc.name}' can't be peered with itself", "its own CIDR is always local")
        peer = next((one for one in topology.peers_of(vpc.name) if one.name == route.hop), None)
        if peer is None:
            raise VpcctlError(f"VPCs '{vpc.name}' and '{route.hop}' are not peered",
                              f"vpcctl peer create --vpc1 {vpc.name} --vpc2 {route.hop}")
        _check_beyond(route, peer)
    if route.via is Via.INSTANCE:
        _check_middlebox(vpc, route)


def _check_beyond(route: VpcRoute, peer: Vpc) -> None:
    """Refuse a destination that the peer has nothing of."""
    held = tables.networks(peer, route.family)
    if not held:
        raise VpcctlError(f"VPC '{peer.name}' has no IPv6, and {route.destination} is of IPv6",
                          f"give it a prefix: vpcctl vpc set --name {peer.name} --ipv6 auto")
    if not any(addressing.inside(route.destination, one) or addressing.inside(one, route.destination)
               for one in held):
        raise VpcctlError(f"{route.destination} is not in the CIDR of VPC '{peer.name}' "
                          f"({', '.join(map(str, held))})",
                          f"use {' or '.join(map(str, held))}, or a part of it")


def _check_middlebox(vpc: Vpc, route: VpcRoute) -> None:
    subnet, _, name = route.hop.partition("/")
    found = tables.middlebox(vpc, route)
    where = f"--vpc {vpc.name} --subnet {subnet} --name {name}"
    if found is None:
        known = [f"{one.name}/{machine.name}" for one in vpc.subnets for machine in one.machines
                 if machine.forwards]
        raise VpcctlError(f"machine '{route.hop}' does not exist in VPC '{vpc.name}'", nearest(
            route.hop, known, f"add it: vpcctl instance add {where} --forwards"))
    if not found[1].forwards:
        raise VpcctlError(f"machine '{route.hop}' of VPC '{vpc.name}' forwards no packets of others",
                          f"add one that does: vpcctl instance add {where} --forwards")


def uses(vpc: Vpc, gateway: str) -> list[str]:
    """The routes that lead to a NAT gateway."""
    return [f"{route.destination} of route table '{table.name}'" for table in vpc.route_tables
            for route in table.routes if route.via is Via.NAT and route.hop == gateway]




def check(before: Topology, topology: Topology) -> list[str]:
    """Refuse what can't be made; returns warnings about what no longer leads anywhere."""
    concerned = [vpc for vpc in topology.vpcs if vpc.route_tables or vpc.nat_gateways
                 or any(subnet.route_table for subnet in vpc.subnets)]
    if concerned and topology.guarded is False:
        what = "route table of its own" if concerned[0].route_tables else "NAT gateway"
        raise VpcctlError(f"VPC '{concerned[0].name}' can't have a {what}: ports are not guarded here, so "
                          "that nothing tells whose packets are routed by it", "install nftables")
    for vpc in concerned:
        check_vpc(topology, vpc, before.vpc(vpc.name))
    return [warning for vpc in concerned for warning in _warnings(before, topology, vpc)]


def check_vpc(topology: Topology, vpc: Vpc, before: Vpc | None) -> None:
    """Refuse tables and gateways of a VPC that do not fit together."""
    for subnet in vpc.subnets:
        if subnet.route_table:
            find_table(topology, vpc.name, subnet.route_table)
    for table in vpc.route_tables:
        for route in table.routes:
            check_family(route)
            _check_prefix_stays(vpc, before, table, route)
            check_destination(vpc, route.destination)
            _check_gateway_stays(vpc, before, table, route)
            _check_not_own(vpc, table, route)
    for one in vpc.nat_gateways:
        _check_gateway(vpc, one)
    endpoints.check_room(vpc.name, vpc.subnets, len(vpc.nat_gateways))


def _check_prefix_stays(vpc: Vpc, before: Vpc | None, table: RouteTable, route: VpcRoute) -> None:
    if route.family is Family.INET6 and vpc.ipv6 is None and before is not None and before.ipv6:
        raise VpcctlError(f"IPv6 of VPC '{vpc.name}' is in use: by the route to {route.destination} of route "
                          f"table '{table.name}'", "delete the route first: vpcctl route-table delete-route "
                          f"--vpc {vpc.name} --name {table.name} --to {route.destination}")


def _check_gateway_stays(vpc: Vpc, before: Vpc | None, table: RouteTable, route: VpcRoute) -> None:
    if route.via is not Via.NAT or any(one.name == route.hop for one in vpc.nat_gateways):
        return
    had = before is not None and any(one.name == route.hop for one in before.nat_gateways)
    if had:
        raise VpcctlError(f"NAT gateway '{route.hop}' of VPC '{vpc.name}' is in use: by the route to "
                          f"{', '.join(uses(vpc, route.hop))}", "delete the route first: vpcctl route-table "
                          f"delete-route --vpc {vpc.name} --name {table.name} --to {route.destination}")
    raise VpcctlError(f"route table '{table.name}' of VPC '{vpc.name}': NAT gateway '{route.hop}' does not "
                      "exist", f"create it: vpcctl nat-gateway create --vpc {vpc.name} --subnet … "
                      f"--name {route.hop}")


def _check_not_own(vpc: Vpc, table: RouteTable, route: VpcRoute) -> None:
    """A middlebox in a subnet of the table would get back what it sends on."""
    found = tables.middlebox(vpc, route) if route.via is Via.INSTANCE else None
    if found and found[0].table == table.name:
        raise VpcctlError(f"route table '{table.name}' leads {route.destination} to machine '{route.hop}', "
                          f"whose own subnet has that table: its packets would come back to it",
                          f"give subnet '{found[0].name}' another one: vpcctl route-table associate "
                          f"--vpc {vpc.name} --subnet {found[0].name} --name …")


def _check_gateway(vpc: Vpc, one: NatGateway) -> None:
    told = f"NAT gateway '{one.name}' of VPC '{vpc.name}'"
    subnet = vpc.subnet(one.subnet)
    if subnet is None:
        raise VpcctlError(f"{told}: subnet '{one.subnet}' does not exist",
                          nearest(one.subnet, [subnet.name for subnet in vpc.subnets], "add the subnet"))
    if one.address:
        others = tuple(other for other in vpc.nat_gateways if other.name != one.name)
        taken = endpoints.owners(replace(vpc, nat_gateways=others), subnet)
        addressing.check_address(one.address, subnet.cidr, vpc.cidr, taken)


def _warnings(before: Topology, topology: Topology, vpc: Vpc) -> Iterator[str]:
    old = before.vpc(vpc.name)
    peers = list(topology.peers_of(vpc.name))
    was = set(_lost(old, list(before.peers_of(vpc.name)))) if old else set()
    for table, route in _lost(vpc, peers):
        if (table, route) not in was:
            yield (f"route {route.destination} of route table '{table}' of VPC '{vpc.name}' is a blackhole "
                   f"now: {_why(vpc, route)}")
    for one in vpc.nat_gateways:
        subnet = vpc.subnet(one.subnet)
        stood = old.subnet(one.subnet) if old else None
        if subnet and not tables.is_public(vpc, subnet) and (
                old is None or stood is None or tables.is_public(old, stood)):
            yield f"NAT gateway '{one.name}' of VPC '{vpc.name}' has no way out: subnet '{subnet.name}' is " \
                "private"
        if vpc.nat is None and (old is None or one not in old.nat_gateways or old.nat):
            yield f"NAT gateway '{one.name}' of VPC '{vpc.name}' has no way out until: " \
                f"vpcctl nat enable --vpc {vpc.name}"


def _lost(vpc: Vpc, peers: list[Vpc]) -> Iterator[tuple[str, VpcRoute]]:
    for table in vpc.route_tables:
        for route in table.routes:
            if route.via is not Via.BLACKHOLE and tables.state(vpc, peers, route) is State.BLACKHOLE:
                yield table.name, route


def _why(vpc: Vpc, route: VpcRoute) -> str:
    if route.via in tables.OUTWARD:
        return f"NAT is not enabled; vpcctl nat enable --vpc {vpc.name}"
    if route.via is Via.PEER:
        return f"'{route.hop}' is not a peer"
    return f"machine '{route.hop}' does not exist"
