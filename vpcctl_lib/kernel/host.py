"""The host's own routes and links; read-only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.addressing import Address, Family

NARROWEST_DEFAULT = 1
"""A VPN that takes all traffic may do it with 0.0.0.0/1 and 128.0.0.0/1 (OpenVPN's def1)."""


UNICAST, LOCAL = "unicast", "local"
REFUSING = ("blackhole", "unreachable", "prohibit", "throw")
"""Kinds of routes (ip-route(8)) that lead nowhere."""

KINDS = (UNICAST, *REFUSING, LOCAL)
"""The kinds that decide where packets to single hosts go, the most specific first."""


@frozen
class HostRoute:
    """A route of the host, and the link that it leads to."""

    network: IPv4Network
    device: str
    kind: str = UNICAST
    table: str = "main"

    def __str__(self) -> str:
        if self.kind == LOCAL:
            return f"the host's own address {self.network.network_address} (on {self.device})"
        if self.kind in REFUSING:
            return f"the host's {self.kind} route to {self.network}"
        return f"the host's route to {self.network} (dev {self.device})"


@frozen
class HostLink:
    """A link of the host."""

    name: str
    mtu: int
    addresses: tuple[IPv4Address, ...]
    others: tuple[str, ...] = ()
    """Its other names (altname in ip-link(8)), which udev gives many."""

    is_up: bool = True
    carrier: bool = True
    addresses6: tuple[IPv6Address, ...] = ()
    """Those that more than this link knows."""

    def of(self, family: Family) -> tuple[Address, ...]:
        """Its addresses of a family."""
        return self.addresses if family is Family.INET else self.addresses6


@frozen
class Neighbours:
    """The table of neighbours, which all namespaces share."""

    entries: int
    """All of them, also permanent ones."""

    room: int
    """How many entries that are not permanent it takes (gc_thresh3 in arp(7)); 0 if unknown."""


class Host:
    """The host as it was when first read; everything is read once, however many VPCs need it."""

    def __init__(self, runner: Runner) -> None:
        self._kernel = Kernel(runner)

    @cached_property
    def routes(self) -> list[HostRoute]:
        """The host's routes to single hosts and networks, from all tables, without default routes."""
        found = [HostRoute(IPv4Network(route["dst"]), route.get("dev", "several links"),
                           route.get("type", UNICAST), str(route.get("table", "main")))
                 for route in self._kernel.read("", Reading.ROUTES)[0]
                 if route.get("type", UNICAST) in KINDS and route["dst"] != "default"]
        return sorted((route for route in found if route.network.prefixlen > NARROWEST_DEFAULT),
                      key=lambda route: KINDS.index(route.kind))

    def overlap(self, cidr: IPv4Network, ours: Collection[str]) -> HostRoute | None:
        """A route of the host, other than over links of `ours`, that shares addresses with `cidr`.

        A wider route that refuses does not count: such aggregates are for addresses without a narrower route.
        """
        return next((route for route in self.routes
                     if (route.device not in ours or route.kind in REFUSING)
                     and route.network.overlaps(cidr)
                     and not (route.kind in REFUSING and route.network.prefixlen < cidr.prefixlen)), None)

    def taken(self, block: IPv4Network, ours: Collection[str]) -> list[IPv4Network]:
        """The parts of a block of addresses that the host uses, other than over links of `ours`.

        A route to more than the block does not count: one link may have all of link-local (RFC 3927).
        """
        return [route.network for route in self.routes
                if route.device not in ours and route.network.subnet_of(block)]

    @cached_property
    def neighbours(self) -> Neighbours:
        """How full the table of IPv4 neighbours is, by the kernel's own count."""
        table = self._kernel.neighbour_table()
        return Neighbours(int(table.get("entries", 0)), int(table.get("thresh3", 0)))

    @cached_property
    def exempt(self) -> int:
        """How many of them take no place: those of the host, and of all namespaces that have a name."""
        # Imported late: few tables are nearly full.
        from vpcctl_lib.kernel.neighbours import exempt

        def counted(name: str) -> int:
            try:
                return netns.within(name, exempt)
            except OSError:
                # It has gone meanwhile.
                return 0

        return exempt() + netns.apart(lambda: sum(map(counted, netns.names())))

    @cached_property
    def links(self) -> list[HostLink]:
        """The host's links with their addresses."""
        return [HostLink(link["ifname"], link["mtu"],
                         tuple(IPv4Address(address["local"]) for address in link["addr_info"]
                               if address["family"] == "inet"), tuple(link.get("altnames", ())),
                         "UP" in link.get("flags", ()), "LOWER_UP" in link.get("flags", ()),
                         _known_beyond(link))
                for link in self._kernel.read("", Reading.LINKS)[0] if link]


    @property
    def others(self) -> list[HostLink]:
        """Those but `lo` and our cables, in their order."""
        return [link for link in self.links if _is_other(link.name)]


def _is_other(name: str) -> bool:
    return name != "lo" and not name.startswith("vpc-")


def _known_beyond(link: Mapping[str, Any]) -> tuple[IPv6Address, ...]:
    """A link's addresses of IPv6 that more than the link itself knows."""
    return tuple(IPv6Address(address["local"]) for address in link.get("addr_info", ())
                 if address["family"] == "inet6" and address.get("scope") == "global")


def entrances(links: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The host's links, as `ip -j addr` lists them, by which others come to its addresses of IPv6."""
    return tuple(link["ifname"] for link in links if _is_other(link["ifname"]) and _known_beyond(link))


def link(found: Collection[HostLink], name: str, ours: Collection[str]) -> HostLink:
    """The link of that name, if it can be an uplink; BadInput otherwise."""
    usable = [link for link in found if link.name != "lo" and link.name not in ours]
    for candidate in usable:
        if name in (candidate.name, *candidate.others):
            return candidate
    names = ", ".join(sorted(link.name for link in usable)) or "none"
    what = "can't be an uplink" if name == "lo" or name in ours else "is not an interface of this host"
    raise BadInput(f"{quoted(repr(name))} {what}", f"use one of: {names}")
