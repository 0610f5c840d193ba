"""What a base chain of another firewall does to a VPC's packet, at any hook of the host; pure.

A packet meets all base chains of a hook; an accept in ours ends only ours (nft(8), "VERDICT STATEMENT").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.ruleset import Chain, Rule, Table

FAMILIES = ("ip", "inet", "netdev")
HOOKS = ("ingress", "prerouting", "forward", "postrouting", "egress")
CONNTRACK, DNAT, SNAT = -200, -100, 100
"""The priorities of connection tracking and of translation (include/uapi/linux/netfilter_ipv4.h)."""

CLIENT = 49152
"""A client's port: the first of those that nobody assigns (RFC 6335, section 6)."""

Known = Mapping[tuple[str, str], object]
"""What nft's expressions would find in a packet, by their two words."""

NETWORKS = {"ip": "ipv4", "ip6": "ipv6"}
"""Headers of families, with the words for these."""

HEADERS = frozenset({"tcp", "udp", "udplite", "icmp", "icmpv6", "igmp", "sctp", "dccp", "esp", "ah", "arp"})
"""What nft reads only if the packet has it."""

DEEPEST = 16
"""NFT_JUMP_STACK_SIZE of the kernel's include/net/netfilter/nf_tables.h."""


class Fate(Enum):
    """What happens to a packet in a chain."""

    PASSES = "passes"
    REFUSED = "refused"
    UNSURE = "unsure"


class Kind(Enum):
    """Which packet of a connection it is."""

    OPENS = "the first"
    ANSWERS = "an answer"
    GOES_ON = "what follows from the VPC"


@frozen
class Packet:
    """A packet of a connection that a VPC opens to a service outside, and the links that it passes."""

    cable: str
    uplink: str
    inside: IPv4Address
    outside: IPv4Address
    kind: Kind = Kind.OPENS
    protocol: str = "tcp"
    port: int = 443

    @property
    def incoming(self) -> str:
        """The link by which it comes in."""
        return self.uplink if self.kind is Kind.ANSWERS else self.cable

    @property
    def outgoing(self) -> str:
        """The link by which it leaves."""
        return self.cable if self.kind is Kind.ANSWERS else self.uplink

    def facts(self, hook: str = "forward", priority: int = 0) -> Known:
        """What nft's expressions would find in it there; anything else is unknown."""
        comes = "" if hook == "egress" else self.incoming
        goes = "" if hook in ("ingress", "prerouting") else self.outgoing
        port, own = ("sport", "dport") if self.kind is Kind.ANSWERS else ("dport", "sport")
        found = {("meta", "iifname"): comes, ("meta", "oifname"): goes, ("meta", "iif"): comes,
                 ("meta", "oif"): goes, ("meta", "nfproto"): "ipv4", ("meta", "protocol"): "ip",
                 ("meta", "l4proto"): self.protocol, ("ip", "version"): 4, ("ip", "protocol"): self.protocol,
                 (self.protocol, port): self.port, ("th", port): self.port}
        addresses = self._addresses(hook, priority)
        if ("ip", "daddr") in addresses and ("ip", "saddr") in addresses:
            # Its port after the translation is unknown.
            found |= {(self.protocol, own): CLIENT, ("th", own): CLIENT}
        return {**found, **addresses, **self._tracked(hook, priority)}

    def _addresses(self, hook: str, priority: int) -> dict[tuple[str, str], object]:
        """Outside our translation, the VPC's address is the host's."""
        if self.kind is Kind.ANSWERS:
            found: dict[tuple[str, str], object] = {("ip", "saddr"): self.outside}
            if not (hook == "ingress" or (hook == "prerouting" and priority <= DNAT)):
                found["ip", "daddr"] = self.inside
        else:
            found = {("ip", "daddr"): self.outside}
            if not (hook == "egress" or (hook == "postrouting" and priority >= SNAT)):
                found["ip", "saddr"] = self.inside
        return found

    def _tracked(self, hook: str, priority: int) -> dict[tuple[str, str], object]:
        early = hook == "prerouting" and priority <= CONNTRACK
        if hook == "ingress" or (early and priority == CONNTRACK):
            return {}
        if early:
            # Without a connection the state is invalid (nft_ct_get_eval in net/netfilter/nft_ct.c).
            return {("ct", "state"): "invalid"}
        found: dict[tuple[str, str], object] = {
            ("ct", "state"): "new" if self.kind is Kind.OPENS else "established",
            ("ct", "direction"): "reply" if self.kind is Kind.ANSWERS else "original"}
        if self.kind is Kind.OPENS:
            # The first packet is neither translated nor confirmed yet (ip_conntrack_status).
            found["ct", "status"] = "none"
        return found


@frozen
class Verdict:
    """What one chain does to a packet, which of its parts decides, and the rule's number (0: its policy)."""

    fate: Fate
    why: str = ""
    handle: int = 0


@frozen
class BaseChain:
    """A base chain with its whole table; `tool` is the iptables that made it, or empty for nft."""

    chain: Chain
    table: Table
    tool: str = ""

    def __str__(self) -> str:
        chain = self.chain
        if self.tool:
            return f"chain {chain.name} of table {chain.table} ({self.tool})"
        return f"nft chain {chain.family} {chain.table} {chain.name}"

    def meets(self, packet: Packet) -> bool:
        """Whether the packet passes this chain at all."""
        if self.chain.kind == "nat" and packet.kind is not Kind.OPENS:
            return False
        link = {"ingress": packet.incoming, "egress": packet.outgoing}.get(self.chain.hook, "")
        return not link or not self.chain.devices or link in self.chain.devices

    def verdict(self, packet: Packet) -> Verdict:
        """What happens to it here."""
        if not self.meets(packet):
            return Verdict(Fate.PASSES)
        found = _Walk(self, packet).verdict()
        if found.fate is Fate.REFUSED and self.chain.hook in ("ingress", "egress") and not self.chain.devices:
            return Verdict(Fate.UNSURE, found.why, found.handle)
        return found


def base_chains(tables: Sequence[Table], tool: str = "") -> list[BaseChain]:
    """Those that a VPC's packet may meet on the host."""
    return [BaseChain(chain, table, tool) for table in tables
            if table.family in FAMILIES and not table.is_dormant
            for chain in table.chains.values() if chain.hook in HOOKS]


class _End(Enum):
    """Where a rule may lead a packet."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NEXT = "to the next rule"
    RETURNED = "back to where the chain was called"


_Ends = frozenset[_End]
_NEXT: _Ends = frozenset({_End.NEXT})


class Conditions:
    """Whether what the rules of a table ask holds for a packet of which these facts are known."""

    def __init__(self, facts: Known, table: Table) -> None:
        self._facts = facts
        self._table = table

    def hold(self, kind: str, body: Any) -> bool | None:
        """Whether a statement matches; None if that depends on something unknown."""
        if kind == "limit":
            return not (isinstance(body, dict) and body.get("inv"))
        if kind != "match":
            return None
        header = body["left"].get("payload", {}).get("protocol") if isinstance(body["left"], dict) else None
        if header in NETWORKS:
            if NETWORKS[header] != self._facts["meta", "nfproto"]:
                return False
        elif header in HEADERS and header != self._facts["meta", "l4proto"]:
            # nft first checks that the packet is of that kind.
            return False
        value, operator = self.value(body["left"]), body["op"]
        if value is None or operator not in ("==", "!=", "in"):
            return None
        found = self.fits(value, body["right"])
        return found if found is None or operator != "!=" else not found

    def value(self, left: Any) -> object | None:
        """What an expression finds in the packet; None if that is unknown."""
        if not isinstance(left, dict) or len(left) != 1:
            return None
        (kind, body), = left.items()
        if kind == "concat":
            values = tuple(map(self.value, body))
            return None if None in values else values
        if kind == "&":
            found, mask = (self.value(one) if isinstance(one, dict) else one for one in body)
            return found & mask if isinstance(found, int) and isinstance(mask, int) else None
        if kind == "payload" and "protocol" in body:
            return self._facts.get((body["protocol"], body["field"]))
        if kind == "fib":
            flags = body["flags"] if isinstance(body["flags"], list) else [body["flags"]]
            return self._facts.get((kind, " ".join((body["result"], *flags))))
        return self._facts.get((kind, body["key"])) if kind in ("meta", "ct") and "key" in body else None

    def fits(self, value: object, right: Any) -> bool | None:
        """Whether a value is what a rule wants, or in its set; None if that is unknown."""
        if isinstance(right, str) and right.startswith("@"):
            right = self._table.sets.get(right[1:])
            if right is None:
                return None
        members = right.get("set", [right]) if isinstance(right, dict) else right
        members = members if isinstance(members, list) else [members]
        found = [_is(value, member) for member in members]
        return True if True in found else None if None in found else False

    def entries(self, body: Mapping[str, Any]) -> Iterable[Any]:
        """Those of a map, each its key and what is there."""
        data = body["data"]
        if isinstance(data, str):
            data = self._table.sets.get(data.removeprefix("@"))
        return data.get("set", []) if isinstance(data, dict) else []


class _Walk:
    """One packet in one base chain; a rule that might match is followed both ways."""

    def __init__(self, chain: BaseChain, packet: Packet) -> None:
        self._chain = chain
        self._conditions = Conditions(packet.facts(chain.chain.hook, chain.chain.priority), chain.table)
        self._why = ""
        self._handle = 0
        self._known: dict[str, _Ends] = {}

    def verdict(self) -> Verdict:
        """What happens to it."""
        ends = self._in(self._chain.chain.name, DEEPEST)
        refused = _End.REFUSED in ends
        passed = _End.ACCEPTED in ends
        if ends & {_End.NEXT, _End.RETURNED}:
            refused, passed = (True, passed) if self._chain.chain.policy == "drop" else (refused, True)
            self._why = self._why or "its policy is drop"
        if not refused:
            return Verdict(Fate.PASSES)
        return Verdict(Fate.UNSURE if passed else Fate.REFUSED, self._why, self._handle)

    def _in(self, name: str, depth: int) -> _Ends:
        if name not in self._known:
            self._known[name] = self._through(name, depth)
        return self._known[name]

    def _through(self, name: str, depth: int) -> _Ends:
        ends: set[_End] = set()
        chain = self._chain.table.chains.get(name)
        for rule in chain.rules if chain and depth else ():
            found = self._of(rule, depth)
            ends |= found - _NEXT
            if _End.NEXT not in found:
                return frozenset(ends)
        return frozenset({*ends, _End.NEXT})

    def _of(self, rule: Rule, depth: int) -> _Ends:
        unsure: _Ends = frozenset()
        for statement in rule.statements:
            (kind, body), = statement.items()
            if kind == "vmap":
                ends = self._mapped(body, depth, rule)
                unsure |= ends & _NEXT
                if ends != _NEXT:
                    return ends | unsure
            elif kind in _VERDICTS:
                return self._ended(kind, body, depth, rule) | unsure
            elif kind in UNFORESEEN:
                self._blame(kind, rule)
                return frozenset({_End.ACCEPTED, _End.REFUSED}) | unsure
            elif kind not in HARMLESS:
                matches = self._conditions.hold(kind, body)
                if matches is False:
                    return _NEXT
                unsure = unsure if matches else _NEXT
        return _NEXT

    def _blame(self, kind: str, rule: Rule) -> None:
        if not self._why:
            self._why, self._handle = f"a rule of it says {kind}", rule.handle

    def _ended(self, kind: str, body: Any, depth: int, rule: Rule) -> _Ends:
        if kind in ("jump", "goto"):
            ends = self._in(body["target"], depth - 1)
            after = _End.NEXT if kind == "jump" else _End.RETURNED
            back = {_End.NEXT, _End.RETURNED}
            return (ends - back) | {after} if ends & back else ends
        if _VERDICTS[kind] is _End.REFUSED:
            self._blame(kind, rule)
        return frozenset({_VERDICTS[kind]})

    def _mapped(self, body: Any, depth: int, rule: Rule) -> _Ends:
        value = self._conditions.value(body["key"])
        possible = [(self._conditions.fits(value, key) if value is not None else None, verdict)
                    for key, verdict in self._conditions.entries(body)]
        ends: set[_End] = set()
        for matches, verdict in possible:
            if matches is not False:
                (kind, body), = verdict.items()
                ends |= self._ended(kind, body, depth, rule) if kind in _VERDICTS else _NEXT
            if matches:
                return frozenset(ends)
        return frozenset({*ends, _End.NEXT})


_VERDICTS = {"accept": _End.ACCEPTED, "drop": _End.REFUSED, "reject": _End.REFUSED, "return": _End.RETURNED,
             "continue": _End.NEXT, "jump": _End.NEXT, "goto": _End.RETURNED,
             **dict.fromkeys(("dnat", "snat", "masquerade", "redirect"), _End.ACCEPTED)}
HARMLESS = frozenset({"counter", "log", "mangle", "flow", "dup", "ct helper", "ct timeout", "ct expectation"})
"""Statements after which the rule continues with the same packet, as far as we care."""

UNFORESEEN = frozenset({"queue", "notrack", "fwd", "tproxy", "synproxy"})
"""A program decides, the connection is not tracked although NAT needs that, or the packet goes elsewhere."""


def _is(value: object, member: Any) -> bool | None:
    """Whether a value is the member of a set: a word, a name with a star, a network, a range."""
    if isinstance(member, dict) and "elem" in member:
        member = member["elem"].get("val")
    if isinstance(value, tuple):
        parts = member.get("concat", []) if isinstance(member, dict) else []
        found = [_is(one, part) for one, part in zip(value, parts, strict=False)]
        whole = len(parts) == len(value)
        return False if False in found or not whole else None if None in found else True
    if isinstance(value, (IPv4Address, IPv6Address)):
        return _is_address(value, member)
    if isinstance(member, dict):
        span = member.get("range")
        return bool(span[0] <= value <= span[1]) if span and isinstance(value, int) else None
    if isinstance(member, str) and member.endswith("*") and isinstance(value, str):
        return value.startswith(member[:-1])
    return bool(value == member)


def _is_address(value: IPv4Address | IPv6Address, member: Any) -> bool | None:
    try:
        if isinstance(member, str):
            return value == ip_address(member)
        if "prefix" in member:
            return value in ip_network(f"{member['prefix']['addr']}/{member['prefix']['len']}")
        first, last = (int(ip_address(one)) for one in member["range"])
        return first <= int(value) <= last
    except (LookupError, TypeError, ValueError):
        return None
