"""Every field of the model: which there are, what each may hold, and topologies that differ in one of them.

A new field is drawn and changed by its type alone. One whose type does not say enough fails here until `HELD`
says what it may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from functools import cache, wraps
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import chain, combinations
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.dear import EVERYTHING, by_lot
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import addressing6, elastic, mirroring, publishing, resolving, routing
from vpcctl_lib.model.addressing import Family, overlapping, within
from vpcctl_lib.model.flowlogs import FlowLog, Form, Traffic
from vpcctl_lib.model.groups import Called, uses
from vpcctl_lib.model.kinds import collision
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.outside import Elastic, Pool, Publish, Transport
from vpcctl_lib.model.policies import Acl, AclRule, Action, Group, Policy, Ports, Protocol, Rule, concerns
from vpcctl_lib.model.route_checks import check_vpc
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.tables import in_order, settled
from vpcctl_lib.model.topology import (
    OWN,
    Attachment,
    Machine,
    Nat,
    Peering,
    Subnet,
    SubnetType,
    Topology,
    Variant,
    Vpc,
)
from vpcctl_lib.model.workloads import Restart, Upkeep, Workload
from vpcctl_lib.workloads.upkeep import environment

WEB = "webserver-"
NAMES = ("a", "web", "a-name-that-is-hashed")
PEERS = ("vpc1", "vpc2", "vpc3")
GROUPS = ("data", "ops", "web")
FRONTS = ("203.0.113.2", "198.51.100.9")
FRONTS6 = ("2001:db8::2", "2001:db8::9")
PREFIX = "fd12:3456:789a:100::/56"
PARTS = tuple(map(IPv6Network, ("fd00:0:0:101::/64", "fd00:0:0:102::/64", "fd00:0:0:1ff::/64")))
LIST = 2
"""The most of what a list holds."""


class Field(NamedTuple):
    """A field of a class of the model."""

    kind: type
    name: str

    def __str__(self) -> str:
        return f"{self.kind.__name__}.{self.name}"


@cache
def hints(kind: type) -> Mapping[str, Any]:
    """The types of the fields of a class, by name."""
    return get_type_hints(kind)


def parts(hint: Any) -> Iterator[Any]:
    """The types that a type is made of."""
    inner = [one for one in get_args(hint) if one not in (NoneType, Ellipsis)]
    for one in inner or [hint]:
        yield from parts(one) if inner else (one,)


def classes(kind: type = Topology) -> dict[type, None]:
    """The class and all that it holds, the outermost first."""
    found = {kind: None}
    for one in fields(kind):
        for part in parts(hints(kind)[one.name]):
            found |= classes(part) if is_dataclass(part) else {}
    return found


FIELDS = [Field(kind, one.name) for kind in classes() for one in fields(kind)]

networks = st.builds(lambda address, prefix: IPv4Network((address, prefix), strict=False),
                     st.integers(0, 2**32 - 1), st.integers(1, 32))
networks6 = st.builds(lambda address, prefix: IPv6Network((address, prefix), strict=False),
                      st.integers(2**124, 2**128 - 1), st.integers(1, 128))
# 0.0.0.0/0 says no more than no network at all.
words = st.sampled_from(("x", "y=z", "ö 1"))
variables = st.dictionaries(st.sampled_from(("A", "B", "PATH")), words, max_size=LIST).map(environment)

HELD: dict[Field, st.SearchStrategy[Any]] = {
    Field(Topology, "forwarding"): st.none() | st.sampled_from(("0", "1")),
    Field(Topology, "front"): st.none() | st.sampled_from(tuple(map(IPv4Address, FRONTS))),
    Field(Topology, "front6"): st.none() | st.sampled_from(tuple(map(IPv6Address, FRONTS6))),
    Field(Topology, "entrances"): st.sampled_from((("eth0",), ("wg0", "eth0"), ())),
    Field(Topology, "pools"): st.sampled_from(((), (Pool(IPv4Network("198.51.100.0/28"), "eth0"),))),
    Field(Topology, "eips"): st.just(()),
    Field(Pool, "cidr"): st.sampled_from(tuple(map(IPv4Network, ("198.51.100.0/28", "198.51.100.96/28")))),
    Field(Pool, "interface"): st.sampled_from(("eth0", "wg0")),
    Field(Elastic, "address"): st.sampled_from(tuple(map(IPv4Address, ("198.51.100.1", "198.51.100.2")))),
    Field(Elastic, "vpc"): st.sampled_from(("", "vpc1", "vpc2")),
    Field(Elastic, "subnet"): st.sampled_from(("", "public", "dmz")),
    Field(Elastic, "machine"): st.sampled_from(("", "web1", "web2")),
    Field(Publish, "port"): st.sampled_from((53, 8080)),
    Field(Publish, "to"): st.sampled_from((53, 80)),
    Field(Publish, "listen"): st.none() | st.sampled_from(
        (*map(IPv4Address, FRONTS), *map(IPv6Address, FRONTS6))),
    Field(Vpc, "name"): st.sampled_from(NAMES),
    Field(Vpc, "cidr"): st.sampled_from(tuple(map(IPv4Network, ("10.0.0.0/15", "172.16.0.0/12")))),
    Field(Vpc, "cidrs"): st.sampled_from(tuple(tuple(map(IPv4Network, some)) for some in (
        (), ("100.64.0.0/16",), ("100.64.0.0/16", "198.18.0.0/24")))),
    Field(Vpc, "link"): st.integers(0, 9),
    Field(Vpc, "ipv6"): st.none() | st.sampled_from(
        tuple(map(IPv6Network, (PREFIX, "2a01:4f8:1:aa00::/56")))),
    Field(Vpc, "subnets"): st.just(()),
    Field(Peering, "vpc1"): st.sampled_from(PEERS),
    Field(Peering, "vpc2"): st.sampled_from(PEERS),
    Field(Nat, "interface"): st.sampled_from(("wg0", "wg1")),
    Field(Nat, "mtu"): st.sampled_from((1500, 1400, 9000)),
    Field(Nat, "resolvers"): st.sampled_from(((), (IPv4Address("8.8.8.8"),))),
    Field(Subnet, "machines"): st.sampled_from(((OWN,), ())),
    Field(Machine, "name"): st.sampled_from(NAMES),
    Field(Machine, "addresses"): st.lists(st.integers(4, 6), min_size=1, max_size=LIST, unique=True).map(
        lambda numbers: tuple(IPv4Address("10.0.1.0") + number for number in numbers)),
    Field(Attachment, "container"): st.sampled_from(("", "docker:web", "podman:db.1")),
    Field(Attachment, "path"): st.sampled_from(("", "/run/netns/lab", "/proc/77/ns/net")),
    Field(Attachment, "interface"): st.sampled_from(("eth0", "vpc0")),
    Field(Machine, "tap"): st.sampled_from(("", "", "vm0", "tap-1")),
    Field(Machine, "bandwidth"): st.sampled_from(("", "", "100mbit", "2500kbit")),
    Field(Machine, "mirrors"): st.lists(st.deferred(lambda: made(Mirror)), max_size=LIST,
                                        unique_by=lambda one: one.to).map(tuple),
    Field(Mirror, "to"): st.sampled_from(("public", "public/web1", "range/db", "private", "public/box")),
    Field(Mirror, "vni"): st.integers(1, 9),
    Field(FlowLog, "subnet"): st.sampled_from(("", "public", "private")),
    Field(FlowLog, "instance"): st.sampled_from(("", "web1", "web2")),
    Field(FlowLog, "interval"): st.sampled_from((1, 60, 600)),
    Field(Subnet, "name"): st.sampled_from(NAMES),
    Field(Subnet, "cidr"): st.sampled_from(tuple(IPv4Network("10.0.128.0/17").subnets(2))),
    Field(Subnet, "ipv6"): st.none() | st.sampled_from((*PARTS, addressing6.part(IPv6Network(PREFIX), 1))),
    Field(Subnet, "acl"): st.sampled_from(("", "", "web", "spare")),
    Field(Acl, "name"): st.sampled_from(NAMES),
    Field(Acl, "description"): words | st.just(""),
    Field(AclRule, "number"): st.integers(1, 32766),
    Field(AclRule, "network"): st.none() | networks | networks6,
    Field(AclRule, "description"): words | st.just(""),
    Field(Policy, "description"): words | st.just(""),
    Field(Rule, "network"): st.none() | networks | networks6,
    Field(Rule, "description"): words | st.just(""),
    Field(Rule, "group"): st.sampled_from(("", "", "web", "data", "vpc2/ops")),
    # Something in the kernel depends on it.
    Field(Group, "policy"): st.deferred(lambda: made(
        Policy, ingress=st.lists(made(Rule), min_size=1, max_size=LIST).map(tuple))),
    Field(Group, "name"): st.sampled_from((*NAMES, "ops")),
    Field(Dns, "domain"): st.sampled_from(("", "corp.internal", "a.b")),
    Field(Dns, "forward"): st.sampled_from(((), (IPv4Address("1.1.1.1"),), (IPv6Address("2001:db8::53"),))),
    Field(Dns, "records"): st.deferred(lambda: st.lists(
        made(Record), max_size=LIST, unique_by=lambda one: one.name).map(tuple)),
    Field(Dhcp, "ntp"): st.sampled_from(((), (IPv4Address("192.168.1.7"),))),
    Field(Dhcp, "lease"): st.none() | st.sampled_from((120, 43200)),
    Field(Record, "name"): st.sampled_from(("db", "www.app", "x")),
    Field(Record, "addresses"): st.sampled_from(((), (IPv4Address("10.0.1.9"),),
                                                 (IPv4Address("10.0.1.9"), IPv6Address("2001:db8::9")))),
    Field(Record, "cname"): st.sampled_from(("", "web1.public", "data")),
    Field(VpcRoute, "destination"): st.sampled_from(tuple(map(IPv4Network, (
        "0.0.0.0/0", "10.77.0.0/16", "10.78.0.0/16")))),
    Field(VpcRoute, "hop"): st.sampled_from(("nat1", "vpc1", "vpc3", "public/box", "public/gone")),
    Field(RouteTable, "name"): st.sampled_from((*NAMES, "main")),
    Field(RouteTable, "number"): st.integers(1, 9),
    Field(RouteTable, "routes"): st.deferred(lambda: st.lists(
        made(VpcRoute), min_size=1, max_size=LIST, unique_by=lambda one: one.destination).map(in_order)),
    Field(NatGateway, "name"): st.sampled_from(NAMES),
    Field(NatGateway, "subnet"): st.sampled_from(("public", "private")),
    Field(NatGateway, "address"): st.sampled_from(tuple(map(IPv4Address, ("192.168.0.11", "192.168.0.12")))),
    Field(Subnet, "route_table"): st.sampled_from(("", "app")),
    Field(Machine, "groups"): st.lists(st.sampled_from(GROUPS), max_size=LIST, unique=True).map(
        lambda names: tuple(sorted(names))),
    Field(Ports, "first"): st.integers(1, 65535),
    Field(Ports, "last"): st.integers(1, 65535),
    Field(Workload, "name"): st.sampled_from(NAMES),
    Field(Workload, "argv"): st.lists(words, max_size=LIST).map(tuple),
    Field(Workload, "port"): st.none() | st.sampled_from((80, 81)),
    Field(Workload, "user"): st.sampled_from(("", "nobody", "daemon")),
    Field(Workload, "pids"): st.none() | st.sampled_from((7, 8)),
    Field(Workload, "memory"): st.none() | st.sampled_from((64 << 20, 1 << 30)),
    Field(Upkeep, "env"): variables,
    Field(Upkeep, "workdir"): st.sampled_from(("", "/srv")),
    Field(Upkeep, "stop_signal"): st.sampled_from(("", "INT", "QUIT")),
    Field(Upkeep, "stop_timeout"): st.none() | st.sampled_from((0, 90)),
    Field(Upkeep, "log_max"): st.none() | st.sampled_from((64 << 10, 20 << 20)),
}
"""What a field may hold whose type says too little: a text, a number, a network."""


@cache
def held(field: Field) -> st.SearchStrategy[Any]:
    """What a field may hold: by `HELD`, or else by its type."""
    return HELD[field] if field in HELD else _of(hints(field.kind)[field.name], field)


def _of(hint: Any, field: Field) -> st.SearchStrategy[Any]:
    if hint is bool:
        return st.booleans()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return made(hint)
    inner = [one for one in get_args(hint) if one not in (NoneType, Ellipsis)]
    if get_origin(hint) in (Union, UnionType) and len(inner) == 1:
        return st.none() | _of(inner[0], field)
    if get_origin(hint) is tuple and len(inner) == 1:
        return st.lists(_of(inner[0], field), max_size=LIST).map(tuple)
    raise AssertionError(f"{field} holds {hint}: write into HELD what that may be")


def made(kind: type, **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A value of that class with every field drawn, and as a person could have asked for it."""
    every = {one.name: given[one.name] if one.name in given else held(Field(kind, one.name))
             for one in fields(kind)}
    assert given.keys() <= every.keys()
    built = st.builds(kind, **every)
    return built.map(MENDED[kind]).filter(is_sound) if kind in MENDED else built


def _ordered(ports: Ports) -> Ports:
    return Ports(*sorted((ports.first, ports.last)))


def _with_ports(rule: Rule) -> Rule:
    """Only for TCP and UDP with ports, and of one family."""
    network = rule.network if any(concerns(rule, family) for family in Family) else None
    ports = rule.ports if rule.protocol in (Protocol.TCP, Protocol.UDP) else None
    return replace(rule, ports=ports, network=network)


def _with_ports_too(rule: AclRule) -> AclRule:
    network = rule.network if any(concerns(rule, family) for family in Family) else None
    ports = rule.ports if rule.protocol in (Protocol.TCP, Protocol.UDP) else None
    return replace(rule, ports=ports, network=network)


def _numbered(acl: Acl) -> Acl:
    """The rules sorted by their numbers, one for each."""
    ingress, egress = ({rule.number: rule for rule in rules} for rules in (acl.ingress, acl.egress))
    return replace(acl, ingress=tuple(ingress[number] for number in sorted(ingress)),
                   egress=tuple(egress[number] for number in sorted(egress)))


def _of_one(rule: Rule) -> Rule:
    """For TCP and UDP with ports, and for a network or a group."""
    return replace(_with_ports(rule), network=None) if rule.group else _with_ports(rule)


def _ungrouped(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(replace(rule, group="") for rule in rules)


def _of_subnet(subnet: Subnet) -> Subnet:
    """A subnet's policy names no groups."""
    held = subnet.policy
    return replace(subnet, policy=held and replace(
        held, ingress=_ungrouped(held.ingress),
        egress=None if held.egress is None else _ungrouped(held.egress)))


def _allowing(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(replace(rule, action=Action.ALLOW) for rule in rules)


def _of_group(group: Group) -> Group:
    """A group only allows."""
    held = group.policy
    return replace(group, policy=replace(
        held, default=Action.DENY, ingress=_allowing(held.ingress),
        egress=None if held.egress is None else _allowing(held.egress)))


def _kept(workload: Workload) -> Workload:
    """A program, or one of our web servers, whose name tells its port and which has less to choose."""
    if workload.port is None:
        return workload
    upkeep = replace(workload.upkeep, env=(), workdir="", stop_signal="")
    return replace(workload, name=f"{WEB}{workload.port}", argv=(), user="", upkeep=upkeep)


def _in_order(peering: Peering) -> Peering:
    return Peering.between(peering.vpc1, peering.vpc2)


def _one_of_both(attached: Attachment) -> Attachment:
    """A container or a path, and only then another interface."""
    if not attached:
        return Attachment()
    return replace(attached, path="") if attached.container else attached


def _others_programs(machine: Machine) -> Machine:
    """In an attached machine only its owner starts programs; a virtual one does not forward, either."""
    if machine.tap:
        return replace(machine, workloads=(), attached=Attachment(), forwards=False)
    return replace(machine, workloads=()) if machine.attached else machine


def _of_kind(route: VpcRoute) -> VpcRoute:
    """A route with a name of what it leads to, if that has one."""
    known = {Via.NAT: "nat", Via.PEER: "vpc", Via.INSTANCE: "public/"}.get(route.via)
    if known is None:
        return replace(route, hop="")
    first = {Via.NAT: "nat1", Via.PEER: "vpc1", Via.INSTANCE: "public/box"}[route.via]
    return route if route.hop.startswith(known) else replace(route, hop=first)


def _either(record: Record) -> Record:
    """Addresses, or another name."""
    if record.addresses:
        return replace(record, cname="")
    return record if record.cname else replace(record, cname="web1.public")


MENDED: dict[type, Callable[[Any], Any]] = {
    VpcRoute: _of_kind, RouteTable: lambda table: replace(table, routes=in_order(table.routes)),
    Ports: _ordered, Rule: _of_one, Workload: _kept, Peering: _in_order, Attachment: _one_of_both,
    Machine: _others_programs, Subnet: _of_subnet, Group: _of_group, AclRule: _with_ports_too,
    Acl: _numbered, Record: _either,
    FlowLog: lambda log: log if log.subnet else replace(log, instance="")}
"""What one field says of another of the same class."""


def is_sound(value: Any) -> bool:
    """Whether the fields of a value agree."""
    if isinstance(value, Workload) and not value.argv and value.port is None:
        return False
    if isinstance(value, Peering) and value.vpc1 == value.vpc2:
        return False
    mended = MENDED.get(type(value))
    return mended is None or value == mended(value)


def is_possible(topology: Topology) -> bool:
    """Whether the commands could lead to it."""
    has_nat = any(vpc.nat for vpc in topology.vpcs)
    is_open, is_open6 = routing.opens(topology), routing.opens6(topology)
    names, links = ([getattr(vpc, name) for vpc in topology.vpcs] for name in ("name", "link"))
    peers = {name for peering in topology.peerings for name in (peering.vpc1, peering.vpc2)}
    return (collision(topology) is None and len(set(links)) == len(links) and peers <= set(names)
            and (has_nat or routing.forwards(topology) or topology.forwarding is None)
            and _has_ports(topology) and _has_prefixes(topology) and _has_elastic(topology)
            and (has_nat and is_open or topology.front is None) and all(map(_has_room, topology.vpcs))
            and (routing.forwards6(topology) or not topology.whole6)
            and (is_open6 or not topology.entrances) and (has_nat and is_open6 or topology.front6 is None)
            and all(is_sound(place.value) for place in places(topology)) and _has_groups(topology)
            and all(map(_has_acls, topology.vpcs)) and all(map(_has_logged, topology.vpcs))
            and _is_routed(topology) and _has_names(topology) and _is_copied(topology)
            and all(not one.meets(other) for vpc in topology.vpcs
                    for one, other in combinations((vpc, *topology.peers_of(vpc.name)), 2)))


def _has_elastic(topology: Topology) -> bool:
    """Whether each elastic address is in a pool, and a machine has it at most."""
    try:
        elastic.check(topology)
    except VpcctlError:
        return False
    if len({eip.address for eip in topology.eips}) < len(topology.eips):
        return False
    return all(elastic.held(topology, eip) if eip.vpc else eip.place is None and not eip.subnet + eip.machine
               for eip in topology.eips)


def _has_ports(topology: Topology) -> bool:
    """Whether each port of the host leads to one machine."""
    try:
        publishing.check(topology)
    except VpcctlError:
        return False
    return True


def _is_copied(topology: Topology) -> bool:
    """Whether each mirror leads to another machine, by a number of its own."""
    try:
        mirroring.check(topology, topology)
    except VpcctlError:
        return False
    return mirroring.settled(topology, topology) == topology and all(
        len({one.to for one in machine.mirrors}) == len(machine.mirrors)
        for vpc in topology.vpcs for subnet in vpc.subnets for machine in subnet.machines)


def _has_prefixes(topology: Topology) -> bool:
    """Whether each subnet of a VPC with IPv6 has a part of its prefix, and no other has any."""
    try:
        return addressing6.settled(topology, topology) == topology
    except VpcctlError:
        return False


def _is_routed(topology: Topology) -> bool:
    """Whether its route tables and NAT gateways fit together, each with a name and a number of its own."""
    for vpc in topology.vpcs:
        own = (*({table.name for table in vpc.route_tables}), *({one.number for one in vpc.route_tables}),
               *({one.name for one in vpc.nat_gateways}))
        twice = any(len({one.destination for one in table.routes}) != len(table.routes)
                    for table in vpc.route_tables)
        if twice or len(own) != 2 * len(vpc.route_tables) + len(vpc.nat_gateways):
            return False
        try:
            check_vpc(topology, vpc, vpc)
        except VpcctlError:
            return False
    return settled(topology, topology) == topology


def _has_groups(topology: Topology) -> bool:
    """Whether each group is there that a machine is in, or that a rule of its own VPC names."""
    named = [use.of for use in uses(topology) if use.of.vpc == use.by.vpc]
    joined = [Called(vpc.name, name) for vpc in topology.vpcs for subnet in vpc.subnets
              for machine in subnet.machines for name in machine.groups]
    there = [Called(vpc.name, group.name) for vpc in topology.vpcs for group in vpc.groups]
    return {*named, *joined} <= set(there) and len(set(there)) == len(there)


def _has_names(topology: Topology) -> bool:
    """Whether each record has a name of its own, and none leads in a circle."""
    try:
        resolving.check(topology)
    except VpcctlError:
        return False
    return all(vpc.dns or not vpc.dhcp for vpc in topology.vpcs)


def _has_acls(vpc: Vpc) -> bool:
    """Whether each network ACL is there that a subnet has."""
    there = [acl.name for acl in vpc.acls]
    return {subnet.acl for subnet in vpc.subnets} <= {"", *there} and len(set(there)) == len(there)


def _has_logged(vpc: Vpc) -> bool:
    """Whether each flow log is of something that is there, and of nothing that another one is of."""
    there = {FlowLog().name, *(subnet.name for subnet in vpc.subnets),
             *(f"{subnet.name}/{one.name}" for subnet in vpc.subnets for one in subnet.machines if one.name)}
    found = [log.name for log in vpc.flow_logs]
    return set(found) <= there and len(set(found)) == len(found)


def _has_room(vpc: Vpc) -> bool:
    cidrs = [subnet.cidr for subnet in vpc.subnets]
    return (all(within(vpc.networks, cidr) for cidr in cidrs) and not overlapping(cidrs)
            and not overlapping(vpc.networks) and list(vpc.cidrs) == sorted(vpc.cidrs)
            and all(map(_has_addresses, vpc.subnets)))


def _has_addresses(subnet: Subnet) -> bool:
    """Whether each machine but its own has addresses that are nobody else's."""
    own = subnet.machine()
    others = [machine for machine in subnet.machines if machine != own]
    addresses = [address for machine in others for address in machine.addresses]
    plain = replace(own, workloads=(), groups=(), publishes=(), bandwidth="", mirrors=()) if own else OWN
    return (plain == OWN and all(one.name and one.addresses for one in others)
            and len(set(addresses)) == len(addresses) and all(one in subnet.cidr for one in addresses))


POLICY = Policy(
    (Rule(Protocol.TCP, Action.ALLOW, Ports(80, 90), IPv4Network("10.9.0.0/16"), "in"),
     Rule(Protocol.ALL, Action.DENY)),
    (Rule(Protocol.UDP, Action.ALLOW, Ports(53, 53)),), description="all of it")
PROGRAM = Workload("worker", ("sleep", "9"), None, "nobody", 7, 64 << 20,
                   Upkeep(("A=1",), "/srv", "INT", 90, Restart.ALWAYS, 64 << 10))
ALLOWED = Policy(
    (Rule(Protocol.TCP, Action.ALLOW, Ports(5432, 5432), None, "of the app", "web"),
     Rule(Protocol.TCP, Action.ALLOW, Ports(22, 22), None, "", "vpc2/ops"),
     Rule(Protocol.ICMP, Action.ALLOW, None, IPv4Network("10.9.0.0/16"))),
    (Rule(Protocol.UDP, Action.ALLOW, Ports(53, 53)),), description="the data")
EDGE = Acl("edge", (
    AclRule(90, Protocol.ALL, Action.DENY, None, IPv4Network("10.9.0.0/16"), "them"),
    AclRule(100, Protocol.TCP, Action.ALLOW, Ports(80, 90))), (
    AclRule(100, Protocol.UDP, Action.ALLOW, Ports(53, 53), IPv4Network("10.9.0.1/32")),
    AclRule(32766, Protocol.ICMP, Action.ALLOW)), "all that passes")
FULL = Topology(
    (Vpc("vpc1", IPv4Network("10.0.0.0/16"), 1, True, Nat("eth0", 1400, (IPv4Address("9.9.9.9"),)), (
        Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC, POLICY,
               (Machine(workloads=(PROGRAM, Workload(f"{WEB}90", port=90))),
                Machine("web1", (IPv4Address("10.0.1.4"),), forwards=True, groups=("web",),
                        workloads=(Workload("job", ("sleep", "1")),),
                        mirrors=(Mirror("range/db", 7), Mirror("private", 1, True)),
                        publishes=(Publish(8080, 80, listen=IPv4Address("203.0.113.2")),
                                   Publish(5353, 53, Transport.UDP))),
                Machine("web2", (IPv4Address("10.0.1.7"),), bandwidth="100mbit")), "edge"),
        Subnet("private", IPv4Network("10.0.2.0/24"), machines=(
            Machine(publishes=(Publish(81, 80),), bandwidth="1gbit", mirrors=(Mirror("public/web1", 3),)),)),
        Subnet("range", IPv4Network("10.0.4.0/24"), machines=(
            Machine("db", (IPv4Address("10.0.4.4"),), groups=("data", "web")),
            Machine("spare", (IPv4Address("10.0.4.5"),)),
            Machine("box", (IPv4Address("10.0.4.6"),), Attachment("docker:web", interface="vpc0")),
            Machine("lab", (IPv4Address("10.0.4.7"),), Attachment(path="/run/netns/lab")),
            Machine("vm", (IPv4Address("10.0.4.8"), IPv4Address("10.0.4.9")), tap="vm0", groups=("web",))),
            acl="edge"),
        Subnet("more", IPv4Network("10.50.1.0/24"), SubnetType.PUBLIC, machines=(
            Machine("far", (IPv4Address("10.50.1.4"),)),)),
        Subnet("dmz", IPv4Network("10.0.3.0/24"), SubnetType.PUBLIC)), groups=(
            Group("web", Policy(egress=(Rule(Protocol.TCP, Action.ALLOW, None, None, "", "data"),))),
            Group("data", ALLOWED), Group("spare")), acls=(EDGE, Acl("spare")),
         cidrs=(IPv4Network("10.40.0.0/24"), IPv4Network("10.50.0.0/16"))),
     Vpc("vpc2", IPv4Network("192.168.0.0/24"), 2, nat=Nat("eth1", 1400), subnets=(
         Subnet("public", IPv4Network("192.168.0.0/25"), SubnetType.PUBLIC,
                machines=(Machine(groups=("ops",)),
                          Machine("web1", (IPv4Address("192.168.0.9"),), publishes=(
                              Publish(82, 80, listen=IPv6Address("2001:db8::2")), Publish(83, 80))),
                          Machine("box", (IPv4Address("192.168.0.10"),), forwards=True)), ipv6=PARTS[0]),
         Subnet("private", IPv4Network("192.168.0.128/25"), route_table="app", ipv6=PARTS[1])),
         ipv6=IPv6Network("fd00:0:0:100::/56"), groups=(Group("ops"),), route_tables=(
             RouteTable("app", 1, (VpcRoute(IPv4Network("0.0.0.0/0"), Via.INSTANCE, "public/box"),
                                   VpcRoute(IPv4Network("10.0.0.0/17"), Via.PEER, "vpc1"))),
             RouteTable("main", 2, (VpcRoute(IPv4Network("10.76.0.0/16"), Via.BLACKHOLE),))),
         nat_gateways=(NatGateway("nat1", "public", IPv4Address("192.168.0.7")),
                       NatGateway("nat2", "public", IPv4Address("192.168.0.8")))),
     Vpc("vpc3", IPv4Network("192.168.1.0/24"), 3, dns=Dns("corp.internal", (IPv4Address("1.1.1.1"),), (
         Record("db", (IPv4Address("192.168.1.9"), IPv6Address("2001:db8::9"))),
         Record("www", cname="db"))), dhcp=Dhcp((IPv4Address("192.168.1.9"),), 43200),
         ipv6=IPv6Network(PREFIX)),
     Vpc("lab", IPv4Network("192.168.2.0/24"), 5, nat=Nat("eth2", 1400), subnets=(
         Subnet("web", IPv4Network("192.168.2.0/25"), SubnetType.PUBLIC,
                ipv6=IPv6Network("fd00:0:0:301::/64")),), ipv6=IPv6Network("fd00:0:0:300::/56")),
     Vpc("office", IPv4Network("172.16.0.0/16"), 4, dns=Dns(), subnets=(
         Subnet("public", IPv4Network("172.16.1.0/24"), machines=(
             OWN, Machine("web1", (IPv4Address("172.16.1.4"),)),
             Machine("web2", (IPv4Address("172.16.1.5"),)))),
         ), flow_logs=(FlowLog(), FlowLog("public", "web2", Traffic.REJECT, 10, Form.JSON)))),
    (Peering("vpc1", "vpc2"), Peering("vpc2", "vpc3")), Variant.LEGACY, True, True, "0",
    IPv4Address("203.0.113.2"), (Pool(IPv4Network("198.51.100.0/29"), "eth0"),
                                 Pool(IPv4Network("198.51.100.64/28"), "eth0")), (
        Elastic(IPv4Address("198.51.100.1"), "vpc1", "public", "web1"),
        Elastic(IPv4Address("198.51.100.3"), "vpc2", "public"), Elastic(IPv4Address("198.51.100.5")),
        Elastic(IPv4Address("198.51.100.6"), "vpc1", "private")), IPv6Address("2001:db8::2"), ("eth0",))
"""One of each kind of thing at least; what is the default here is another value in a change."""


Way = tuple[tuple[str, int | None], ...]


class Place(NamedTuple):
    """A value somewhere in a topology, and the way to it."""

    way: Way
    value: Any


def places(value: Any, way: Way = ()) -> Iterator[Place]:
    """The value, and all of the model's that it holds."""
    yield Place(way, value)
    for name in holders(type(value)):
        inner = getattr(value, name)
        many = isinstance(inner, tuple)
        for number, part in enumerate(inner if many else (inner,)):
            if part is not None:
                yield from places(part, (*way, (name, number if many else None)))


@cache
def holders(kind: type) -> tuple[str, ...]:
    """The fields in which a class holds others of the model."""
    return tuple(one.name for one in fields(kind) if any(map(is_dataclass, parts(hints(kind)[one.name]))))


def at(topology: Any, way: Way) -> Any:
    """The value at the end of that way; None if anything on it is missing."""
    for name, number in way:
        inner = getattr(topology, name, None)
        topology = inner if number is None else inner[number] if inner and number < len(inner) else None
    return topology


def put(topology: Any, way: Way, value: Any) -> Any:
    """The topology with that value at the end of that way."""
    if not way:
        return value
    (name, number), *rest = way
    inner = getattr(topology, name)
    if number is None:
        return replace(topology, **{name: put(inner, tuple(rest), value)})
    changed = put(inner[number], tuple(rest), value)
    return replace(topology, **{name: (*inner[:number], changed, *inner[number + 1:])})


def without(topology: Topology, those: Collection[Field]) -> Topology:
    """The topology with their defaults in place of those fields."""
    return _without(topology, those)  # type: ignore[no-any-return]


def _without(value: Any, those: Collection[Field]) -> Any:
    kind = type(value)
    changed = {name: _each(getattr(value, name), those) for name in holders(kind)}
    defaults = {one.name: one.default for one in fields(kind) if Field(kind, one.name) in those}
    assert MISSING not in defaults.values()
    return replace(value, **changed | defaults)


def _each(inner: Any, those: Collection[Field]) -> Any:
    if isinstance(inner, tuple):
        return tuple(_without(one, those) for one in inner)
    return None if inner is None else _without(inner, those)


@cache
def changes(field: Field) -> tuple[Topology, ...]:
    """FULL with that one field changed, in each place where the rest allows it; at least one.

    Without --slow, in one of these places: of each field in the same one each time, of all in many.
    """
    return tuple(_changes(field).values())


@cache
def _changes(field: Field) -> dict[Way, Topology]:
    """They, by the place."""
    there = [place for place in places(FULL) if type(place.value) is field.kind]
    found = _changed(there, field) if EVERYTHING else _first(by_lot(there, len(there), field), field)
    assert found, f"{field}: nothing in FULL can have another value of it"
    return found


def each_field(test: Callable[[Field], None]) -> Callable[[Any], None]:
    """Try it with each field; without --slow, in one test all fields of a class: each test takes a moment."""
    if EVERYTHING:
        return pytest.mark.parametrize("field", FIELDS, ids=str)(test)
    of = {kind: [one for one in FIELDS if one.kind is kind] for kind in classes()}

    @wraps(test)
    def several(field: Field | type) -> None:
        for one in (field,) if isinstance(field, Field) else of[field]:
            test(one)

    return pytest.mark.parametrize("field", list(of), ids=lambda kind: kind.__name__)(several)


TOGETHER = pytest.mark.beside("fields")
IN_TURN: Sequence[Any] = FIELDS if EVERYTHING else (pytest.param(None, marks=TOGETHER),)
"""Each field with --slow; else None, for several at once: what is equal as a whole has lost none of them."""

ALONE = ((), "guarded")
"""Where this is another, much else is not there."""


def with_changes(field: Field | None) -> Iterable[Topology]:
    """The changes of the field, or of all fields, in as few networks as can have them."""
    return changes(field) if field else [one.network for one in together()]


class Several(NamedTuple):
    """A network with several changes, and their new values by place and name."""

    network: Topology
    values: Mapping[tuple[Way, str], Any]


@cache
def together() -> list[Several]:
    """Possible networks, in one of which each field is changed."""
    found: list[Several] = []
    for way, network in (next(iter(_changes(field).items())) for field in FIELDS):
        before, after = at(FULL, way), at(network, way)
        alone = Several(network, {(way, one.name): new for one in fields(after)
                                  if (new := getattr(after, one.name)) != getattr(before, one.name)})
        fitting = ((number, both) for number, some in enumerate(found)
                   if ALONE not in {*some.values, *alone.values} and (both := _both(some, alone, way)))
        number, both = next(fitting, (len(found), alone))
        found[number:number + 1] = [both]
    return found


def _both(some: Several, one: Several, way: Way) -> Several | None:
    """The network with one change more, at the end of that way, if it is possible and keeps all of them."""
    old = at(some.network, way)
    if old is None:
        return None
    values = {**some.values, **one.values}
    value = replace(old, **{name: new for (_, name), new in one.values.items()})
    network: Topology = put(some.network, way, value)
    is_whole = all((held := at(network, place)) is not None and getattr(held, name) == new
                   for (place, name), new in values.items())
    is_fine = is_whole and is_sound(value) and is_possible(network) and _has_one_mtu_each(network)
    return Several(network, values) if is_fine else None


def _has_one_mtu_each(topology: Topology) -> bool:
    """Whether an interface has one MTU, as on any host."""
    found = {(vpc.nat.interface, vpc.nat.mtu) for vpc in topology.vpcs if vpc.nat}
    return len(found) == len({interface for interface, _ in found})


def _first(some: Sequence[Place], field: Field) -> dict[Way, Topology]:
    """The change in the first of these places that allows one."""
    return next(filter(None, (_changed((place,), field) for place in some)), {})


def _changed(some: Iterable[Place], field: Field) -> dict[Way, Topology]:
    """By place FULL with the first other value of that field there that fits."""
    fitting = ((place.way, next(_fitting(place, field), None)) for place in some)
    return {way: changed for way, changed in fitting if changed}


def _fitting(place: Place, field: Field) -> Iterator[Topology]:
    """FULL with each other value of that field there that fits."""
    old = getattr(place.value, field.name)
    # One less, of several: what more there could be depends on what is there.
    less = isinstance(old, tuple) and old and is_dataclass(old[0])
    for other in (old[:-1],) if less else chain.from_iterable(drawn(field, many) for many in (FEW, MANY)):
        value = _with(place.value, field, other)
        if other != old and is_sound(value) and is_possible(changed := put(FULL, place.way, value)):
            yield changed


FEW, MANY = 10, 30
"""Examples: most fields need no more than a few, and to draw takes longer than all else.

Hypothesis begins with the simplest where there are at least ten.
"""


@cache
def drawn(field: Field, many: int) -> tuple[Any, ...]:
    """What hypothesis draws for a field, each value once: to draw anew for each place takes far longer."""
    found: dict[Any, None] = {}

    @settings(max_examples=many, phases=(Phase.generate,), derandomize=True, database=None, deadline=None)
    @given(held(field))
    def draw(value: Any) -> None:
        found[value] = None

    draw()
    return tuple(found)


def _with(value: Any, field: Field, other: Any) -> Any:
    if field == Field(Workload, "port") and None not in (value.port, other):
        return replace(value, port=other, name=f"{WEB}{other}")
    if field == Field(FlowLog, "subnet"):
        return replace(value, subnet=other, instance="")
    if field == Field(NatGateway, "subnet"):
        return replace(value, subnet=other, address=IPv4Address("192.168.0.140"))
    return replace(value, **{field.name: other})

