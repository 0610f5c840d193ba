"""The nft table that counts a machine's flows, before its rules and behind them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from vpcctl_lib.flows.names import FOUR, IN, LIVES, LOST, OK, OPEN, OUT, ROOM, SEEN, SIX, TABLE, machine_set
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import MISSING, Fault, Operations, changed
from vpcctl_lib.resources.leaving import LeaveTable
from vpcctl_lib.resources.operation import Facts
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

LINKS = {IN: "iifname", OUT: "oifname"}

TYPES = {family: [address, address, "inet_proto", "inet_service", "inet_service"]
         for family, address in ((FOUR, "ipv4_addr"), (SIX, "ipv6_addr"))}
"""The parts of a key, as nft lists them."""

SWEPT = 20
"""Seconds between two looks of the kernel for flows that are over; its default is one."""

Shape = tuple[str, ...]
"""A rule without how nft writes it: what it updates, counts, asks, and its verdict."""


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
class Counting(Table):
    """A set for each direction, place and family; its elements are flows, each with a counter."""

    interface: str = "eth0"
    stand: str = ENDS
    families: str = FOUR
    attached: bool = False
    """Whether the namespace is somebody else's."""

    judged: tuple[str, ...] = ()
    """The directions in which rules decide: only there is counted before them, too, which takes time."""

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
        before, after = set(old.chains), set(self.chains)
        gone, come = ([name for name in one.chains if name not in others]
                      for one, others in ((old, after), (self, before)))
        return "".join((*(f"delete chain {INET} {TABLE} {name}\n" for name in gone),
                        *(f"table {INET} {TABLE} {{\n{self._chain(name)}}}\n" for name in come)))

    def unmake(self, facts: Facts) -> Operations:
        """In a namespace of somebody else's, as far as its owner lets it."""
        gone = super().unmake(facts)
        return (LeaveTable(self.namespace, self.removal, APART),) if self.attached else gone

    def text(self) -> str:
        """The table in nft's syntax."""
        sets = "".join(set_text(name, _key(family)) for name, family in self.sets.items())
        chains = "".join(map(self._chain, self.chains))
        return f"table {INET} {TABLE} {{\n\tcounter {LOST} {{\n\t}}\n{sets}{chains}}}\n"

    @property
    def sets(self) -> dict[str, str]:
        """The names of its sets, each with its family."""
        return {machine_set(way, place, family): family for way in (IN, OUT) for place in (SEEN, OK, OPEN)
                for family in self.families}

    @property
    def chains(self) -> dict[str, tuple[str, int]]:
        """The hook and the priority of each."""
        found: dict[str, tuple[str, int]] = {}
        for way, (hook, before, behind) in HOOKS[self.stand].items():
            found |= {f"{way}-{SEEN}": (hook, before), f"{way}-{OK}": (hook, behind)} if way in self.judged \
                else {f"{way}-{OPEN}": (hook, behind)}
        return found

    def _chain(self, name: str) -> str:
        hook, priority = self.chains[name]
        lines = "".join(f"\t\t{line}\n" for line in self._lines(name))
        head = f"type filter hook {hook} priority {priority}; policy accept;"
        return f"\tchain {name} {{\n\t\t{head}\n{lines}\t}}\n"

    def _lines(self, chain: str) -> Iterator[str]:
        way, _, place = chain.partition("-")
        yield f'{LINKS[way]} != "{self.interface}" accept'
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
        hooks = {one["name"]: (one.get("hook"), one.get("prio")) for one in things(listed, "chain")}
        if hooks != self.chains:
            return changed("its chains differ")
        held = {one["name"]: one for one in things(listed, "set")}
        if held.keys() != self.sets.keys() or not all(
                _counts(one, self.sets[name]) for name, one in held.items()):
            return changed("its sets differ")
        if [one["name"] for one in things(listed, "counter")] != [LOST]:
            return changed("its counters differ")
        shall = {name: [shape_of(line) for line in self._lines(name)] for name in self.chains}
        return None if shapes(listed) == shall else changed("its rules differ")

    def __str__(self) -> str:
        return f"counters of flows in {self.namespace}"


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
    return kinds <= {"match", "set", "counter", "accept"} and all(
        chain.get("policy") == "accept" for chain in things(held, "chain"))


def things(listed: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of a kind that nft has listed."""
    return [one[kind] for one in listed if kind in one]


def shape_of(line: str) -> Shape:
    """That of a line of ours."""
    words = line.split()
    updated = [f"{word}:{'0 . 0' in line}" for word in words if word.startswith("@")]
    link = [words[words.index(word) + 2].strip('"') for word in LINKS.values() if words[0] == word]
    counter = [words[2].strip('"')] if words[0] == "counter" else []
    return (*link, *updated, *counter, *(word for word in words if word in ("accept", "drop")))


def shapes(listed: Sequence[dict[str, Any]]) -> dict[str, list[Shape]]:
    """The rules that nft has listed, by chain."""
    found: dict[str, list[Shape]] = {one["name"]: [] for one in things(listed, "chain")}
    for rule in things(listed, "rule"):
        found.setdefault(rule["chain"], []).append(
            tuple(word for part in rule["expr"] for word in _shape(part)))
    return found


def _shape(part: dict[str, Any]) -> Iterator[str]:
    (kind, held), *_ = part.items()
    if kind == "set":
        yield f"{held['set']}:{held['elem'].get('concat', ())[-2:] == [0, 0]}"
    elif kind == "counter" and isinstance(held, str):
        yield held
    elif kind in ("accept", "drop"):
        yield kind
    elif kind == "match":
        left = held["left"].get("meta", {}).get("key") if isinstance(held["left"], dict) else None
        if left in LINKS.values():
            yield str(held["right"])
    else:
        yield kind
