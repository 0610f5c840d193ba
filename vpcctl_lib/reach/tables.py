"""What `iptables-save -c` says, as tables of chains of rules; pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.answers import whole_lines

LINE = re.compile(r"(?:\[(\d+):(\d+)\] )?-A (\S+) ?(.*)", re.DOTALL)
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
    """A rule taken apart: its conditions, its target, whether it goes there for good (`-g`)."""

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
    """A rule as it stands, with the packets and bytes that have met it."""

    chain: str
    words: str
    packets: int = 0
    bytes: int = 0

    @property
    def parsed(self) -> Parsed:
        """Taken apart, once."""
        return parse_rule(self.words)

    def __str__(self) -> str:
        return f"-A {self.chain} {self.words} [{self.packets} packet{'' if self.packets == 1 else 's'}]"


@dataclass
class Chain:
    """A chain; its policy is empty unless it is built in."""

    name: str
    policy: str = ""
    rules: list[Rule] = field(default_factory=list)


Tables = Mapping[str, Mapping[str, Chain]]


def parse_save(text: str) -> Tables:
    """The tables in what iptables-save printed, of either kind (nf_tables, legacy), with or without -c."""
    tables: dict[str, dict[str, Chain]] = {}
    chains: dict[str, Chain] = {}
    for line in whole_lines(text):
        if line.startswith("*"):
            chains = tables.setdefault(line[1:].strip(), {})
        elif line.startswith(":"):
            name, policy = (*line[1:].split(), "-", "-")[:2]
            chains[name] = Chain(name, "" if policy == "-" else policy)
        elif found := LINE.fullmatch(line):
            packets, size, name, words = found.groups()
            chain = chains.setdefault(name, Chain(name))
            chain.rules.append(Rule(name, words, int(packets or 0), int(size or 0)))
    return tables


def incompatible(text: str) -> list[str]:
    """The tables that iptables-save could not show, since nft made rules in them that it has no words for."""
    return re.findall(r"^# Table `(\S+)' is incompatible", text, re.MULTILINE)


@lru_cache(maxsize=65536)
def parse_rule(words: str) -> Parsed:
    """The words that follow `-A CHAIN`, taken apart."""
    options = tuple(_options(_split(words)))
    for number, option in enumerate(options):
        if option.name in ("-j", "-g", "--jump", "--goto"):
            target = option.values[0] if option.values else ""
            return Parsed(options[:number], target, options[number + 1:], option.name in ("-g", "--goto"))
    return Parsed(options)


def _split(words: str) -> list[str]:
    # shlex takes as long as all the rest together, and few rules have quotes.
    if '"' not in words and "'" not in words and "\\" not in words:
        return words.split()
    try:
        return shlex.split(words)
    except ValueError:
        # Raw netlink takes names that iptables would not.
        return words.split()


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
        # Some modules say all by their name: `-m socket` is a condition too.
        yield Option(name, values, negated, "" if name == "-m" else module)


def _end(words: list[str], start: int) -> int:
    """Where the values of an option end: at the next option, or at the `!` before it."""
    end = start
    while end < len(words) and not (words[end] == "!" or _is_option(words[end])):
        end += 1
    return end


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not word[1].isdigit()
