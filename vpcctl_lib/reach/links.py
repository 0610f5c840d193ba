"""The links, neighbours and MAC entries of a namespace, as the kernel shows them; pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family, Network

HARMLESS_QUEUES = frozenset({"noqueue", "fq_codel", "pfifo_fast", "mq", "fq", "pfifo", "noop", "cake", "sfq",
                             "tbf"})
"""Queueing disciplines that drop only what arrives too fast."""

PASSING = frozenset({"continue", "pipe", "pass"})
"""What becomes of a packet that was copied, so that it goes on."""

BRIDGE_FORWARDING = "forwarding"

NEVER_SENT_FROM = ("tentative", "dadfailed")
"""What `ip` says of addresses of IPv6 that somebody else may have, so that nothing is sent from them."""

CALLS = {Family.INET: "nf_call_iptables", Family.INET6: "nf_call_ip6tables"}
FLOODS = {Family.INET: "bcast_flood", Family.INET6: "mcast_flood"}
"""Of a bridge's port, by family: what decides whether a question about a neighbour goes there."""


@frozen
class Held:
    """An address on a link; `network` is the far end's if the link is point-to-point."""

    address: Address
    network: Network
    secondary: bool = False
    scope: str = "global"
    deprecated: bool = False
    """Whether others are rather sent from."""

    unusable: bool = False
    """Whether nothing is sent from it."""


@frozen
class Link:
    """A link as `ip -d addr` shows it."""

    name: str
    index: int
    is_up: bool
    carrier: bool
    kind: str = ""
    master: str = ""
    mac: str = ""
    addresses: tuple[Held, ...] = ()
    peer_index: int = 0
    peer_nsid: int | None = None
    peer_name: str = ""
    port_state: str = BRIDGE_FORWARDING
    odd: str = ""
    """A property of it that is not modelled."""

    nf_call: bool = False
    is_flooded: bool = True
    """Whether a bridge floods frames with an unknown destination to this port."""

    hears_all: bool = True
    """Whether a bridge floods questions about neighbours to this port."""

    has_proxy: bool = False
    """Whether the bridge answers ARP questions that arrive at this port, and floods nothing to it."""


@frozen
class Neighbour:
    """A line of the table of neighbours."""

    address: Address
    device: str
    mac: str
    states: tuple[str, ...]


def telling(links: list[dict[str, Any]], queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queues but those with filters that only copy packets, or have them wait elsewhere."""
    waiting = {link["ifname"] for link in links if link
               if link.get("linkinfo", {}).get("info_kind") == "ifb" and "UP" in link["flags"]}
    return [one for one in queues if "filters" not in one or not all(
        (deed == "mirror" and then in PASSING) or (deed == "redirect" and to in waiting)
        for found in one["filters"] for deed, to, then in found["actions"])]


def parse_link(link: dict[str, Any], queues: list[dict[str, Any]], family: Family = Family.INET) -> Link:
    """A link of `ip -j -d addr`, with its addresses of a family, and the queues of `tc -j qdisc`."""
    info = link.get("linkinfo", {})
    data, port = info.get("info_data", {}), info.get("info_slave_data", {})
    flags = set(link["flags"])
    return Link(
        link["ifname"], link["ifindex"], "UP" in flags, "LOWER_UP" in flags, info.get("info_kind", ""),
        link.get("master", ""), link.get("address", ""), tuple(_addresses(link, family)),
        link.get("link_index", 0), link.get("link_netnsid"), link.get("link", ""),
        port.get("state", BRIDGE_FORWARDING),
        _odd(link, data, port, [queue for queue in queues if queue.get("dev") == link["ifname"]]),
        bool(data.get(CALLS[family])), port.get("flood", True), port.get(FLOODS[family], True),
        bool(port.get("proxy_arp")))


def _addresses(link: dict[str, Any], family: Family) -> Iterator[Held]:
    for one in link.get("addr_info", ()):
        if one.get("family") == family.value:
            far = one.get("address", one["local"])
            yield Held(ip_address(one["local"]), ip_network(f"{far}/{one['prefixlen']}", strict=False),
                       bool(one.get("secondary")), one.get("scope", "global"), bool(one.get("deprecated")),
                       any(one.get(word) for word in NEVER_SENT_FROM))


def _odd(link: dict[str, Any], data: dict[str, Any], port: dict[str, Any],
         queues: list[dict[str, Any]]) -> str:
    strange = sorted({queue["kind"] for queue in queues} - HARMLESS_QUEUES)
    reasons = {
        f"queueing discipline {' and '.join(strange)}": bool(strange),
        "an XDP program": "xdp" in link,
        "VLAN filtering": bool(data.get("vlan_filtering")),
        "port isolation": bool(port.get("isolated")),
        "suppressed neighbours": bool(port.get("neigh_suppress")),
        "no ARP": "NOARP" in link["flags"],
        "a VRF": link.get("linkinfo", {}).get("info_slave_kind") == "vrf",
    }
    return " and ".join(reason for reason, is_so in reasons.items() if is_so)


def parse_neighbours(found: list[dict[str, Any]]) -> Iterator[Neighbour]:
    """The lines of `ip -j neigh` that are resolved or have failed."""
    for one in found:
        states = tuple(one.get("state", ()))
        yield Neighbour(ip_address(one["dst"]), one["dev"], one.get("lladdr", ""), states)


def parse_stations(found: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The permanent entries of `bridge -j fdb`."""
    ports: dict[str, tuple[str, ...]] = {}
    for one in found:
        if one.get("state") == "static":
            ports[one["mac"]] = (*ports.get(one["mac"], ()), one["ifname"])
    return ports
