"""What the host itself looks like: its routes, its links, its resolvers; only asks."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from vpcctl_lib.answers import parsed
from vpcctl_lib.errors import BadInput, VpcctlError, quoted
from vpcctl_lib.run import Runner

RESOLVER_FILES = tuple(map(Path, (
    "/run/systemd/resolve/resolv.conf", "/run/NetworkManager/no-stub-resolv.conf", "/etc/resolv.conf")))
"""The first two have the real servers behind the 127.0.0.53 of systemd-resolved and of NetworkManager."""

NARROWEST_DEFAULT = 1
"""A VPN that takes all traffic may do it with 0.0.0.0/1 and 128.0.0.0/1 (OpenVPN's def1)."""


@dataclass(frozen=True)
class HostRoute:
    """A route of the host, and the link that it leads to."""

    network: IPv4Network
    device: str


@dataclass(frozen=True)
class HostLink:
    """A link of the host."""

    name: str
    mtu: int
    addresses: tuple[IPv4Address, ...]
    others: tuple[str, ...] = ()
    """Its other names (altname in ip-link(8)), which udev gives many."""


class Host:
    """The host as it was when first asked; each thing is asked once, however many VPCs want to know."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def _ask(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = parsed(self._runner.ask(("ip", "-j", *words)))
        return found

    @cached_property
    def routes(self) -> list[HostRoute]:
        """The host's unicast routes of all tables, default routes left out."""
        unicast = [HostRoute(IPv4Network(route["dst"]), route.get("dev", "several links"))
                   for route in self._ask("-4", "route", "show", "table", "all")
                   if route.get("type", "unicast") == "unicast" and route["dst"] != "default"]
        return [route for route in unicast if route.network.prefixlen > NARROWEST_DEFAULT]

    def overlap(self, cidr: IPv4Network, ours: Collection[str]) -> HostRoute | None:
        """A route of the host, other than over links of `ours`, that shares addresses with `cidr`."""
        return next((route for route in self.routes
                     if route.device not in ours and route.network.overlaps(cidr)), None)

    @cached_property
    def links(self) -> list[HostLink]:
        """The host's links with their addresses."""
        return [HostLink(link["ifname"], link["mtu"],
                         tuple(IPv4Address(address["local"]) for address in link["addr_info"]
                               if address["family"] == "inet"), tuple(link.get("altnames", ())))
                for link in self._ask("addr", "show") if link]

    @cached_property
    def default_interface(self) -> str:
        """The link of the host's default route; `ip` lists the one in use first."""
        for route in self._ask("-4", "route", "show", "default"):
            if "dev" in route:
                return str(route["dev"])
        raise VpcctlError("the host has no default route to take the uplink from",
                          "name the interface: --interface eth0")


def link(found: Collection[HostLink], name: str, ours: Collection[str]) -> HostLink:
    """The link of that name, if it can be an uplink; BadInput otherwise."""
    usable = [link for link in found if link.name != "lo" and link.name not in ours]
    for candidate in usable:
        if name in (candidate.name, *candidate.others):
            return candidate
    names = ", ".join(sorted(link.name for link in usable)) or "none"
    what = "can't be an uplink" if name == "lo" or name in ours else "is not an interface of this host"
    raise BadInput(f"{quoted(repr(name))} {what}", f"interfaces here: {names}")


def resolvers(found: Collection[HostLink]) -> tuple[IPv4Address, ...]:
    """The name servers that the host uses and a VPC can reach: none on the host itself."""
    own = {address for link in found for address in link.addresses}
    for file in RESOLVER_FILES:
        servers = tuple(server for server in _servers(file) if not server.is_loopback and server not in own)
        if servers:
            return servers
    return ()


def _servers(file: Path) -> Iterator[IPv4Address]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        # Each of the files may be missing: a host has one way to resolve names, not three.
        return
    for words in map(str.split, lines):
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                yield IPv4Address(words[1])
            except AddressValueError:
                continue
