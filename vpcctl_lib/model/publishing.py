"""The ports of the host that lead to machines: which there are, and which can't be together; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from itertools import combinations
from typing import NamedTuple

from vpcctl_lib.errors import BadInput, VpcctlError, quoted
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Address, Family, parse_address
from vpcctl_lib.model.endpoints import Endpoint, Site, endpoint
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Topology, Vpc

LAST_PORT = 65535
EXAMPLE = 'write for example "8080:80", "5353:53/udp", "203.0.113.2:8080:80" or "[2001:db8::2]:8080:80"'
_WRITTEN = re.compile(r"(?:(?P<listen>[0-9.]+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]):)?"
                      r"(?P<port>[0-9]{1,5}):(?P<to>[0-9]{1,5})(?:/(?P<protocol>tcp|udp))?", re.ASCII)


class Published(NamedTuple):
    """A published port, and the machine that it leads to."""

    vpc: Vpc
    machine: Endpoint
    publish: Publish

    @property
    def site(self) -> Site:
        """The machine's place."""
        return self.machine.site

    @property
    def mark(self) -> str:
        """That of its rules."""
        return naming.publish_mark(*self.site)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Those of the machine that it leads to: one of each family that it has."""
        found = ((family, self.machine.at(family)) for family in Family if self.publish.is_of(family))
        return tuple(address for _, address in found if address)


def parse(text: str) -> Publish:
    """A port as docker's -p writes it: [ADDRESS:]HOST:PORT[/PROTOCOL], an address of IPv6 in brackets."""
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise BadInput(f"{quoted(repr(text))} is not a published port", EXAMPLE)
    listen = parse_listen(found["listen"].strip("[]")) if found["listen"] else None
    protocol = Transport(found["protocol"] or Transport.TCP.value)
    return checked(Publish(int(found["port"]), int(found["to"]), protocol, listen))


def parse_listen(text: str) -> Address:
    """An address of the host, of either family; BadInput if it is none."""
    if ":" not in text:
        return parse_address(text)
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise BadInput(f"{quoted(repr(text))} is not an IPv6 address",
                       "write for example 2001:db8::2, without brackets and link") from None


def checked(publish: Publish) -> Publish:
    """The same; refused if it can't be."""
    for port in (publish.port, publish.to):
        if not 1 <= port <= LAST_PORT:
            raise BadInput(f"{port} is not a port", f"a port is a number from 1 to {LAST_PORT}")
    if publish.listen is not None and (publish.listen.is_multicast or publish.listen.is_unspecified):
        raise BadInput(f"{publish.listen} is not an address of one host",
                       "name one of the host's addresses, or leave it out for all of them")
    if isinstance(publish.listen, IPv4Address) and publish.listen in addressing.LINKS:
        raise BadInput(f"{publish.listen} is among the addresses of vpcctl's own links ({addressing.LINKS})",
                       "name another address of the host, or leave it out for all of them")
    if isinstance(publish.listen, IPv6Address):
        _check_sixth(publish.listen)
    return publish


def _check_sixth(listen: IPv6Address) -> None:
    if listen.ipv4_mapped:
        raise BadInput(f"{listen} stands for IPv4, and no packet has it", f"write {listen.ipv4_mapped}")
    if listen.is_link_local:
        raise BadInput(f"{listen} is known on one link only, and the kernel sends on nothing from there",
                       "name another address of the host, or leave it out for all of them")


def in_vpc(vpc: Vpc) -> Iterator[Published]:
    """All published ports of a VPC's machines."""
    for subnet in vpc.subnets:
        for machine in subnet.machines:
            if machine.publishes:
                where = endpoint(vpc, subnet, machine)
                yield from (Published(vpc, where, one) for one in machine.publishes)


def of_family(vpc: Vpc, family: Family) -> list[Published]:
    """Those that packets of a family can be for, and whose machines have an address of it."""
    return [one for one in in_vpc(vpc) if one.publish.is_of(family) and one.machine.at(family)]


def published(topology: Topology) -> Iterator[Published]:
    """All published ports."""
    for vpc in topology.vpcs:
        yield from in_vpc(vpc)


def check(topology: Topology, before: Topology | None = None) -> None:
    """Refuse two that a packet could be for, or that one VPC could not tell apart; of two the new one.

    Also one at an address of a family that its VPC lacks, and a new one at an address of a VPC.
    """
    had = {(one.site, one.publish) for one in published(before)} if before else set()
    by_port: dict[tuple[int, Transport], list[Published]] = {}
    for one in sorted(published(topology), key=lambda one: (one.site, one.publish) not in had):
        _check_family(one)
        if (one.site, one.publish) not in had:
            _check_outside(topology, one.publish.listen)
        by_port.setdefault((one.publish.port, one.publish.protocol), []).append(one)
    for found in by_port.values():
        for one, other in combinations(found, 2):
            check_together(topology, one, other)


def _check_family(one: Published) -> None:
    if not one.addresses:
        raise VpcctlError(f"port {one.publish.name} of the host can't lead to {one.site}: VPC "
                          f"'{one.vpc.name}' has no IPv6",
                          f"give it a prefix: vpcctl vpc set --name {one.vpc.name} --ipv6 auto")


def _check_outside(topology: Topology, listen: Address | None) -> None:
    """The host has one address in the prefix of each VPC, and only as long as there is that VPC."""
    for vpc in topology.vpcs:
        if vpc.ipv6 is not None and isinstance(listen, IPv6Address) and listen in vpc.ipv6:
            raise VpcctlError(f"{listen} is among the addresses of VPC '{vpc.name}' ({vpc.ipv6})",
                              "name another address of the host, or leave it out for all of them")


def refuse(one: Published, other: Published) -> None:
    """Refuse the second of two with the same port."""
    port = f"{other.publish.protocol.value} port {other.publish.port} of the host"
    raise VpcctlError(f"{port} already leads to {one.site}", "use another port, or delete that one first")


def check_together(topology: Topology, one: Published, other: Published) -> None:
    """Refuse the second of two if they can't be together."""
    if one.publish.meets(other.publish):
        refuse(one, other)
    port = f"{other.publish.protocol.value} port {other.publish.port} of the host"
    if one.vpc == other.vpc and not routed(topology, one.vpc):
        # Its router sees the port only, as the host has no route to its machines.
        raise VpcctlError(f"{port} already leads to {one.site} at another address: VPC '{one.vpc.name}' "
                          "overlaps another one, so both can't lead into it", "use another port")
