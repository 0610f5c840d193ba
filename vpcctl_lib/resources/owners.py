"""Who owns a link or a route that is in the place of ours, and how to remove it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vpcctl_lib.kernel.reader import Kernel

MAKERS = {"dhcp": "a DHCP client", "ra": "a router's advertisement", "bird": "bird", "zebra": "FRR",
          "static": "a configuration of the host", "boot": "ip route add", "kernel": "the kernel"}
"""Which program adds routes of which protocol (rtnetlink(7), /etc/iproute2/rt_protos)."""

Owner = tuple[str, str]
"""The owner in words, and the command that removes the thing; either may be empty."""


def of_link(namespace: str, device: str, kernel: Kernel) -> Owner:
    """A link, by its kind and its alias."""
    link: dict[str, Any] = kernel.link(namespace, device) or {}
    kind = link.get("linkinfo", {}).get("info_kind", "")
    alias = link.get("ifalias", "")
    told = " ".join(filter(None, (f"a {kind}" if kind else "", f"with the alias '{alias}'" if alias else "")))
    return told, f"{ip(namespace)} link del {device}"


def of_route(namespace: str, destination: str, metric: int, routes: Iterable[dict[str, Any]]) -> Owner:
    """A route, by its way and by the program that adds routes of its protocol."""
    held = next((one for one in routes
                 if one["dst"] == destination and one.get("metric", 0) == metric), {})
    words = (("via", "gateway"), ("dev", "dev"))
    leads = " ".join(f"{word} {held[key]}" for word, key in words if key in held)
    # ip-route(8) does not print the protocol `boot`.
    protocol = str(held.get("protocol", "boot" if held else ""))
    maker = MAKERS.get(protocol, protocol)
    told = ", ".join(filter(None, (leads and f"it leads {leads}", maker and f"made by {maker}")))
    return told, f"{ip(namespace)} route del {destination} {leads}".strip()


def ip(namespace: str) -> str:
    """The command, for a namespace."""
    return f"ip -n {namespace}" if namespace else "ip"
