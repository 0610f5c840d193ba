"""Copies of machines' packets for other machines: taken at a port of the bridge; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vpcctl_lib.blueprint.parts import Seat
from vpcctl_lib.model import addressing, mirroring, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.mirroring import Mirrored
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Copying, Loop, Passing, Port, Resource, Vxlan


def mirrors(vpc: Vpc, seats: Sequence[Seat]) -> Iterator[Resource]:
    """The ways of the copies first, and then what copies."""
    found = list(mirroring.in_vpc(vpc))
    named = {one.target for one in found}
    machines = {seat.endpoint.site: seat.endpoint for seat in seats
                if seat.machine.mirrors or Site(vpc.name, seat.subnet.name, seat.machine.name) in named}
    by_source: dict[Site, list[Mirrored]] = {}
    for one in found:
        by_source.setdefault(one.site, []).append(one)
        yield from _way(vpc, one, machines)
    for site, some in by_source.items():
        machine = machines[site]
        through = naming.shaper(site.subnet, site.machine) if machine.bandwidth and site in named else ""
        yield Copying(vpc.name, machine.port, tuple(naming.mirror(one.mirror.vni) for one in some),
                      addressing.gateway(vpc.cidr), site in named, through)


def _way(vpc: Vpc, one: Mirrored, machines: Mapping[Site, Endpoint]) -> Iterator[Resource]:
    target, vni = machines[one.target], one.mirror.vni
    device, end, owner = naming.mirror(vni), naming.mirror_end(vni), naming.mirror_owner(*one.site,
                                                                                           one.mirror.to)
    if one.mirror.plain:
        yield Loop(vpc.name, device, end)
        yield Passing(vpc.name, end, target.port, naming.mirror_mac(vni))
        yield Port(vpc.name, end, owner)
    else:
        yield Vxlan(vpc.name, device, vni, addressing.gateway(vpc.cidr), target.address)
    yield Port(vpc.name, device, owner)
