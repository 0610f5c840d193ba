"""A peering: the cable between two routers, and what each needs to use it; pure."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.blueprint.links import altname
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.topology import Peering, Topology
from vpcctl_lib.resources import Address, Port, Resource, Route, Veth


def cable(topology: Topology, peering: Peering) -> Iterator[Resource]:
    """An unnumbered cable between two routers: each end has its VPC's gateway address."""
    one, other = topology.vpc(peering.vpc1), topology.vpc(peering.vpc2)
    if one is None or other is None:
        return
    ends = [(one, other), (other, one)]
    devices = [naming.device("pcx-", far.name) for _, far in ends]
    yield Veth(one.name, devices[0], other.name, devices[1])
    mark = naming.peering_owner(peering.vpc1, peering.vpc2)
    for (near, far), device in zip(ends, devices, strict=True):
        beyond = addressing.gateway(far.cidr)
        yield Port(near.name, device, mark)
        yield from altname(near.name, "pcx-", far.name)
        yield Address(near.name, device, addressing.interface(addressing.gateway(near.cidr), 32), peer=beyond)
        for network in far.networks:
            yield Route(near.name, network, device, beyond)
    if one.ipv6 and other.ipv6:
        # Imported late: most networks have no IPv6.
        from vpcctl_lib.blueprint import dual

        yield from dual.peering(topology, peering)
