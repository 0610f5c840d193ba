"""Machines in subnets, besides a subnet's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import Enum
from ipaddress import IPv4Address

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.managers.attaching import check, is_same, notes, settled
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.managers.crowding import crowded
from vpcctl_lib.model import addressing, endpoints, flowlogs, groups, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.groups import find_group
from vpcctl_lib.model.guests import path_of
from vpcctl_lib.model.lookup import find_endpoint, find_machine, find_subnet, find_vpc
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.topology import Attachment, Machine, Subnet, Topology, Vpc
from vpcctl_lib.record.ledger import State
from vpcctl_lib.resources import Condition


class Standing(Enum):
    """Whether a machine's namespace exists."""

    RUNNING = "running"
    MISSING = "missing"
    ATTACHED = "attached"
    GONE = "gone"
    """Attached to a namespace that its container or path does not have any more."""


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
        def made(vpc: Vpc, subnet: Subnet, topology: Topology) -> Machine:
            full = crowded(self.host, topology)
            if full:
                self.warn(full)
            return Machine(site.machine, forwards=forwards)

        return self._put(site, addresses, joined, made,
                         lambda there: _check_same(site, there, addresses, forwards, joined))

    def attach(self, site: Site, wanted: Attachment, addresses: Sequence[IPv4Address] = (),
               joined: Sequence[str] = (), publishes: tuple[Publish, ...] = ()) -> Change:
        """Make somebody else's namespace a machine; repeating it changes nothing, or attaches it again."""
        def made(vpc: Vpc, subnet: Subnet, topology: Topology) -> Machine:
            attached = settled(self.runner, wanted, Attachment())
            for note in notes(self.runner, vpc, subnet, attached, check(self.runner, attached, site)):
                self.warn(note)
            return Machine(site.machine, attached=attached, publishes=publishes)

        self._check_again(site)
        return self._put(site, addresses, joined, made, lambda there: _check_same_attached(
            site, there, bool(there.attached) and is_same(wanted, there.attached), addresses, joined))

    def plug(self, site: Site, tap: str, addresses: Sequence[IPv4Address] = (),
             joined: Sequence[str] = ()) -> Change:
        """Make a tap in a namespace of our own, whose guest is the machine; repeating it changes nothing."""
        def made(vpc: Vpc, subnet: Subnet, topology: Topology) -> Machine:
            # Imported late: few machines are virtual ones.
            from vpcctl_lib.managers.attaching import guest

            machine = Machine(site.machine, tap=tap)
            self.warn(guest(endpoints.endpoint(
                vpc, subnet, replace(machine, addresses=_checked(vpc, subnet, addresses)))))
            return machine

        return self._put(site, addresses, joined, made, lambda there: _check_same_attached(
            site, there, there.tap == tap, addresses, joined))

    def _put(self, site: Site, addresses: Sequence[IPv4Address], joined: Sequence[str],
             made: Callable[[Vpc, Subnet, Topology], Machine], same: Callable[[Machine], None]) -> Change:
        """Put a new machine into its subnet, with its addresses and groups; one that is there stays."""
        naming.check_name(site.machine, "machine")
        _check_once(addresses)

        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            existing = subnet.machine(site.machine)
            if existing is not None:
                same(existing)
                return topology
            for name in joined:
                find_group(topology, site.vpc, name)
            machine = replace(made(vpc, subnet, topology), addresses=_checked(vpc, subnet, addresses))
            wider = vpc.with_subnet(subnet.with_machine(groups.joined(machine, joined)))
            endpoints.check_room(vpc.name, wider.subnets)
            return topology.with_vpc(wider)

        return self.change(decide)

    def _check_again(self, site: Site) -> None:
        """Have it attached again if its container was restarted."""
        state = self.state()
        entry = next((entry for entry in state.ledger if entry.resource.guest == site.namespace), None)
        if entry is None or os.geteuid() != 0:
            return
        fault = entry.resource.check(Kernel(self.runner), entry.found)
        if fault is not None and fault.condition is Condition.GONE:
            raise VpcctlError(f"machine '{site.machine}' is attached, but gone: {fault.detail}")
        if fault is not None and fault.condition in (Condition.CHANGED, Condition.MISSING):
            self.remake(entry.resource.key)

    def set(self, site: Site, bandwidth: str) -> Change:
        """Limit what a machine sends and gets, or with an empty text no longer; its connections stay."""
        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            machine = replace(find_machine(subnet, site), bandwidth=bandwidth)
            return topology.with_vpc(vpc.with_subnet(subnet.with_machine(machine)))

        return self.change(decide)

    def detach(self, site: Site) -> Change:
        """Take our cable and rules out of an attached namespace, which stays; a tap goes."""
        return self.delete(site, attached=True)

    def delete(self, site: Site, attached: bool = False) -> Change:
        """Delete the machine and everything in it."""
        def decide(topology: Topology) -> Topology:
            if not _has(topology, site) and self.was_finished(lambda before: _has(before, site)):
                return topology
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            machine = find_machine(subnet, site)
            if attached and not machine.source:
                words = f"--vpc {site.vpc} --subnet {site.subnet} --name {site.machine}"
                raise VpcctlError(f"{site} is not attached: its namespace is vpcctl's own",
                                  f"delete it: vpcctl instance delete {words}")
            workloads = machine.workloads
            if workloads:
                self.warn(f"its workloads end with it: {', '.join(one.name for one in workloads)}")
            vpc = replace(vpc, flow_logs=flowlogs.without(vpc.flow_logs, site.subnet, site.machine))
            return topology.with_vpc(vpc.with_subnet(subnet.without_machine(site.machine)))

        return self.change(decide)

    def list(self, vpc_name: str | None = None, subnet_name: str | None = None) -> list[Instance]:
        """All machines that have a name, or those of one VPC or subnet."""
        state = self.state()
        return list(self._found(state, vpc_name, subnet_name))

    def _found(self, state: State, vpc_name: str | None, subnet_name: str | None) -> Iterator[Instance]:
        topology, there = state.topology, netns.names()
        for vpc in [find_vpc(topology, vpc_name)] if vpc_name else topology.vpcs:
            subnets = [find_subnet(topology, vpc.name, subnet_name)[1]] if subnet_name else vpc.subnets
            for subnet in subnets:
                yield from (Instance(one, _standing(state, one, one.namespace in there))
                            for one in endpoints.in_subnet(vpc, subnet) if one.site.machine)

    def show(self, site: Site) -> Instance:
        """The machine of that name."""
        state = self.state()
        where = find_endpoint(state.topology, site)
        return Instance(where, _standing(state, where, netns.exists(where.namespace)))


def _standing(state: State, where: Endpoint, exists: bool) -> Standing:
    if not exists:
        return Standing.MISSING
    return Standing.RUNNING if where.is_ours else _attached(state, where)


def _attached(state: State, where: Endpoint) -> Standing:
    """Whether it is still that namespace, as far as this user can see without asking the runtime."""
    if os.geteuid() != 0:
        return Standing.ATTACHED
    facts = next((entry.found for entry in state.ledger if entry.resource.guest == where.namespace), {})
    if where.attached.container and "pid" not in facts:
        # After a lost record, only the runtime knows.
        return Standing.ATTACHED
    path = path_of(int(facts["pid"])) if where.attached.container else where.attached.path
    same = netns.number(path) == netns.inode(where.namespace)
    return Standing.ATTACHED if same else Standing.GONE


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
    if machine.source:
        raise VpcctlError(f"machine '{site.machine}' already exists in {site.vpc}/{site.subnet}, attached to "
                          f"{machine.source}", "detach it first, or choose another name")
    differs = machine.forwards != forwards
    others = bool(joined) and set(joined) != set(machine.groups)
    moved = bool(addresses) and tuple(addresses) != machine.addresses
    if differs or others or moved:
        told = ", ".join(map(str, machine.addresses))
        if differs:
            told += " and forwards" if machine.forwards else " and does not forward"
        if others:
            told += f", and is in {_in_groups(machine)}"
        raise VpcctlError(f"machine '{site.machine}' already exists in {site.vpc}/{site.subnet}, "
                          f"has {told}", _way_on(site, differs or moved))


def _check_same_attached(site: Site, machine: Machine, same: bool, addresses: Sequence[IPv4Address],
                         joined: Sequence[str]) -> None:
    """Refuse to attach a machine that already exists, unless it is attached in the `same` way."""
    others = bool(joined) and set(joined) != set(machine.groups)
    moved = bool(addresses) and tuple(addresses) != machine.addresses
    if not same or others or moved:
        told = ", ".join(map(str, machine.addresses))
        if others:
            told += f", and is in {_in_groups(machine)}"
        what = f"attached to {machine.source}" if machine.source else "with a namespace of vpcctl's own"
        raise VpcctlError(f"machine '{site.machine}' already exists in {site.vpc}/{site.subnet}, {what}, "
                          f"has {told}", _way_on(site, not same or moved))


def _way_on(site: Site, is_another: bool) -> str:
    """What to do about a machine that already exists: its groups alone can change."""
    if is_another:
        return "delete it first, or choose another name"
    return (f"change its groups: vpcctl group join --vpc {site.vpc} --subnet {site.subnet} "
            f"--instance {site.machine} --name …; or group leave")


def _in_groups(machine: Machine) -> str:
    return ", ".join(machine.groups) if machine.groups else "no group"


def _checked(vpc: Vpc, subnet: Subnet, addresses: Sequence[IPv4Address]) -> tuple[IPv4Address, ...]:
    """These addresses, or the lowest free one; refused if another machine has one, or none can."""
    taken = endpoints.owners(vpc, subnet)
    for address in addresses:
        addressing.check_address(address, subnet.cidr, vpc.cidr, taken)
    return tuple(addresses) or (addressing.free_address(subnet.cidr, taken),)
