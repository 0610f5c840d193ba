"""Elastic addresses: which of them work, which can be allocated, and what can't be; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model import addressing, naming, tables
from vpcctl_lib.model.endpoints import Endpoint, Site, endpoint, gateways
from vpcctl_lib.model.lookup import find_endpoint, nearest
from vpcctl_lib.model.outside import Elastic, Pool
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc

WIDEST_POOL = 8


class Working(NamedTuple):
    """An elastic address that its machine has, and that the outside reaches."""

    eip: Elastic
    pool: Pool
    vpc: Vpc
    machine: Endpoint

    @property
    def address(self) -> IPv4Address:
        """That of the outside."""
        return self.eip.address

    @property
    def private(self) -> IPv4Address:
        """The machine's own."""
        return self.machine.address

    @property
    def mark(self) -> str:
        """That of its rules."""
        return naming.elastic_mark(self.machine.site)


def allocated(topology: Topology, address: addressing.Address) -> Elastic | None:
    """The elastic address, if it is one that was allocated."""
    return next((one for one in topology.eips if one.address == address), None)


def with_eip(topology: Topology, eip: Elastic) -> Topology:
    """The topology with that elastic address added, or replacing what it was."""
    kept = [eip if old.address == eip.address else old for old in topology.eips]
    return replace(topology, eips=tuple(kept if eip in kept else [*kept, eip]))


def pool_of(topology: Topology, address: addressing.Address) -> Pool | None:
    """The pool that has an address."""
    return next((pool for pool in topology.pools if address in pool.cidr), None)


def held(topology: Topology, eip: Elastic) -> tuple[Vpc, Subnet, Machine] | None:
    """The machine or NAT gateway that has it, if there is such a one."""
    vpc = topology.vpc(eip.vpc) if eip.vpc else None
    subnet = vpc.subnet(eip.subnet) if vpc else None
    if not (vpc and subnet):
        return None
    held = (subnet.machine(eip.machine), *(one for one in gateways(vpc, subnet) if one.name == eip.machine))
    return next(((vpc, subnet, machine) for machine in held if machine), None)


def working(topology: Topology) -> Iterator[Working]:
    """Those that the outside reaches."""
    for eip in topology.eips:
        found, pool = held(topology, eip), pool_of(topology, eip.address)
        if found and pool and not why_idle(*found[:2]):
            yield Working(eip, pool, found[0], endpoint(*found))


def working_in(topology: Topology, vpc: Vpc) -> list[Working]:
    """Those of one VPC's machines."""
    return [one for one in working(topology) if one.vpc.name == vpc.name]


class Idle(NamedTuple):
    """Why an address does not work for a machine, what must be so, and the command for that."""

    why: str
    until: str
    command: str
    is_private: bool = True

    def __str__(self) -> str:
        return f"{self.why}: it works once {self.until}: {self.command}"


def why_idle(vpc: Vpc, subnet: Subnet, client: addressing.Address | None = None) -> Idle | None:
    """Why an address does not work for a machine there, if it does not. As in AWS, two things count.

    The command is for that client, or for all.
    """
    if not tables.is_public(vpc, subnet):
        return _led(vpc, subnet, client) if tables.of(vpc, subnet) else Idle(
            f"{vpc.name}/{subnet.name} is private", "the subnet is public",
            f"vpcctl subnet set --vpc {vpc.name} --name {subnet.name} --type public")
    if vpc.nat is None:
        return Idle(f"VPC '{vpc.name}' has no way out", "it has", f"vpcctl nat enable --vpc {vpc.name}",
                    is_private=False)
    return None


def _led(vpc: Vpc, subnet: Subnet, client: addressing.Address | None) -> Idle:
    """A subnet with a table of its own keeps that, and the table what it has."""
    table = tables.of(vpc, subnet)
    taken = table is not None and any(one.destination == EVERYWHERE for one in table.routes)
    to = EVERYWHERE if not taken else f"{client}/32" if client else "CIDR"
    return Idle(f"{vpc.name}/{subnet.name} is private",
                f"its route table '{subnet.table}' leads to the internet",
                f"vpcctl route-table add-route --vpc {vpc.name} --name {subnet.table} --to {to} "
                "--via internet")


def unused(topology: Topology, address: addressing.Address) -> tuple[str, str]:
    """Why no machine has an address of a pool, and the command that changes it; both may be empty."""
    eip = allocated(topology, address)
    if eip is None and pool_of(topology, address):
        return f"elastic address {address} is not allocated", f"vpcctl eip allocate --address {address}"
    if eip is not None and held(topology, eip) is None:
        return f"elastic address {address} is associated with no machine", ""
    return "", ""


def of_machine(topology: Topology, site: Site) -> Elastic | None:
    """The elastic address that a machine has."""
    return next((eip for eip in topology.eips if eip.place == tuple(site)), None)


def check_pool(topology: Topology, cidr: IPv4Network) -> None:
    """Refuse addresses that the outside can't have, or that are somebody else's."""
    for block, what in addressing.NOT_PRIVATE.items():
        if cidr.overlaps(block):
            raise BadInput(f"{cidr} can't be a pool: it is in or over {block}, {what}",
                           "use addresses that the network outside leads to this host")
    if cidr.prefixlen < WIDEST_POOL:
        raise BadInput(f"{cidr} is too wide for a pool", f"use /{WIDEST_POOL} to /32")
    for pool in topology.pools:
        if pool.cidr != cidr and pool.cidr.overlaps(cidr):
            raise VpcctlError(f"pool {cidr} overlaps pool {pool.cidr}", "choose other addresses")
    for vpc in topology.vpcs:
        met = addressing.shared(vpc.networks, (cidr,))
        if met:
            raise VpcctlError(f"pool {cidr} overlaps VPC '{vpc.name}' ({met[0]})",
                              "choose other addresses")


def check(topology: Topology) -> None:
    """Refuse addresses outside all pools, two for one machine, and pools over each other or over VPCs."""
    for pool in topology.pools:
        check_pool(topology, pool.cidr)
    seen: dict[tuple[str, str, str], Elastic] = {}
    for eip in topology.eips:
        if pool_of(topology, eip.address) is None:
            raise VpcctlError(f"elastic address {eip.address} is in no pool", _pools(topology))
        if eip.place and eip.place in seen:
            raise VpcctlError(f"{eip.associated} already has elastic address {seen[eip.place].address}",
                              f"a machine has one; take that away: vpcctl eip dissociate --address "
                              f"{seen[eip.place].address}")
        if eip.place:
            seen[eip.place] = eip


def _pools(topology: Topology) -> str:
    names = ", ".join(str(pool.cidr) for pool in topology.pools)
    return f"the pools are {names}" if names else "add one: vpcctl eip pool add CIDR"


def find(topology: Topology, address: IPv4Address) -> Elastic:
    """The elastic address; VpcctlError if it was not allocated."""
    found = allocated(topology, address)
    if found is None:
        raise VpcctlError(f"elastic address {address} is not allocated",
                          nearest(str(address), [eip.name for eip in topology.eips],
                                  f"allocate it: vpcctl eip allocate --address {address}"))
    return found


def associated(topology: Topology, address: IPv4Address, site: Site) -> tuple[Topology, list[str]]:
    """The topology in which a machine or NAT gateway has it, whoever had it before, and notes about that.

    VpcctlError if the address is not allocated, or if there is no such machine.
    """
    eip, had, notes = Elastic(address, *site), of_machine(topology, site), []
    if held(topology, eip) is None:
        find_endpoint(topology, site)
    was = find(topology, address)
    if was == eip:
        return topology, []
    if was.vpc:
        notes.append(f"{address} has moved: {was.associated} has it no more")
    if had:
        notes.append(f"{site} had {had.address}, which is free now")
        topology = with_eip(topology, Elastic(had.address))
    return with_eip(topology, eip), notes


def free(topology: Topology, taken: Collection[IPv4Address]) -> IPv4Address:
    """The lowest address of a pool that nobody has."""
    if not topology.pools:
        raise VpcctlError("there is no pool of elastic addresses", "add one: vpcctl eip pool add CIDR")
    used = {eip.address for eip in topology.eips} | set(taken)
    # Not hosts(): each address of a pool is one machine's, also its first and last.
    found = (address for pool in topology.pools for address in pool.cidr)
    lowest = next((address for address in found if address not in used), None)
    if lowest is None:
        raise VpcctlError("all addresses of all pools are already in use", "release one, or add a pool")
    return lowest
