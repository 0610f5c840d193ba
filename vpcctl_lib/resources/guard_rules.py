"""The rules of the guard of a bridge's ports: as nft reads them, and as it lists them; pure."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.resources.guarded import (
    FORWARDERS,
    MACHINES,
    MACHINES6,
    MACS,
    OWN,
    OWN6,
    QUOTED,
    QUOTED6,
)

NOBODY, EVERYBODY = str(IPv4Address(0)), str(IPv4Address(2**32 - 1))
DISCOVER = "discover"
"""Rules at the head of another chain, if the VPC has DHCP."""

QUOTE = "@th,192,32"
"""The destination of the packet that an ICMP error quotes: behind its own 8 bytes, 16 into the quoted header
(RFC 792, RFC 791). A machine can only send an error about a packet that was addressed to it, or that it
forwards."""

QUOTE6 = "@th,256,128"
"""The same of IPv6: 24 bytes into the quoted header (RFC 4443, RFC 8200)."""

ERRORS6 = ("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem")
ERRORS = ("destination-unreachable", "source-quench", "redirect", "time-exceeded", "parameter-problem")
# By the type that stands in the frame itself (`ether type`): for a frame with a VLAN tag, `meta protocol`
# is the type after the tag.
CHAINS = {
    "ipv4": (
        f"iifname . ether saddr . ip saddr != @{OWN} jump others",
        # Machines send everything to the gateway's MAC: packets for a neighbour are switched to it.
        f"ether daddr set ip daddr map @{MACHINES}",
        # What follows is about UDP and ICMP; most packets are of TCP.
        "ip protocol tcp accept",
        # Only a first fragment has ports.
        "ip frag-off & 0x1fff != 0 accept",
        # 67 is a DHCP server's.
        "udp sport 67 drop",
        f"icmp type {{ {', '.join(ERRORS)} }} goto errors",
        "accept",
    ),
    # A packet of another source: only from a machine that forwards, which still has only its own MAC.
    "others": (f"iifname . ether saddr != @{FORWARDERS} drop",),
    # Before a machine has an address (RFC 2131, section 4.1): nobody but the router gets a broadcast.
    DISCOVER: (f"ip saddr {NOBODY} ip daddr {EVERYBODY} udp sport 68 udp dport 67 "
               f"iifname . ether saddr @{MACS} accept",),
    "errors": (
        # The rest of the quoted packet may come later.
        "ip frag-off & 0x2000 != 0 drop",
        f"iifname . {QUOTE} @{QUOTED} accept",
        f"iifname . ether saddr @{FORWARDERS} accept",
        "drop",
    ),
    "arps": (
        "arp htype != 1 drop", "arp ptype != ip drop", "arp hlen != 6 drop", "arp plen != 4 drop",
        # A probe (RFC 5227): a machine without an address asks whether the address is in use.
        f"arp operation request arp saddr ip {NOBODY} iifname . ether saddr @{MACS} "
        f"iifname . arp saddr ether @{MACS} accept",
        f"iifname . ether saddr . arp saddr ip != @{OWN} drop",
        f"iifname . arp saddr ether . arp saddr ip != @{OWN} drop",
        "arp operation != { request, reply } drop",
        "accept",
    ),
    # Two comparisons cost less than to look it up.
    "prerouting": ("ether type ip goto ipv4", "ether type arp goto arps"),
}
"""The rules by chain; the policy drops everything else (IPv6, VLAN tags, STP, LLDP, …)."""

CHAINS6 = {
    "ipv6": (
        # No machine has a link-local address, nor asks for one.
        f"iifname . ether saddr . ip6 saddr != @{OWN6} jump others",
        # Multicast listeners and queriers, neighbours and routers that look for each other, redirects: nobody
        # here needs them, and all can be forged (RFC 4861, RFC 3810).
        "icmpv6 type { 130-137, 143 } drop",
        # 547 is a DHCP server's.
        "udp sport 547 drop",
        f"ether daddr set ip6 daddr map @{MACHINES6}",
        f"icmpv6 type {{ {', '.join(ERRORS6)} }} goto errors6",
        "accept",
    ),
    "errors6": (f"iifname . {QUOTE6} @{QUOTED6} accept", f"iifname . ether saddr @{FORWARDERS} accept",
                "drop"),
    "prerouting": (*CHAINS["prerouting"], "ether type ip6 goto ipv6"),
}
"""The chains that differ, and those besides, in a VPC with IPv6."""

TURN = 1
"""The place of the rule of `ipv4` that turns packets to machines; it is only for those to the VPC's CIDRs."""

LEADS = {name: next(index for index, rule in enumerate(rules) if "goto errors" in rule)
          for name, rules in (("ipv4", CHAINS["ipv4"]), ("ipv6", CHAINS6["ipv6"]))}
"""The place of the rule that leads to errors."""


def _match(operator: str, left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def _field(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def _port(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"concat": [{"meta": {"key": "iifname"}}, *fields]}


def _sender(*fields: dict[str, Any]) -> dict[str, Any]:
    return _match("!=", _port(*fields), f"@{OWN}")


def _lead(kind: str, chain: str) -> list[dict[str, Any]]:
    return [_match("==", _field("ether", "type"), kind), {"goto": {"target": chain}}]


def _forwarder(operator: str) -> dict[str, Any]:
    return _match(operator, _port(_field("ether", "saddr")), f"@{FORWARDERS}")


DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}
EXPRESSIONS: dict[str, list[list[dict[str, Any]]]] = {
    "ipv4": [
        [_sender(_field("ether", "saddr"), _field("ip", "saddr")), {"jump": {"target": "others"}}],
        [{"mangle": {"key": _field("ether", "daddr"),
                     "value": {"map": {"key": _field("ip", "daddr"), "data": f"@{MACHINES}"}}}}],
        [_match("==", _field("ip", "protocol"), "tcp"), ACCEPT],
        [_match("!=", {"&": [_field("ip", "frag-off"), 8191]}, 0), ACCEPT],
        [_match("==", _field("udp", "sport"), 67), DROP],
        [_match("==", _field("icmp", "type"), {"set": list(ERRORS)}), {"goto": {"target": "errors"}}],
        [ACCEPT],
    ],
    "others": [[_forwarder("!="), DROP]],
    DISCOVER: [[_match("==", _field("ip", "saddr"), NOBODY), _match("==", _field("ip", "daddr"), EVERYBODY),
                _match("==", _field("udp", "sport"), 68), _match("==", _field("udp", "dport"), 67),
                _match("==", _port(_field("ether", "saddr")), f"@{MACS}"), ACCEPT]],
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
    "prerouting": [_lead("ip", "ipv4"), _lead("arp", "arps")],
}
"""CHAINS as nft lists them in JSON (libnftables-json(5))."""

EXPRESSIONS6: dict[str, list[list[dict[str, Any]]]] = {
    "ipv6": [
        [_match("!=", _port(_field("ether", "saddr"), _field("ip6", "saddr")), f"@{OWN6}"),
         {"jump": {"target": "others"}}],
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
        [_forwarder("=="), ACCEPT],
        [DROP],
    ],
    "prerouting": [*EXPRESSIONS["prerouting"], _lead("ip6", "ipv6")],
}
"""CHAINS6 in the same way."""
