"""What a sound record lacks of what the kernel has; pure."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.topology import Topology


def united(recorded: Topology, found: Topology) -> Topology:
    """The recorded topology as it is, with the VPCs, subnets and peerings more that were found.

    VpcctlError where one of them has what a recorded one has.
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
            taken = [one for one in vpc.subnets if known.subnet(one.name) is None
                     and not any(one.cidr.overlaps(other.cidr) for other in known.subnets)]
            result = result.with_vpc(replace(known, subnets=(*known.subnets, *taken)))
    more = [peering for peering in found.peerings if peering not in recorded.peerings]
    forwarding = found.forwarding if recorded.forwarding is None else recorded.forwarding
    return replace(result, peerings=(*recorded.peerings, *more), forwarding=forwarding)


def added(before: Topology, after: Topology) -> list[str]:
    """The names of what is more: `vpc2`, `vpc1/late`, `vpc1+vpc2`."""
    names = []
    for vpc in after.vpcs:
        known = before.vpc(vpc.name)
        if known is None:
            names.append(vpc.name)
        names += [f"{vpc.name}/{one.name}" for one in vpc.subnets
                  if known is not None and known.subnet(one.name) is None]
    return [*names, *(f"{one.vpc1}+{one.vpc2}" for one in after.peerings if one not in before.peerings)]
