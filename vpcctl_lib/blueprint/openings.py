"""What opens the host for connections from outside: chains, and rules before all that refuses; pure."""

from __future__ import annotations

from collections.abc import Sequence

from vpcctl_lib.blueprint.parts import Openings
from vpcctl_lib.firewall import publishing
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources import Chain, Resource, SingleRule
from vpcctl_lib.resources.operations import HOST


def openings(topology: Topology, reached: Sequence[tuple[Vpc, bool]]) -> Openings:
    """Those of a topology, whose VPCs come with whether the host has a route to them."""
    chains = (
        Chain(HOST, "nat", naming.HOST_PORTS, publishing.ports(reached)),
        Chain(HOST, "nat", naming.HOST_PUBLISH, publishing.clients(reached, topology.front)),
        Chain(HOST, "nat", naming.HOST_PUBLISHED, publishing.sources(reached, topology.front)),
        Chain(HOST, "filter", naming.HOST_PUBLISHED, publishing.accepted(reached)),
    )
    return Openings(chains, _jumps(), *(tuple(part(reached)) for part in (
        publishing.forward, publishing.inward, publishing.guard, publishing.guard_out)))


def _jumps() -> tuple[Resource, ...]:
    mark = f"-m comment --comment {naming.host_mark()}"
    # Packets from outside are never for 127.0.0.0/8, whatever the host's route_localnet.
    here = "-m addrtype --dst-type LOCAL"
    return (
        SingleRule("nat", "PREROUTING", f"! -d 127.0.0.0/8 {here} {mark} -j {naming.HOST_PUBLISH}"),
        SingleRule("nat", "OUTPUT", f"{here} {mark} -j {naming.HOST_PUBLISH}"),
        # At the top: others translate what comes behind.
        SingleRule("nat", "POSTROUTING", f"-m conntrack --ctstate DNAT {mark} -j {naming.HOST_PUBLISHED}",
                   top=True),
    )
