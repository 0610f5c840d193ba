"""IPv6: which prefix a VPC has, which part of it each subnet has, and whose each address is; pure.

A VPC has a /56, as in AWS, and each of its subnets a /64 of it. The first /64 is the router's. A machine's
address follows from its IPv4 address: 10.0.1.5 of 10.0.1.0/24 is the fifth address of the subnet's /64.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network

from vpcctl_lib.errors import BadInput, VpcctlError, quoted
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Topology, Vpc

VPC_LENGTH, SUBNET_LENGTH = 56, 64
"""AWS, "VPC CIDR blocks": a /56 for each VPC, and a /64 for each subnet."""

SUBNETS = 2 ** (SUBNET_LENGTH - VPC_LENGTH) - 1
"""How many subnets can have one: the first /64 is that of the router and the host."""

AUTO = IPv6Network((0, VPC_LENGTH))
"""Stands for a prefix that is still to be chosen."""

OF_IPV4 = (IPv6Network("::/96"), IPv6Network("::ffff:0:0/96"))
"""IPv4 addresses as programs write them in the other family (RFC 4291, 2.5.5): none is in a packet."""

LOCAL = IPv6Network("fc00::/7")
"""Unique local addresses (RFC 4193): the internet has no route to them."""

NOT_FOR_HOSTS = {
    IPv6Network("::/8"): 'the reserved block (RFC 4291)',
    IPv6Network("2001:db8::/32"): "the block for documentation (RFC 3849)",
    IPv6Network("fe80::/10"): "the link-local block",
    IPv6Network("fec0::/10"): "the block that was site-local (RFC 3879)",
    IPv6Network("ff00::/8"): "the multicast block",
}
"""Blocks that no network of hosts can use (RFC 6890); documentation's are only warned of."""

DOCUMENTATION = IPv6Network("2001:db8::/32")

METADATA = {
    IPv6Network("fd00:ec2::/32"): 'AWS: fd00:ec2::254 (EC2 user guide, "Use instance metadata")',
    IPv6Network("fd20:ce::254/128"): 'Google Cloud (Compute Engine, "View and query VM metadata")',
    IPv6Network("fd00:c1::a9fe:a9fe/128"): 'Oracle Cloud (OCI, "Getting Instance Metadata")',
    IPv6Network("fd00:42::42/128"): 'Scaleway ("How to use the instance metadata API")',
    IPv6Network("fd00:a9fe:a9fe::1/128"): 'Akamai ("Overview of the Metadata service")',
}
"""Addresses where clouds give a machine's credentials to any program on it, with the source of each."""

EVERYWHERE = IPv6Network("::/0")


def parse(text: str, length: int = VPC_LENGTH) -> IPv6Network:
    """The prefix of that length in `text`; BadInput says what is wrong with it."""
    said = quoted(repr(text))
    example = f"write auto, or for example fd12:3456:789a:100::/{length}"
    address, slash, prefix = text.strip().partition("/")
    try:
        number = IPv6Address(address)
    except AddressValueError:
        raise BadInput(f"{said} is not an IPv6 prefix", example) from None
    if not slash or prefix != str(length):
        raise BadInput(f"{said} is not a /{length}", example)
    network = IPv6Network((number, length), strict=False)
    if network.network_address != number:
        raise BadInput(f"{quoted(text)} has host bits set", quoted(f"did you mean {network}?", example))
    return network


def parse_network(text: str) -> IPv6Network:
    """The network in `text`; a bare address is a network of one. BadInput says what is wrong with it."""
    said, example = quoted(repr(text)), "write for example fd12:3456::/32 or fd12:3456::5"
    address, slash, prefix = text.strip().partition("/")
    length = prefix if slash else "128"
    try:
        number = IPv6Address(address)
    except AddressValueError as error:
        why = quoted(f": {error}", "")
        raise BadInput(f"{said} is not an IPv6 address{why}", example) from None
    if not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= 128):
        raise BadInput(f"{said} is not a CIDR", "write address, slash and prefix length: fd12:3456::/32")
    network = IPv6Network((number, int(length)), strict=False)
    if network.network_address != number:
        meant = quoted(f"did you mean {network}?", example)
        raise BadInput(f"{quoted(text)} has host bits set", meant)
    if network.prefixlen and any(network.subnet_of(block) for block in OF_IPV4):
        raise BadInput(f"{said} stands for IPv4, and no packet has it", "write the IPv4 address or CIDR")
    return network


def check_vpc(prefix: IPv6Network) -> list[str]:
    """Refuse what can't be a VPC's prefix; return warnings about an allowed one."""
    for block, what in NOT_FOR_HOSTS.items():
        if prefix.overlaps(block) and block != DOCUMENTATION:
            raise BadInput(f"{prefix} can't be a VPC's prefix: it is in {block}, {what}",
                           "write auto, or a prefix that is routed to this host")
    for block, whose in METADATA.items():
        if prefix.overlaps(block):
            raise BadInput(f"{prefix} can't be a VPC's prefix: metadata services are there, of {whose}",
                           "write auto, or another prefix")
    if prefix.overlaps(DOCUMENTATION):
        return [f"{prefix} is in {DOCUMENTATION}, {NOT_FOR_HOSTS[DOCUMENTATION]}: the internet has no route "
                "to it"]
    return []


def is_local(prefix: IPv6Network) -> bool:
    """Whether only this host knows it: packets to the internet need another source (NAT66)."""
    return prefix.subnet_of(LOCAL)


def automatic(vpc: str, cidr: IPv4Network, attempt: int = 0) -> IPv6Network:
    """A unique local prefix (RFC 4193) that follows from a VPC's name and CIDR."""
    words = f"{vpc} {cidr}" + (f" {attempt}" if attempt else "")
    return IPv6Network((bytes((0xFD, *naming.digest(words)[:6], *bytes(9))), VPC_LENGTH))


def router(prefix: IPv6Network) -> IPv6Address:
    """The VPC's router, as its machines know it."""
    return prefix.network_address + 1


def host_end(prefix: IPv6Network) -> IPv6Address:
    """The host, as the VPC knows it."""
    return prefix.network_address + 2


def part(prefix: IPv6Network, number: int) -> IPv6Network:
    """A VPC's /64 of that number."""
    return IPv6Network((int(prefix.network_address) + (number << SUBNET_LENGTH), SUBNET_LENGTH))


def machine(subnet: IPv6Network, cidr: IPv4Network, address: IPv4Address) -> IPv6Address:
    """The address of the machine that has that IPv4 address in the subnet."""
    return subnet.network_address + (int(address) - int(cidr.network_address))


def check_subnet(prefix: IPv6Network, vpc: IPv6Network | None,
                 others: Iterable[tuple[str, IPv6Network]]) -> None:
    """Refuse a subnet's prefix outside its VPC's, the router's, or that of one of the `others`."""
    if vpc is None:
        raise BadInput("the VPC has no IPv6, so its subnets can't have a prefix", "give it one: --ipv6 auto")
    if vpc == AUTO:
        raise BadInput(f"{prefix} may be outside the VPC's prefix, which is chosen for it",
                       "give the VPC a prefix as well, or leave out the subnet's")
    if not prefix.subnet_of(vpc):
        raise BadInput(f"{prefix} is not inside the VPC's prefix {vpc}", f"use a /64 of {vpc}")
    if prefix == part(vpc, 0):
        raise BadInput(f"{prefix} is reserved: the VPC's router has its address there",
                       f"use {part(vpc, 1)} or a later one")
    for name, other in others:
        if prefix == other:
            raise VpcctlError(f"{prefix} already belongs to subnet '{name}'", "choose a free /64 of the VPC")


def settled(before: Topology, topology: Topology) -> Topology:
    """The topology with the prefixes that were still to be chosen: those that VPCs and subnets had, if any.

    VpcctlError if two VPCs would have the same addresses.
    """
    if not any(vpc.ipv6 or any(one.ipv6 for one in vpc.subnets) for vpc in topology.vpcs):
        return topology
    given = [vpc.ipv6 for vpc in topology.vpcs if vpc.ipv6 not in (None, AUTO)]
    vpcs: list[Vpc] = []
    for vpc in topology.vpcs:
        had = before.vpc(vpc.name)
        prefix = _prefix(vpc, had, [*given, *(one.ipv6 for one in vpcs)]) if vpc.ipv6 == AUTO else vpc.ipv6
        _check_apart(vpc.name, prefix, vpcs)
        vpcs.append(with_parts(replace(vpc, ipv6=prefix), had))
    found = tuple(vpcs)
    return topology if found == topology.vpcs else replace(topology, vpcs=found)


def _prefix(vpc: Vpc, had: Vpc | None, taken: Collection[IPv6Network | None]) -> IPv6Network:
    """The prefix that it had, else one of its own."""
    if had and had.ipv6:
        return had.ipv6
    found = (automatic(vpc.name, vpc.cidr, attempt) for attempt in range(len(taken) + 1))
    return next(one for one in found if one not in taken)


def _check_apart(name: str, prefix: IPv6Network | None, others: Iterable[Vpc]) -> None:
    for other in others:
        if prefix and other.ipv6 == prefix:
            raise VpcctlError(f"VPC '{name}' can't have {prefix}: it already belongs to VPC '{other.name}'",
                              "use another prefix, or auto")


def with_parts(vpc: Vpc, had: Vpc | None = None) -> Vpc:
    """The VPC with a /64 for each subnet: the one that it had, else the lowest free one."""
    prefix = vpc.ipv6
    if prefix is None:
        bare = tuple(replace(one, ipv6=None) if one.ipv6 else one for one in vpc.subnets)
        return vpc if bare == vpc.subnets else replace(vpc, subnets=bare)
    before = {one.name: one.ipv6 for one in had.subnets} if had else {}
    given: dict[str, IPv6Network] = {}
    for subnet in vpc.subnets:
        if subnet.ipv6 and subnet.ipv6.subnet_of(prefix):
            check_subnet(subnet.ipv6, prefix, given.items())
            given[subnet.name] = subnet.ipv6
    taken = set(given.values())
    for subnet in vpc.subnets:
        old = before.get(subnet.name)
        if subnet.name not in given and old and old.subnet_of(prefix) and old not in taken:
            given[subnet.name] = old
            taken.add(old)
    free = _free(prefix, taken)
    chosen = tuple(one if one.ipv6 == given.get(one.name, AUTO) else
                   replace(one, ipv6=given.get(one.name) or _next(vpc.name, free)) for one in vpc.subnets)
    return vpc if chosen == vpc.subnets else replace(vpc, subnets=chosen)


def _free(prefix: IPv6Network, taken: Collection[IPv6Network]) -> Iterator[IPv6Network]:
    return (one for number in range(1, SUBNETS + 1) if (one := part(prefix, number)) not in taken)


def _next(vpc: str, free: Iterator[IPv6Network]) -> IPv6Network:
    found = next(free, None)
    if found is None:
        raise VpcctlError(f"VPC '{vpc}' has IPv6, and no /64 for another subnet: a /56 has {SUBNETS}",
                          "use another VPC, and peer the two")
    return found

