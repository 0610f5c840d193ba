"""The guard of a VPC's bridge: an nft table that lets in through each port only what its machine may send."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.naming import BRIDGE_TABLE
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Nft

HEAD = f"table bridge {BRIDGE_TABLE}\ndelete table bridge {BRIDGE_TABLE}\n"
"""Whatever is there goes; the first line makes a table where there is none, lest the second fails."""

FORM = 2
"""Counts the forms of the table, so that the next change replaces one of an older form."""

OWN, MACS, MACHINES, QUOTED = "own", "macs", "machines", "quoted"
TYPES = {OWN: ["ifname", "ether_addr", "ipv4_addr"], MACS: ["ifname", "ether_addr"]}
QUOTE = "@th,192,32"
"""The destination of the packet that an ICMP error quotes: behind its own 8 bytes, 16 into the quoted header
(RFC 792, RFC 791). No machine can get an error about a packet that did not come to who sends the error."""

ERRORS = ("destination-unreachable", "source-quench", "redirect", "time-exceeded", "parameter-problem")
NOBODY = str(IPv4Address(0))
PRIORITY = -200
"""That of `filter` in the family bridge, before br_netfilter hands frames to iptables (its own is 0)."""

# By the type that stands in the frame itself (`ether type`): what `meta protocol` says of a frame with a VLAN
# tag is the type behind the tag.
CHAINS = {
    "ipv4": (
        f"iifname . ether saddr . ip saddr != @{OWN} drop",
        # Machines send everything to the gateway's MAC: what is for a neighbour is switched to it.
        f"ether daddr set ip daddr map @{MACHINES}",
        # Only a first fragment has ports.
        "ip frag-off & 0x1fff != 0 accept",
        # 67 is a DHCP server's.
        "udp sport 67 drop",
        f"icmp type {{ {', '.join(ERRORS)} }} goto errors",
        "accept",
    ),
    "errors": (
        # The rest of what it quotes may come later.
        "ip frag-off & 0x2000 != 0 drop",
        f"iifname . {QUOTE} @{QUOTED} accept",
        "drop",
    ),
    "arps": (
        "arp htype != 1 drop", "arp ptype != ip drop", "arp hlen != 6 drop", "arp plen != 4 drop",
        # A probe (RFC 5227): whether an address is taken, asked by one that does not have it yet.
        f"arp operation request arp saddr ip {NOBODY} iifname . ether saddr @{MACS} "
        f"iifname . arp saddr ether @{MACS} accept",
        f"iifname . ether saddr . arp saddr ip != @{OWN} drop",
        f"iifname . arp saddr ether . arp saddr ip != @{OWN} drop",
        "arp operation != { request, reply } drop",
        "accept",
    ),
    "prerouting": ("ether type vmap { ip : goto ipv4, arp : goto arps }",),
}
"""The rules by chain; all else (IPv6, VLAN tags, STP, LLDP, …) meets the policy, which is to drop."""

_TO_ERRORS = next(index for index, rule in enumerate(CHAINS["ipv4"]) if "goto errors" in rule)


@frozen
class Member:
    """A machine behind a port; the comment tells its subnet's CIDR and type, for a record that is rebuilt."""

    device: str
    mac: str
    address: IPv4Address
    comment: str

    @property
    def elements(self) -> dict[str, str]:
        """As an element of each set."""
        port = f'"{self.device}" . {self.mac}'
        return {OWN: f'{port} . {self.address} comment "{self.comment}"', MACS: port,
                MACHINES: f"{self.address} : {self.mac}",
                QUOTED: f'"{self.device}" . {int(self.address):#x}'}


@frozen
class Guard(Resource):
    """The table, loaded whole: between two sets of machines there is no moment without a guard."""

    namespace: str
    members: tuple[Member, ...] = ()
    form: int = 1
    quotes: bool = False
    """Whether nft here can look into what an ICMP error quotes."""

    in_place = True
    unasked = True

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("guard", self.namespace)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    def make(self) -> Operations:
        """All of it at once."""
        return (Nft(self.namespace, HEAD + self.text()),)

    def unmake(self, facts: Facts) -> Operations:
        """Gone."""
        return (Nft(self.namespace, HEAD),)

    def text(self) -> str:
        """The table as nft reads it."""
        sets = {name: f"set {name} {{\n\t\ttype {' . '.join(types)}" for name, types in TYPES.items()}
        sets[MACHINES] = f"map {MACHINES} {{\n\t\ttype ipv4_addr : ether_addr"
        if self.quotes:
            sets[QUOTED] = f"set {QUOTED} {{\n\t\ttypeof iifname . {QUOTE}"
        held = "".join(f"\t{head}\n{self._elements(name)}\t}}\n" for name, head in sets.items())
        chains = "".join(f"\tchain {name} {{\n{_hook(name)}{_rules(rules)}\t}}\n"
                         for name, rules in _chains(CHAINS, self.quotes).items())
        return f"table bridge {BRIDGE_TABLE} {{\n{held}{chains}}}\n"

    def _elements(self, name: str) -> str:
        # A machine with several addresses is several members, with one MAC.
        lines = ",\n".join(dict.fromkeys(f"\t\t\t{member.elements[name]}" for member in self.members))
        return f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The hook, the policy, exactly our rules in their order, exactly our machines."""
        listed = kernel.bridge_table(self.namespace, BRIDGE_TABLE)
        if listed is None:
            return MISSING
        wrong = [*_wrong_rules(listed, self.quotes), *self._wrong_members(listed)]
        return changed("; ".join(wrong)) if wrong else None

    def _wrong_members(self, listed: list[dict[str, Any]]) -> Iterator[str]:
        held = members_of(listed)
        shall: dict[str, set[tuple[str, ...]]] = {
            MACS: {(member.device, member.mac) for member in held},
            MACHINES: {(str(member.address), member.mac) for member in held},
            QUOTED: {(member.device, str(int(member.address))) for member in held if self.quotes}}
        for name, elements in shall.items():
            if _parts_of(listed, name) != elements:
                yield f"its set {name} is not that of its machines"
        lost, more = len(set(self.members) - held), len(held - set(self.members))
        if lost or more:
            yield f"{lost} of its {len(self.members)} machines missing, {more} not ours"

    def __str__(self) -> str:
        return f"guard of the ports in {self.namespace}"


def _chains(chains: Mapping[str, Any], quotes: bool) -> dict[str, Any]:
    """Those of a table that looks into what ICMP errors quote, or does not."""
    if quotes:
        return dict(chains)
    kept = {name: rules for name, rules in chains.items() if name != "errors"}
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
    return not list(_wrong_rules(listed, quotes))


def members_of(listed: list[dict[str, Any]]) -> frozenset[Member]:
    """The machines in a table that nft has listed; an element of another shape is a stranger's."""
    return frozenset(map(_member, _elements_of(listed, OWN)))


def switched_by(listed: list[dict[str, Any]]) -> dict[IPv4Address, str]:
    """To which MAC the table sends what is for an address."""
    return {IPv4Address(parts[0]): parts[1] for parts in _parts_of(listed, MACHINES)}


def _parts_of(listed: list[dict[str, Any]], name: str) -> set[tuple[str, ...]]:
    """The elements of a set or map, each as the texts that it is made of."""
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


def _wrong_rules(listed: list[dict[str, Any]], quotes: bool) -> Iterator[str]:
    """What differs beside the machines."""
    expressions = _chains(EXPRESSIONS, quotes)
    chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
    if chains.keys() != expressions.keys():
        yield f"its chains are {', '.join(chains) or 'gone'}"
    hook = {key: value for key, value in chains.get("prerouting", {}).items()
            if key in ("type", "hook", "prio", "policy")}
    if hook != {"type": "filter", "hook": "prerouting", "prio": PRIORITY, "policy": "drop"}:
        yield f"its hook is {' '.join(map(str, hook.values())) or 'gone'}"
    sets = {item[kind]["name"]: item[kind].get("type") for item in listed for kind in ("set", "map")
            if kind in item}
    # How nft tells of a type that it has worked out itself differs between its versions.
    shall = {**TYPES, MACHINES: "ipv4_addr", **({QUOTED: sets.get(QUOTED)} if quotes else {})}
    if sets != shall:
        yield f"its sets are {', '.join(sets) or 'gone'}"
    for name, rules in expressions.items():
        held = [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == name]
        if held != list(rules):
            yield f"the rules of its chain {name} are others"
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


DROP: dict[str, Any] = {"drop": None}
ACCEPT: dict[str, Any] = {"accept": None}
EXPRESSIONS: dict[str, list[list[dict[str, Any]]]] = {
    "ipv4": [
        [_sender(_field("ether", "saddr"), _field("ip", "saddr")), DROP],
        [{"mangle": {"key": _field("ether", "daddr"),
                     "value": {"map": {"key": _field("ip", "daddr"), "data": f"@{MACHINES}"}}}}],
        [_match("!=", {"&": [_field("ip", "frag-off"), 8191]}, 0), ACCEPT],
        [_match("==", _field("udp", "sport"), 67), DROP],
        [_match("==", _field("icmp", "type"), {"set": list(ERRORS)}), {"goto": {"target": "errors"}}],
        [ACCEPT],
    ],
    "errors": [
        [_match("!=", {"&": [_field("ip", "frag-off"), 8192]}, 0), DROP],
        [_match("==", _port({"payload": {"base": "th", "offset": 192, "len": 32}}), f"@{QUOTED}"), ACCEPT],
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
