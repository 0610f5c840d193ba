"""What the kernel has and an intact record lacks; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import addressing, addressing6, elastic, flowlogs, mirroring
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.outside import Elastic, Pool
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc


def united(recorded: Topology, found: Topology) -> Topology:
    """The recorded topology, with what else was found: VPCs, peerings, and what is in them.

    VpcctlError if one of them conflicts with a recorded one.
    """
    result = recorded
    for vpc in found.vpcs:
        known = recorded.vpc(vpc.name)
        if known is None:
            twin = next((one.name for one in recorded.vpcs if one.link == vpc.link), "")
            if twin:
                raise VpcctlError(f"VPC '{vpc.name}' has the link address of VPC '{twin}'",
                                  f"remove one of the two: ip netns del {vpc.name}")
            result = result.with_vpc(vpc)
        elif known.cidr == vpc.cidr:
            result = result.with_vpc(_wider(known, vpc))
    more = [peering for peering in found.peerings if peering not in recorded.peerings]
    forwarding = found.forwarding if recorded.forwarding is None else recorded.forwarding
    return replace(result, peerings=(*recorded.peerings, *more), forwarding=forwarding,
                   front=recorded.front or found.front, front6=recorded.front6 or found.front6,
                   entrances=recorded.entrances or found.entrances, whole6=recorded.whole6 or found.whole6,
                   pools=(*recorded.pools, *(pool for pool in found.pools if not _met(pool, recorded.pools))),
                   eips=(*recorded.eips, *_more(recorded, found)))


def _more(recorded: Topology, found: Topology) -> Iterator[Elastic]:
    """The additional elastic addresses of machines that have none."""
    places = {one.place for one in recorded.eips} - {None}
    return (eip for eip in found.eips if elastic.allocated(recorded, eip.address) is None
            and eip.place not in places)


def _met(pool: Pool, others: Iterable[Pool]) -> bool:
    return any(pool.cidr.overlaps(other.cidr) for other in others)


def _wider(known: Vpc, found: Vpc) -> Vpc:
    """A recorded VPC with what else is in it."""
    cidrs = [one for one in found.cidrs if not addressing.shared((one,), known.networks)]
    more = [one for one in found.groups if known.group(one.name) is None]
    acls = [one for one in found.acls if known.acl(one.name) is None]
    subnets = [_with_machines(one, found.subnet(one.name)) for one in known.subnets]
    taken = [one for one in found.subnets if known.subnet(one.name) is None
             and not any(one.cidr.overlaps(other.cidr) for other in known.subnets)
             and addressing.within((*known.networks, *cidrs), one.cidr)]
    there = {one for table in known.route_tables for one in (table.name, table.number)}
    tables = [one for one in found.route_tables if there.isdisjoint((one.name, one.number))]
    gateways = [one for one in found.nat_gateways
                if one.name not in {gateway.name for gateway in known.nat_gateways}]
    whole = _with_mirrors(known, found, replace(
        known, dns=known.dns or found.dns, dhcp=known.dhcp or found.dhcp, groups=(*known.groups, *more),
        acls=(*known.acls, *acls), subnets=(*subnets, *taken),
        route_tables=(*known.route_tables, *tables), nat_gateways=(*known.nat_gateways, *gateways),
        cidrs=tuple(sorted((*known.cidrs, *cidrs)))))
    named = {one.name for one in known.flow_logs}
    logs = [one for one in found.flow_logs if one.name not in named and _is_of(whole, one)]
    return addressing6.with_parts(replace(whole, flow_logs=(*known.flow_logs, *logs)))


def _is_of(vpc: Vpc, log: FlowLog) -> bool:
    """Whether the VPC has what the log is of."""
    return not log.subnet or (_has(vpc, Site(vpc.name, log.subnet, log.instance)) if log.instance
                              else vpc.subnet(log.subnet) is not None)


def _with_mirrors(known: Vpc, found: Vpc, vpc: Vpc) -> Vpc:
    """The VPC with the recorded mirrors, and those found whose number and way to a machine are free."""
    numbers = {one.mirror.vni for one in mirroring.in_vpc(known)}
    ways = {(one.site, one.mirror.to) for one in mirroring.in_vpc(known)}
    more = [one for one in mirroring.in_vpc(found) if one.mirror.vni not in numbers
            and (one.site, one.mirror.to) not in ways and _has(vpc, one.target)]
    for site in dict.fromkeys(one.site for one in mirroring.in_vpc(found)):
        mirrors = (*mirroring.mirrors_of(known, site), *(one.mirror for one in more if one.site == site))
        vpc = mirroring.with_mirrors(vpc, site, mirrors)
    return vpc


def _has(vpc: Vpc, site: Site) -> bool:
    subnet = vpc.subnet(site.subnet)
    return subnet is not None and subnet.machine(site.machine) is not None


def _with_machines(known: Subnet, found: Subnet | None) -> Subnet:
    """A recorded subnet with the additional machines whose addresses no recorded one has."""
    if found is None or found.cidr != known.cidr:
        return known
    own = (addressing.instance(known.cidr),)
    taken = {address for one in known.machines for address in one.addresses or own}
    more = [one for one in found.machines if known.machine(one.name) is None
            and taken.isdisjoint(one.addresses or own)]
    machines = (_with_more(one, found.machine(one.name)) for one in known.machines)
    return replace(known, machines=(*machines, *more))


def _with_more(known: Machine, found: Machine | None) -> Machine:
    """A recorded machine with the additional ports of the host that lead to it, and its bandwidth."""
    if found is None:
        return known
    more = [one for one in found.publishes if not any(map(one.meets, known.publishes))]
    return replace(known, publishes=(*known.publishes, *more), bandwidth=known.bandwidth or found.bandwidth)


def added(before: Topology, after: Topology) -> list[str]:
    """The names of the additions: `vpc2`, `vpc1/late`, `vpc1/late/web1`, `group web of vpc1`, `vpc1+vpc2`."""
    names: list[str] = []
    for vpc in after.vpcs:
        known = before.vpc(vpc.name)
        names += [vpc.name] if known is None else _added_in(known, vpc)
    names += [f"pool {one.cidr}" for one in after.pools if one not in before.pools]
    names += [f"elastic address {one.address}" for one in after.eips
              if elastic.allocated(before, one.address) is None]
    return [*names, *(f"{one.vpc1}+{one.vpc2}" for one in after.peerings if one not in before.peerings)]


def _added_in(known: Vpc, vpc: Vpc) -> Iterator[str]:
    yield from (f"CIDR {one} of {vpc.name}" for one in vpc.cidrs if one not in known.cidrs)
    yield from (f"group {one.name} of {vpc.name}" for one in vpc.groups if known.group(one.name) is None)
    yield from (f"acl {one.name} of {vpc.name}" for one in vpc.acls if known.acl(one.name) is None)
    if vpc.dns and not known.dns:
        yield f"dns of {vpc.name}"
    if vpc.dhcp and not known.dhcp:
        yield f"dhcp of {vpc.name}"
    for word, old, new in (("route table", known.route_tables, vpc.route_tables),
                           ("NAT gateway", known.nat_gateways, vpc.nat_gateways)):
        there = {one.name for one in old}
        yield from (f"{word} {one.name} of {vpc.name}" for one in new if one.name not in there)
    yield from (f"flow log {flowlogs.path(vpc.name, one)}" for one in vpc.flow_logs
                if one not in known.flow_logs)
    for subnet in vpc.subnets:
        before = known.subnet(subnet.name)
        if before is None:
            yield f"{vpc.name}/{subnet.name}"
            continue
        for one in subnet.machines:
            site, was = Site(vpc.name, subnet.name, one.name), before.machine(one.name)
            yield from [str(site)] if was is None else _added_to(site, was, one)


def _added_to(site: Site, known: Machine, machine: Machine) -> Iterator[str]:
    yield from (f"port {one.name} to {site}" for one in machine.publishes if one not in known.publishes)
    yield from (f"mirror of {site} to {one.to}" for one in machine.mirrors if one not in known.mirrors)
    if machine.bandwidth != known.bandwidth:
        yield f"bandwidth of {site}"
