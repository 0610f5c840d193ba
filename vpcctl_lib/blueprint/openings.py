"""What lets connections into VPCs: published ports and elastic addresses; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from vpcctl_lib.blueprint.parts import Openings
from vpcctl_lib.firewall import elastic, publishing
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.elastic import Working, working, working_in
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources import Announced, Chain, Resource, Route, SingleRule
from vpcctl_lib.resources.operations import HOST

Reached = Sequence[tuple[Vpc, bool]]
Senders = Sequence[tuple[IPv4Address, Vpc, str]]
MARK = f"-m comment --comment {naming.host_mark()}"

HERE = {Family.INET: (("PREROUTING", "! -d 127.0.0.0/8 ", naming.HOST_PUBLISH),
                      ("OUTPUT", "", naming.HOST_PUBLISH)),
        Family.INET6: (("PREROUTING", "! -d fe80::/10 ", naming.HOST_PUBLISH),
                       ("OUTPUT", "! -d fe80::/10 ", naming.HOST_PORTS))}
"""Hooks, what is not for published ports there, and where the rest goes. Packets from outside are never for
127.0.0.0/8, whatever the host's route_localnet; nothing is sent on that is for an address of one link only
(RFC 4291, 2.5.6). By IPv6, it matters by which link a packet came, and the host's own came by none."""


def openings(topology: Topology, reached: Reached) -> Openings:
    """Those of a topology, whose VPCs come with whether the host has a route to them."""
    has_ports = any(vpc.is_published for vpc, _ in reached)
    senders = [(one.address, one.vpc, one.mark) for one in working(topology)]
    published = _published(reached, topology.front, senders) if has_ports else Openings()
    found = list(working(topology))
    whole = _elastic(topology, reached, found) if topology.pools else Openings()
    sources = (*elastic.stays(found), *(publishing.jump() if published.chains else ()))
    chains = (*published.chains, *whole.chains)
    if sources:
        chains = (*chains, Chain(HOST, "nat", naming.HOST_SOURCES, sources))
        published = published._replace(jumps=(*published.jumps, _to_sources(Family.INET)))
    return Openings(chains, published.jumps, (*whole.forward, *published.forward),
                    (*published.inward, *whole.inward), (*published.suspect, *whole.suspect),
                    whole.genuine, (*published.guard, *whole.guard),
                    (*published.guard_out, *whole.guard_out), whole.sent)


def openings6(topology: Topology) -> Openings:
    """Those of IPv6: published ports of the VPCs that have it."""
    reached = [(vpc, True) for vpc in topology.vpcs if vpc.ipv6]
    found = _published(reached, topology.front6, (), Family.INET6, topology.entrances)
    chain = Chain(HOST, "nat", naming.HOST_SOURCES, publishing.jump(), family=Family.INET6)
    return found._replace(chains=(*found.chains, chain), jumps=(*found.jumps, _to_sources(Family.INET6)))


def _to_sources(family: Family) -> SingleRule:
    """At the top of the chain that it is in: others translate what comes behind."""
    return SingleRule("nat", "POSTROUTING", f"{MARK} -j {naming.HOST_SOURCES}", top=True, family=family)


def _published(reached: Reached, front: Address | None, senders: Senders,
               family: Family = Family.INET, entrances: Sequence[str] = ("",)) -> Openings:
    chains = tuple(Chain(HOST, table, name, rules, family=family) for table, name, rules in (
        ("nat", naming.HOST_PORTS, publishing.ports(reached, family)),
        ("nat", naming.HOST_PUBLISH, publishing.clients(reached, front, family, entrances, senders)),
        ("nat", naming.HOST_PUBLISHED, publishing.sources(reached, front, family)),
        ("filter", naming.HOST_PUBLISHED, publishing.accepted(reached, family)),
    ))
    local = f"-m addrtype --dst-type LOCAL {MARK}"
    jumps = tuple(SingleRule("nat", chain, f"{here}{local} -j {to}", family=family)
                  for chain, here, to in HERE[family])
    forward, inward, guard, guard_out = (tuple(part(reached, family)) for part in (
        publishing.forward, publishing.inward, publishing.guard, publishing.guard_out))
    suspect = tuple(publishing.suspect(reached)) if family is Family.INET else ()
    return Openings(chains, jumps, forward, inward, suspect, (), guard, guard_out)


def _elastic(topology: Topology, reached: Reached, found: Sequence[Working]) -> Openings:
    front = topology.front
    listed = Chain(HOST, "filter", naming.HOST_ELASTIC_TO,
                   (*elastic.targets(found), *elastic.noted(topology, found)))
    if not found:
        return Openings((listed,))
    chains = (
        listed,
        Chain(HOST, "filter", naming.HOST_ELASTIC, tuple(elastic.senders(found, reached, front))),
        Chain(HOST, "nat", naming.HOST_ELASTIC_TO, tuple(elastic.seen(reached, front))),
    )
    return Openings(chains, (), *(tuple(part(found)) for part in (
        elastic.forward, elastic.inward, elastic.suspect, elastic.genuine, elastic.guard,
        elastic.guard_out, elastic.sent)))


def addresses(topology: Topology) -> Iterator[Resource]:
    """The way to each elastic address: the host has none of them itself, and answers for them outside."""
    for one in working(topology):
        cable = naming.device("vpc-", one.vpc.name)
        yield Route(HOST, addressing.single(one.address), cable, addressing.router_end(one.vpc.link))
        yield Announced(one.pool.interface, one.address, str(one.machine.site))


def inward(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a router lets in."""
    return (*publishing.into_router(vpc, Family.INET), *elastic.into_router(working_in(topology, vpc)))


def translated(topology: Topology, vpc: Vpc) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a router translates that comes in, and that goes out before all else."""
    found = working_in(topology, vpc)
    has_route = routed(topology, vpc)
    ports = () if has_route else publishing.at_router(vpc)
    return (*elastic.at_router_in(found), *ports), tuple(elastic.at_router_out(found, has_route))
