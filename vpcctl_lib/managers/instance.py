"""Machines in subnets, besides a subnet's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Address

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing, endpoints, groups, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.groups import find_group
from vpcctl_lib.model.lookup import find_endpoint, find_machine, find_subnet, find_vpc
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc


class Standing(Enum):
    """Whether a machine's namespace exists."""

    RUNNING = "running"
    MISSING = "missing"


@frozen
class Instance:
    """A machine, as recorded and as it is now."""

    where: Endpoint
    state: Standing


class InstanceManager(Manager):
    """Adds machines to subnets, lists and deletes them."""

    def add(self, site: Site, addresses: Sequence[IPv4Address] = (), forwards: bool = False,
            joined: Sequence[str] = ()) -> Change:
        """Add a machine with these addresses, by default the lowest free one; repeating changes nothing."""
        naming.check_name(site.machine, "machine")
        _check_once(addresses)

        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            existing = subnet.machine(site.machine)
            if existing is not None:
                _check_same(site, existing, addresses, forwards, joined)
                return topology
            for name in joined:
                find_group(topology, site.vpc, name)
            machine = Machine(site.machine, _checked(vpc, subnet, addresses), forwards=forwards)
            machine = groups.joined(machine, joined)
            wider = vpc.with_subnet(subnet.with_machine(machine))
            endpoints.check_room(vpc.name, wider.subnets)
            full = self.crowded(topology)
            if full:
                self.warn(full)
            return topology.with_vpc(wider)

        return self.change(decide)

    def delete(self, site: Site) -> Change:
        """Delete the machine and everything in it."""
        def decide(topology: Topology) -> Topology:
            if not _has(topology, site) and self.was_finished(lambda before: _has(before, site)):
                return topology
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            workloads = find_machine(subnet, site).workloads
            if workloads:
                self.warn(f"its workloads end with it: {', '.join(one.name for one in workloads)}")
            return topology.with_vpc(vpc.with_subnet(subnet.without_machine(site.machine)))

        return self.change(decide)

    def list(self, vpc_name: str | None = None, subnet_name: str | None = None) -> list[Instance]:
        """All machines that have a name, or those of one VPC or subnet."""
        topology = self.state().topology
        return list(self._found(topology, vpc_name, subnet_name))

    def _found(self, topology: Topology, vpc_name: str | None, subnet_name: str | None) -> Iterator[Instance]:
        there = netns.names()
        for vpc in [find_vpc(topology, vpc_name)] if vpc_name else topology.vpcs:
            subnets = [find_subnet(topology, vpc.name, subnet_name)[1]] if subnet_name else vpc.subnets
            for subnet in subnets:
                yield from (Instance(one, _standing(one.namespace in there))
                            for one in endpoints.in_subnet(vpc, subnet) if one.site.machine)

    def show(self, site: Site) -> Instance:
        """The machine of that name."""
        where = find_endpoint(self.state().topology, site)
        return Instance(where, _standing(netns.exists(where.namespace)))


def _standing(exists: bool) -> Standing:
    return Standing.RUNNING if exists else Standing.MISSING


def _has(topology: Topology, site: Site) -> bool:
    vpc = topology.vpc(site.vpc)
    subnet = vpc.subnet(site.subnet) if vpc else None
    return subnet is not None and subnet.machine(site.machine) is not None


def _check_once(addresses: Sequence[IPv4Address]) -> None:
    twice = next((one for one in addresses if addresses.count(one) > 1), None)
    if twice:
        raise BadInput(f"{twice} is given twice", "give each address once")


def _check_same(site: Site, machine: Machine, addresses: Sequence[IPv4Address], forwards: bool,
                joined: Sequence[str]) -> None:
    """Refuse to add a machine that already exists with other addresses, options or groups."""
    differs = machine.forwards != forwards
    others = bool(joined) and set(joined) != set(machine.groups)
    if differs or others or (addresses and tuple(addresses) != machine.addresses):
        told = ", ".join(map(str, machine.addresses))
        if differs:
            told += " and forwards" if machine.forwards else " and does not forward"
        if others:
            told += f", and is in {_in_groups(machine)}"
        raise VpcctlError(f"machine '{site.machine}' already exists in {site.vpc}/{site.subnet}, "
                          f"has {told}", "delete it first, or choose another name")


def _in_groups(machine: Machine) -> str:
    return ", ".join(machine.groups) if machine.groups else "no group"


def _checked(vpc: Vpc, subnet: Subnet, addresses: Sequence[IPv4Address]) -> tuple[IPv4Address, ...]:
    """These addresses, or the lowest free one; refused if another machine has one, or none can."""
    own = (addressing.instance(subnet.cidr),)
    taken = {one: machine.name for machine in subnet.machines for one in machine.addresses or own
             if isinstance(one, IPv4Address)}
    for address in addresses:
        addressing.check_address(address, subnet.cidr, vpc.cidr, taken)
    return tuple(addresses) or (addressing.free_address(subnet.cidr, taken),)
