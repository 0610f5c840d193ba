"""What we have in iptables: whole chains, and single rules in chains of others."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import NOT_OF_IPTABLES, Kernel, Unreadable
from vpcctl_lib.kernel.saves import HeldChain, Words, words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import (
    HOST_CHAINS,
    HOST_ELASTIC,
    HOST_ELASTIC_TO,
    HOST_FORWARD,
    HOST_GUARD_AWAY,
    HOST_GUARD_OUT,
    HOST_PORTS,
    HOST_PUBLISH,
    HOST_PUBLISHED,
    HOST_SOURCES,
    MARK,
    POLICY_IN,
    POLICY_OUT,
    UPLINK,
)
from vpcctl_lib.resources.base import (
    MISSING,
    Condition,
    Fault,
    Freed,
    Operations,
    Part,
    Place,
    Resource,
    Senders,
    Slot,
    changed,
    on,
    unreadable,
    within,
)
from vpcctl_lib.resources.leaving import leaving
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import BUILTIN, HOST, Iptables, chain_lines
from vpcctl_lib.resources.owners import Owner

_OUTWARD = re.compile(rf"(?!.* --ctstate )-s (\S+) .*-o {UPLINK} .*-j ACCEPT$")
_LEADING_IN = frozenset({HOST_PORTS, HOST_PUBLISH, HOST_SOURCES, HOST_ELASTIC})
"""How the names of chains for connections into VPCs begin."""

_LED = {("filter", HOST_PUBLISHED): HOST_FORWARD, ("filter", HOST_ELASTIC): HOST_FORWARD,
        ("filter", HOST_ELASTIC_TO): HOST_FORWARD, ("nat", HOST_PUBLISHED): HOST_SOURCES,
        ("nat", HOST_ELASTIC_TO): HOST_SOURCES, ("mangle", HOST_GUARD_AWAY): HOST_GUARD_OUT}
"""Chains that others lead to, by their tables, with the first chain of the way there."""

_PORT = re.compile(r"-p (tcp|udp) .*--dport (\d+) .*-j DNAT\b")
_ELASTIC = re.compile(r"-[sd] ([0-9.]+)/32 .*--comment \S+~eip ")
_SOURCE = re.compile(r"-s (\S+) .*-j MASQUERADE\b")


@frozen
class Chain(Resource):
    """A chain with all its rules: one of our own on the host, or a built-in one of our namespaces."""

    namespace: str
    table: str
    name: str
    rules: tuple[str, ...]
    policy: str = ""
    inner: str = ""
    """Chains that only this one leads to, packed: ten thousand rules would be most of the record."""

    family: Family = Family.INET

    in_place = True

    @property
    def key(self) -> Hashable:
        """Its place; the rules may change."""
        return ("chain", self.namespace, self.family, self.table, self.name)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    @property
    def rules_at(self) -> tuple[str, Family] | None:
        """The namespace and its family."""
        return (self.policy_of, self.family) if self.policy_of else None

    @property
    def filters(self) -> Family | None:
        """Its family, if it is on the host."""
        return self.family if self.namespace == HOST else None

    @property
    def policy_of(self) -> str:
        """A subnet's; a router's chains have their own policy."""
        own = self._is_beside or (self.table == "filter" and not self.policy)
        return self.namespace if own else ""

    @property
    def _is_beside(self) -> bool:
        """Whether it is in somebody else's namespace, beside the rules of its owner."""
        return self.name in (POLICY_IN, POLICY_OUT)

    @property
    def translates(self) -> Senders | None:
        """The senders that one of its rules masquerades."""
        if self.table != "nat" or self.name == "PREROUTING" or self.name.startswith(tuple(_LEADING_IN)):
            return None
        found = (_SOURCE.match(rule) for rule in self.rules)
        return Senders(self.namespace, tuple(one[1] for one in found if one))

    def shuts_in(self, old: Resource) -> Senders | None:
        """For a router: the senders that a removed rule let out by the uplink."""
        if not isinstance(old, Chain) or not self.namespace:
            return None
        before, after = ({one[1]: None for one in map(_OUTWARD.match, rules) if one}
                         for rules in (old.rules, self.rules))
        # With another rule for the same source, its routes decide.
        sources = tuple(source for source in before if source not in after)
        return Senders(self.namespace, sources) if sources else None

    def lets_out(self, owner: str) -> Part | None:
        """On the host, where a chain serves every VPC."""
        return None if self.namespace else _part(self, str(self))

    def _written(self, fresh: bool, gone: tuple[str, ...] = ()) -> Operations:
        """Makes all chains before a rule leads to one, and removes none before the last rule to it."""
        inner = _unpacked(self.inner)
        return self._lines([f":{name} - [0:0]" for name in inner],
                           chain_lines(self.name, self.rules, self.policy, fresh),
                           [f"-A {name} {rule}" for name, rules in inner.items() for rule in rules],
                           _removal(gone))

    def _lines(self, *parts: list[str]) -> tuple[Iptables, ...]:
        return tuple(Iptables(self.namespace, self.table, line, self.family)
                     for part in parts for line in part)

    def make(self) -> Operations:
        """An existing chain that is not ours is an error; it is never taken over.

        Except where others could keep us out by making one: there it has a name that is ours alone.
        """
        return self._written(fresh=not self._is_beside)

    def change(self, old: Resource) -> Operations:
        """Emptied and filled again in one commit, so that no packet meets half of it."""
        before = _unpacked(old.inner) if isinstance(old, Chain) and old.inner != self.inner else {}
        kept = _unpacked(self.inner) if before else {}
        return self._written(fresh=False, gone=tuple(name for name in before if name not in kept))

    def unmake(self, facts: Facts) -> Operations:
        """A built-in chain becomes empty and open, one of ours is removed."""
        own = chain_lines(self.name, ()) if self.name in BUILTIN else _removal((self.name,))
        lines = self._lines(own, _removal(tuple(_unpacked(self.inner))))
        return leaving(lines) if self._is_beside else lines

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must have its policy and exactly its rules in order, and so must the chains that it leads to."""
        try:
            held = self._held(kernel)
        except Unreadable as error:
            return unreadable(error, self._table_away(kernel, error))
        if kernel.is_asleep(self.namespace, self.table, self.family):
            return _asleep(self)
        if held is None:
            return MISSING
        policy = self.policy or ("ACCEPT" if self.name in BUILTIN else "")
        if held.policy != policy:
            return changed(f"its policy is {held.policy or 'none'}, not {policy or 'none'}")
        shall = tuple(map(words, self.rules))
        if held.rules != shall:
            return changed(_difference(held.rules, shall))
        return self._inner_fault(kernel)

    def is_taken(self, kernel: Kernel) -> bool:
        """Our own chain exists although it is not made yet: iptables-restore reports only the line."""
        return self.name not in BUILTIN and not self._is_beside and self._held(kernel) is not None

    def _held(self, kernel: Kernel) -> HeldChain | None:
        return kernel.chain(self.namespace, self.table, self.name, self.family)

    def makes_way(self, wanted: Sequence[Resource]) -> bool:
        """If the chain that leads to it stays, that one changes first."""
        leader = _LED.get((self.table, self.name))
        key = ("chain", self.namespace, self.family, self.table, leader)
        return leader is not None and any(one.key == key for one in wanted)

    def frees(self, old: Resource | None) -> Freed | None:
        """The ports and elastic addresses that from now on lead elsewhere than they did by `old`."""
        if self.table != "nat":
            return None
        before = set(old.rules) if isinstance(old, Chain) else set()
        other = sorted(before ^ set(self.rules))
        ports = {(one[1], int(one[2])): None for one in map(_PORT.search, other) if one}
        addresses = {one[1]: None for one in map(_ELASTIC.search, other) if one}
        if not (ports or addresses):
            return None
        return Freed(self.namespace, tuple(ports), tuple(addresses), self.family)

    def owner_found(self, kernel: Kernel) -> Owner:
        """The owner of a chain is unknown."""
        inside = f"ip netns exec {self.namespace} " if self.namespace else ""
        return "", f"{inside}{self.family.tool} -t {self.table} -F {self.name}"

    def is_left_over(self, kernel: Kernel) -> bool:
        """One of ours on the host."""
        return self.namespace == HOST and self.name in HOST_CHAINS \
            and is_ours(kernel.chains(HOST, self.family).lines((self.table, self.name)))

    def _table_away(self, kernel: Kernel, error: Unreadable) -> Operations:
        """Makes room for our chains in our namespace: nft can remove what iptables can't read."""
        if error.why != NOT_OF_IPTABLES or self._is_beside or not kernel.has_tool("nft"):
            return ()
        # Added first, so that it is not a failure if it has gone meanwhile.
        table = f"table {self.family.nft} {self.table}"
        return (Nft(self.namespace, f"add {table}\ndelete {table}\n"),)

    def inner_chains(self) -> list[Chain]:
        """The chains that only this one leads to."""
        return [Chain(self.namespace, self.table, name, rules, family=self.family)
                for name, rules in _unpacked(self.inner).items()]

    def _inner_fault(self, kernel: Kernel) -> Fault | None:
        for chain in self.inner_chains():
            fault = chain.check(kernel, {})
            if fault:
                told = fault.detail or fault.condition.value
                return changed(f"chain {chain.name}, to which it leads: {told}")
        return None

    def __str__(self) -> str:
        where = f"in {self.namespace}" if self.namespace else "on the host"
        return f"chain {self.name} of table {self.table}{self.family.suffix} {where}"


def _unpacked(text: str) -> Mapping[str, tuple[str, ...]]:
    if not text:
        return {}
    # Imported late: only policies of very many rules have such chains.
    from vpcctl_lib.resources.packing import unpacked

    return unpacked(text)


def _removal(names: tuple[str, ...]) -> list[str]:
    """First all are emptied, since one may lead to another."""
    return [*(f"-F {name}" for name in names), *(f"-X {name}" for name in names)]


def _difference(held: tuple[Words, ...], shall: tuple[Words, ...]) -> str:
    lost, more = len(set(shall) - set(held)), len(set(held) - set(shall))
    if lost or more:
        return f"{lost} of its {len(shall)} rules missing, {more} not ours"
    return "its rules are in another order, or exist twice"


@frozen
class SingleRule(Resource):
    """One rule in a chain that others use too; at its top, or at its end."""

    table: str
    chain: str
    rule: str
    top: bool = False
    comes_back = True

    alike: int = 0
    """Its number among several identical rules; there should be only one."""

    family: Family = Family.INET
    namespace: str = HOST
    """Where: on the host, or in a namespace that somebody else made."""

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    @property
    def policy_of(self) -> str:
        """The namespace, if its policy begins with it."""
        return self.namespace

    @property
    def translates(self) -> Senders | None:
        """None by itself: it leads to the chain that does."""
        return Senders(HOST, ()) if self.table == "nat" \
            and not any(name in self.rule for name in _LEADING_IN) else None

    def lets_out(self, owner: str) -> Part | None:
        """It bears the mark of its VPC, or that of the host."""
        if self.namespace:
            return None
        marks = [word for word in self.rule.split() if word.startswith(MARK)]
        concerns = not marks or f"{MARK}host" in marks \
            or any(word == owner or word.startswith(f"{owner}/") for word in marks)
        return _part(self, str(self)) if concerns else None

    @property
    def rules_at(self) -> tuple[str, Family] | None:
        """The namespace and its family."""
        return (self.namespace, self.family) if self.namespace else None

    @property
    def filters(self) -> Family | None:
        """Its family, on the host."""
        return None if self.namespace else self.family

    @property
    def slot(self) -> Slot | None:
        """In its chain, on the host: elsewhere it is at the top."""
        return None if self.namespace else Slot(self.family, self.table, self.chain, words(self.rule))

    def make(self) -> Operations:
        """Our jumps go to the top, before the policies of Docker and of other firewalls."""
        return self.put(1) if self.top else self._line(f"-A {self.chain} {self.rule}")

    def makes_way(self, wanted: Sequence[Resource]) -> bool:
        """If a chain of ours has a rule for the same packets, unless it leads to one itself."""
        if self.top or self.rule.rpartition(" -j ")[2] in HOST_CHAINS:
            return False
        packets = _packets(self.rule)
        return any(packets == _packets(rule) for one in wanted
                   if isinstance(one, Chain)
                   and (one.namespace, one.family, one.table) == (HOST, self.family, self.table)
                   for rule in one.rules)

    def put(self, number: int) -> Operations:
        """Insert it at that number in its chain."""
        return self._line(f"-I {self.chain} {number} {self.rule}")

    def unmake(self, facts: Facts) -> Operations:
        """By its text, so that no other rule can be deleted."""
        lines = self._line(f"-D {self.chain} {self.rule}")
        return leaving(lines) if self.namespace else lines

    def _line(self, line: str) -> tuple[Iptables, ...]:
        return (Iptables(self.namespace, self.table, line, self.family),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must be in its chain; at the top, if that is its place."""
        held = kernel.chain(self.namespace, self.table, self.chain, self.family)
        if kernel.is_asleep(self.namespace, self.table, self.family):
            return _asleep(self)
        shall = words(self.rule)
        times = held.rules.count(shall) if held else 0
        if held is None or times == 0:
            return MISSING
        # In somebody else's namespace a second one, from before a lost record, does the same again.
        if times > 1 and not self.namespace:
            return Fault(Condition.CHANGED, f"it exists {times} times", self.unmake({}) * (times - 1))
        return changed("other rules stand before it") if self.top and held.rules[0] != shall else None

    def unrecorded(self) -> tuple[str, str] | None:
        """By its mark, or else by its words."""
        where = f"rule of {self.chain}, table {self.table}{self.family.suffix}{on(self.namespace)}"
        return where, mark_of(self.rule) or self.rule

    def __str__(self) -> str:
        return f"rule {self.chain} {self.rule} of table {self.table}{self.family.suffix}{on(self.namespace)}"


def _asleep(one: Chain | SingleRule) -> Fault:
    # Imported late: hardly ever is one.
    from vpcctl_lib.resources.asleep import asleep

    return asleep(one.namespace, one.table, one.family)


def _packets(rule: str) -> str:
    return rule.partition(" -j ")[0]


def is_ours(rules: Sequence[str]) -> bool:
    """Whether a chain with our name is ours: it is empty, or has rules with our mark."""
    return not rules or any(map(mark_of, rules))


def mark_of(rule: str) -> str:
    """The mark in a rule's comment; empty if it has none."""
    found = (option[1] for option in words(rule) if option[0] == "--comment" and len(option) > 1)
    return next((text for text in found if text.startswith(MARK)), "")


def _part(one: Chain | SingleRule, text: str) -> Part | None:
    if one.family is not Family.INET:
        # The packets in question are of IPv4.
        return None
    if one.table == "nat":
        # What leads in has a name that begins so.
        return None if any(name in text for name in _LEADING_IN) else Part.TRANSLATION
    return Part.PASSAGE if "FORWARD" in text else None
