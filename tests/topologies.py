"""Topologies made at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from itertools import combinations, count, islice

from hypothesis import strategies as st

from tests.fields import GROUPS, Field, held, is_possible, made
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import addressing, addressing6, resolving, routing
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.outside import Elastic, Pool, Transport
from vpcctl_lib.model.policies import Acl, Group, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.tables import in_order, settled
from vpcctl_lib.model.topology import Machine, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

# Few, so that two topologies have much in common: the same, over each other, too long for a link's name.
VPC_NAMES = ("a", "vpc1", "production-europe-west", "production-europe-east")
VPC_CIDRS = tuple(map(IPv4Network, ("10.0.0.0/16", "10.0.128.0/17", "10.1.0.0/16", "172.16.0.0/12")))
SECONDARY = tuple(map(IPv4Network, ("10.2.0.0/16", "10.3.0.0/24", "192.168.0.0/22")))
SUBNET_NAMES = ("public", "private", "a-name-that-is-hashed")
ACLS = ("web", "spare")
MACHINE_NAMES = ("web1", "a", "another-that-is-hashed")


def some(names: Sequence[str], most: int) -> st.SearchStrategy[list[str]]:
    """Up to so many of the names."""
    return st.lists(st.sampled_from(names), unique=True, max_size=most)


# Made once: to make a strategy, and to find out what it can draw, takes longer than to draw from it.
workloads = st.lists(made(Workload), unique_by=lambda one: one.name, max_size=2).map(tuple)
some_machines, some_subnets, some_vpcs = some(MACHINE_NAMES, 2), some(SUBNET_NAMES, 3), some(VPC_NAMES, 3)
nobody, nothing, booleans = st.just(""), st.just(()), st.booleans()
any_machine = made(Machine, name=nobody, addresses=nothing, workloads=workloads)
any_subnet = made(Subnet, name=nobody, cidr=st.just(VPC_CIDRS[0]), machines=nothing, route_table=nobody)
any_vpc = made(Vpc, name=nobody, cidr=st.just(VPC_CIDRS[0]), link=st.just(0), subnets=nothing, groups=nothing,
               cidrs=nothing, acls=nothing, route_tables=nothing, nat_gateways=nothing)
any_group, some_groups = made(Group, name=nobody), some(GROUPS, 3)
any_acl, some_acls = made(Acl, name=nobody), some(ACLS, 2)
some_joined = held(Field(Machine, "groups"))
some_pools = st.lists(made(Pool), unique_by=lambda pool: pool.cidr, max_size=2)
any_order = {count: st.permutations(range(count)) for count in range(5)}
# Drawn one by one most are the same or over each other, and no two can be peers.
any_cidrs = st.permutations(VPC_CIDRS) | st.lists(st.sampled_from(VPC_CIDRS), min_size=3, max_size=3)
some_secondary = st.lists(st.sampled_from(SECONDARY), unique=True, max_size=2).map(sorted) | nothing
with_nat = made(Topology, vpcs=nothing, peerings=nothing)
without_nat = made(Topology, vpcs=nothing, peerings=nothing, forwarding=st.none())


@st.composite
def machines(draw: st.DrawFn, subnet: IPv4Network) -> tuple[Machine, ...]:
    """A subnet's own machine, and up to two more."""
    found = [Machine(workloads=draw(workloads), groups=draw(some_joined))]
    for number, name in enumerate(draw(some_machines)):
        first = addressing.free_address(subnet, ()) + 2 * number
        addresses = (first + 1, first) if draw(booleans) else (first,)
        found.append(replace(draw(any_machine), name=name, addresses=addresses))
    return tuple(found)


@st.composite
def subnets(draw: st.DrawFn, cidrs: Sequence[IPv4Network]) -> tuple[Subnet, ...]:
    """Up to three subnets, each a quarter of one of the CIDRs, or as much of it as a subnet can have."""
    names = draw(some_subnets)
    found = [list(islice(cidr.subnets(new_prefix=max(cidr.prefixlen + 2, addressing.WIDEST_SUBNET)), 4))
             for cidr in cidrs]
    parts = [part for some in zip(*found, strict=False) for part in some][:4]
    return tuple(replace(draw(any_subnet), name=name, cidr=part, machines=draw(machines(part)))
                 for name, part in zip(names, map(parts.__getitem__, draw(any_order[4])), strict=False))


@st.composite
def groups(draw: st.DrawFn) -> tuple[Group, ...]:
    """Up to three groups, which name each other, and groups of VPCs that may be there."""
    return tuple(replace(draw(any_group), name=name) for name in draw(some_groups))


@st.composite
def acls(draw: st.DrawFn) -> tuple[Acl, ...]:
    """Up to two network ACLs."""
    return tuple(replace(draw(any_acl), name=name) for name in draw(some_acls))


def joined(vpc: Vpc) -> Vpc:
    """The VPC with no group and no network ACL named that it does not have."""
    known = {group.name for group in vpc.groups}

    def mended(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(rule if rule.group in known or "/" in rule.group else replace(rule, group="")
                     for rule in rules)

    found = tuple(replace(group, policy=replace(
        group.policy, ingress=mended(group.policy.ingress),
        egress=None if group.policy.egress is None else mended(group.policy.egress))) for group in vpc.groups)
    acls = {"", *(acl.name for acl in vpc.acls)}
    subnets = tuple(replace(subnet, acl=subnet.acl if subnet.acl in acls else "", machines=tuple(
        replace(machine, groups=tuple(name for name in machine.groups if name in known))
        for machine in subnet.machines)) for subnet in vpc.subnets)
    return replace(vpc, groups=found, subnets=subnets)


def logged(vpc: Vpc) -> Vpc:
    """The VPC without a flow log of what it does not have, or of the same as another."""
    there = {"": {""}, **{subnet.name: {one.name for one in subnet.machines} for subnet in vpc.subnets}}
    found = {one.name: one for one in vpc.flow_logs if one.instance in there.get(one.subnet, ())}
    return replace(vpc, flow_logs=tuple(found.values()))


def copied(vpc: Vpc, is_guarded: bool) -> Vpc:
    """The VPC with mirrors to others of its machines, each with a number of its own."""
    machines = {f"{subnet.name}/{one.name}".rstrip("/"): one
                for subnet in vpc.subnets for one in subnet.machines}
    taken: set[int] = set()

    def mended(site: str, mirrors: Sequence[Mirror]) -> Iterator[Mirror]:
        others = sorted(machines.keys() - {site})
        for mirror in mirrors if others else ():
            to = others.pop(mirror.vni % len(others))
            number = next(number for number in count(mirror.vni) if number not in taken)
            taken.add(number)
            yield Mirror(to, number, mirror.plain and is_guarded and not machines[to].tap)
            if not others:
                return

    return replace(vpc, subnets=tuple(replace(subnet, machines=tuple(
        replace(one, mirrors=tuple(mended(f"{subnet.name}/{one.name}".rstrip("/"), one.mirrors)))
        for one in subnet.machines)) for subnet in vpc.subnets))


def named(vpc: Vpc) -> Vpc:
    """The VPC with no DHCP without DNS, and with records that no machine and no circle keeps it from."""
    if vpc.dns is None:
        return replace(vpc, dhcp=None)
    try:
        resolving.check(Topology((vpc,)))
    except VpcctlError:
        return replace(vpc, dns=replace(vpc.dns, records=()))
    return vpc


def apart(vpcs: Sequence[Vpc]) -> tuple[Vpc, ...]:
    """The VPCs with prefixes and published ports that are one VPC's each, and with subnets that fit these."""
    prefixes: set[IPv6Network] = set()
    ports: set[tuple[int, Transport]] = set()
    found = []
    for vpc in vpcs:
        prefix = None if vpc.ipv6 in prefixes else vpc.ipv6
        prefixes |= {prefix} if prefix else set()
        found.append(addressing6.with_parts(replace(vpc, ipv6=prefix, subnets=tuple(
            replace(subnet, ipv6=None, machines=tuple(_alone(one, ports, prefix) for one in subnet.machines))
            for subnet in vpc.subnets)), None))
    return tuple(found)


def _alone(machine: Machine, ports: set[tuple[int, Transport]], prefix: IPv6Network | None) -> Machine:
    """The machine with those published ports that are not among `ports`, which they join.

    Also without those at addresses of IPv6, unless it has one itself.
    """
    found = []
    for publish in machine.publishes:
        fits = publish.is_of(Family.INET) or prefix is not None
        if fits and (publish.port, publish.protocol) not in ports:
            ports.add((publish.port, publish.protocol))
            found.append(publish)
    return replace(machine, publishes=tuple(found))


some_routed = st.sampled_from(("", "app", "app"))
some_tables = some(("app", "main"), 2)
some_gateways = some(("nat1", "a"), 1)
some_routes = st.lists(st.tuples(st.sampled_from(tuple(map(IPv4Network, (
    "0.0.0.0/0", "10.77.0.0/16", "192.168.0.0/24")))), st.integers(0, 9)), max_size=3,
    unique_by=lambda one: one[0])


@st.composite
def routed(draw: st.DrawFn, vpc: Vpc, peers: Sequence[str]) -> Vpc:
    """The VPC with route tables and NAT gateways, as far as it has what they need."""
    public = [subnet.name for subnet in vpc.subnets if subnet.type is SubnetType.PUBLIC]
    gateways = tuple(NatGateway(name, public[-1]) for name in draw(some_gateways) if public
                     and not vpc.subnet(public[-1]).machine(name))  # type: ignore[union-attr]
    targets = [(Via.INTERNET, ""), (Via.BLACKHOLE, ""), *((Via.NAT, one.name) for one in gateways),
               *((Via.PEER, name) for name in peers),
               *((Via.INSTANCE, f"{subnet.name}/{one.name}") for subnet in vpc.subnets
                 for one in subnet.machines if one.name and one.forwards)]
    tables = tuple(RouteTable(name, 0, in_order(
        VpcRoute(destination, *targets[number % len(targets)]) for destination, number in draw(some_routes)))
        for name in draw(some_tables))
    known = {table.name for table in tables}
    names = [draw(some_routed) for _ in vpc.subnets]
    return replace(vpc, route_tables=tables, nat_gateways=gateways, subnets=tuple(
        replace(subnet, route_table=name if name in known and subnet.name not in public else "")
        for subnet, name in zip(vpc.subnets, names, strict=True)))


@st.composite
def elastic(draw: st.DrawFn, topology: Topology) -> Topology:
    """The topology with elastic addresses, some of which machines have."""
    pools = draw(some_pools)
    machines = [(vpc.name, subnet.name, machine.name) for vpc in topology.vpcs for subnet in vpc.subnets
                for machine in subnet.machines]
    places = draw(st.lists(st.sampled_from([*machines, ()]), max_size=2, unique=True)) if pools else []
    return replace(topology, pools=tuple(pools), eips=tuple(
        Elastic(pools[0].cidr[number], *place) for number, place in enumerate(places)))


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Any topology that the commands could lead to."""
    names = draw(some_vpcs)
    links = draw(any_order[len(names)])
    places = list(zip(names, draw(any_cidrs), strict=False))
    empty = [Vpc(name, cidr, link, cidrs=tuple(draw(some_secondary)))
             for link, (name, cidr) in zip(links, places, strict=True)]
    alone = [vpc.name for vpc in empty if not any(vpc.meets(other) for other in empty if other != vpc)]
    peerings = tuple(Peering.between(*pair) for pair in combinations(alone, 2) if draw(booleans))
    vpcs = apart([logged(named(joined(replace(
        draw(any_vpc), name=one.name, cidr=one.cidr, link=one.link, cidrs=one.cidrs,
        subnets=draw(subnets(one.networks)), groups=draw(groups()), acls=draw(acls()))))) for one in empty])
    parts = with_nat if any(vpc.nat for vpc in vpcs) else without_nat
    topology = replace(draw(parts), peerings=peerings, pools=())
    topology = replace(topology, vpcs=tuple(copied(vpc, topology.guarded is not False) for vpc in vpcs))
    ways = tuple(draw(routed(vpc, [one.name for one in topology.peers_of(vpc.name)]))
                 for vpc in topology.vpcs)
    with_ways = settled(Topology(), replace(topology, vpcs=ways))
    found = fronted(draw(elastic(with_ways if is_possible(fronted(with_ways)) else topology)))
    return found if is_possible(found) else Topology()


def fronted(topology: Topology) -> Topology:
    """The topology with the host's own addresses and links only if something needs them."""
    has_nat, is_open6 = any(vpc.nat for vpc in topology.vpcs), routing.opens6(topology)
    return replace(topology, front=topology.front if has_nat and routing.opens(topology) else None,
                   front6=topology.front6 if has_nat and is_open6 else None,
                   entrances=topology.entrances if is_open6 else (),
                   whole6=topology.whole6 and routing.forwards6(topology))
