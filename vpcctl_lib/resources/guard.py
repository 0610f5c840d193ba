"""The guard of a VPC's bridge: an nft table that accepts at each port only what its machine may send."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.naming import BRIDGE_TABLE
from vpcctl_lib.resources.base import MISSING, Fault, changed
from vpcctl_lib.resources.guarded import (
    FORWARDERS,
    MACHINES,
    MACS,
    OWN,
    QUOTED,
    RANGES,
    Member,
    Range,
    lines_of,
    unpacked,
)
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

HEAD = head("bridge", BRIDGE_TABLE)

FORM = 3
"""The version of the table's form, so that the next change replaces an older one."""

TYPES = {OWN: ["ifname", "ether_addr", "ipv4_addr"], MACS: ["ifname", "ether_addr"],
         FORWARDERS: ["ifname", "ether_addr"]}
QUOTE = "@th,192,32"
"""The destination of the packet that an ICMP error quotes: behind its own 8 bytes, 16 into the quoted header
(RFC 792, RFC 791). A machine can only send an error about a packet that was addressed to it, or that it
forwards."""

ERRORS = ("destination-unreachable", "source-quench", "redirect", "time-exceeded", "parameter-problem")
NOBODY, EVERYBODY = str(IPv4Address(0)), str(IPv4Address(2**32 - 1))
DISCOVER = "discover"
"""Rules at the head of another chain, if the VPC has DHCP."""

PRIORITY = -200
"""The priority of `filter` in the family bridge, before br_netfilter passes frames to iptables (at 0)."""

# By the type that stands in the frame itself (`ether type`): for a frame with a VLAN tag, `meta protocol`
# is the type after the tag.
CHAINS = {
    "ipv4": (
        f"iifname . ether saddr . ip saddr != @{OWN} jump others",
        # Machines send everything to the gateway's MAC: packets for a neighbour are switched to it.
        f"ether daddr set ip daddr map @{MACHINES}",
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
    "prerouting": ("ether type vmap { ip : goto ipv4, arp : goto arps }",),
}
"""The rules by chain; the policy drops everything else (IPv6, VLAN tags, STP, LLDP, …)."""

_TO_ERRORS = next(index for index, rule in enumerate(CHAINS["ipv4"]) if "goto errors" in rule)


@frozen
class Guard(Table):
    """The table, loaded atomically: when the machines change, there is no moment without a guard."""

    members: tuple[Member, ...] = ()
    """In a record of an earlier version: the machines, which are packed since."""

    form: int = 1
    quotes: bool = False
    """Whether this nft can match what an ICMP error quotes."""

    ranges: tuple[Range, ...] = ()
    packed: str = ""
    """A line for each machine."""

    dhcp: bool = False
    """Whether machines without an address may ask the router for theirs."""

    head = HEAD
    apart = BRIDGE_TABLE

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("guard", self.namespace)

    @property
    def rest(self) -> object:
        """The rules."""
        return self.form, self.quotes, self.dhcp

    def moved(self, old: Any) -> str:
        """The elements of machines that came and that went."""
        # Each element is of one port, so others' need not be compared: there may be a thousand.
        before, after = (replace(one, members=(), packed="\n".join(lines))
                         for one, lines in zip((old, self), _unlike(old.lines, self.lines), strict=True))
        return "".join(_moved(name, before.held(name), after.held(name)) for name in self._sets())

    @property
    def lines(self) -> list[str]:
        """The machines, packed."""
        return self.packed.splitlines() or list(lines_of(self.members))

    @cached_property
    def machines(self) -> tuple[Member, ...]:
        """The machines, one for each address."""
        return tuple(unpacked(self.packed.splitlines())) or self.members

    def _sets(self) -> list[str]:
        return [OWN, MACS, FORWARDERS, MACHINES, RANGES, *((QUOTED,) if self.quotes else ())]

    def held(self, name: str) -> dict[str, None]:
        """The elements of a set: a machine with several addresses is several members, with one MAC."""
        if name == RANGES:
            return dict.fromkeys(one.element for one in self.ranges)
        elements = (member.elements for member in self.machines)
        return dict.fromkeys(held[name] for held in elements if name in held)

    def text(self) -> str:
        """The table in nft's syntax."""
        sets = {name: f"set {name} {{\n\t\ttype {' . '.join(types)}" for name, types in TYPES.items()}
        sets[RANGES] = f"set {RANGES} {{\n\t\ttype ipv4_addr"
        sets[MACHINES] = f"map {MACHINES} {{\n\t\ttype ipv4_addr : ether_addr"
        if self.quotes:
            sets[QUOTED] = f"set {QUOTED} {{\n\t\ttypeof iifname . {QUOTE}"
        held = "".join(f"\t{head}\n{self._elements(name)}\t}}\n" for name, head in sets.items())
        chains = "".join(f"\tchain {name} {{\n{_hook(name)}{_rules(rules)}\t}}\n"
                         for name, rules in _chains(CHAINS, self.quotes, self.dhcp).items())
        return f"table bridge {BRIDGE_TABLE} {{\n{held}{chains}}}\n"

    def _elements(self, name: str) -> str:
        lines = ",\n".join(f"\t\t\t{element}" for element in self.held(name))
        return f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have our hook, our policy, exactly our rules in order, and exactly our machines."""
        listed = kernel.bridge_table(self.namespace, BRIDGE_TABLE)
        if listed is None:
            return MISSING
        wrong = [*_wrong_rules(listed, self.quotes, self.dhcp), *self._wrong_members(listed)]
        return changed("; ".join(wrong)) if wrong else None

    def _wrong_members(self, listed: list[dict[str, Any]]) -> Iterator[str]:
        held = members_of(listed)
        shall: dict[str, set[tuple[str, ...]]] = {
            MACS: {(member.device, member.mac) for member in held},
            FORWARDERS: {(member.device, member.mac) for member in held if member.forwards},
            MACHINES: {(str(member.address), member.mac) for member in held},
            QUOTED: {(member.device, str(int(member.address))) for member in held if self.quotes}}
        for name, elements in shall.items():
            if parts_of(listed, name) != elements:
                yield f"its set {name} is not that of its machines"
        if ranges_of(listed) != set(self.ranges):
            yield "its subnets without machines differ"
        lost, more = len(set(self.machines) - held), len(held - set(self.machines))
        if lost or more:
            yield f"{lost} of its {len(self.machines)} machines missing, {more} not ours"

    def __str__(self) -> str:
        return f"guard of the ports in {self.namespace}"


def _unlike(old: list[str], new: list[str]) -> tuple[list[str], ...]:
    """Both without what they begin and end with in common: what is left is nearly always what differs."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    return old[head:len(old) - tail], new[head:len(new) - tail]


def _moved(name: str, old: Mapping[str, None], new: Mapping[str, None]) -> str:
    """The commands that turn the elements of a set into others."""
    gone = [element for element in old if element not in new]
    come = [element for element in new if element not in old]
    steps = (("delete", gone), ("add", come))
    return "".join(f"{verb} element bridge {BRIDGE_TABLE} {name} {{ {', '.join(elements)} }}\n"
                   for verb, elements in steps if elements)


def _chains(chains: Mapping[str, Any], quotes: bool, dhcp: bool) -> dict[str, Any]:
    """The chains of a table that matches what ICMP errors quote, and passes DHCP, or does not."""
    if dhcp:
        chains = {**chains, "others": (*chains[DISCOVER], *chains["others"])}
    kept = {name: rules for name, rules in chains.items() if name != DISCOVER}
    if quotes:
        return kept
    del kept["errors"]
    return {**kept, "ipv4": (*kept["ipv4"][:_TO_ERRORS], *kept["ipv4"][_TO_ERRORS + 1:])}


def _hook(chain: str) -> str:
    if chain != "prerouting":
        return ""
    return f"\t\ttype filter hook prerouting priority {PRIORITY}; policy drop;\n"


def _rules(rules: tuple[str, ...]) -> str:
    return "".join(f"\t\t{rule}\n" for rule in rules)


def is_whole(listed: list[dict[str, Any]]) -> bool:
    """Whether a table has our hook, policy and rules, and no others."""
    quotes = any(item.get("set", {}).get("name") == QUOTED for item in listed)
    return any(not list(_wrong_rules(listed, quotes, dhcp)) for dhcp in (False, True))


def members_of(listed: list[dict[str, Any]]) -> frozenset[Member]:
    """The machines in a table that nft has listed; an element of another form is not ours."""
    return frozenset(map(_member, _elements_of(listed, OWN)))


def ranges_of(listed: list[dict[str, Any]]) -> frozenset[Range]:
    """The subnets without machines in a table that nft has listed."""
    comments = (str(one.get("elem", {}).get("comment", "")).split() if isinstance(one, dict) else []
                for one in _elements_of(listed, RANGES))
    return frozenset(Range(*words) if len(words) == 3 else Range("", "", "") for words in comments)


def switched_by(listed: list[dict[str, Any]]) -> dict[IPv4Address, str]:
    """The MAC to which the table sends packets for an address."""
    return {IPv4Address(parts[0]): parts[1] for parts in parts_of(listed, MACHINES)}


def parts_of(listed: list[dict[str, Any]], name: str) -> set[tuple[str, ...]]:
    """The elements of a set or map, each as a list of its parts."""
    listings = [element.get("concat", ()) if isinstance(element, dict) else element
                for element in _elements_of(listed, name)]
    return {tuple(map(str, parts)) if isinstance(parts, list) else () for parts in listings}


def _elements_of(listed: list[dict[str, Any]], name: str) -> list[Any]:
    held = [item[kind] for item in listed for kind in ("set", "map") if kind in item]
    return [element for one in held if one.get("name") == name for element in one.get("elem", [])]


def _member(element: Any) -> Member:
    inner = element.get("elem", {}) if isinstance(element, dict) else {}
    parts = inner.get("val", element).get("concat", []) if isinstance(element, dict) else []
    if len(parts) != len(TYPES[OWN]) or not all(isinstance(part, str) for part in parts):
        return Member(str(element), "", IPv4Address(0), "")
    return Member(parts[0], parts[1], IPv4Address(parts[2]), str(inner.get("comment", "")))


def _wrong_rules(listed: list[dict[str, Any]], quotes: bool, dhcp: bool) -> Iterator[str]:
    """What differs apart from the machines."""
    expressions = _chains(EXPRESSIONS, quotes, dhcp)
    chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
    if chains.keys() != expressions.keys():
        yield f"its chains are {', '.join(chains) or 'missing'}"
    hook = {key: value for key, value in chains.get("prerouting", {}).items()
            if key in ("type", "hook", "prio", "policy")}
    if hook != {"type": "filter", "hook": "prerouting", "prio": PRIORITY, "policy": "drop"}:
        yield f"its hook is {' '.join(map(str, hook.values())) or 'missing'}"
    sets = {item[kind]["name"]: item[kind].get("type") for item in listed for kind in ("set", "map")
            if kind in item}
    # Versions of nft differ in how they print a type that nft inferred.
    shall = {**TYPES, RANGES: "ipv4_addr", MACHINES: "ipv4_addr",
             **({QUOTED: sets.get(QUOTED)} if quotes else {})}
    if sets != shall:
        yield f"its sets are {', '.join(sets) or 'missing'}"
    for name, rules in expressions.items():
        held = [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == name]
        if held != list(rules):
            yield f"the rules of its chain {name} differ"
    kinds = {kind for item in listed for kind in item}
    if not kinds <= {"metainfo", "table", "set", "map", "chain", "rule"}:
        yield "something of another kind is in it"


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
    "prerouting": [
        [{"vmap": {"key": _field("ether", "type"), "data": {"set": [
            ["ip", {"goto": {"target": "ipv4"}}], ["arp", {"goto": {"target": "arps"}}]]}}}],
    ],
}
"""CHAINS as nft lists them in JSON (libnftables-json(5))."""
