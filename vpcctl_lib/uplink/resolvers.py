"""The name servers that the host uses, and which of them a VPC can reach."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from pathlib import Path

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.ways import Way
from vpcctl_lib.model.topology import Vpc

FILE = Path("/etc/resolv.conf")
BEHIND_STUBS = tuple(map(Path, (
    "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf")))
"""The real servers behind a stub on the host: that of systemd-resolved and NetworkManager's dnsmasq."""


def used(own: Collection[IPv4Address]) -> tuple[IPv4Address, ...]:
    """Those that the host's programs ask, in order; none on the host itself, whose addresses are `own`.

    /etc/resolv.conf says which (resolv.conf(5)). If it names only a stub on the host, or nothing at all,
    which means the same, the servers behind the stub are used.
    """
    named = list(_servers(FILE))
    if any(not _is_here(server, own) for server in named):
        return _abroad(named, own)
    return next(filter(None, (_abroad(_servers(file), own) for file in BEHIND_STUBS)), ())


def _abroad(servers: Collection[IPv4Address | IPv6Address] | Iterator[IPv4Address | IPv6Address],
            own: Collection[IPv4Address]) -> tuple[IPv4Address, ...]:
    return tuple(dict.fromkeys(server for server in servers
                               if isinstance(server, IPv4Address) and not _is_here(server, own)))


def _is_here(server: IPv4Address | IPv6Address, own: Collection[IPv4Address]) -> bool:
    return server.is_loopback or server.is_unspecified or server in own


def _servers(file: Path) -> Iterator[IPv4Address | IPv6Address]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        # Each of the files may be missing: a host has one way to resolve names, not three.
        return
    for words in map(str.split, lines):
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                yield ip_address(words[1])
            except (AddressValueError, ValueError):
                continue


@frozen
class Reached:
    """The name servers that a VPC can ask, and warnings about the others."""

    servers: tuple[IPv4Address, ...]
    warnings: tuple[str, ...] = ()


def reached(vpc: Vpc, interface: str, servers: Collection[IPv4Address],
            ways: dict[IPv4Address, Way]) -> Reached:
    """The servers whose queries leave by the uplink; a server with an unknown way is kept.

    `ways` has the host's way to each, for packets of the VPC.
    """
    kept, warnings = [], []
    for server in servers:
        why = _obstacle(vpc, interface, server, ways.get(server))
        if why:
            warnings.append(f"name server {server} can't be asked from VPC '{vpc.name}': {why}")
        else:
            kept.append(server)
    if not kept:
        warnings.append(f"the host has no name server that VPC '{vpc.name}' can reach: names won't resolve "
                        "in it")
    return Reached(tuple(kept), tuple(warnings))


def _obstacle(vpc: Vpc, interface: str, server: IPv4Address, way: Way | None) -> str:
    own = next((network for network in vpc.networks if server in network), None)
    if own:
        return f"it has an address of the VPC's own CIDR {own}"
    if way is None or not way.devices or interface in way.devices:
        return ""
    return f"it is behind {' and '.join(way.devices)}, and NAT leads out of {interface} only"
