"""Names in a VPC: what DNS and DHCP are asked to do, and which names there are; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.frozen import frozen

Addresses = tuple[IPv4Address | IPv6Address, ...]

RESOLVER = IPv4Address("169.254.169.253")
"""Where every VPC's DNS answers (AWS, "DNS attributes for your VPC": the Amazon DNS server)."""

INSTEAD = "instead of"
"""What is before the servers in a comment of a resolv.conf that would be asked without DNS."""

FILES = "/run/vpcctl"
"""Each VPC's folder is in it: what is there follows from the record, which a reboot leaves."""

SUFFIX = "internal"
"""The end of a domain that nobody chose: kept free for private use (ICANN, resolution 2024.07.29.06)."""

LONGEST = 253
"""The characters of a name, RFC 1035 section 2.3.4 less length and end."""

MANY = 1000
"""The most records of one's own in a VPC."""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
NAME = rf"{_LABEL}(\.{_LABEL})*"
"""A name of hosts (RFC 1123, section 2.1), in lower case."""


@frozen
class Record:
    """A name of one's own below a VPC's domain: addresses, or another name there."""

    name: str
    addresses: Addresses = ()
    cname: str = ""


@frozen
class Dns:
    """The DNS server of a VPC; without `forward` it asks those that the host asks."""

    domain: str = ""
    """By default VPC.internal."""

    forward: Addresses = ()
    records: tuple[Record, ...] = ()

    def record(self, name: str) -> Record | None:
        """The record of that name, if there is one."""
        return next((one for one in self.records if one.name == name), None)


SHORTEST_LEASE, LEASE = 120, 3600
"""Seconds: dnsmasq's minimum (dnsmasq(8), --dhcp-range), and what AWS gives."""

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Of a lease's time."""


@frozen
class Dhcp:
    """The DHCP server of a VPC, which gives each machine the addresses that it has."""

    ntp: tuple[IPv4Address, ...] = ()
    lease: int | None = None
    """Seconds; by default an hour."""


def parse_lease(text: str) -> int:
    """The seconds in `text`, such as 12h; BadInput if it is no time for a lease."""
    found = re.fullmatch(r"([0-9]{1,8})([smhd])", text, re.ASCII)
    if found is None:
        raise BadInput(f"{quoted(repr(text))} is not the time of a lease", "write for example 12h or 30m")
    seconds = int(found[1]) * UNITS[found[2]]
    if not SHORTEST_LEASE <= seconds < 1 << 31:
        raise BadInput(f"{text} is too {'short' if seconds < SHORTEST_LEASE else 'long'} for a lease",
                       "use 2m to 24855d")
    return seconds


def lease_of(seconds: int) -> str:
    """The time in the largest unit that is exact."""
    unit = max((unit for unit, size in UNITS.items() if seconds % size == 0), key=UNITS.__getitem__)
    return f"{seconds // UNITS[unit]}{unit}"


def leases_folder(vpc: str) -> str:
    """The folder with the addresses that a VPC's DHCP gives. No VPC has a dot in its name."""
    return f"{FILES}/{vpc}.dhcp"


def folder(vpc: str) -> str:
    """The folder with a VPC's files."""
    return f"{FILES}/{vpc}"


def domain(vpc: str, dns: Dns) -> str:
    """The domain of a VPC of that name."""
    return dns.domain or f"{vpc}.{SUFFIX}"


def parse_domain(text: str) -> str:
    """A domain in lower case, without a dot at its end; BadInput if it can't be one."""
    name = text.lower().removesuffix(".")
    if len(name) <= LONGEST and _is_name(name) and not name.rpartition(".")[2].isdecimal():
        return name
    raise BadInput(f"{quoted(repr(text))} can't be a domain", "write for example corp.internal")


def _is_name(text: str) -> bool:
    return re.fullmatch(NAME, text, re.ASCII) is not None


def parse_name(text: str, domain: str) -> str:
    """A name below the domain, written with or without it; BadInput if it can't be one."""
    name = text.lower().removesuffix(".").removesuffix(f".{domain}")
    if len(f"{name}.{domain}") <= LONGEST and _is_name(name):
        return name
    raise BadInput(f"{quoted(repr(text))} can't be a name below {domain}",
                   f"write for example db, for db.{domain}")


def parse_address(text: str) -> IPv4Address | IPv6Address:
    """An address of either family; BadInput if it is none."""
    try:
        return ip_address(text)
    except ValueError:
        said = quoted(repr(text))
        raise BadInput(f"{said} is not an address", "write for example 10.0.1.10") from None


def of_machine(subnet: str, machine: str) -> str:
    """A machine's name below its VPC's domain."""
    return ".".join(filter(None, (machine, subnet)))


def of_address(address: IPv4Address) -> str:
    """The name of an address below its VPC's domain, as AWS writes it."""
    return f"ip-{str(address).replace('.', '-')}"


def check_records(records: Iterable[Record], taken: Collection[str]) -> None:
    """Refuse records that no server can have; `taken` are the names of machines."""
    found = {}
    for one in records:
        if one.name in taken:
            raise BadInput(f"'{one.name}' is already the name of a machine", "choose another name")
        if one.name in found:
            raise BadInput(f"record '{one.name}' already exists", "choose another name")
        if bool(one.cname) is bool(one.addresses):
            raise BadInput(f"record '{one.name}' must have addresses, or the name that it stands for",
                           "give it one of the two")
        found[one.name] = one
    if len(found) > MANY:
        raise BadInput(f"{len(found):,} records are too many", f"at most {MANY:,} are possible")
    for one in found.values():
        _check_circle(one, found)


def _check_circle(one: Record, records: dict[str, Record]) -> None:
    seen = [one.name]
    while one.cname in records:
        one = records[one.cname]
        if one.name in seen:
            raise BadInput(f"record '{seen[0]}' leads in a circle: {' -> '.join((*seen, one.name))}",
                           "let one of them have an address")
        seen.append(one.name)


def followed(name: str, records: Iterable[Record]) -> tuple[str, Addresses]:
    """The name that a name stands for in the end, and the addresses that a record has for it."""
    known = {one.name: one for one in records}
    for _ in range(len(known)):
        if name not in known or known[name].addresses:
            break
        name = known[name].cname
    return name, known[name].addresses if name in known else ()


def lines(records: Iterable[Record], domain: str) -> Iterator[str]:
    """Records with addresses as lines of a file of hosts (hosts(5))."""
    for one in records:
        yield from (f"{address} {one.name}.{domain}" for address in one.addresses)
