"""What the kernel can be asked of a namespace over netlink."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any


class Reading(Enum):
    """What a namespace can be asked for, and the command that would print the same."""

    LINKS = ("ip", "-j", "-d", "addr", "show")
    MAIN_ROUTES = ("ip", "-j", "-4", "route", "show", "table", "main")
    ROUTES = ("ip", "-j", "-d", "-4", "route", "show", "table", "all")
    ROUTE_RULES = ("ip", "-j", "-d", "-4", "rule", "show")
    NEIGHBOURS = ("ip", "-j", "-4", "neigh", "show")
    MAIN_ROUTES6 = ("ip", "-j", "-6", "route", "show", "table", "main")
    NEIGHBOURS6 = ("ip", "-j", "-6", "neigh", "show")
    STATIONS = ("bridge", "-j", "fdb", "show")
    QUEUES = ("tc", "-j", "qdisc", "show")
    CHAINS = ("nft", "-j", "list", "chains")


def answers(readings: Iterable[Reading]) -> list[list[dict[str, Any]]]:
    """What the namespace of the calling thread answers to each question; OSError if it doesn't."""
    # Imported late: commands that only change the record ask nothing.
    from vpcctl_lib.kernel.network import Network

    with Network() as network:
        known = {Reading.LINKS: network.links, Reading.MAIN_ROUTES: network.main_routes,
                 Reading.ROUTES: network.routes, Reading.ROUTE_RULES: network.rules,
                 Reading.NEIGHBOURS: network.neighbours, Reading.STATIONS: network.stations,
                 Reading.MAIN_ROUTES6: network.main_routes6, Reading.NEIGHBOURS6: network.neighbours6,
                 Reading.QUEUES: network.queues, Reading.CHAINS: _chains}
        return [known[one]() for one in readings]


def _chains() -> list[dict[str, Any]]:
    # Imported late: only `reach` asks for them.
    from vpcctl_lib.kernel.nftables import chains

    return chains()
