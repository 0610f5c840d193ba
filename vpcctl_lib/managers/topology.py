"""A whole network from one file, and back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.files.documents import Document, Place, placed, told
from vpcctl_lib.files.topology import Reader, TopologyFile, Wanted
from vpcctl_lib.managers.base import Change, Context
from vpcctl_lib.managers.hindered import PolicyManager
from vpcctl_lib.managers.nat import AUTO, NatManager
from vpcctl_lib.managers.peer import PeerManager
from vpcctl_lib.managers.vpc import VpcManager
from vpcctl_lib.model import addressing6, endpoints, guests, kinds, mirroring
from vpcctl_lib.model.comparison import Difference, compare
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.kinds import Placed
from vpcctl_lib.model.topology import Attachment, Nat, Peering, Subnet, Topology, Vpc

Show = Callable[[Sequence[Difference]], None]


class TopologyManager(PolicyManager):
    """Makes the host match a topology file, with the same checks and the same plan as the single commands."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._vpcs = VpcManager(context, self)
        self._nat = NatManager(context, self)
        self._peers = PeerManager(context, self)
        self._tell: Callable[[], None] | None = None

    def apply(self, document: Document, folder: Path, prune: bool, show: Show) -> Change:
        """Apply what the file asks for, in one change; `show` gets the plan before anything is done.

        VPCs that the file does not name stay, unless `prune`; paths in it are relative to the folder.
        """
        file = Reader(document, folder).read()
        for warning in file.warnings:
            self.warn(warning)

        def decide(topology: Topology) -> Topology:
            self._look_around(topology, file)
            wanted = self._with_routes(topology, self._wanted(topology, file, prune), file)
            wanted = _with_mirrors(topology, addressing6.settled(topology, wanted), file)
            _check_names(wanted, file)
            self._tell = partial(show, compare(topology, wanted))
            return wanted

        change = self.change(decide)
        return self._nat.looked_after(change, tuple(wanted.name for wanted in file.vpcs))

    def agreed(self) -> None:
        """Only now: a plan that is refused would promise too much."""
        if self._tell:
            self._tell()

    def _with_routes(self, before: Topology, wanted: Topology, file: TopologyFile) -> Topology:
        """With what follows from route tables; what is wrong with a VPC's is refused at its place."""
        routing = [vpc for vpc in file.vpcs if vpc.vpc.route_tables or vpc.vpc.nat_gateways
                   or any(subnet.route_table for subnet in vpc.vpc.subnets)]
        if not routing:
            return wanted
        # Imported late: most files have none.
        from vpcctl_lib.model import route_checks, tables

        settled = tables.settled(before, wanted)
        for one in routing:
            found = settled.vpc(one.name)
            if found:
                told(one.place, partial(route_checks.check_vpc, settled, found, before.vpc(one.name)))
        return settled

    def _look_around(self, topology: Topology, file: TopologyFile) -> None:
        """What new VPCs, and new NAT, have to know of the host."""
        new = [wanted for wanted in file.vpcs if topology.vpc(wanted.name) is None]
        nat = any(wanted.interface is not None for wanted in new)
        if new:
            self.look_around(topology, lambda: self.host.routes, *((lambda: self.host.links,) if nat else ()))

    def _wanted(self, topology: Topology, file: TopologyFile, prune: bool) -> Topology:
        named = {wanted.name for wanted in file.vpcs}
        result = topology
        leaving = _moving(topology, file)
        for vpc in topology.vpcs if prune else ():
            if vpc.name not in named:
                result = result.without_vpc(vpc.name)
                leaving.add(vpc.name)
        result = _without_dropped(result, file)
        for wanted in file.vpcs:
            result = self._with_vpc(result, wanted, leaving)
            leaving.discard(wanted.name)
        _check_pools(topology, file, prune)
        return with_others(self._with_peerings(result, file, named), file.topology, prune)

    def _with_vpc(self, topology: Topology, wanted: Wanted, leaving: Collection[str]) -> Topology:
        before = topology.vpc(wanted.name)
        result, vpc = topology, before
        if vpc is None or vpc.cidr != wanted.cidr:
            result = self._placed(topology, wanted, leaving)
            vpc = next(vpc for vpc in result.vpcs if vpc.name == wanted.name)
        else:
            result = told(wanted.place.at("cidrs"), partial(
                self._vpcs.extended, topology, vpc, wanted.vpc.cidrs))
        asked = replace(wanted.vpc, link=vpc.link, routed=vpc.routed, nat=vpc.nat)
        vpc = kinds.in_order_of(before, guests.with_brought(asked, before)) if before else asked
        subnets = (_with_addresses(wanted, subnet, before) for subnet in vpc.subnets)
        vpc = replace(vpc, subnets=tuple(self._with_guests(wanted, subnet, before) for subnet in subnets))
        result = result.with_vpc(vpc)
        return result.with_vpc(replace(vpc, nat=self._uplink(result, vpc, wanted)))

    def _with_guests(self, wanted: Wanted, subnet: Subnet, before: Vpc | None) -> Subnet:
        """The subnet with the runtimes of attached containers; a new one is checked as by the command."""
        if not any(machine.attached for machine in subnet.machines):
            return subnet
        # Imported late: most files have none.
        from vpcctl_lib.managers import attaching

        was = before.subnet(subnet.name) if before else None
        place = wanted.place.at("subnets").named(subnet.name).at("instances")
        found = []
        for machine in subnet.machines:
            old = was.machine(machine.name) if was else None
            held = old.attached if old else Attachment()
            here = place.named(machine.name)
            now = told(here, partial(attaching.settled, self.runner, machine.attached, held))
            if now and now != held:
                site = Site(wanted.name, subnet.name, machine.name)
                told(here, partial(attaching.check, self.runner, now, site))
            found.append(replace(machine, attached=now))
        return replace(subnet, machines=tuple(found))

    def _placed(self, topology: Topology, wanted: Wanted, leaving: Collection[str]) -> Topology:
        """The topology with that VPC in its old position, or at the end; its CIDR is checked as if new."""
        before = topology.vpc(wanted.name)
        others = topology if before is None else replace(
            topology, vpcs=tuple(vpc for vpc in topology.vpcs if vpc.name != wanted.name))
        allowed = (wanted.allow_overlap, leaving, "allow_overlap: true")
        found = told(wanted.place.at("cidr"), lambda: self._vpcs.added(
            others, wanted.name, wanted.cidr, *allowed))
        added = told(wanted.place.at("cidrs"), lambda: self._vpcs.begun(
            found, found.vpcs[-1], wanted.vpc.cidrs, *allowed)).vpcs[-1]
        return topology.with_vpc(replace(added, link=before.link) if before else added)

    def _uplink(self, topology: Topology, vpc: Vpc, wanted: Wanted) -> Nat | None:
        """The VPC's existing NAT stays if it fits: applying twice changes nothing."""
        if wanted.interface is None:
            return None
        if vpc.nat and wanted.interface in ("", AUTO if vpc.nat.follows else vpc.nat.interface):
            return vpc.nat
        return told(wanted.place.at("nat"), lambda: self._nat.uplink(topology, vpc, wanted.interface or None))

    def _with_peerings(self, topology: Topology, file: TopologyFile, named: set[str]) -> Topology:
        """The file's peerings, and those with a VPC that it does not name."""
        asked = dict(file.peerings)
        kept = tuple(peering for peering in topology.peerings
                     if peering in asked or not {peering.vpc1, peering.vpc2} <= named)
        result = replace(topology, peerings=())
        for peering in (*kept, *(peering for peering in asked if peering not in kept)):
            result = self._joined(result, peering, asked.get(peering))
        return result

    def _joined(self, topology: Topology, peering: Peering, place: Place | None) -> Topology:
        if place is None:
            return self._peers.joined(topology, peering.vpc1, peering.vpc2)
        return told(place, lambda: self._peers.joined(topology, peering.vpc1, peering.vpc2))


def _with_mirrors(before: Topology, wanted: Topology, file: TopologyFile) -> Topology:
    """With a number for each mirror; one that can't be is refused at its VPC's place."""
    settled = mirroring.settled(before, wanted)
    for one in file.vpcs:
        found = settled.vpc(one.name)
        if found and found.is_mirrored:
            told(one.place, partial(mirroring.check_vpc, settled, found))
    return settled


def _check_pools(topology: Topology, file: TopologyFile, prune: bool) -> None:
    """Refuse a pool over one that stays because the file does not name it."""
    named = {pool.cidr for pool in file.topology.pools}
    for pool in file.topology.pools:
        for other in topology.pools if not prune else ():
            if other.cidr not in named and other.cidr.overlaps(pool.cidr):
                raise placed(VpcctlError(
                    f"pool {pool.cidr} overlaps pool {other.cidr}, which stays: the file does not name it",
                    f"delete it: vpcctl eip pool delete {other.cidr}; or with --prune, which deletes all "
                    "that the file does not name"), file.place.at("eip_pools").named(pool.name))


def with_others(topology: Topology, asked: Topology, prune: bool) -> Topology:
    """The topology with what a file asks for that is neither a VPC nor a peering.

    What the file does not name stays, unless `prune`.
    """
    for kind in kinds.inside(type(topology)):
        if kind.model not in (Vpc, Peering):
            there = {} if prune else {kind.named(one): one for one in kind.things(topology)}
            found = {kind.named(one): one for one in kind.things(asked)}
            topology = kind.put(topology, (there | found).values())
    return topology


def _with_addresses(wanted: Wanted, subnet: Subnet, before: Vpc | None) -> Subnet:
    """The subnet with an address for each machine of which the file does not say one."""
    place = wanted.place.at("subnets").named(subnet.name).at("instances")
    kept = [one.address for vpc in (wanted.vpc, before) if vpc for one in vpc.nat_gateways if one.address]
    return told(place, lambda: endpoints.addressed(
        subnet, before.subnet(subnet.name) if before else None, kept))


def _without_dropped(topology: Topology, file: TopologyFile) -> Topology:
    """The topology without the secondary CIDRs that the file no longer has: they are free for others."""
    for wanted in file.vpcs:
        vpc = topology.vpc(wanted.name)
        kept = tuple(cidr for cidr in vpc.cidrs if cidr in wanted.vpc.cidrs) if vpc else ()
        if vpc and kept != vpc.cidrs:
            topology = topology.with_vpc(replace(vpc, cidrs=kept))
    return topology


def _moving(topology: Topology, file: TopologyFile) -> set[str]:
    """The existing VPCs to which the file gives another CIDR."""
    there = {vpc.name: vpc.cidr for vpc in topology.vpcs}
    return {wanted.name for wanted in file.vpcs if there.get(wanted.name, wanted.cidr) != wanted.cidr}


def _check_names(topology: Topology, file: TopologyFile) -> None:
    """Refuse names that collide, at the place of the later one, or of the only one in the file."""
    found = kinds.collision(topology)
    for one in (found.second, found.first) if found else ():
        place = _place(one, file)
        if found and place:
            raise placed(found.refusal(one), place)


def _place(one: Placed, file: TopologyFile) -> Place | None:
    """The place of a thing in the file; None if it is in a VPC that the file does not name."""
    way = kinds.way(one.kind)
    outermost = {way[0].named(thing) for thing in way[0].things(file.topology)}
    if one.names[0] not in outermost:
        return None
    place = file.place
    for kind, name in zip(way, one.names, strict=True):
        place = place.at(kind.plural).named(name) if name else place
    return place
