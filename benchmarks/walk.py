"""A packet's way through the chains of a policy, as iptables reads them, counting what it meets; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address


@dataclass(frozen=True)
class Packet:
    """What a rule of a policy can ask about; a protocol that no rule can name is `gre`."""

    protocol: str
    far_end: int
    port: int
    mark: int = 0


class Walk:
    """One packet's walk: `read` rules met, and `deepest` chains one below the other."""

    def __init__(self, chains: Mapping[str, Sequence[str]], packet: Packet) -> None:
        self.chains = chains
        self.packet = packet
        self.mark = packet.mark
        self.read = 0
        self.deepest = 0

    def verdict(self, rules: Iterable[str], depth: int = 1) -> str | None:
        """The rule that decides; None if the packet comes to the end of the rules, or returns."""
        self.deepest = max(self.deepest, depth)
        for rule in rules:
            self.read += 1
            taken = _taken_apart(rule)
            if not all(TESTS[name](self, value) for name, value in taken.conditions):
                continue
            if taken.target == "RETURN":
                return None
            if taken.target == "MARK":
                self.mark = _changed(self.mark, taken.value)
            elif taken.target not in self.chains:
                return rule
            else:
                found = self.verdict(self.chains[taken.target], depth + 1)
                if found or taken.for_good:
                    return found
        return None

    def is_within(self, network: str) -> bool:
        """Whether the far end is in it."""
        start, length = _network(network)
        return (start ^ self.packet.far_end) >> (32 - length) == 0

    def is_port(self, span: str) -> bool:
        """Whether it goes to one of these."""
        first, _, last = span.partition(":")
        return int(first) <= self.packet.port <= int(last or first)

    def is_marked(self, text: str) -> bool:
        """Whether the mark has these bits."""
        bits, of = _bits(text)
        return self.mark & of == bits


Test = Callable[[Walk, str], bool]
TESTS: dict[str, Test] = {
    "-p": lambda walk, value: value == walk.packet.protocol,
    "-s": Walk.is_within, "-d": Walk.is_within, "--dport": Walk.is_port, "--mark": Walk.is_marked,
    # A new connection of somebody else.
    "-i": lambda *_: False, "-o": lambda *_: False, "--ctstate": lambda *_: False,
}


@dataclass(frozen=True)
class TakenApart:
    """A rule's conditions, and where it leads; `value` is that of the target."""

    conditions: tuple[tuple[str, str], ...]
    target: str
    value: str
    for_good: bool


@lru_cache(maxsize=1 << 20)
def _taken_apart(rule: str) -> TakenApart:
    words = rule.split()
    jump = next(number for number, word in enumerate(words) if word in ("-j", "-g"))
    pairs = zip(words[:jump], words[1:jump], strict=False)
    return TakenApart(tuple(pair for pair in pairs if pair[0] in TESTS), words[jump + 1], words[-1],
                      words[jump] == "-g")


@lru_cache(maxsize=1 << 20)
def _network(text: str) -> tuple[int, int]:
    address, _, length = text.partition("/")
    return int(IPv4Address(address)), int(length)


def _bits(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0)


def _changed(mark: int, text: str) -> int:
    """iptables-extensions(8), MARK: the bits of the mask are zeroed, then those of the value flipped."""
    value, mask = _bits(text)
    return mark & ~mask ^ value
