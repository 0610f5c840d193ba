"""The output of `iptables-save -c`, as tables of chains of rules; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import saves

ONE_VALUE = frozenset({"--comment", "--log-prefix", "--string"})
"""Options whose value may look like anything, a dash in front included."""


@frozen
class Option:
    """One condition of a rule, or one option of its target."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False
    module: str = ""


@frozen
class Parsed:
    """A parsed rule: its conditions, its target, whether it is a goto (`-g`)."""

    conditions: tuple[Option, ...] = ()
    target: str = ""
    options: tuple[Option, ...] = ()
    goto: bool = False

    def option(self, *names: str) -> str | None:
        """The value of a target's option, if it has it under one of the names; empty if it is a flag."""
        for one in self.options:
            if one.name in names:
                return one.values[0] if one.values else ""
        return None


@frozen
class Rule:
    """A rule as written, with its packet and byte counters."""

    chain: str
    words: str
    packets: int = 0
    bytes: int = 0

    @property
    def parsed(self) -> Parsed:
        """The parsed rule, parsed once."""
        return parse_rule(self.words)

    def __str__(self) -> str:
        return f"-A {self.chain} {self.words} [{self.packets} packet{'' if self.packets == 1 else 's'}]"


@dataclass
class Chain:
    """A chain; its policy is empty unless it is built-in."""

    name: str
    policy: str = ""
    rules: list[Rule] = field(default_factory=list)


Tables = Mapping[str, Mapping[str, Chain]]


def parse_save(text: str) -> Tables:
    """The tables in the output of iptables-save, of either kind (nf_tables, legacy), with or without -c."""
    return {table: {name: Chain(name, chain.policy, list(_rules(name, chain)))
                    for name, chain in chains.items()} for table, chains in saves.tables(text).items()}


def _rules(name: str, chain: saves.Chain) -> Iterator[Rule]:
    for words, counters in zip(chain.rules, chain.counters, strict=True):
        packets, size = map(int, counters[1:-1].split(":")) if counters else (0, 0)
        yield Rule(name, words, packets, size)


@lru_cache(maxsize=65536)
def parse_rule(words: str) -> Parsed:
    """Parse the words after `-A CHAIN`."""
    options = tuple(_options(saves.split(words)))
    for number, option in enumerate(options):
        if option.name in ("-j", "-g", "--jump", "--goto"):
            target = option.values[0] if option.values else ""
            return Parsed(options[:number], target, options[number + 1:], option.name in ("-g", "--goto"))
    return Parsed(options)


def _options(words: list[str]) -> Iterator[Option]:
    module, position = "", 0
    while position < len(words):
        negated = words[position] == "!"
        position += negated
        if position >= len(words):
            return
        name, start = words[position], position + 1
        position = start + 1 if name in ONE_VALUE else _end(words, start)
        values = tuple(words[start:position])
        if name == "-m":
            module = values[0] if values else ""
        # Some modules need no options: `-m socket` alone is a condition.
        yield Option(name, values, negated, "" if name == "-m" else module)


def _end(words: list[str], start: int) -> int:
    """Where the values of an option end: at the next option, or at the `!` before it."""
    end = start
    while end < len(words) and not (words[end] == "!" or _is_option(words[end])):
        end += 1
    return end


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not word[1].isdigit()
