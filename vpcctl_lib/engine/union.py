"""What the kernel has and an intact record lacks; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import addressing
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.topology import Subnet, Topology, Vpc


def united(recorded: Topology, found: Topology) -> Topology:
    """The recorded topology, with what else was found: VPCs, groups, ACLs, subnets, machines and peerings.

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
    return replace(result, peerings=(*recorded.peerings, *more), forwarding=forwarding)


def _wider(known: Vpc, found: Vpc) -> Vpc:
    """A recorded VPC with the additional groups, ACLs, subnets and machines."""
    more = [one for one in found.groups if known.group(one.name) is None]
    acls = [one for one in found.acls if known.acl(one.name) is None]
    subnets = [_with_machines(one, found.subnet(one.name)) for one in known.subnets]
    taken = [one for one in found.subnets if known.subnet(one.name) is None
             and not any(one.cidr.overlaps(other.cidr) for other in known.subnets)]
    return replace(known, groups=(*known.groups, *more), acls=(*known.acls, *acls),
                   subnets=(*subnets, *taken))


def _with_machines(known: Subnet, found: Subnet | None) -> Subnet:
    """A recorded subnet with the additional machines whose addresses no recorded one has."""
    if found is None or found.cidr != known.cidr:
        return known
    own = (addressing.instance(known.cidr),)
    taken = {address for one in known.machines for address in one.addresses or own}
    more = [one for one in found.machines if known.machine(one.name) is None
            and taken.isdisjoint(one.addresses or own)]
    return replace(known, machines=(*known.machines, *more))


def added(before: Topology, after: Topology) -> list[str]:
    """The names of the additions: `vpc2`, `vpc1/late`, `vpc1/late/web1`, `group web of vpc1`, `vpc1+vpc2`."""
    names: list[str] = []
    for vpc in after.vpcs:
        known = before.vpc(vpc.name)
        names += [vpc.name] if known is None else _added_in(known, vpc)
    return [*names, *(f"{one.vpc1}+{one.vpc2}" for one in after.peerings if one not in before.peerings)]


def _added_in(known: Vpc, vpc: Vpc) -> Iterator[str]:
    yield from (f"group {one.name} of {vpc.name}" for one in vpc.groups if known.group(one.name) is None)
    yield from (f"acl {one.name} of {vpc.name}" for one in vpc.acls if known.acl(one.name) is None)
    for subnet in vpc.subnets:
        before = known.subnet(subnet.name)
        if before is None:
            yield f"{vpc.name}/{subnet.name}"
            continue
        yield from (str(Site(vpc.name, subnet.name, one.name)) for one in subnet.machines
                    if before.machine(one.name) is None)
