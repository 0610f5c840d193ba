"""Topologies made at random."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from itertools import combinations, islice

from hypothesis import strategies as st

from tests.fields import GROUPS, Field, held, is_possible, made
from vpcctl_lib.model import addressing
from vpcctl_lib.model.topology import Group, Machine, Peering, Rule, Subnet, Topology, Vpc, Workload

# Few, so that two topologies have much in common: the same, over each other, too long for a link's name.
VPC_NAMES = ("a", "vpc1", "production-europe-west", "production-europe-east")
VPC_CIDRS = tuple(map(IPv4Network, ("10.0.0.0/16", "10.0.128.0/17", "10.1.0.0/16", "172.16.0.0/12")))
SUBNET_NAMES = ("public", "private", "a-name-that-is-hashed")
MACHINE_NAMES = ("web1", "a", "another-that-is-hashed")

workloads = st.lists(made(Workload), unique_by=lambda one: one.name, max_size=2).map(tuple)


@st.composite
def machines(draw: st.DrawFn, subnet: IPv4Network) -> tuple[Machine, ...]:
    """A subnet's own machine, and up to two more."""
    found = [Machine(workloads=draw(workloads), groups=draw(held(Field(Machine, "groups"))))]
    for number, name in enumerate(draw(st.lists(st.sampled_from(MACHINE_NAMES), unique=True, max_size=2))):
        first = addressing.free_address(subnet, ()) + 2 * number
        addresses = draw(st.sampled_from(((first,), (first + 1, first))))
        found.append(draw(made(Machine, name=st.just(name), addresses=st.just(addresses),
                               workloads=workloads)))
    return tuple(found)


@st.composite
def subnets(draw: st.DrawFn, vpc: IPv4Network) -> tuple[Subnet, ...]:
    """Up to three subnets, each a quarter of the VPC, or as much of it as a subnet can have."""
    names = draw(st.lists(st.sampled_from(SUBNET_NAMES), unique=True, max_size=3))
    size = max(vpc.prefixlen + 2, addressing.WIDEST_SUBNET)
    parts = draw(st.permutations(list(islice(vpc.subnets(new_prefix=size), 4))))
    return tuple(draw(made(Subnet, name=st.just(name), cidr=st.just(part), machines=machines(part)))
                 for name, part in zip(names, parts, strict=False))


@st.composite
def groups(draw: st.DrawFn) -> tuple[Group, ...]:
    """Up to three groups, which name each other, and groups of VPCs that may be there."""
    names = draw(st.lists(st.sampled_from(GROUPS), unique=True, max_size=3))
    return tuple(draw(made(Group, name=st.just(name))) for name in names)


def joined(vpc: Vpc) -> Vpc:
    """The VPC with no group named that it does not have."""
    known = {group.name for group in vpc.groups}

    def mended(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(rule if rule.group in known or "/" in rule.group else replace(rule, group="")
                     for rule in rules)

    found = tuple(replace(group, policy=replace(
        group.policy, ingress=mended(group.policy.ingress),
        egress=None if group.policy.egress is None else mended(group.policy.egress))) for group in vpc.groups)
    subnets = tuple(replace(subnet, machines=tuple(
        replace(machine, groups=tuple(name for name in machine.groups if name in known))
        for machine in subnet.machines)) for subnet in vpc.subnets)
    return replace(vpc, groups=found, subnets=subnets)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Any topology that the commands could lead to."""
    names = draw(st.lists(st.sampled_from(VPC_NAMES), unique=True, max_size=3))
    links = draw(st.permutations(range(len(names))))
    # Drawn one by one most are the same or over each other, and no two can be peers.
    cidrs = draw(st.permutations(VPC_CIDRS) | st.lists(st.sampled_from(VPC_CIDRS), min_size=3, max_size=3))
    places = list(zip(names, cidrs, strict=False))
    alone = [name for name, cidr in places
             if not any(cidr.overlaps(other) for one, other in places if one != name)]
    peerings = tuple(Peering.between(*pair) for pair in combinations(alone, 2) if draw(st.booleans()))
    vpcs = []
    for name, link, cidr in zip(names, links, cidrs, strict=False):
        vpcs.append(draw(made(Vpc, name=st.just(name), cidr=st.just(cidr), link=st.just(link),
                              subnets=subnets(cidr), groups=groups()).map(joined)))
    given = {"vpcs": st.just(tuple(vpcs)), "peerings": st.just(peerings)}
    if not any(vpc.nat for vpc in vpcs):
        given["forwarding"] = st.none()
    topology = draw(made(Topology, **given))
    return topology if vpcs and is_possible(topology) else Topology()
