"""A packet's way through the chains of a policy, as iptables reads them, counting what it meets; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address


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
            if not _matches(taken.tests, self.packet, self.mark):
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


Test = Callable[[Packet, int], bool]
"""Whether a packet, with the mark that it has by now, is meant."""


def _matches(tests: Sequence[Test], packet: Packet, mark: int) -> bool:
    for test in tests:  # noqa: SIM110 - a generator a rule takes as long as all the rest
        if not test(packet, mark):
            return False
    return True


def _protocol(name: str) -> Test:
    return lambda packet, _: packet.protocol == name


def _within(network: str) -> Test:
    """Whether the far end is in it."""
    address, _, length = network.partition("/")
    if ":" in address:
        shift, number = 128 - int(length), int(IPv6Address(address))
    else:
        # An IPv4Address takes three times as long.
        shift, number = 32 - int(length), int.from_bytes(map(int, address.split(".")), "big")
    prefix = number >> shift
    return lambda packet, _: packet.far_end >> shift == prefix


def _port(span: str) -> Test:
    """Whether it goes to one of these."""
    first, _, last = span.partition(":")
    low, high = int(first), int(last or first)
    return lambda packet, _: low <= packet.port <= high


def _marked(text: str) -> Test:
    """Whether the mark has these bits."""
    bits, of = _bits(text)
    return lambda _, mark: mark & of == bits


def _never(_: str) -> Test:
    """A new connection of somebody else."""
    return lambda *_: False


TESTS: dict[str, Callable[[str], Test]] = {
    "-p": _protocol, "-s": _within, "-d": _within, "--dport": _port, "--mark": _marked,
    "-i": _never, "-o": _never, "--ctstate": _never,
}


@dataclass(frozen=True)
class TakenApart:
    """A rule's conditions, and where it leads; `value` is that of the target."""

    tests: tuple[Test, ...]
    target: str
    value: str
    for_good: bool


@lru_cache(maxsize=1 << 20)
def _taken_apart(rule: str) -> TakenApart:
    words = rule.split()
    jump = next(number for number, word in enumerate(words) if word in ("-j", "-g"))
    pairs = zip(words[:jump], words[1:jump], strict=False)
    tests = tuple(TESTS[name](value) for name, value in pairs if name in TESTS)
    return TakenApart(tests, words[jump + 1], words[-1], words[jump] == "-g")


def _bits(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0)


def _changed(mark: int, text: str) -> int:
    """iptables-extensions(8), MARK: the bits of the mask are zeroed, then those of the value flipped."""
    value, mask = _bits(text)
    return mark & ~mask ^ value
