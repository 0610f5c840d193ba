"""Machines in the network: what follows from a machine's place and addresses; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from enum import Enum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.policies import Policy
from vpcctl_lib.model.topology import Attachment, Machine, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

Interface = IPv4Interface | IPv6Interface


class Site(NamedTuple):
    """A machine's place; the subnet's own machine has no name."""

    vpc: str
    subnet: str
    machine: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))

    @property
    def namespace(self) -> str:
        """The namespace, if it is one of ours."""
        return naming.namespace(*self)

    @property
    def owner(self) -> str:
        """The mark of what belongs to it."""
        return naming.owner(*self)


class Stand(Enum):
    """Where a machine's rules are: the table of iptables, and its chains for what comes in and goes out."""

    ENDS = ("filter", "INPUT", "OUTPUT")
    """For what ends or begins there."""

    LINK = (naming.POLICY_TABLE, "PREROUTING", "POSTROUTING")
    """For all that passes its link, also what it forwards; `filter` and `nat` are the machine's own, or those
    of the owner of its namespace."""

    def __init__(self, table: str, incoming: str, outgoing: str) -> None:
        self.table = table
        self.incoming = incoming
        self.outgoing = outgoing


class Gateway(Machine):
    """A NAT gateway as a machine: it forwards, with its own address as source."""


@frozen
class Endpoint:
    """A machine as the network has it."""

    site: Site
    namespace: str
    """Its name. One that somebody else made has it besides others."""

    port: str
    """The link of the VPC's router that leads to it."""

    addresses: tuple[Interface, ...]
    """The first is IPv4, with the prefix length of its subnet; those of IPv6 are alone on the link."""

    policy: Policy | None = None
    workloads: tuple[Workload, ...] = ()
    forwards: bool = False
    attached: Attachment = Attachment()
    groups: tuple[str, ...] = ()
    publishes: tuple[Publish, ...] = ()
    translates: bool = False
    """Whether it is a NAT gateway, which no policy governs."""

    tap: str = ""
    """The link behind which a virtual machine has its addresses."""

    bandwidth: str = ""

    @cached_property
    def mac(self) -> str:
        """The MAC of its link. Computed on demand: commands that only list machines need no digest."""
        return naming.instance_mac(self.site.vpc, self.address)

    @property
    def ipv4(self) -> tuple[IPv4Address, ...]:
        """Its IPv4 addresses."""
        return tuple(one.ip for one in self.addresses if isinstance(one, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Address, ...]:
        """Its IPv6 addresses; none unless its VPC has IPv6."""
        return tuple(one.ip for one in self.addresses if isinstance(one, IPv6Interface))

    @property
    def ips(self) -> tuple[addressing.Address, ...]:
        """Its addresses of both families."""
        return (*self.ipv4, *self.ipv6)

    def at(self, family: addressing.Family) -> addressing.Address | None:
        """Its first address of a family, by which others reach it; None if it has none."""
        held: tuple[addressing.Address, ...] = self.ipv4 if family is addressing.Family.INET else self.ipv6
        return next(iter(held), None)

    @property
    def families(self) -> tuple[addressing.Family, ...]:
        """Those of its addresses."""
        return tuple(addressing.Family) if self.ipv6 else (addressing.Family.INET,)

    @property
    def address(self) -> IPv4Address:
        """The first address, which determines its MAC, and by which others know it."""
        return self.ipv4[0]

    @property
    def is_ours(self) -> bool:
        """Whether the namespace is one that we make and remove."""
        return not self.attached

    @property
    def stand(self) -> Stand:
        """Where the rules of its groups, or of its subnet's policy, are."""
        return Stand.LINK if self.attached or self.forwards or self.tap else Stand.ENDS

    @property
    def interface(self) -> str:
        """Its end of its cable."""
        return self.attached.interface


def endpoint(vpc: Vpc, subnet: Subnet, machine: Machine) -> Endpoint:
    """A machine of a subnet of a VPC."""
    site = Site(vpc.name, subnet.name, machine.name)
    translates = isinstance(machine, Gateway)
    ipv4 = _addresses(subnet, machine)
    # A NAT gateway translates IPv4.
    ipv6 = () if translates else _addresses6(subnet, ipv4)
    return Endpoint(site, site.namespace, naming.port(subnet.name, machine.name), (*ipv4, *ipv6),
                    None if translates else subnet.policy, machine.workloads, machine.forwards,
                    machine.attached, machine.groups, machine.publishes, translates, machine.tap,
                    machine.bandwidth)


def _addresses(subnet: Subnet, machine: Machine) -> list[IPv4Interface]:
    chosen = [one for one in machine.addresses if isinstance(one, IPv4Address)]
    held = chosen or [addressing.instance(subnet.cidr)]
    return [addressing.interface(one, subnet.cidr.prefixlen) for one in held]


def _addresses6(subnet: Subnet, addresses: Iterable[IPv4Interface]) -> tuple[IPv6Interface, ...]:
    """One for each: neighbours are not looked for, so none has others on its link."""
    prefix = subnet.ipv6
    if prefix is None:
        return ()
    # Imported late: most networks have no IPv6.
    from vpcctl_lib.model.addressing6 import machine

    return tuple(IPv6Interface(machine(prefix, subnet.cidr, one.ip)) for one in addresses)


def own(vpc: Vpc, subnet: Subnet) -> Endpoint | None:
    """The subnet's own machine, as in the article; None for a bare subnet."""
    machine = subnet.machine()
    return endpoint(vpc, subnet, machine) if machine else None


def gateways(vpc: Vpc, subnet: Subnet) -> tuple[Machine, ...]:
    """The NAT gateways in a subnet, as machines."""
    return tuple(Gateway(one.name, (one.address,) if one.address else (), forwards=True)
                 for one in vpc.nat_gateways if one.subnet == subnet.name)


def in_subnet(vpc: Vpc, subnet: Subnet) -> tuple[Endpoint, ...]:
    """All machines of a subnet but NAT gateways."""
    return tuple(endpoint(vpc, subnet, machine) for machine in subnet.machines)


def owners(vpc: Vpc, subnet: Subnet) -> dict[IPv4Address, str]:
    """Whose each taken address of a subnet is, NAT gateways' too, as a message says it."""
    machines = {address: addressing.owner(one.site.machine) for one in in_subnet(vpc, subnet)
                for address in one.ipv4}
    return machines | {one.address: f"NAT gateway '{one.name}'" for one in vpc.nat_gateways
                       if one.subnet == subnet.name and one.address}


def following(vpc: Vpc, subnet: Subnet) -> tuple[Endpoint, ...]:
    """The machines that its policy decides about: those in no group."""
    return tuple(one for one in in_subnet(vpc, subnet) if not one.groups)


def all_in_subnet(vpc: Vpc, subnet: Subnet) -> tuple[Endpoint, ...]:
    """All machines of a subnet, its NAT gateways last."""
    return tuple(endpoint(vpc, subnet, machine) for machine in (*subnet.machines, *gateways(vpc, subnet)))


def in_vpc(vpc: Vpc) -> tuple[Endpoint, ...]:
    """All machines of a VPC, subnet by subnet, with NAT gateways."""
    return tuple(one for subnet in vpc.subnets for one in all_in_subnet(vpc, subnet))


def everywhere(topology: Topology) -> Iterator[Endpoint]:
    """All machines of a topology, VPC by VPC."""
    for vpc in topology.vpcs:
        yield from in_vpc(vpc)


def namespaces(topology: Topology) -> Iterator[str]:
    """The names of all namespaces of a topology."""
    for vpc in topology.vpcs:
        yield vpc.name
        yield from (naming.namespace(vpc.name, subnet.name, machine.name)
                    for subnet in vpc.subnets for machine in (*subnet.machines, *gateways(vpc, subnet)))


def check_room(vpc: str, subnets: Collection[Subnet], gateways: int = 0) -> None:
    """Refuse more machines than the VPC's bridge has ports."""
    machines = sum(len(subnet.machines) for subnet in subnets) + gateways
    addressing.check_count(vpc, machines, "subnets" if machines == len(subnets) else "machines")


def addressed(subnet: Subnet, before: Subnet | None, kept: Iterable[IPv4Address] = ()) -> Subnet:
    """The subnet with an address for each machine: the one that it had, else the lowest free one.

    The `kept` ones are others'.
    """
    taken = {*kept, *(one for machine in subnet.machines for one in machine.addresses
                      if isinstance(one, IPv4Address))}
    had = {machine.name: machine.addresses for machine in before.machines} if before else {}
    chosen: dict[str, tuple[IPv4Address, ...]] = {}
    open_ones = [machine.name for machine in subnet.machines if machine.name and not machine.addresses]
    # Those that have one first: nobody else may get it.
    for name in sorted(open_ones, key=lambda name: name not in had):
        kept = tuple(one for one in had.get(name, ()) if isinstance(one, IPv4Address)
                     and one in subnet.cidr and one not in taken)
        chosen[name] = kept or (addressing.free_address(subnet.cidr, taken),)
        taken |= set(chosen[name])
    return replace(subnet, machines=tuple(
        replace(machine, addresses=chosen[machine.name]) if machine.name in chosen else machine
        for machine in subnet.machines)) if chosen else subnet
