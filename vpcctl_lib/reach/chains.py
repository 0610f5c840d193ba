"""A packet through one table's chains: jumps, returns, gotos, policies (iptables(8)); pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vpcctl_lib.frozen import frozen
from vpcctl_lib.reach.match import Place, Truth, matches
from vpcctl_lib.reach.packet import Packet, State
from vpcctl_lib.reach.tables import Chain, Parsed, Rule

UNKNOWN = "UNKNOWN"
ENDS = frozenset({"ACCEPT", "DROP", "REJECT", "SNAT", "DNAT", "MASQUERADE", "REDIRECT"})
PASSING = frozenset({"", "LOG", "NFLOG", "TCPMSS", "TRACE", "CHECKSUM", "CLASSIFY", "RATEEST",
                     "AUDIT", "LED"})
"""Targets after which the next rule is read, and which change nothing that a rule can match."""

CHANGING = frozenset({"MARK", "CONNMARK", "NOTRACK", "CT", "TOS", "DSCP", "SET"})
DOUBTS = 8
"""The most undecided rules in a row that are each followed both ways."""

Stack = tuple[tuple[Chain, int], ...]


@frozen
class Outcome:
    """How a table decided: the target, the rule that decided (none: the policy), the packet after it."""

    target: str
    packet: Packet
    rule: Rule | None = None
    policy: str = ""
    why: str = ""
    untracked: bool = False


@frozen
class _Spot:
    """The next rule to read, where to return to, and what the rules so far did."""

    chain: Chain
    number: int
    stack: Stack
    packet: Packet
    policy: str
    """The policy of the built-in chain, however far a goto has led from it."""

    untracked: bool = False
    doubts: int = 0


class Table:
    """The chains of one table, met by packets at one place."""

    def __init__(self, chains: Mapping[str, Chain], place: Place) -> None:
        self._chains = chains
        self._place = place

    def decide(self, chain: str, packet: Packet) -> Outcome:
        """What happens to the packet in a built-in chain; ACCEPT if the table does not have the chain."""
        if chain not in self._chains:
            return Outcome("ACCEPT", packet)
        policy = self._chains[chain].policy or "ACCEPT"
        return self._run(_Spot(self._chains[chain], 0, (), packet, f"{chain} policy {policy}"))

    def _run(self, spot: _Spot) -> Outcome:
        for number in range(spot.number, len(spot.chain.rules)):
            rule = spot.chain.rules[number]
            answer = matches(rule.parsed, spot.packet, self._place)
            if answer.truth is Truth.NO:
                continue
            after = replace(spot, number=number + 1)
            if answer.truth is Truth.YES:
                found = self._apply(rule, after)
            else:
                found = self._doubt(rule, after, answer.why)
            if isinstance(found, Outcome):
                return found
            spot = found
        return self._end(spot)

    def _end(self, spot: _Spot) -> Outcome:
        """After the last rule: back to the chain that jumped here, or the policy."""
        if spot.stack:
            (chain, number), stack = spot.stack[-1], spot.stack[:-1]
            return self._run(replace(spot, chain=chain, number=number, stack=stack))
        return Outcome(spot.policy.split()[-1], spot.packet, None, spot.policy, untracked=spot.untracked)

    def _doubt(self, rule: Rule, after: _Spot, why: str) -> Outcome | _Spot:
        """A rule that might match counts only if that makes a difference."""
        if rule.parsed.target in PASSING:
            return after
        reason = f"{why}, in: {rule}"
        if after.doubts >= DOUBTS:
            return Outcome(UNKNOWN, after.packet, rule, why=reason)
        after = replace(after, doubts=after.doubts + 1)
        taken = self._apply(rule, after)
        one = taken if isinstance(taken, Outcome) else self._run(taken)
        other = self._run(after)
        if _same(one, other):
            return other
        return Outcome(UNKNOWN, after.packet, rule, why=one.why or other.why or reason)

    def _apply(self, rule: Rule, after: _Spot) -> Outcome | _Spot:
        parsed = rule.parsed
        target = parsed.target
        if target in PASSING:
            return after
        if target in ENDS:
            return Outcome(target, after.packet, rule, untracked=after.untracked)
        if target == "RETURN":
            return self._end(replace(after, number=len(after.chain.rules)))
        if target in self._chains:
            return self._jump(self._chains[target], parsed.goto, after)
        return self._change(rule, after)

    def _jump(self, chain: Chain, for_good: bool, after: _Spot) -> Outcome:
        stack = after.stack if for_good else (*after.stack, (after.chain, after.number))
        return self._run(replace(after, chain=chain, number=0, stack=stack))

    def _change(self, rule: Rule, after: _Spot) -> Outcome | _Spot:
        """Targets that change the packet and continue."""
        parsed = rule.parsed
        if parsed.target == "MARK":
            return replace(after, packet=replace(after.packet, mark=_marked(parsed, after.packet.mark)))
        if parsed.target == "NOTRACK" or parsed.option("--notrack") is not None:
            return replace(after, untracked=True)
        if parsed.target == "CONNMARK":
            return replace(after, packet=_connmarked(parsed, after.packet))
        if parsed.target in CHANGING and parsed.option("--zone", "--zone-orig", "--zone-reply") is None:
            return after
        return Outcome(UNKNOWN, after.packet, rule, why=f"target {parsed.target} is not modelled, in: {rule}")


def _same(one: Outcome, other: Outcome) -> bool:
    blocked = {"DROP", "REJECT"}
    if {one.target, other.target} <= blocked:
        return True
    plain = one.target == other.target == "ACCEPT"
    return plain and (one.packet, one.untracked) == (other.packet, other.untracked)


def _connmarked(parsed: Parsed, packet: Packet) -> Packet:
    """xt_CONNMARK: sets the connection's mark, or gives it to the packet (net/netfilter/xt_connmark.c)."""
    if packet.state in (State.UNTRACKED, State.INVALID):
        return packet
    mark, held = packet.mark, packet.connection_mark
    own, theirs = (int(parsed.option(name) or "0xffffffff", 0) for name in ("--nfmask", "--ctmask"))
    if parsed.option("--restore-mark") is not None:
        known = None if mark is None or held is None else (mark & ~own) ^ (held & theirs)
        return replace(packet, mark=known)
    if parsed.option("--save-mark") is not None:
        known = None if mark is None or held is None else (held & ~theirs) ^ (mark & own)
        return replace(packet, connection_mark=known)
    return replace(packet, connection_mark=_marked(parsed, held))


def _marked(parsed: Parsed, mark: int | None) -> int | None:
    """xt_MARK: new = (old & ~mask) ^ value (net/netfilter/xt_mark.c)."""
    text = parsed.option("--set-xmark", "--set-mark")
    if text is None or (mark is None and "/" in text and not text.endswith("/0xffffffff")):
        return None
    value, _, mask = text.partition("/")
    bits = int(mask, 0) if mask else 0xFFFFFFFF
    # iptables-save writes --set-mark as --set-xmark; only with a mask do the two differ.
    return ((mark or 0) & ~bits & 0xFFFFFFFF) ^ int(value, 0)
