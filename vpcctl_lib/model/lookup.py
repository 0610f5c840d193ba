"""Finding things by name; a wrong name gets the nearest right one as a hint; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.endpoints import Endpoint, Site, endpoint
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc


def find_vpc(topology: Topology, name: str) -> Vpc:
    """The VPC of that name; VpcctlError with the nearest right name if there is none."""
    vpc = topology.vpc(name)
    if vpc is None:
        raise VpcctlError(f"VPC '{name}' does not exist", nearest(name, [vpc.name for vpc in topology.vpcs],
                                                      "create it: vpcctl vpc create --name … --cidr …"))
    return vpc


def find_subnet(topology: Topology, vpc_name: str, name: str) -> tuple[Vpc, Subnet]:
    """The subnet of that name with its VPC; VpcctlError with the nearest right name if there is none."""
    vpc = find_vpc(topology, vpc_name)
    subnet = vpc.subnet(name)
    if subnet is None:
        raise VpcctlError(f"subnet '{name}' does not exist in VPC '{vpc_name}'",
                          nearest(name, [subnet.name for subnet in vpc.subnets],
                                  f"add it: vpcctl subnet add --vpc {vpc_name} --name … --cidr …"))
    return vpc, subnet


def find_endpoint(topology: Topology, site: Site) -> Endpoint:
    """The machine at that place; VpcctlError with the nearest right name if there is none."""
    vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
    return endpoint(vpc, subnet, find_machine(subnet, site))


def find_machine(subnet: Subnet, site: Site) -> Machine:
    """The machine of that name in its subnet; VpcctlError with the nearest right name if there is none."""
    machine = subnet.machine(site.machine)
    if machine is None:
        place = f"{site.vpc}/{site.subnet}"
        names = [one.name for one in subnet.machines if one.name]
        otherwise = f"its own machine is {place}" if site.machine and subnet.machine() else \
            f"add one: vpcctl instance add --vpc {site.vpc} --subnet {site.subnet} --name …"
        raise VpcctlError(f"machine '{site.machine}' does not exist in {place}" if site.machine else
                          f"{place} has no machine of its own", nearest(site.machine, names, otherwise))
    return machine


def has_subnet(topology: Topology, vpc_name: str, name: str) -> bool:
    """Whether there is a subnet of that name in a VPC of that name."""
    vpc = topology.vpc(vpc_name)
    return vpc is not None and vpc.subnet(name) is not None


def nearest(name: str, names: Collection[str], otherwise: str) -> str:
    """A hint: the name that was probably meant, the existing names, or what to do if there are none."""
    meant = close(name, names, alike=0.5)
    if meant:
        return f"did you mean '{meant}'?"
    return f"use one of: {', '.join(sorted(names)[:20])}" if names else otherwise


def close(name: str, names: Iterable[str], alike: float = 0.6) -> str:
    """The most similar of the names, if one is similar enough (0 is not at all, 1 is equal); else empty."""
    # Imported late: only a wrong name needs it.
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, list(names), n=1, cutoff=alike)), "")
