"""What lets connections into VPCs: published ports and elastic addresses; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vpcctl_lib.blueprint.parts import Openings
from vpcctl_lib.firewall import elastic, publishing
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.elastic import Working, working, working_in
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources import Announced, Chain, Resource, Route, SingleRule
from vpcctl_lib.resources.operations import HOST

Reached = Sequence[tuple[Vpc, bool]]
MARK = f"-m comment --comment {naming.host_mark()}"


def openings(topology: Topology, reached: Reached) -> Openings:
    """Those of a topology, whose VPCs come with whether the host has a route to them."""
    published = _published(topology, reached) if any(vpc.is_published for vpc, _ in reached) else Openings()
    found = list(working(topology))
    whole = _elastic(topology, reached, found) if topology.pools else Openings()
    sources = (*elastic.stays(found), *(publishing.jump() if published.chains else ()))
    chains = (*published.chains, *whole.chains)
    if sources:
        # At the top of the chain that it is in: others translate what comes behind.
        jump = SingleRule("nat", "POSTROUTING", f"{MARK} -j {naming.HOST_SOURCES}", top=True)
        chains = (*chains, Chain(HOST, "nat", naming.HOST_SOURCES, sources))
        published = published._replace(jumps=(*published.jumps, jump))
    return Openings(chains, published.jumps, (*whole.forward, *published.forward),
                    (*published.inward, *whole.inward), (*published.suspect, *whole.suspect),
                    whole.genuine, (*published.guard, *whole.guard),
                    (*published.guard_out, *whole.guard_out), whole.sent)


def _published(topology: Topology, reached: Reached) -> Openings:
    senders = [(one.address, one.vpc, one.mark) for one in working(topology)]
    chains = (
        Chain(HOST, "nat", naming.HOST_PORTS, publishing.ports(reached)),
        Chain(HOST, "nat", naming.HOST_PUBLISH, publishing.clients(reached, topology.front, senders)),
        Chain(HOST, "nat", naming.HOST_PUBLISHED, publishing.sources(reached, topology.front)),
        Chain(HOST, "filter", naming.HOST_PUBLISHED, publishing.accepted(reached)),
    )
    # Packets from outside are never for 127.0.0.0/8, whatever the host's route_localnet.
    here = "-m addrtype --dst-type LOCAL"
    jumps = (
        SingleRule("nat", "PREROUTING", f"! -d 127.0.0.0/8 {here} {MARK} -j {naming.HOST_PUBLISH}"),
        SingleRule("nat", "OUTPUT", f"{here} {MARK} -j {naming.HOST_PUBLISH}"),
    )
    forward, inward, suspect, guard, guard_out = (tuple(part(reached)) for part in (
        publishing.forward, publishing.inward, publishing.suspect, publishing.guard, publishing.guard_out))
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
    return (*publishing.into_router(vpc), *elastic.into_router(working_in(topology, vpc)))


def translated(topology: Topology, vpc: Vpc) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What a router translates that comes in, and that goes out before all else."""
    found = working_in(topology, vpc)
    has_route = routed(topology, vpc)
    ports = () if has_route else publishing.at_router(vpc)
    return (*elastic.at_router_in(found), *ports), tuple(elastic.at_router_out(found, has_route))
