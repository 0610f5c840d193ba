"""What the host's other firewalls do to a packet that is passed on: nft's base chains that iptables lacks.

A packet meets all base chains of a hook; an accept of ours ends ours only (nft(8), "VERDICT STATEMENT").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Any

from vpcctl_lib.answers import parsed
from vpcctl_lib.run import Runner

OF_IPTABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
"""The tables of family ip that iptables-nft has, with its built-in chains in capitals."""

FAMILIES = ("ip", "inet")
STRANGE = frozenset({"udp", "udplite", "icmp", "icmpv6", "igmp", "ip6", "sctp", "dccp", "esp", "ah", "arp"})
"""What a TCP packet has no header of."""

DEEPEST = 16
"""NFT_JUMP_STACK_SIZE of the kernel's include/net/netfilter/nf_tables.h."""

Statement = dict[str, Any]


class Fate(Enum):
    """What becomes of a packet in a chain."""

    PASSES = "passes"
    REFUSED = "refused"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Packet:
    """The TCP packet that opens (or, `established`, answers) a connection to a web server, and its way."""

    incoming: str
    outgoing: str
    source: IPv4Address
    destination: IPv4Address
    established: bool = False

    def facts(self) -> Mapping[tuple[str, str], object]:
        """What nft's expressions would find in it."""
        port = "sport" if self.established else "dport"
        # The first packet is neither translated nor confirmed yet (ip_conntrack_status).
        status = {} if self.established else {("ct", "status"): "none"}
        return {("meta", "iifname"): self.incoming, ("meta", "oifname"): self.outgoing,
                ("meta", "iif"): self.incoming, ("meta", "oif"): self.outgoing,
                ("meta", "nfproto"): "ipv4", ("meta", "protocol"): "ip", ("meta", "l4proto"): "tcp",
                ("ip", "version"): 4, ("ip", "protocol"): "tcp", ("ip", "saddr"): self.source,
                ("ip", "daddr"): self.destination, ("tcp", port): 443, ("th", port): 443,
                ("ct", "state"): "established" if self.established else "new", **status}


@dataclass(frozen=True)
class Verdict:
    """What one chain does to a packet, and by which of its parts."""

    fate: Fate
    why: str = ""


@dataclass(frozen=True)
class BaseChain:
    """A base chain of the forward hook, with all chains and sets of its table."""

    family: str
    table: str
    name: str
    policy: str
    rules: Mapping[str, Sequence[Sequence[Statement]]]
    sets: Mapping[str, Any]

    def __str__(self) -> str:
        return f"nft chain {self.family} {self.table} {self.name}"

    def verdict(self, packet: Packet) -> Verdict:
        """What becomes of it here."""
        return _Walk(self, packet).verdict()


def others(runner: Runner) -> list[BaseChain]:
    """The base chains of the host's forward hook that iptables did not make; VpcctlError if nft fails."""
    listed = parsed(runner.ask(("nft", "-j", "list", "chains")), "{}")
    tables = dict.fromkeys((chain["family"], chain["table"]) for chain in _foreign(listed))
    return [chain for family, table in tables
            for chain in read(parsed(runner.ask(("nft", "-j", "list", "table", family, table)), "{}"))]


def read(listed: dict[str, Any]) -> list[BaseChain]:
    """The base chains of the forward hook among what `nft -j list table` (or ruleset) told."""
    rules: dict[tuple[str, str], dict[str, list[Sequence[Statement]]]] = {}
    sets: dict[tuple[str, str], dict[str, Any]] = {}
    for item in listed.get("nftables", ()):
        for kind, thing in item.items():
            place = (thing.get("family", ""), thing.get("table", ""))
            if kind == "chain":
                rules.setdefault(place, {}).setdefault(thing["name"], [])
            elif kind == "rule":
                rules.setdefault(place, {}).setdefault(thing["chain"], []).append(thing.get("expr", ()))
            elif kind in ("set", "map"):
                sets.setdefault(place, {})[thing["name"]] = {"set": thing.get("elem", [])}
    return [BaseChain(chain["family"], chain["table"], chain["name"], chain.get("policy", "accept"),
                      rules[chain["family"], chain["table"]], sets.get((chain["family"], chain["table"]), {}))
            for chain in _foreign(listed)]


def _foreign(listed: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in listed.get("nftables", ()):
        chain = item.get("chain", {})
        iptables = chain.get("family") == "ip" and chain.get("table") in OF_IPTABLES \
            and chain["name"].isupper()
        if chain.get("hook") == "forward" and chain["family"] in FAMILIES and not iptables:
            yield chain


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
        self._facts = packet.facts()
        self._why = ""

    def verdict(self) -> Verdict:
        """What becomes of it."""
        ends = self._in(self._chain.name, DEEPEST)
        refused = _End.REFUSED in ends
        passed = _End.ACCEPTED in ends
        if ends & {_End.NEXT, _End.RETURNED}:
            refused, passed = (True, passed) if self._chain.policy == "drop" else (refused, True)
            self._why = self._why or "its policy is drop"
        if not refused:
            return Verdict(Fate.PASSES)
        return Verdict(Fate.UNSURE if passed else Fate.REFUSED, self._why)

    def _in(self, name: str, depth: int) -> _Ends:
        ends: set[_End] = set()
        for rule in self._chain.rules.get(name, ()) if depth else ():
            found = self._of(rule, depth)
            ends |= found - _NEXT
            if _End.NEXT not in found:
                return frozenset(ends)
        return frozenset({*ends, _End.NEXT})

    def _of(self, rule: Sequence[Statement], depth: int) -> _Ends:
        unsure: _Ends = frozenset()
        for statement in rule:
            (kind, told), = statement.items()
            if kind in ("match", "limit", "xt"):
                matches = self._matches(kind, told)
                if matches is False:
                    return _NEXT
                unsure = unsure if matches else _NEXT
            elif kind == "vmap":
                ends = self._mapped(told, depth)
                unsure |= ends & _NEXT
                if ends != _NEXT:
                    return ends | unsure
            elif kind in _VERDICTS:
                return self._ended(kind, told, depth) | unsure
        return _NEXT

    def _ended(self, kind: str, told: Any, depth: int) -> _Ends:
        if kind in ("jump", "goto"):
            ends = self._in(told["target"], depth - 1)
            after = _End.NEXT if kind == "jump" else _End.RETURNED
            back = {_End.NEXT, _End.RETURNED}
            return (ends - back) | {after} if ends & back else ends
        if _VERDICTS[kind] is _End.REFUSED:
            self._why = self._why or f"a rule of it says {kind}"
        return frozenset({_VERDICTS[kind]})

    def _matches(self, kind: str, told: Any) -> bool | None:
        """Whether it does; None if the packet's first lines do not tell."""
        if kind == "limit":
            return not (isinstance(told, dict) and told.get("inv"))
        if kind == "xt":
            return None
        if isinstance(told["left"], dict) and told["left"].get("payload", {}).get("protocol") in STRANGE:
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
            right = self._chain.sets.get(right[1:])
            if right is None:
                return None
        members = right.get("set", [right]) if isinstance(right, dict) else right
        members = members if isinstance(members, list) else [members]
        found = [_is(value, member) for member in members]
        return True if True in found else None if None in found else False

    def _mapped(self, told: Any, depth: int) -> _Ends:
        value, data = self._value(told["key"]), told["data"]
        if isinstance(data, str):
            data = self._chain.sets.get(data.removeprefix("@"))
        entries = data.get("set", []) if isinstance(data, dict) else []
        possible = [(self._is_in(value, key) if value is not None else None, verdict)
                    for key, verdict in entries]
        ends: set[_End] = set()
        for matches, verdict in possible:
            if matches is not False:
                (kind, told), = verdict.items()
                ends |= self._ended(kind, told, depth) if kind in _VERDICTS else _NEXT
            if matches:
                return frozenset(ends)
        return frozenset({*ends, _End.NEXT})


_VERDICTS = {"accept": _End.ACCEPTED, "drop": _End.REFUSED, "reject": _End.REFUSED, "return": _End.RETURNED,
             "continue": _End.NEXT, "jump": _End.NEXT, "goto": _End.RETURNED}


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
