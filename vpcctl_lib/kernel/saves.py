"""What iptables-save and ip6tables-save print, of either kind, with or without counters; pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from vpcctl_lib.frozen import frozen

Words = frozenset[tuple[str, ...]]
"""A rule as the set of its options, each with its values: their order is the writer's, not the kernel's."""

EVERYTHING = frozenset((option, net) for option in ("-s", "-d") for net in ("0.0.0.0/0", "::/0"))
"""Options that every packet matches: iptables-save leaves them out."""

CLOSED = "DROP"
_COUNTED = re.compile(r"(\[\d+:\d+\]) (-A .*)", re.DOTALL)
_INCOMPATIBLE = re.compile(r"^# Table `(\S+)' is incompatible", re.MULTILINE)
"""What iptables-save prints, with exit status 0, about a table that it leaves out."""


@dataclass
class Chain:
    """A chain as it was printed."""

    policy: str = ""
    """Empty unless it is built-in."""

    rules: list[str] = field(default_factory=list)
    """Each as the text after `-A CHAIN `."""

    counters: list[str] = field(default_factory=list)
    """Of each rule, as `[packets:bytes]`; empty if they were not asked for."""


Tables = Mapping[str, Mapping[str, Chain]]


def tables(text: str) -> Tables:
    """The tables with their chains, all in the order in which they were printed."""
    found: dict[str, dict[str, Chain]] = {}
    chains = found.setdefault("", {})
    for line in whole_lines(text):
        counters = ""
        if line.startswith("[") and (counted := _COUNTED.fullmatch(line)):
            counters, line = counted[1], counted[2]
        if rule := appended(line):
            chain = chains.setdefault(rule[0], Chain())
            chain.rules.append(rule[1])
            chain.counters.append(counters)
        elif line.startswith(":"):
            name, policy = (*line[1:].split(), "-", "-")[:2]
            chains[name] = Chain("" if policy == "-" else policy)
        elif line.startswith("*"):
            chains = found.setdefault(line[1:].strip(), {})
    return {name: chains for name, chains in found.items() if name or chains}


def appended(line: str) -> tuple[str, str] | None:
    """The chain and the text of the rule that a line appends; None for any other line."""
    if not line.startswith("-A "):
        return None
    _, name, *rule = line.split(" ", 2)
    return name, rule[0] if rule else ""


def incompatible(text: str) -> list[str]:
    """The tables that it could not show, because nft made rules in them that it can't express."""
    return _INCOMPATIBLE.findall(text)


def is_in_use(text: str) -> bool:
    """Whether there is a rule in it, or a policy that drops."""
    return any(chain.rules or chain.policy == CLOSED
               for chains in tables(text).values() for chain in chains.values())


def whole_lines(text: str) -> list[str]:
    """The lines that were printed; a line break inside a comment does not end a line."""
    lines: list[str] = []
    broken = ""
    for line in text.split("\n"):
        broken = f"{broken}\n{line}" if broken else line
        if '"' in broken and _is_open(broken):
            continue
        lines.append(broken)
        broken = ""
    return [*lines, *broken.split("\n")] if broken else lines


def _is_open(line: str) -> bool:
    """Whether a quotation continues after its end."""
    plain = re.sub(r"\\.", "", line, flags=re.DOTALL) if "\\" in line else line
    return plain.count('"') % 2 == 1


def split(rule: str) -> list[str]:
    """The words of a rule, as a shell splits them; fast enough for ten thousand rules with quoted words."""
    parts = rule.split('"')
    plain = len(parts) % 2 and "\\" not in rule and "'" not in rule
    if plain and all(text.split() == [text] for text in parts[1::2]):
        return rule.replace('"', "").split()
    try:
        return shlex.split(rule)
    except ValueError:
        # A comment with a line break, as others may write, is cut off at the end of the line; and raw netlink
        # takes names that iptables would not.
        return rule.split()


def words(rule: str) -> Words:
    """A rule's options and values, without differences in quotes, order and implied matches."""
    options: list[list[str]] = []
    for word in split(rule):
        if options and options[-1] == ["!"]:
            # A negated option is another option: `! -s A -d B` is not `-s A ! -d B`.
            options[-1] = [f"! {word}"]
        elif word.startswith(("-", "!")) or not options:
            options.append([word])
        else:
            options[-1].append(",".join(sorted(word.split(","))))
    # -p implies every protocol match, and iptables-save adds it.
    told = (tuple(option) for option in options if option[0] != "-m")
    return frozenset(option for option in told if option not in EVERYTHING)


@frozen
class HeldChain:
    """A chain in the kernel: its policy (empty unless built-in) and its rules in order."""

    policy: str
    rules: tuple[Words, ...] = ()


class Saved(Mapping[tuple[str, str], HeldChain]):
    """The chains by table and name; each rule is taken apart only when its chain is asked for."""

    def __init__(self, text: str) -> None:
        self._chains = {(table, name): chain for table, chains in tables(text).items()
                        for name, chain in chains.items()}
        self._read: dict[tuple[str, str], HeldChain] = {}
        self.unreadable = frozenset(incompatible(text))
        """Tables in which nft made something that iptables can't show."""

    def __getitem__(self, place: tuple[str, str]) -> HeldChain:
        if place not in self._read:
            chain = self._chains[place]
            self._read[place] = HeldChain(chain.policy, tuple(map(words, chain.rules)))
        return self._read[place]

    def lines(self, place: tuple[str, str]) -> list[str]:
        """The rules of a chain as they were printed, each as the text after `-A CHAIN `."""
        return self._chains[place].rules if place in self._chains else []

    def counted(self) -> Iterator[tuple[str, str, str]]:
        """Each rule of any table: its chain, its text, and its counters as `[packets:bytes]`."""
        return ((name, rule, counters) for (_, name), chain in self._chains.items()
                for rule, counters in zip(chain.rules, chain.counters, strict=True))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._chains)

    def __len__(self) -> int:
        return len(self._chains)
