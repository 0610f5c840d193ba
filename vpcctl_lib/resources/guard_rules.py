"""The rules of the guard of a bridge's ports as nft lists them in JSON (libnftables-json(5)); pure."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.resources.guarded import (
    ERRORS,
    ERRORS6,
    FORWARDERS,
    MACHINES,
    MACHINES6,
    MACS,
    NOBODY,
    OWN,
    OWN6,
    QUOTED,
    QUOTED6,
)


def _match(operator: str, left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def _field(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def _port(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"concat": [{"meta": {"key": "iifname"}}, *fields]}


def _sender(*fields: dict[str, Any]) -> dict[str, Any]:
    return _match("!=", _port(*fields), f"@{OWN}")


def _forwarder(operator: str) -> dict[str, Any]:
    return _match(operator, _port(_field("ether", "saddr")), f"@{FORWARDERS}")


DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}
EXPRESSIONS: dict[str, list[list[dict[str, Any]]]] = {
    "ipv4": [
        [_sender(_field("ether", "saddr"), _field("ip", "saddr")), {"jump": {"target": "others"}}],
        [{"mangle": {"key": _field("ether", "daddr"),
                     "value": {"map": {"key": _field("ip", "daddr"), "data": f"@{MACHINES}"}}}}],
        [_match("!=", {"&": [_field("ip", "frag-off"), 8191]}, 0), ACCEPT],
        [_match("==", _field("udp", "sport"), 67), DROP],
        [_match("==", _field("icmp", "type"), {"set": list(ERRORS)}), {"goto": {"target": "errors"}}],
        [ACCEPT],
    ],
    "others": [[_forwarder("!="), DROP]],
    "errors": [
        [_match("!=", {"&": [_field("ip", "frag-off"), 8192]}, 0), DROP],
        [_match("==", _port({"payload": {"base": "th", "offset": 192, "len": 32}}), f"@{QUOTED}"), ACCEPT],
        [_forwarder("=="), ACCEPT],
        [DROP],
    ],
    "arps": [
        [_match("!=", _field("arp", "htype"), 1), DROP],
        [_match("!=", _field("arp", "ptype"), "ip"), DROP],
        [_match("!=", _field("arp", "hlen"), 6), DROP],
        [_match("!=", _field("arp", "plen"), 4), DROP],
        [_match("==", _field("arp", "operation"), "request"), _match("==", _field("arp", "saddr ip"), NOBODY),
         _match("==", _port(_field("ether", "saddr")), f"@{MACS}"),
         _match("==", _port(_field("arp", "saddr ether")), f"@{MACS}"), ACCEPT],
        [_sender(_field("ether", "saddr"), _field("arp", "saddr ip")), DROP],
        [_sender(_field("arp", "saddr ether"), _field("arp", "saddr ip")), DROP],
        [_match("!=", _field("arp", "operation"), {"set": ["request", "reply"]}), DROP],
        [ACCEPT],
    ],
    "prerouting": [
        [{"vmap": {"key": _field("ether", "type"), "data": {"set": [
            ["ip", {"goto": {"target": "ipv4"}}], ["arp", {"goto": {"target": "arps"}}]]}}}],
    ],
}
"""CHAINS as nft lists them in JSON (libnftables-json(5))."""

EXPRESSIONS6: dict[str, list[list[dict[str, Any]]]] = {
    "ipv6": [
        [_match("!=", _port(_field("ether", "saddr"), _field("ip6", "saddr")), f"@{OWN6}"), DROP],
        [_match("==", _field("icmpv6", "type"), {"set": [
            {"range": ["mld-listener-query", "nd-redirect"]}, "mld2-listener-report"]}), DROP],
        [_match("==", _field("udp", "sport"), 547), DROP],
        [{"mangle": {"key": _field("ether", "daddr"),
                     "value": {"map": {"key": _field("ip6", "daddr"), "data": f"@{MACHINES6}"}}}}],
        [_match("==", _field("icmpv6", "type"), {"set": list(ERRORS6)}), {"goto": {"target": "errors6"}}],
        [ACCEPT],
    ],
    "errors6": [
        [_match("==", _port({"payload": {"base": "th", "offset": 256, "len": 128}}), f"@{QUOTED6}"), ACCEPT],
        [DROP],
    ],
    "prerouting": [
        [{"vmap": {"key": _field("ether", "type"), "data": {"set": [
            ["ip", {"goto": {"target": "ipv4"}}], ["arp", {"goto": {"target": "arps"}}],
            ["ip6", {"goto": {"target": "ipv6"}}]]}}}],
    ],
}
"""CHAINS6 in the same way."""
