"""The nft table that counts a machine's flows, before its rules and behind them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from vpcctl_lib.flows.names import (
    BEFORE,
    BEHIND,
    FOUR,
    IN,
    LIVES,
    LOST,
    OK,
    OPEN,
    OUT,
    ROOM,
    SEEN,
    SIX,
    TABLE,
    machine_set,
    sure_counter,
)
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Resource, changed
from vpcctl_lib.resources.leaving import LeaveTable
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.shapes import LINKS, shape_of, shapes, things
from vpcctl_lib.resources.table import Table, head

INET = "inet"
HEAD = head(INET, TABLE)
APART = "flows"
"""No other command of a change touches the table, nor waits for it."""

ENDS, LINK, GATEWAY = "ends", "link", "gateway"
HOOKS = {
    ENDS: {IN: ("input", -1, 1), OUT: ("output", -1, 1)},
    LINK: {IN: ("prerouting", -170, -140), OUT: ("postrouting", -170, -140)},
    GATEWAY: {IN: ("prerouting", -170, -140), OUT: ("postrouting", 150, 160)},
}
"""By where a machine's rules are (`Stand`): the hook of each direction, and the priorities before and behind
the rules (0 in `filter`, -150 in `mangle`). What a NAT gateway sends has its own address behind NAT (100)."""

PORTS = ("tcp", "udp")
"""The protocols with ports: a rule for each takes less than a set of both."""

COUNTERS = (LOST, *(sure_counter(way, end) for end in (BEFORE, BEHIND) for way in (IN, OUT)))

TYPES = {family: [address, address, "inet_proto", "inet_service", "inet_service"]
         for family, address in ((FOUR, "ipv4_addr"), (SIX, "ipv6_addr"))}
"""The parts of a key, as nft lists them."""

SWEPT = 20
"""Seconds between two looks of the kernel for flows that are over; its default is one."""

SURE = "sure"
"""The end of the name of the chain for what surely passes."""

ESTABLISHED = "ct state established,related"
"""What the first rule lets pass, as long as there are rules of ours only."""


def set_text(name: str, key: str, room: int = ROOM) -> str:
    """A set of flows in nft's syntax."""
    return (f"\tset {name} {{\n\t\ttypeof {key}\n\t\tsize {room}\n"
            f"\t\tflags dynamic,timeout\n\t\tcounter\n\t\ttimeout {LIVES}s\n"
            f"\t\tgc-interval {SWEPT}s\n\t}}\n")


def ends(family: str) -> str:
    """The addresses of a packet."""
    word = "ip" if family == FOUR else "ip6"
    return f"{word} saddr . {word} daddr"


def is_later(family: str) -> str:
    """Matches a fragment but the first: it has no ports."""
    return "ip frag-off & 0x1fff != 0" if family == FOUR else "frag frag-off != 0"


def kind(family: str) -> str:
    """Matches the family, before what follows about the protocol."""
    return f"meta protocol {'ip' if family == FOUR else 'ip6'} meta l4proto"


def _key(family: str) -> str:
    return f"{ends(family)} . meta l4proto . th sport . th dport"


def updates(name: str, family: str, has_later: bool) -> Iterator[str]:
    """The rules that count a packet, with its ports or without any; `has_later` if fragments come here."""
    bare = f"update @{name} {{ {ends(family)} . meta l4proto . 0 . 0 }} accept"
    if has_later:
        # First: else ports would be taken from what a later fragment carries.
        yield f"{is_later(family)} {bare}"
    for protocol in PORTS:
        yield f"meta l4proto {protocol} update @{name} {{ {_key(family)} }} accept"
    yield f"{kind(family)} != {{ {', '.join(PORTS)} }} {bare}"


@frozen
class Sure:
    """What the rules of a direction surely let pass, besides what belongs to connections."""

    way: str
    tests: tuple[str, ...]
    """Matches of nft: a packet that begins a connection passes if it is as one of them says."""


@frozen
class Counting(Table):
    """A set for each direction, place and family; its elements are flows, each with a counter."""

    interface: str = "eth0"
    stand: str = ENDS
    families: str = FOUR
    attached: bool = False
    """Whether the namespace is somebody else's."""

    judged: tuple[str, ...] = ()
    """The directions in which rules decide: only there is counted before them, too, which takes time."""

    sure: tuple[Sure, ...] = ()
    """Those of them in which something surely passes: it is counted by its flow once, behind them."""

    head = HEAD
    apart = APART
    unasked = False

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("counting", self.namespace)

    @property
    def rest(self) -> object:
        """Where it counts; what is counted is read from the kernel."""
        return self.interface, self.stand, self.families

    def moved(self, old: Any) -> str:
        """Other chains, all at once; what was counted stays."""
        before, after = ({name: one._chain(name) for name in one.chains} for one in (old, self))
        others = {name: text for name, text in after.items() if before.get(name) != text}
        # Chains that others lead to come first, and go last.
        return "".join((*(f"flush chain {INET} {TABLE} {name}\n" for name in others if name in before),
                        *(f"table {INET} {TABLE} {{\n{text}}}\n" for text in others.values()),
                        *(f"delete chain {INET} {TABLE} {name}\n" for name in reversed(before)
                          if name not in after)))

    def beforehand(self, old: Resource) -> Operations:
        """While rules change, only what the old and the new ones surely let pass is counted once."""
        if not isinstance(old, Counting) or old.rest != self.rest:
            return ()
        between = self._between(old)
        text = between.moved(old)
        # The rules in the namespace wait for it: it names no place of its own.
        return (Nft(self.namespace, text, whole=between._whole),) if text else ()

    def change(self, old: Resource) -> Operations:
        """The rest of it."""
        is_alike = isinstance(old, Counting) and old.rest == self.rest
        return super().change(self._between(old) if is_alike else old)

    def _between(self, old: Any) -> Counting:
        ways = [way for way in (IN, OUT) if way in {*self.judged, *old.judged}]
        sides = {way: [one._tests(way) for one in (self, old) if way in one.judged] for way in ways}
        return replace(self, judged=tuple(ways), sure=tuple(
            Sure(way, _common(*(tests for (tests,) in found))) for way, found in sides.items() if all(found)))

    def _tests(self, way: str) -> list[tuple[str, ...]]:
        return [one.tests for one in self.sure if one.way == way]

    def unmake(self, facts: Facts) -> Operations:
        """In a namespace of somebody else's, as far as its owner lets it."""
        gone = super().unmake(facts)
        return (LeaveTable(self.namespace, self.removal, APART),) if self.attached else gone

    def text(self) -> str:
        """The table in nft's syntax."""
        sets = "".join(set_text(name, _key(family)) for name, family in self.sets.items())
        chains = "".join(map(self._chain, self.chains))
        counters = "".join(f"\tcounter {name} {{\n\t}}\n" for name in COUNTERS)
        return f"table {INET} {TABLE} {{\n{counters}{sets}{chains}}}\n"

    @property
    def sets(self) -> dict[str, str]:
        """The names of its sets, each with its family."""
        return {machine_set(way, place, family): family for way in (IN, OUT) for place in (SEEN, OK, OPEN)
                for family in self.families}

    @property
    def chains(self) -> dict[str, tuple[str, int] | None]:
        """The hook and the priority of each; None for one that others lead to."""
        found: dict[str, tuple[str, int] | None] = {f"{one.way}-{SURE}": None for one in self.sure}
        for way, (hook, before, behind) in HOOKS[self.stand].items():
            if way in self.judged:
                found[f"{way}-{SEEN}"] = hook, before
            # Always the same one behind: a packet would meet both of two while one replaces the other.
            found[f"{way}-{OK}"] = hook, behind
        return found

    def _chain(self, name: str) -> str:
        lines = "".join(f"\t\t{line}\n" for line in self._lines(name))
        hook = self.chains[name]
        head = f"\t\ttype filter hook {hook[0]} priority {hook[1]}; policy accept;\n" if hook else ""
        return f"\tchain {name} {{\n{head}{lines}\t}}\n"

    def _lines(self, chain: str) -> Iterator[str]:
        way, _, place = chain.partition("-")
        if place == SURE:
            yield f'counter name "{sure_counter(way, BEHIND)}"'
            yield from self._updates(way, OPEN)
            return
        yield f'{LINKS[way]} != "{self.interface}" accept'
        if way not in self.judged:
            place = OPEN
        else:
            yield from self._sure(way, f'counter name "{sure_counter(way, BEFORE)}" accept' if place == SEEN
                                  else f"goto {way}-{SURE}")
        yield from self._updates(way, place)

    def _sure(self, way: str, end: str) -> Iterator[str]:
        """What becomes of packets that surely pass."""
        for one in self.sure:
            if one.way == way:
                yield f"{ESTABLISHED} {end}"
                yield from (" ".join(filter(None, ("ct state new", test, end))) for test in one.tests)

    def _updates(self, way: str, place: str) -> Iterator[str]:
        for family in self.families:
            # The kernel puts IPv4 together before this hook (ip_local_deliver), and IPv6 behind it.
            is_whole = (self.stand, way, family) == (ENDS, IN, FOUR)
            yield from updates(machine_set(way, place, family), family, not is_whole)
        yield f'counter name "{LOST}"'

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have our sets, and our rules at our hooks."""
        listed = kernel.flow_table(self.namespace, INET, TABLE)
        if listed is None:
            return MISSING
        hooks = {one["name"]: (one["hook"], one["prio"]) if "hook" in one else None
                 for one in things(listed, "chain")}
        if hooks != self.chains:
            return changed("its chains differ")
        held = {one["name"]: one for one in things(listed, "set")}
        if held.keys() != self.sets.keys() or not all(
                _counts(one, self.sets[name]) for name, one in held.items()):
            return changed("its sets differ")
        if {one["name"] for one in things(listed, "counter")} != {*COUNTERS}:
            return changed("its counters differ")
        shall = {name: [shape_of(line) for line in self._lines(name)] for name in self.chains}
        return None if shapes(listed) == shall else changed("its rules differ")

    def __str__(self) -> str:
        return f"counters of flows in {self.namespace}"


def _common(some: tuple[str, ...], others: tuple[str, ...] = ("",)) -> tuple[str, ...]:
    """The tests by which a packet passes both; everything passes an empty one."""
    if "" in some:
        return others
    return some if "" in others else tuple(test for test in some if test in others)


def _counts(held: dict[str, Any], family: str) -> bool:
    """Whether a set that nft has listed is as `set_text` makes it."""
    kind = held.get("type")
    # A newer nft lists the expressions in the place of the types.
    parts = len(kind["typeof"]["concat"]) == len(TYPES[family]) if isinstance(kind, dict) \
        and "concat" in kind.get("typeof", ()) else kind == TYPES[family]
    counter = [one for one in held.get("stmt", ()) if "counter" in one]
    return parts and bool(counter) and (held.get("size"), held.get("timeout")) == (ROOM, LIVES)


def only_counts(listed: Iterable[dict[str, Any]] | None) -> bool:
    """Whether every packet passes a table that nft has listed."""
    held = list(listed or ())
    kinds = {kind for rule in things(held, "rule") for part in rule["expr"] for kind in part}
    return kinds <= {"match", "set", "counter", "accept", "goto"} and all(
        chain.get("policy", "accept") == "accept" for chain in things(held, "chain"))
