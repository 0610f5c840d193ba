"""Rules of nft that lead a port of the host elsewhere, as Docker, Incus or a person has them; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vpcctl_lib.kernel.ruleset import Chain, Rule, Table
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.uplink.verdicts import DEEPEST, Conditions, Known

LEADING = frozenset({"dnat", "redirect"})
"""Statements that take a packet from the host's own programs."""

CHOSEN = frozenset({"numgen", "jhash", "symhash"})
"""Keys of maps that are worked out for each packet, and always have an entry (nft(8))."""

OURS = -100
"""The priority of iptables' own chain (NF_IP_PRI_NAT_DST), with our rules. The kernel leads a connection
elsewhere once: chains behind it get what it leaves."""

ENDING = frozenset({"accept", "drop", "reject", "return"})


class Knock(NamedTuple):
    """A first packet from outside for a port of one of the host's addresses."""

    link: str
    address: Address
    protocol: str
    port: int

    @property
    def family(self) -> Family:
        """That of its address."""
        return Family.INET if self.address.version == 4 else Family.INET6

    @property
    def facts(self) -> Known:
        """What nft's expressions would find in it; who sent it is unknown."""
        header = self.family.nft
        upper = "protocol" if self.family is Family.INET else "nexthdr"
        return {("meta", "iifname"): self.link, ("meta", "iif"): self.link, ("meta", "pkttype"): "host",
                ("meta", "nfproto"): self.family.net, ("meta", "protocol"): header,
                ("meta", "l4proto"): self.protocol, (header, "daddr"): self.address,
                (header, upper): self.protocol, (self.protocol, "dport"): self.port,
                ("th", "dport"): self.port, ("fib", "type daddr"): "local",
                ("ct", "state"): "new", ("ct", "direction"): "original"}


class _Found(NamedTuple):
    """What is known where a rule is met: that it is met for sure, and that the port was asked for."""

    sure: bool = True
    named: bool = False


def leading(tables: Sequence[Table], knock: Knock) -> Iterator[str]:
    """Where each rule is that leads the packet elsewhere: for sure, or for some senders by its port."""
    for table in tables:
        if table.is_dormant or table.family not in (knock.family.nft, "inet"):
            continue
        for chain in table.chains.values():
            if (chain.kind, chain.hook) == ("nat", "prerouting") and not chain.is_of_iptables:
                # Behind ours, a rule for all ports keeps nothing from us; one for this port would lose it.
                found = _Found(sure=chain.priority <= OURS)
                yield from _Walk(table, knock).through(chain.name, found, DEEPEST)


class _Walk:
    """A packet in a table."""

    def __init__(self, table: Table, knock: Knock) -> None:
        self._table = table
        self._knock = knock
        self._conditions = Conditions(knock.facts, table)

    def through(self, name: str, found: _Found, depth: int) -> Iterator[str]:
        """A chain, rule by rule, until one ends it for sure."""
        chain = self._table.chains.get(name)
        if chain is None or not depth:
            return
        for rule in chain.rules:
            yield from self._of(chain, rule, found, depth)
            if self._ends(rule):
                return

    def _of(self, chain: Chain, rule: Rule, found: _Found, depth: int) -> Iterator[str]:
        for statement in rule.statements:
            (kind, body), = statement.items()
            if kind == "match" or kind == "limit":
                holds = self._conditions.hold(kind, body)
                if holds is False:
                    return
                asked = kind == "match" and self._asks(body["left"])
                found = _Found(found.sure and bool(holds), found.named or asked)
            elif kind in LEADING:
                yield from self._led(chain, rule, body, found)
            elif kind == "vmap":
                yield from self._mapped(body, found, depth)
            elif kind in ("jump", "goto"):
                yield from self.through(body["target"], found, depth - 1)

    def _led(self, chain: Chain, rule: Rule, body: Any, found: _Found) -> Iterator[str]:
        where = body if isinstance(body, dict) else {}
        if where.get("family") not in (None, self._knock.family.nft):
            return
        for part in (where.get("addr"), where.get("port")):
            if isinstance(part, dict) and "map" in part:
                holds = self._in_map(part["map"])
                if holds is False:
                    return
                found = _Found(found.sure and bool(holds), found.named or self._asks(part["map"]["key"]))
        if found.sure or found.named:
            yield f"nft chain {chain.family} {chain.table} {chain.name}, handle {rule.handle}"

    def _in_map(self, body: Mapping[str, Any]) -> bool | None:
        """Whether a map has an entry for the packet."""
        if isinstance(body["key"], dict) and body["key"].keys() & CHOSEN:
            return True
        value = self._conditions.value(body["key"])
        found = [self._conditions.fits(value, key) if value is not None else None
                 for key, _ in self._conditions.entries(body)]
        return True if True in found else None if None in found else False

    def _mapped(self, body: Mapping[str, Any], found: _Found, depth: int) -> Iterator[str]:
        value, named = self._conditions.value(body["key"]), found.named or self._asks(body["key"])
        for key, verdict in self._conditions.entries(body):
            holds = self._conditions.fits(value, key) if value is not None else None
            (kind, target), = verdict.items()
            if holds is not False and kind in ("jump", "goto"):
                inner = _Found(found.sure and bool(holds), named)
                yield from self.through(target["target"], inner, depth - 1)

    def _asks(self, left: Any) -> bool:
        """Whether an expression is of the port, alone or among others."""
        parts = left.get("concat") or left.get("&") or [left] if isinstance(left, dict) else []
        return any(isinstance(one, dict) and one.get("payload", {}).get("field") == "dport" for one in parts)

    def _ends(self, rule: Rule) -> bool:
        """Whether the chain is over for the packet, whoever sent it."""
        for statement in rule.statements:
            (kind, body), = statement.items()
            if kind in ENDING:
                return True
            if kind in ("match", "limit") and not self._conditions.hold(kind, body):
                return False
            if kind in ("vmap", *LEADING):
                return False
        return False
