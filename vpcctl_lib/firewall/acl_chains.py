"""A direction of a network ACL as chains: a packet meets few rules even if there are many; pure.

Up to `MANY` rules stand in order. More become a tree: a chain stands for a region of protocols, far ends and
ports, and leads on by one look-up to the chain for a part of it. Each region's rules are those that overlap
it, in their order, up to the first that matches all of it: no packet of the region gets past that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from vpcctl_lib.firewall.families import BITS
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.acls import REST, in_force
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import AclRule, Action, Protocol, concerns

MANY = 100
"""From more rules on they become a tree: 100 in order leave 0.78 of the connects a second of none."""

LEAF = 8
"""The most rules of a region that are simply read in order."""

ROOM = 10
"""How deep chains may lead on: the kernel allows 16 in all (NFT_JUMP_STACK_SIZE)."""

COPIES = 4
"""How many rules of parts a rule may become on average, since it is in each part that it spans."""

SECTIONS = 4
"""The most lists of one kind of rule to read one after another."""

LATER, UNREACHED = ".later", ".unreached"
"""The ends of names: of the chain for later fragments, which have no ports; of one that nothing leads to."""

SIX = ".six"
"""In the names of chains: they are for packets of IPv6."""

LAST_PORT = 65535
LAST_ADDRESS = {family: (1 << bits) - 1 for family, bits in BITS.items()}
NAMED = (Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ICMPV6)


class Field(Enum):
    """What a chain leads on by."""

    PROTOCOL = "protocol"
    FAR_END = "far end"
    TCP_PORT = "tcp port"
    UDP_PORT = "udp port"


class Branch(NamedTuple):
    """A span of values, both ends included, and the chain for it; a protocol is its number in `NAMED`."""

    first: int
    last: int
    chain: str


@frozen
class Fork:
    """One look-up that leads on to a chain; what is in no branch goes on to the next line."""

    field: Field
    branches: tuple[Branch, ...]


@frozen
class Lead:
    """What is left goes on in that chain; `later`: only later fragments do, `six`: only packets of IPv6."""

    chain: str
    later: bool = False
    six: bool = False


Line = AclRule | Fork | Lead
Chains = dict[str, tuple[Line, ...]]


def family_of(chain: str) -> Family:
    """The family of the packets that a chain is for."""
    return Family.INET6 if SIX in chain else Family.INET


def chains(name: str, rules: Sequence[AclRule], dual: bool = False) -> Chains:
    """The chains of one direction, by name: the first is where packets come in.

    With `dual` there are packets of IPv6, which go on in chains of their own.
    """
    found = in_force(rules)
    fourth = _grown(name, tuple(rule for rule in found if concerns(rule, Family.INET)))
    sixth = tuple(rule for rule in found if concerns(rule, Family.INET6))
    if dual:
        return {**_begun(fourth, Lead(name + SIX, six=True)), **_grown(name + SIX, sixth)}
    unmet = tuple(rule for rule in sixth if not concerns(rule, Family.INET))
    unread = name + UNREACHED
    return {**fourth, unread: (*fourth.get(unread, ()), *unmet)} if unmet else fourth


def _begun(grown: Chains, lead: Lead) -> Chains:
    """The chains, the first of which begins with that."""
    (first, lines), *others = grown.items()
    return {first: (lead, *lines), **dict(others)}


def _grown(name: str, rules: tuple[AclRule, ...]) -> Chains:
    """The chains for packets of one family, all of whose rules concern it.

    A later fragment has no ports. It may pass where any fragment of its addresses and protocol could: what
    it belongs to can't be put together without the first fragment, which is judged by its ports.
    """
    later = _without_ports(rules)
    grown = Tree(name).grow(rules)
    if later == rules:
        return grown
    return {**_begun(grown, Lead(name + LATER, later=True)), **Tree(name + LATER).grow(later)}


def _without_ports(rules: Sequence[AclRule]) -> tuple[AclRule, ...]:
    """The rules as later fragments meet them: one that denies ports says nothing of them."""
    return tuple(replace(rule, ports=None) for rule in rules
                 if rule.ports is None or rule.action is Action.ALLOW)


@frozen
class Region:
    """The packets that a chain is for; `protocol` ALL is any, None is one that no rule names."""

    end: int
    protocol: Protocol | None = Protocol.ALL
    start: int = 0
    first: int = 0
    last: int = LAST_PORT


class Item(NamedTuple):
    """A line with what it matches."""

    line: AclRule | Lead
    protocol: Protocol = Protocol.ALL
    start: int = 0
    end: int = LAST_ADDRESS[Family.INET6]
    first: int = 0
    last: int = LAST_PORT

    def covers(self, region: Region) -> bool:
        """Whether it matches all of a region."""
        return (self.start <= region.start and self.end >= region.end and self.first <= region.first
                and self.last >= region.last and self.protocol in (Protocol.ALL, region.protocol))

    def meets(self, region: Region) -> bool:
        """Whether it matches a part of a region, as far as protocols tell."""
        return region.protocol is Protocol.ALL or self.protocol in (Protocol.ALL, region.protocol)

    def kind(self, region: Region) -> tuple[bool, bool]:
        """Whether it matches only a part of the far ends, and only a part of the ports."""
        return (self.start > region.start or self.end < region.end,
                self.first > region.first or self.last < region.last)


def item(rule: AclRule) -> Item:
    """A rule with what it matches."""
    network, ports = rule.network, rule.ports
    return Item(rule, rule.protocol, int(network.network_address) if network else 0,
                int(network.broadcast_address) if network else LAST_ADDRESS[Family.INET6],
                ports.first if ports else 0, ports.last if ports else LAST_PORT)


Items = Sequence[Item]
Part = tuple[Region, Items]


class Tree:
    """The chains made so far, and the names of those for equal lines."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._chains: Chains = {}
        self._names: dict[tuple[Line, ...], str] = {}
        self._whole = Region(LAST_ADDRESS[family_of(name)])

    def grow(self, rules: Sequence[AclRule]) -> Chains:
        """The chains for these rules, the last of which matches everything."""
        found = [item(rule) for rule in rules]
        lines = self._read(found, self._whole, ROOM) if len(found) > MANY else tuple(rules)
        grown = {self._name: lines, **self._chains}
        read = {line for held in grown.values() for line in held}
        left = tuple(rule for rule in rules if rule not in read)
        # No packet gets to them, since earlier rules match all of it; they are kept for the reader.
        return {**grown, self._name + UNREACHED: left} if left else grown

    def _read(self, items: Items, region: Region, room: int) -> tuple[Line, ...]:
        """The lines for a region; no packet gets past the last."""
        items = _up_to_cover(items, region)
        if len(items) <= LEAF or not room:
            return tuple(one.line for one in items)
        split = _best(items, region)
        if split:
            return self._fork(*split, room - 1)
        *sections, last = _sections(items, region)
        lines = tuple(one.line for one in last) if not sections else self._read(last, region, room - 1)
        # The last first: each section ends by leading on to the next.
        for section in reversed(sections):
            lines = self._read([*section, Item(Lead(self._chain(lines)))], region, room - 1)
        return lines

    def _fork(self, field: Field, parts: Sequence[Part], room: int) -> tuple[Line, ...]:
        spans = [(region, items) for region, items in parts if region.protocol or field is not Field.PROTOCOL]
        branches = tuple(Branch(*_span(field, region), self._chain(self._read(items, region, room)))
                         for region, items in spans)
        behind = (self._read(parts[-1][1], parts[-1][0], room) if field is Field.PROTOCOL
                  # For a packet that is too short to have the field.
                  else (REST,))
        return (Fork(field, _joined(branches)), *behind)

    def _chain(self, lines: tuple[Line, ...]) -> str:
        """The name of the chain with these lines, which may exist."""
        if len(lines) == 1 and isinstance(lines[0], Lead):
            return lines[0].chain
        # Looked up once: to hash many rules takes a while.
        name = self._names.setdefault(lines, f"{self._name}.{len(self._names) + 1}")
        self._chains[name] = lines
        return name


def _span(field: Field, region: Region) -> tuple[int, int]:
    if field is Field.PROTOCOL:
        number = NAMED.index(region.protocol or Protocol.ALL)
        return number, number
    return (region.start, region.end) if field is Field.FAR_END else (region.first, region.last)


def _joined(branches: tuple[Branch, ...]) -> tuple[Branch, ...]:
    """The branches with neighbours that lead to the same chain as one."""
    found: list[Branch] = []
    for one in branches:
        if found and found[-1].chain == one.chain and found[-1].last + 1 == one.first:
            found[-1] = found[-1]._replace(last=one.last)
        else:
            found.append(one)
    return tuple(found)


def _up_to_cover(items: Items, region: Region) -> list[Item]:
    found = []
    for one in items:
        if one.meets(region) and one.start <= region.end and one.end >= region.start \
                and one.first <= region.last and one.last >= region.first:
            found.append(one)
            if one.covers(region):
                break
    return found


def _best(items: Items, region: Region) -> tuple[Field, list[Part]] | None:
    """The split with the smallest parts, if there is one that copies rules rarely."""
    ways = [(Field.FAR_END, _by_span(items, region, Field.FAR_END))]
    if region.protocol is Protocol.ALL:
        ways.append((Field.PROTOCOL, _by_protocol(items, region)))
    if region.protocol in (Protocol.TCP, Protocol.UDP):
        field = Field.TCP_PORT if region.protocol is Protocol.TCP else Field.UDP_PORT
        ways.append((field, _by_span(items, region, field)))
    fit = [(field, parts) for field, parts in ways if parts]
    return min(fit, key=lambda way: sum(len(part) ** 2 for _, part in way[1]), default=None)


def _by_protocol(items: Items, region: Region) -> list[Part]:
    """A part for each protocol that a rule names, and one for the rest; nothing if no rule names any."""
    counts = Counter(one.protocol for one in items)
    named = [protocol for protocol in NAMED if counts[protocol]]
    parts = [replace(region, protocol=protocol) for protocol in (*named, None)] if named else []
    return [(part, [one for one in items if one.meets(part)]) for part in parts]


def _by_span(items: Items, region: Region, field: Field) -> list[Part]:
    """Spans of far ends, or of ports, with few rules each; nothing if that would copy too many."""
    ends = [(one.start, one.end) if field is Field.FAR_END else (one.first, one.last) for one in items]
    whole = (region.start, region.end) if field is Field.FAR_END else (region.first, region.last)
    wide = sum(first <= whole[0] and last >= whole[1] for first, last in ends)
    if wide >= (COPIES - 1) * LEAF:
        return []
    parts: list[Part] = []
    copies = 0
    for first, last, numbers in _packed(ends, whole, max(LEAF, wide + LEAF // 2)):
        copies += len(numbers)
        if copies > COPIES * len(items) or len(numbers) > 0.8 * len(items):
            return []
        inner = replace(region, start=first, end=last) if field is Field.FAR_END else \
            replace(region, first=first, last=last)
        parts.append((inner, [items[number] for number in sorted(numbers)]))
    return parts


def _packed(ends: Sequence[tuple[int, int]], whole: tuple[int, int],
            most: int) -> Iterator[tuple[int, int, set[int]]]:
    """Spans that together are the whole, each as long as no more rules than that are in it."""
    begin: dict[int, list[int]] = {whole[0]: []}
    leave: dict[int, list[int]] = {}
    for number, (first, last) in enumerate(ends):
        begin.setdefault(max(first, whole[0]), []).append(number)
        if last < whole[1]:
            leave.setdefault(last + 1, []).append(number)
    active: set[int] = set()
    start, held = whole[0], set[int]()
    for edge in sorted({*begin, *leave}):
        active.difference_update(leave.get(edge, ()))
        active.update(begin.get(edge, ()))
        more = active - held
        if more and len(held) + len(more) > most and held:
            yield start, edge - 1, held
            start, held = edge, set(active)
        else:
            held |= more
    yield start, whole[1], held


def _sections(items: Items, region: Region) -> list[Items]:
    """The rules in lists of one kind; in one list, if those would be many."""
    found: list[list[Item]] = [[]]
    last = items[0].kind(region)
    for one in items:
        kind = one.kind(region)
        # What matches all far ends and ports ends the section before it.
        if kind not in (last, (False, False)):
            found.append([])
            last = kind
        found[-1].append(one)
    return [*found] if len(found) <= SECTIONS else [items]
