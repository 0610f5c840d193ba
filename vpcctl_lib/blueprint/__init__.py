"""From the topology to its resources, in the order in which they are made; pure.

The order lets consecutive steps share a command: all namespaces, all cables, then namespace by namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vpcctl_lib.blueprint import host, machines, peerings, routers
from vpcctl_lib.model import endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.resources import Namespace, Resource

if TYPE_CHECKING:
    from vpcctl_lib.blueprint.groups import Groups


def blueprint(topology: Topology) -> list[Resource]:
    """All resources, each once and after those that it needs."""
    return list(_resources(topology))


def _resources(topology: Topology) -> Iterator[Resource]:
    there = {vpc.name: endpoints.in_vpc(vpc) for vpc in topology.vpcs}
    for vpc in topology.vpcs:
        yield Namespace(vpc.name, naming.owner(vpc.name))
        yield from machines.namespaces(there[vpc.name])
    if topology.guarded:
        # Early, since it takes a while, and nothing waits for it.
        yield from (routers.guard(vpc, there[vpc.name], bool(topology.quotes)) for vpc in topology.vpcs)
    groups = _groups(topology, there)
    if groups:
        yield from (one for vpc in topology.vpcs for one in groups.roster(vpc))
    for vpc in topology.vpcs:
        yield from host.cable(vpc, routed(topology, vpc))
    for vpc in topology.vpcs:
        yield from routers.router(vpc, there[vpc.name])
    for peering in topology.peerings:
        yield from peerings.cable(topology, peering)
    for vpc in topology.vpcs:
        yield from routers.rules(topology, vpc)
    for vpc in topology.vpcs:
        peers = tuple(peer.cidr for peer in topology.peers_of(vpc.name))
        for one in there[vpc.name]:
            yield from machines.inside(vpc, one, peers)
            yield from machines.firewall(vpc, one, groups)
    yield from host.host(topology)
    for vpc in topology.vpcs:
        for one in there[vpc.name]:
            yield from machines.programs(vpc, one)


def _groups(topology: Topology, there: Mapping[str, Sequence[Endpoint]]) -> Groups | None:
    """The groups, if there are any."""
    if not any(vpc.groups for vpc in topology.vpcs):
        return None
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint.groups import Groups

    return Groups(topology, there)
