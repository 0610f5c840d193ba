"""Ways to split rules: parts of all packets, each with the rules that match some of them; pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv6Address
from typing import NamedTuple

from vpcctl_lib.firewall.families import word
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.policies import Action, Protocol, Rule

LEAF = 16
"""The most rules that are simply read in order."""

FANOUT = 8
"""Chains that one chain leads on to: a packet meets the fewest rules with about this many."""

FILLED = 0.6
"""How full the last chains should be: lines that span two of their regions are in both."""

LAST_PORT = 65535


class FarEnd(NamedTuple):
    """How a chain tests the far end: iptables' option, and how many bits its addresses have."""

    option: str
    bits: int = 32

    def test(self, start: int, length: int) -> str:
        """The test for a prefix, as iptables-save will write it."""
        return f"{self.option} {_dotted(start) if self.bits == 32 else IPv6Address(start)}/{length}"


class Line(NamedTuple):
    """A rule as iptables takes it, and what it matches: `first` to `last` are ports."""

    text: str
    action: Action
    protocol: Protocol
    start: int
    length: int
    first: int
    last: int

    def test(self, far_end: FarEnd) -> str:
        """What it matches, in iptables' words."""
        network = far_end.test(self.start, self.length) if self.length else ""
        if (self.first, self.last) != (0, LAST_PORT):
            return f"{network} {_port_test(self.protocol, self.first, self.last)}".lstrip()
        return network if self.protocol is Protocol.ALL else f"{network} -p {word(self.protocol)}".lstrip()


Lines = tuple[Line, ...]


def line(rule: Rule, text: str) -> Line:
    """What the text of a rule matches."""
    network, ports = rule.network, rule.ports
    return Line(text, rule.action, rule.protocol,
                int(network.network_address) if network else 0, network.prefixlen if network else 0,
                ports.first if ports else 0, ports.last if ports else LAST_PORT)


def joined(lines: Lines) -> Lines:
    """Lines that together match the same; adjoining ports of one far end become one line."""
    ends: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        ends.setdefault(line[2:5], []).append(line)
    return tuple(line for alike in ends.values() for line in _spans(alike))


def _spans(alike: list[Line]) -> Iterator[Line]:
    alike.sort(key=lambda line: line.first)
    span = alike[0]
    for line in alike[1:]:
        if line.first > span.last + 1:
            yield span
            span = line
        elif line.last > span.last:
            span = span._replace(last=line.last)
    yield span


@frozen
class Region:
    """The packets that a chain is for; `protocol` ALL is any, None is one that no rule names."""

    protocol: Protocol | None = Protocol.ALL
    start: int = 0
    length: int = 0
    first: int = 0
    last: int = LAST_PORT

    def up_to_cover(self, lines: Iterable[Line]) -> Lines:
        """The lines that overlap the region, up to the first that matches all of it.

        No packet gets past that one.
        """
        found = []
        for line in lines:
            found.append(line)
            if (line.length <= self.length and line.first <= self.first and line.last >= self.last
                    and line.protocol in (Protocol.ALL, self.protocol)):
                break
        return tuple(found)

    def kind(self, line: Line) -> tuple[bool, bool]:
        """Whether the line matches only part of the region's far ends, and only part of its ports."""
        return line.length > self.length, line.first > self.first or line.last < self.last


class Branch(NamedTuple):
    """A part of a region: the test that leads there (empty: the rest), and its lines."""

    test: str
    region: Region
    lines: Lines


Split = list[Branch]
Prefix = tuple[int, int]
"""The first address, and the prefix length."""


def best(lines: Lines, region: Region, copies: float, far_end: FarEnd) -> Split | None:
    """The split with the smallest parts, if there is one that copies lines rarely."""
    if region.protocol is Protocol.ALL:
        found = _by_protocol(lines, region, copies)
        if found:
            return found
    ways: list[Split | None] = [_by_far_end(lines, region, far_end)]
    if region.protocol in (Protocol.TCP, Protocol.UDP):
        ways.append(_by_port(lines, region))
    fit = [split for split in ways if split and _is_worth(split, len(lines), copies)]
    return min(fit, key=_cost, default=None)


def size(split: Split) -> int:
    """How many lines its parts have together."""
    return sum(len(branch.lines) for branch in split)


def _cost(split: Split) -> int:
    """Low for parts that are small and equal."""
    return sum(len(branch.lines) ** 2 for branch in split)


def _is_worth(split: Split, count: int, copies: float) -> bool:
    largest = max(len(branch.lines) for branch in split)
    return largest <= 0.8 * count and size(split) <= copies * count


def _parts_wanted(lines: Lines) -> int:
    return min(FANOUT, math.ceil(len(lines) / (LEAF * FILLED)))


def _branch(test: str, region: Region, lines: Iterable[Line]) -> Branch:
    return Branch(test, region, region.up_to_cover(lines))


def _by_protocol(lines: Lines, region: Region, copies: float) -> Split | None:
    """A part for each protocol that a line names, and one for the rest."""
    counts = Counter(line.protocol for line in lines)
    named = [protocol for protocol in Protocol if protocol is not Protocol.ALL and counts[protocol]]
    if not named or len(lines) + counts[Protocol.ALL] * len(named) > copies * len(lines):
        return None
    split = [_branch(f"-p {word(protocol)}", replace(region, protocol=protocol),
                     (line for line in lines if line.protocol in (protocol, Protocol.ALL)))
             for protocol in named]
    rest = (line for line in lines if line.protocol is Protocol.ALL)
    return [*split, _branch("", replace(region, protocol=None), rest)]


def _by_port(lines: Lines, region: Region) -> Split | None:
    """Ranges of ports with about the same number of lines that begin or end in them."""
    edges = sorted([line.first for line in lines if line.first > region.first]
                   + [line.last + 1 for line in lines if line.last < region.last])
    parts = _parts_wanted(lines)
    cuts = sorted({edges[len(edges) * part // parts] for part in range(1, parts)}) if edges else []
    spans = list(zip([region.first, *cuts], [*(cut - 1 for cut in cuts), region.last], strict=True))
    if len(spans) < 2 or region.protocol is None:
        return None
    split = [_branch(_port_test(region.protocol, first, last), replace(region, first=first, last=last),
                     (line for line in lines if line.first <= last and line.last >= first))
             for first, last in spans]
    # Only lines without ports remain for it.
    split[-1] = split[-1]._replace(test="")
    return split


def _port_test(protocol: Protocol, first: int, last: int) -> str:
    """As iptables-save will write it."""
    span = f"{first}" if first == last else f"{first}:{last}"
    return f"-p {protocol.value} -m {protocol.value} --dport {span}"


def _by_far_end(lines: Lines, region: Region, far_end: FarEnd) -> Split | None:
    """Prefixes with about the same number of lines each, narrow before wide, and the rest."""
    prefixes = _prefixes(lines, region, far_end.bits)
    if not prefixes:
        return None
    parts: list[list[Line]] = [[] for _ in (*prefixes, "rest")]
    for line in lines:
        for part in _parts(line, prefixes, far_end.bits):
            parts[part].append(line)
    split = [_branch(far_end.test(start, length), replace(region, start=start, length=length), part)
             for (start, length), part in zip(prefixes, parts, strict=False)]
    return [*split, _branch("", region, parts[-1])]


def _parts(line: Line, prefixes: Sequence[Prefix], bits: int) -> list[int]:
    """The prefixes, or the rest, that take the line's addresses; each takes what those before it did not."""
    found: list[int] = []
    for number, (start, length) in enumerate(prefixes):
        if line.length >= length:
            if _within(line.start, start, length, bits):
                return [*found, number]
        elif _within(start, line.start, line.length, bits):
            found.append(number)
    return [*found, len(prefixes)]


def _prefixes(lines: Lines, region: Region, bits: int) -> list[Prefix]:
    """Prefixes inside the region, narrow before wide, with about the same number of lines in each."""
    narrow = sorted((line.start, line.length) for line in lines if line.length > region.length)
    enough = max(2, math.ceil(len(narrow) / _parts_wanted(lines)))

    def count(start: int, length: int) -> int:
        end = start + (1 << (bits - length))
        return bisect_left(narrow, (end, 0)) - bisect_left(narrow, (start, length))

    return _carve((region.start, region.length), count, enough, bits)


def _carve(whole: Prefix, count: Callable[[int, int], int], enough: int, bits: int) -> list[Prefix]:
    """From the narrowest on, the prefixes that have enough lines without those of prefixes already found."""
    found: list[Prefix] = []

    def left(start: int, length: int) -> int:
        inside = count(start, length)
        if inside < enough:
            return inside
        if length < bits:
            half = 1 << (bits - length - 1)
            for part in (start, start + half):
                inside += left(part, length + 1) - count(part, length + 1)
        if inside < enough or (start, length) == whole:
            return inside
        found.append((start, length))
        return 0

    left(*whole)
    return found


def _within(address: int, start: int, length: int, bits: int) -> bool:
    return (address ^ start) >> (bits - length) == 0


def _dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
