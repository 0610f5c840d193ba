"""What a picture shows of the topology; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import addressing, endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.kinds import Kind, Names, inside, placed
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.outside import Elastic, Pool, Publish
from vpcctl_lib.model.policies import Acl, AclRule, Group, Policy
from vpcctl_lib.model.topology import Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

MOST = 6
"""The most machines, and the most workloads, that a picture names in a subnet; the rest is counted."""

DRAWN = (Vpc, Nat, Subnet, Policy, Workload, Peering)
"""What has a drawing of its own; pictures have a line for each other thing."""


@frozen
class Thing:
    """A thing without a drawing of its own; the facts are what its fields say."""

    kind: str
    name: str
    facts: tuple[str, ...]
    note: str = ""
    """What only pictures for people show."""

    def __str__(self) -> str:
        facts = ", ".join(filter(None, (*self.facts, self.note)))
        return " ".join(filter(None, (self.kind, self.name, facts)))


@frozen
class SubnetNode:
    """A subnet; `policy` summarises what is in force, and is empty if nothing is."""

    name: str
    cidr: str
    address: str
    public: bool
    policy: str
    workloads: tuple[str, ...]
    things: tuple[Thing, ...] = ()
    groups: tuple[str, ...] = ()
    """Those of its own machine."""

    acl: str = ""

    @property
    def decides(self) -> str:
        """Its policy, the groups of its own machine, its network ACL; empty if it has none of them."""
        joined = f"own machine in {', '.join(self.groups)}" if self.groups else ""
        edge = f"acl {self.acl}" if self.acl else ""
        return ", ".join(filter(None, (self.policy, joined, edge)))

    @property
    def kind(self) -> str:
        """The word for its kind."""
        return "public" if self.public else "private"


@frozen
class VpcNode:
    """A VPC; `uplink` is the interface that its NAT leads to, empty without NAT."""

    name: str
    cidr: str
    gateway: str
    bridge: str
    uplink: str
    peers: tuple[str, ...]
    subnets: tuple[SubnetNode, ...]
    things: tuple[Thing, ...] = ()
    cidrs: tuple[str, ...] = ()
    """The secondary ones."""

    @property
    def networks(self) -> str:
        """All of its CIDRs."""
        return ", ".join((self.cidr, *self.cidrs))


@frozen
class Graph:
    """VPCs, and the peerings between them."""

    vpcs: tuple[VpcNode, ...]
    peerings: tuple[tuple[str, str], ...]
    things: tuple[Thing, ...] = ()

    @property
    def uplinks(self) -> tuple[str, ...]:
        """The interfaces that some NAT leads to, in order of appearance."""
        return tuple(dict.fromkeys(vpc.uplink for vpc in self.vpcs if vpc.uplink))


def graph(topology: Topology) -> Graph:
    """The graph of a topology."""
    names = {vpc.name for vpc in topology.vpcs}
    peerings = tuple((one.vpc1, one.vpc2) for one in topology.peerings if {one.vpc1, one.vpc2} <= names)
    return Graph(tuple(_vpc(topology, vpc) for vpc in topology.vpcs), peerings, tuple(_things(topology)))


def brief(graph: Graph) -> Graph:
    """The graph with a count in the place of what is too much to be read."""
    return replace(graph, vpcs=tuple(
        replace(vpc, subnets=tuple(map(_brief, vpc.subnets)), things=_some(vpc.things))
        for vpc in graph.vpcs))


def _brief(subnet: SubnetNode) -> SubnetNode:
    workloads, others = subnet.workloads[:MOST], len(subnet.workloads) - MOST
    return replace(subnet, things=_some(subnet.things),
                   workloads=(*workloads, f"and {others} more") if others > 0 else workloads)


def _some(things: tuple[Thing, ...]) -> tuple[Thing, ...]:
    more = len(things) - MOST
    return (*things[:MOST], Thing(f"and {more} more", "", ())) if more > 0 else things


def _vpc(topology: Topology, vpc: Vpc) -> VpcNode:
    return VpcNode(
        vpc.name, str(vpc.cidr), str(addressing.gateway(vpc.cidr)), naming.device("br-", vpc.name),
        vpc.nat.interface if vpc.nat else "", tuple(peer.name for peer in topology.peers_of(vpc.name)),
        tuple(_subnet(vpc, one) for one in sorted(vpc.subnets, key=_rank)), (*_prefix(vpc), *_things(vpc)),
        tuple(map(str, vpc.cidrs)),
    )


def _rank(subnet: Subnet) -> bool:
    return subnet.type is not SubnetType.PUBLIC


def _subnet(vpc: Vpc, subnet: Subnet) -> SubnetNode:
    machines, own = endpoints.in_subnet(vpc, subnet), endpoints.own(vpc, subnet)
    return SubnetNode(
        subnet.name, str(subnet.cidr), str(own.address) if own else "",
        subnet.type is SubnetType.PUBLIC, _told(subnet.policy),
        tuple(_program(one, workload) for one in machines for workload in one.workloads),
        (*_prefix(subnet), *_routed(subnet), *_limited(own), *_things(subnet)),
        own.groups if own else (), subnet.acl,
    )


def _prefix(home: Vpc | Subnet) -> Iterator[Thing]:
    """Its prefix, if it has IPv6."""
    if home.ipv6:
        yield Thing("ipv6", str(home.ipv6), ())


def _routed(subnet: Subnet) -> Iterator[Thing]:
    """Its route table, if it is one of a person's own."""
    if subnet.route_table:
        yield Thing("route table", subnet.route_table, ())


def _limited(own: Endpoint | None) -> Iterator[Thing]:
    """What its own machine sends and gets at most."""
    if own and own.bandwidth:
        yield Thing("bandwidth", own.bandwidth, ())


def _things(home: object, names: Names = ()) -> Iterator[Thing]:
    """What is in a home, and in that, without a drawing of its own; what has no name is its home's own."""
    for kind in inside(type(home)):
        for one in placed(kind, kind.things(home), names) if kind.model not in DRAWN else ():
            if one.names[-1] or not kind.several:
                yield Thing(kind.word, one.path, tuple(_facts(kind, one.thing)), _note(one.thing))
            yield from _things(one.thing, one.names)


def _facts(kind: Kind, thing: Any) -> Iterator[str]:
    if type(thing) in FACTS:
        yield FACTS[type(thing)](thing)
        return
    for name in kind.own:
        # A number is the kernel's.
        value = getattr(thing, name) if name != "number" else None
        for part in value if isinstance(value, tuple) else (value,):
            if part is True:
                yield name.replace("_", " ")
            elif name == "groups":
                yield f"in {part}"
            elif not isinstance(part, (Policy, AclRule)) and part not in (None, False) \
                    and (told := str(part.value if isinstance(part, Enum) else part)):
                yield told


FACTS: dict[type, Callable[[Any], str]] = {
    Publish: lambda one: f"to port {one.to}", Pool: lambda one: f"on {one.interface}",
    FlowLog: lambda one: one.how, Mirror: lambda one: one.how,
    Elastic: lambda one: f"of {one.associated}" if one.vpc else "of nobody",
}
"""Of those whose names have the rest."""


def _note(thing: Any) -> str:
    if isinstance(thing, Acl):
        return f"{len(thing.ingress)} in, {len(thing.egress)} out"
    return _counted(thing.policy) if isinstance(thing, Group) else ""


def _program(one: Endpoint, workload: Workload) -> str:
    return f"{one.site.machine}/{workload.name}" if one.site.machine else workload.name


def _told(policy: Policy | None) -> str:
    if policy is None:
        return ""
    return f"policy: {_counted(policy)}"


def _counted(policy: Policy) -> str:
    outward = "out open" if policy.egress is None else f"{len(policy.egress)} out"
    return f"{len(policy.ingress)} in, {outward}"
