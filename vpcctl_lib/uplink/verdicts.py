"""What a base chain of another firewall does to a VPC's packet, at whichever hook of the host; pure.

A packet meets all base chains of a hook; an accept of ours ends ours only (nft(8), "VERDICT STATEMENT").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.ruleset import Chain, Rule, Table

FAMILIES = ("ip", "inet", "netdev")
HOOKS = ("ingress", "prerouting", "forward", "postrouting", "egress")
CONNTRACK, DNAT, SNAT = -200, -100, 100
"""When connections are recognised, and addresses translated (include/uapi/linux/netfilter_ipv4.h)."""

CLIENT = 49152
"""A client's port, as the first of those that nobody assigns (RFC 6335, section 6)."""

HEADERS = frozenset({"tcp", "udp", "udplite", "icmp", "icmpv6", "igmp", "ip6", "sctp", "dccp", "esp", "ah",
                     "arp"})
"""What nft looks into only if the packet has it."""

DEEPEST = 16
"""NFT_JUMP_STACK_SIZE of the kernel's include/net/netfilter/nf_tables.h."""


class Fate(Enum):
    """What becomes of a packet in a chain."""

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
        """The link that it comes in by."""
        return self.uplink if self.kind is Kind.ANSWERS else self.cable

    @property
    def outgoing(self) -> str:
        """The link that it leaves by."""
        return self.cable if self.kind is Kind.ANSWERS else self.uplink

    def facts(self, hook: str = "forward", priority: int = 0) -> Mapping[tuple[str, str], object]:
        """What nft's expressions would find in it there; what is not among them is not known."""
        comes = "" if hook == "egress" else self.incoming
        goes = "" if hook in ("ingress", "prerouting") else self.outgoing
        port, own = ("sport", "dport") if self.kind is Kind.ANSWERS else ("dport", "sport")
        found = {("meta", "iifname"): comes, ("meta", "oifname"): goes, ("meta", "iif"): comes,
                 ("meta", "oif"): goes, ("meta", "nfproto"): "ipv4", ("meta", "protocol"): "ip",
                 ("meta", "l4proto"): self.protocol, ("ip", "version"): 4, ("ip", "protocol"): self.protocol,
                 (self.protocol, port): self.port, ("th", port): self.port}
        addresses = self._addresses(hook, priority)
        if ("ip", "daddr") in addresses and ("ip", "saddr") in addresses:
            # Beyond the translation its port is any.
            found |= {(self.protocol, own): CLIENT, ("th", own): CLIENT}
        return {**found, **addresses, **self._tracked(hook, priority)}

    def _addresses(self, hook: str, priority: int) -> dict[tuple[str, str], object]:
        """Outside of our translation, the VPC's address is the host's."""
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
    """What one chain does to a packet, by which of its parts, and the rule's number (0: its policy)."""

    fate: Fate
    why: str = ""
    handle: int = 0


@frozen
class BaseChain:
    """A base chain, with all of its table; `tool` is that iptables which made it, else it is nft's."""

    chain: Chain
    table: Table
    tool: str = ""

    def __str__(self) -> str:
        chain = self.chain
        if self.tool:
            return f"chain {chain.name} of table {chain.table} ({self.tool})"
        return f"nft chain {chain.family} {chain.table} {chain.name}"

    def meets(self, packet: Packet) -> bool:
        """Whether the packet comes by here at all."""
        if self.chain.kind == "nat" and packet.kind is not Kind.OPENS:
            return False
        link = {"ingress": packet.incoming, "egress": packet.outgoing}.get(self.chain.hook, "")
        return not link or not self.chain.devices or link in self.chain.devices

    def verdict(self, packet: Packet) -> Verdict:
        """What becomes of it here."""
        if not self.meets(packet):
            return Verdict(Fate.PASSES)
        found = _Walk(self, packet).verdict()
        if found.fate is Fate.REFUSED and self.chain.hook in ("ingress", "egress") and not self.chain.devices:
            return Verdict(Fate.UNSURE, found.why, found.handle)
        return found


def base_chains(tables: Sequence[Table], tool: str = "") -> list[BaseChain]:
    """Those that a packet of a VPC's may meet on the host."""
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


class _Walk:
    """One packet in one base chain; what may match or not is followed both ways."""

    def __init__(self, chain: BaseChain, packet: Packet) -> None:
        self._chain = chain
        self._facts = packet.facts(chain.chain.hook, chain.chain.priority)
        self._why = ""
        self._handle = 0
        self._known: dict[str, _Ends] = {}

    def verdict(self) -> Verdict:
        """What becomes of it."""
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
            (kind, told), = statement.items()
            if kind == "vmap":
                ends = self._mapped(told, depth, rule)
                unsure |= ends & _NEXT
                if ends != _NEXT:
                    return ends | unsure
            elif kind in _VERDICTS:
                return self._ended(kind, told, depth, rule) | unsure
            elif kind in UNFORESEEN:
                self._blame(kind, rule)
                return frozenset({_End.ACCEPTED, _End.REFUSED}) | unsure
            elif kind not in HARMLESS:
                matches = self._matches(kind, told)
                if matches is False:
                    return _NEXT
                unsure = unsure if matches else _NEXT
        return _NEXT

    def _blame(self, kind: str, rule: Rule) -> None:
        if not self._why:
            self._why, self._handle = f"a rule of it says {kind}", rule.handle

    def _ended(self, kind: str, told: Any, depth: int, rule: Rule) -> _Ends:
        if kind in ("jump", "goto"):
            ends = self._in(told["target"], depth - 1)
            after = _End.NEXT if kind == "jump" else _End.RETURNED
            back = {_End.NEXT, _End.RETURNED}
            return (ends - back) | {after} if ends & back else ends
        if _VERDICTS[kind] is _End.REFUSED:
            self._blame(kind, rule)
        return frozenset({_VERDICTS[kind]})

    def _matches(self, kind: str, told: Any) -> bool | None:
        """Whether it does; None if the packet's first lines do not tell."""
        if kind == "limit":
            return not (isinstance(told, dict) and told.get("inv"))
        if kind != "match":
            return None
        header = told["left"].get("payload", {}).get("protocol") if isinstance(told["left"], dict) else None
        if header in HEADERS and header != self._facts["meta", "l4proto"]:
            # Before it looks there, nft sees to it that the packet is of that kind.
            return False
        value, operator = self._value(told["left"]), told["op"]
        if value is None or operator not in ("==", "!=", "in"):
            return None
        found = self._is_in(value, told["right"])
        return found if found is None or operator != "!=" else not found

    def _value(self, left: Any) -> object | None:
        if not isinstance(left, dict) or len(left) != 1:
            return None
        (kind, told), = left.items()
        if kind == "payload" and "protocol" in told:
            return self._facts.get((told["protocol"], told["field"]))
        return self._facts.get((kind, told["key"])) if kind in ("meta", "ct") and "key" in told else None

    def _is_in(self, value: object, right: Any) -> bool | None:
        if isinstance(right, str) and right.startswith("@"):
            right = self._chain.table.sets.get(right[1:])
            if right is None:
                return None
        members = right.get("set", [right]) if isinstance(right, dict) else right
        members = members if isinstance(members, list) else [members]
        found = [_is(value, member) for member in members]
        return True if True in found else None if None in found else False

    def _mapped(self, told: Any, depth: int, rule: Rule) -> _Ends:
        value, data = self._value(told["key"]), told["data"]
        if isinstance(data, str):
            data = self._chain.table.sets.get(data.removeprefix("@"))
        entries = data.get("set", []) if isinstance(data, dict) else []
        possible = [(self._is_in(value, key) if value is not None else None, verdict)
                    for key, verdict in entries]
        ends: set[_End] = set()
        for matches, verdict in possible:
            if matches is not False:
                (kind, told), = verdict.items()
                ends |= self._ended(kind, told, depth, rule) if kind in _VERDICTS else _NEXT
            if matches:
                return frozenset(ends)
        return frozenset({*ends, _End.NEXT})


_VERDICTS = {"accept": _End.ACCEPTED, "drop": _End.REFUSED, "reject": _End.REFUSED, "return": _End.RETURNED,
             "continue": _End.NEXT, "jump": _End.NEXT, "goto": _End.RETURNED,
             **dict.fromkeys(("dnat", "snat", "masquerade", "redirect"), _End.ACCEPTED)}
HARMLESS = frozenset({"counter", "log", "mangle", "flow", "dup", "ct helper", "ct timeout", "ct expectation"})
"""Statements after which the rule goes on, and whose packet is the same to us."""

UNFORESEEN = frozenset({"queue", "notrack", "fwd", "tproxy", "synproxy"})
"""A program decides, the connection is not tracked, which NAT needs, or the packet goes elsewhere."""


def _is(value: object, member: Any) -> bool | None:
    """Whether a value is the member of a set: a word, a name with a star, a network, a range."""
    if isinstance(member, dict) and "elem" in member:
        member = member["elem"].get("val")
    if isinstance(value, IPv4Address):
        return _is_address(value, member)
    if isinstance(member, dict):
        span = member.get("range")
        return bool(span[0] <= value <= span[1]) if span and isinstance(value, int) else None
    if isinstance(member, str) and member.endswith("*") and isinstance(value, str):
        return value.startswith(member[:-1])
    return bool(value == member)


def _is_address(value: IPv4Address, member: Any) -> bool | None:
    try:
        if isinstance(member, str):
            return value == IPv4Address(member)
        if "prefix" in member:
            return value in IPv4Network((member["prefix"]["addr"], member["prefix"]["len"]))
        first, last = member["range"]
        return IPv4Address(first) <= value <= IPv4Address(last)
    except (AddressValueError, NetmaskValueError, LookupError, TypeError, ValueError):
        return None
