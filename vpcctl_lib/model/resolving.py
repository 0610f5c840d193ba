"""The names of a topology: where a VPC's DNS answers, and what has which name; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model import addressing, endpoints, names
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.lookup import nearest
from vpcctl_lib.model.names import RESOLVER, Dns, Record
from vpcctl_lib.model.policies import family_of
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc

SECOND = 2
"""The address of AWS's DNS server in a VPC, counted from the first ("Amazon DNS server")."""


def resolvers(vpc: Vpc) -> tuple[IPv4Address, ...]:
    """The addresses that machines ask; none without DNS."""
    if vpc.dns is None:
        return ()
    second = vpc.cidr.network_address + SECOND
    around = next((subnet for subnet in vpc.subnets if second in subnet.cidr), None)
    taken = endpoints.owners(vpc, around) if around else {}
    return (RESOLVER,) if second in taken else (RESOLVER, second)


def listening(vpc: Vpc) -> tuple[IPv4Address, ...]:
    """All addresses where it answers: that of the router is for the host, and for the servers of peers."""
    return (*resolvers(vpc), addressing.gateway(vpc.cidr))


def domain(vpc: Vpc) -> str:
    """The domain of a VPC's names."""
    return names.domain(vpc.name, vpc.dns or Dns())


def search(vpc: Vpc, subnet: Subnet) -> list[str]:
    """Where a subnet's machines look for names that are not whole."""
    return [f"{subnet.name}.{domain(vpc)}", domain(vpc)]


def machines(vpc: Vpc) -> Iterator[tuple[str, Subnet, Machine]]:
    """The machines with their names below the VPC's domain."""
    for subnet in vpc.subnets:
        for machine in (*subnet.machines, *endpoints.gateways(vpc, subnet)):
            yield names.of_machine(subnet.name, machine.name), subnet, machine


def check(topology: Topology) -> list[str]:
    """Refuse records that no server can have; return warnings about domains that hide others."""
    for vpc in topology.vpcs:
        if vpc.dns and vpc.dns.records:
            taken = {name for name, _, _ in machines(vpc)}
            names.check_records(vpc.dns.records, taken)
    return [f"VPCs '{one.vpc1}' and '{one.vpc2}' have the same domain: neither sees the names of the other"
            for one in topology.peerings if _shared(topology, one.vpc1, one.vpc2)]


def _shared(topology: Topology, one: str, other: str) -> bool:
    first, second = topology.vpc(one), topology.vpc(other)
    return bool(first and second and first.dns and second.dns and domain(first) == domain(second))


def asked(topology: Topology, vpc: Vpc) -> tuple[Vpc, ...]:
    """The peers that its server asks for their names."""
    return tuple(peer for peer in topology.peers_of(vpc.name) if peer.dns and domain(peer) != domain(vpc)) \
        if vpc.dns else ()


class Found(NamedTuple):
    """What a name leads to: an address, and the machine that has it, if it is one."""

    address: Address | None
    """None if the machine has none of the family."""

    vpc: Vpc
    subnet: Subnet | None = None
    machine: Machine | None = None


def find(topology: Topology, text: str, family: Family = Family.INET) -> Found:
    """What that name leads to in a family; VpcctlError if no VPC has it."""
    name = text.lower().removesuffix(".")
    vpc = _home(topology, name)
    inner = name.removesuffix(f".{domain(vpc)}")
    records: tuple[Record, ...] = vpc.dns.records if vpc.dns else ()
    last, held = names.followed(inner, records)
    address = next((one for one in held if family_of(one) is family), None)
    for called, subnet, machine in machines(vpc):
        one = endpoints.endpoint(vpc, subnet, machine)
        own = one.ipv4 if family is Family.INET else one.ipv6
        if address in own or called == last or last in map(names.of_address, one.ipv4):
            return Found(address or _named(one.ipv4, own, last), vpc, subnet, machine)
    if address:
        return Found(address, vpc)
    if held:
        raise VpcctlError(f"'{text}' has no address of {family}", "ask about the other one: "
                          f"-{next(one for one in Family if one is not family).number}")
    known = [f"{one}.{domain(vpc)}" for one in (*(one for one, _, _ in machines(vpc)),
                                                *(one.name for one in records))]
    raise VpcctlError(f"'{text}' does not exist in VPC '{vpc.name}'",
                      nearest(name, known, f"see: vpcctl dns list --vpc {vpc.name}"))


def _named(addresses: tuple[IPv4Address, ...], own: Sequence[Address], name: str) -> Address | None:
    """The one of a machine's own that the name is of, else the first; each has one in either family."""
    number = next((number for number, one in enumerate(addresses) if names.of_address(one) == name), 0)
    return own[number] if number < len(own) else None


def _home(topology: Topology, name: str) -> Vpc:
    """The VPC with the longest domain that the name is in."""
    homes = [vpc for vpc in topology.vpcs if vpc.dns and name.endswith(f".{domain(vpc)}")]
    if not homes:
        raise BadInput(f"'{name}' is not a name in a VPC with DNS",
                       "see: vpcctl dns list; or turn DNS on: vpcctl dns enable --vpc …")
    return max(homes, key=lambda vpc: len(domain(vpc)))
