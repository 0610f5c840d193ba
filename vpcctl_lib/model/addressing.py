"""Rules about addresses: which CIDRs a VPC or subnet may have, how many, and which address is for what."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache, lru_cache
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    NetmaskValueError,
    ip_address,
)
from itertools import pairwise

from vpcctl_lib.errors import BadInput, VpcctlError, quoted

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

WIDEST_VPC, NARROWEST_VPC = 16, 28
"""AWS, "VPC CIDR blocks": between a /16 and a /28 netmask. Wider is allowed here, with a warning."""

MOST_CIDRS = 50
"""AWS, "Amazon VPC quotas": IPv4 CIDR blocks per VPC, five at first and up to 50 on request."""

WIDEST_SUBNET, NARROWEST_SUBNET = 16, 29
"""A /29 still has a gateway, an instance and room for three more."""

FIRST_FREE = 4
"""AWS, "Subnet CIDR blocks": the first four addresses of a subnet are reserved, and the last one."""

BRIDGE_PORTS = 1023
"""BR_MAX_PORTS of the kernel's net/bridge/br_private.h, less the port 0 that is not used."""

LINKS = IPv4Network("169.254.64.0/18")
"""The block of the /31s for cables between host and VPCs (RFC 3021, in link-local, RFC 3927)."""

METADATA = {
    IPv4Network("169.254.0.0/16"): "link-local (RFC 3927); 169.254.169.254 is that of AWS, Google, Azure and "
                                   'others (EC2 user guide, "Use instance metadata")',
    IPv4Network("100.100.100.200/32"): 'Alibaba Cloud (ECS user guide, "Instance metadata")',
    IPv4Network("168.63.129.16/32"): 'Azure\'s WireServer (Azure, "What is IP address 168.63.129.16?")',
    IPv4Network("192.0.0.192/32"): 'Oracle Cloud Classic (OCI Classic, "Retrieving Instance Metadata")',
}
"""Addresses where clouds give a machine's credentials to any program on it, with the source of each."""


class Family(Enum):
    """An address family, as `ip -j` names it."""

    INET = "inet"
    INET6 = "inet6"

    @property
    def tool(self) -> str:
        """The program that filters its packets: each family has its own tables."""
        return "iptables" if self is Family.INET else "ip6tables"

    @property
    def nft(self) -> str:
        """What nft calls the family of those tables."""
        return "ip" if self is Family.INET else "ip6"

    @property
    def ip(self) -> str:
        """The command for what is of it where no word says so."""
        return "ip" if self is Family.INET else "ip -6"

    @property
    def number(self) -> int:
        """What `ip`, `ping` and `curl` take as an option."""
        return 4 if self is Family.INET else 6

    @property
    def net(self) -> str:
        """What the kernel calls it among its settings."""
        return f"ipv{self.number}"

    def __str__(self) -> str:
        return f"IPv{self.number}"

    @property
    def suffix(self) -> str:
        """What distinguishes its tables in a sentence from those of IPv4, which need no word."""
        return "" if self is Family.INET else f" of {self.tool}"


ANYWHERE: Mapping[Family, Network] = {
    Family.INET: IPv4Network("0.0.0.0/0"), Family.INET6: IPv6Network("::/0")}
"""All addresses of a family."""

LINK_COUNT = LINKS.num_addresses // 2

NOT_PRIVATE = {
    IPv4Network("0.0.0.0/8"): 'the "this network" block (RFC 1122)',
    IPv4Network("127.0.0.0/8"): "the loopback block",
    IPv4Network("169.254.0.0/16"): "the link-local block",
    IPv4Network("224.0.0.0/4"): "the multicast block",
    IPv4Network("240.0.0.0/4"): "the reserved block",
}
"""Blocks that no network of hosts can use (RFC 6890)."""

PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
                                  "198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
"""RFC 1918, and the blocks RFC 6598, 2544 and 5737 keep off the internet."""


def parse_network(text: str) -> IPv4Network:
    """The network in `text`, written as a.b.c.d/prefix; BadInput says what is wrong with it."""
    address, slash, prefix = text.strip().partition("/")
    said, example = quoted(repr(text)), "write for example 10.0.0.0/16"
    if ":" in address:
        raise BadInput(f"{said} is an IPv6 network; vpcctl supports IPv4 only", example)
    if not slash:
        meant = quoted(f"write for example {_around(address)}", example)
        raise BadInput(f"{said} has no prefix length", meant)
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 2):
        raise BadInput(f"{said} is not a CIDR", "write address, slash and prefix length: 10.0.0.0/16")
    try:
        network = IPv4Network((address, int(prefix)), strict=False)
        exact = IPv4Address(address)
    except (AddressValueError, NetmaskValueError) as error:
        why = quoted(f": {error}", "")
        raise BadInput(f"{said} is not a CIDR{why}", "write for example 10.0.0.0/16") from None
    if exact != network.network_address:
        raise BadInput(f"{quoted(text)} has host bits set", quoted(f"did you mean {network}?", example))
    return network


def _around(address: str) -> IPv4Network:
    """A network with that address, or a default if it is not an address."""
    try:
        return IPv4Network((IPv4Address(address), 24), strict=False)
    except AddressValueError:
        return IPv4Network("10.0.0.0/24")


def check_vpc(cidr: IPv4Network) -> list[str]:
    """Refuse what can't be a VPC's CIDR; return warnings about an allowed one."""
    for block, what in NOT_PRIVATE.items():
        if cidr.overlaps(block):
            raise BadInput(f"{cidr} can't be a private network: it is in or over {block}, {what}",
                           "use a private range, such as 10.0.0.0/16, 172.16.0.0/16 or 192.168.0.0/24")
    if cidr.prefixlen > NARROWEST_VPC:
        raise BadInput(f"{cidr} is too small for a VPC", f"use /{WIDEST_VPC} to /{NARROWEST_VPC}")
    warnings = []
    if cidr.prefixlen < WIDEST_VPC:
        warnings.append(f"{cidr} is wider than the /{WIDEST_VPC} that AWS allows")
    if not any(cidr.subnet_of(block) for block in PRIVATE):
        warnings.append(f"{cidr} is not a private range (RFC 1918): real hosts with these addresses "
                        "can't be reached from the host or this VPC")
    return warnings


def check_secondary(cidrs: Sequence[IPv4Network], vpc: IPv4Network) -> None:
    """Refuse secondary CIDRs that overlap the first one or each other, and too many of them."""
    for number, cidr in enumerate(cidrs):
        for other in (vpc, *cidrs[:number]):
            if cidr.overlaps(other):
                raise VpcctlError(f"{cidr} overlaps the VPC's own CIDR {other}", "choose other addresses")
    if len(cidrs) >= MOST_CIDRS:
        raise VpcctlError(f"a VPC can't have more than {MOST_CIDRS} CIDRs",
                          "use another VPC, and peer the two")


def within(networks: Iterable[IPv4Network], cidr: IPv4Network) -> IPv4Network | None:
    """The one of a VPC's CIDRs that has all addresses of another network."""
    return next((network for network in networks if cidr.subnet_of(network)), None)


def inside(one: Network, other: Network) -> bool:
    """Whether a network, of whichever family, is another one or a part of it."""
    return one.version == other.version and one.prefixlen >= other.prefixlen \
        and one.network_address in other


def shared(some: Iterable[IPv4Network],
           others: Collection[IPv4Network]) -> tuple[IPv4Network, IPv4Network] | None:
    """The first two that overlap, one of each."""
    return next(((one, other) for one in some for other in others if one.overlaps(other)), None)


def listed(networks: Collection[IPv4Network]) -> str:
    """A VPC's CIDRs in words, after `CIDR`."""
    *others, last = map(str, networks)
    return f"s {', '.join(others)} and {last}" if others else f" {last}"


def check_subnet(cidr: IPv4Network, vpc: Sequence[IPv4Network],
                 others: Iterable[tuple[str, IPv4Network]]) -> None:
    """Refuse a subnet outside its VPC's CIDRs, of a wrong size, or over one of the `others` (name, CIDR)."""
    if within(vpc, cidr) is None:
        raise BadInput(f"{cidr} is not inside the VPC's CIDR{listed(vpc)}",
                       "use a part of one of them" if len(vpc) > 1 else f"use a part of {vpc[0]}")
    if not WIDEST_SUBNET <= cidr.prefixlen <= NARROWEST_SUBNET:
        raise BadInput(f"{cidr} is too {'wide' if cidr.prefixlen < WIDEST_SUBNET else 'small'} for a subnet",
                       f"use /{WIDEST_SUBNET} to /{NARROWEST_SUBNET}")
    for name, other in others:
        if cidr.overlaps(other):
            raise VpcctlError(f"{cidr} overlaps subnet '{name}' ({other})", "choose a free part of the VPC")


def check_count(vpc: str, machines: int, what: str = "subnets") -> None:
    """Refuse more machines than the VPC's bridge has ports: each subnet has one, unless it is bare."""
    if machines > BRIDGE_PORTS:
        raise VpcctlError(f"VPC '{vpc}' would have {machines:,} {what}: its bridge has {BRIDGE_PORTS:,} "
                          "ports", "use another VPC, and peer the two")


def parse_address(text: str) -> IPv4Address:
    """The IPv4 address in `text`; BadInput if it is none."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        said = quoted(repr(text))
        raise BadInput(f"{said} is not an IPv4 address", "write for example 10.0.1.10") from None


def check_address(address: IPv4Address, subnet: IPv4Network, vpc: IPv4Network,
                  taken: Mapping[IPv4Address, str]) -> None:
    """Refuse an address that no further machine of a subnet can have; `taken` says whose the others are."""
    if address not in subnet:
        raise BadInput(f"{address} is not inside the subnet's CIDR {subnet}", f"use an address of {subnet}")
    number = int(address) - int(subnet.network_address)
    kept = {address: "is reserved: vpcctl, as AWS, keeps the first four addresses of a subnet"} \
        if number < FIRST_FREE else {}
    why = {**kept, subnet.network_address: "is the subnet's network address",
           subnet.broadcast_address: "is the subnet's broadcast address",
           gateway(vpc): "already belongs to the VPC's router",
           **{one: f"already belongs to {owner}" for one, owner in taken.items()}}.get(address)
    if why:
        raise BadInput(f"{address} {why}",
                       f"use another address of {subnet}, from {subnet.network_address + FIRST_FREE} on")


def owner(name: str) -> str:
    """A machine of that name; without one, the subnet's own."""
    return f"machine '{name}'" if name else "the subnet's own machine"


def free_address(subnet: IPv4Network, taken: Collection[IPv4Address]) -> IPv4Address:
    """The lowest address of a subnet that a further machine can have."""
    found = (subnet.network_address + number for number in range(FIRST_FREE, subnet.num_addresses - 1))
    lowest = next((address for address in found if address not in taken), None)
    if lowest is None:
        raise VpcctlError(f"all addresses of {subnet} are already in use", "delete a machine first")
    return lowest


def overlapping(networks: Iterable[IPv4Network]) -> bool:
    """Whether any two overlap; overlapping CIDRs contain each other, so comparing neighbours is enough."""
    spans = sorted((int(network.network_address), int(network.broadcast_address)) for network in networks)
    return any(start <= end for (_, end), (start, _) in pairwise(spans))


def gateway(vpc: IPv4Network) -> IPv4Address:
    """The VPC's router: the first host of its CIDR."""
    return vpc.network_address + 1


def instance(subnet: IPv4Network) -> IPv4Address:
    """The subnet's first instance: the second host, because the first may be the VPC's gateway."""
    return subnet.network_address + 2


def used(subnet: IPv4Network, vpc: IPv4Network, machines: Iterable[IPv4Address]) -> int:
    """The number of used addresses in a subnet: first and last, machines', the router's if inside."""
    taken = {subnet.network_address, subnet.broadcast_address, gateway(vpc), *machines}
    return sum(address in subnet for address in taken)


def interface(address: IPv4Address, prefixlen: int) -> IPv4Interface:
    """The address with its prefix.

    Made from parts, because the constructor makes a network each time, which takes most of its 20 µs, and all
    machines of a subnet have the same.
    """
    number = int(address)
    network = _network(number >> (32 - prefixlen) << (32 - prefixlen), prefixlen)
    made = IPv4Interface.__new__(IPv4Interface)
    made._ip = number  # type: ignore[attr-defined]
    made.network, made.netmask = network, network.netmask
    made._prefixlen = prefixlen  # type: ignore[attr-defined]
    return made


def parse_interface(text: str) -> IPv4Interface:
    """The address with its prefix in `text`, written as a.b.c.d/prefix; ValueError if it is not one."""
    address, slash, prefix = text.partition("/")
    if not (slash and prefix.isascii() and prefix.isdecimal() and int(prefix) <= 32):
        return IPv4Interface(text)
    return interface(IPv4Address(address), int(prefix))


@cache
def single(address: Address) -> IPv4Network | IPv6Network:
    """The network of one address: all machines of a VPC have a route to that of its gateway."""
    return IPv4Network(address) if isinstance(address, IPv4Address) else IPv6Network(address)


@cache
def _network(number: int, prefixlen: int) -> IPv4Network:
    return IPv4Network((number, prefixlen))


def host_end(link: int) -> IPv4Address:
    """The host's address on the n-th cable."""
    return LINKS.network_address + 2 * link


def router_end(link: int) -> IPv4Address:
    """The VPC router's address on the n-th cable."""
    return host_end(link) + 1


def free_link(taken: Collection[int], in_use: Collection[IPv4Network] = ()) -> int:
    """The lowest cable number that no VPC has, and whose addresses are not `in_use` on the host."""
    for number in range(LINK_COUNT):
        if number not in taken and not any(map(link_network(number).overlaps, in_use)):
            return number
    others = f" or taken by the host ({', '.join(map(str, in_use))})" if in_use else ""
    raise VpcctlError(f"all {LINK_COUNT} links to VPCs in {LINKS} are already in use{others}",
                      "delete a VPC first")


def link_network(link: int) -> IPv4Network:
    """The /31 of the n-th cable."""
    return IPv4Network((int(LINKS.network_address) + 2 * link, 31))


def spans(addresses: Iterable[Address]) -> str:
    """Addresses as a short text, such as `10.0.1.4-10.0.1.9 10.0.2.4`; all are of one family."""
    held = tuple(addresses)
    kind: type[Address] = type(held[0]) if held else IPv4Address
    found: list[list[int]] = []
    for one in sorted({int(address) for address in held}):
        if found and one == found[-1][1] + 1:
            found[-1][1] = one
        else:
            found.append([one, one])
    return " ".join(str(kind(first)) if first == last else f"{kind(first)}-{kind(last)}"
                    for first, last in found)


@lru_cache(maxsize=64)
def in_spans(text: str) -> frozenset[Address]:
    """The addresses in such a text."""
    pairs = (span.partition("-") for span in text.split())
    return frozenset(one for first, _, last in pairs for one in _between(first, last or first))


def _between(first: str, last: str) -> Iterator[Address]:
    start = ip_address(first)
    kind: type[Address] = type(start)
    return (kind(number) for number in range(int(start), int(kind(last)) + 1))
