"""Many rules as a tree of chains in which a packet meets few, with the verdicts of their plain order; pure.

Each chain stands for a region: a protocol, a prefix of far ends and a range of ports. It either leads on to
chains for parts of that region, or holds the rules that speak of it, whole and in their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vpcctl_lib.splits import LEAF, Line, Lines, Region, Split, best, size

DEPTH = 6
"""Splits one below the other, each two chains at most: the kernel takes 16 (NFT_JUMP_STACK_SIZE)."""

COPIES = 4.0
"""How many lines a rule may become on average, as one that spans several regions stands in each."""


@dataclass
class Tree:
    """The chains made so far; `prefix` begins their names, `far_end` is iptables' option for far ends."""

    prefix: str
    far_end: str
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def grow(self, lines: Sequence[Line]) -> tuple[str, ...]:
        """The rules that stand for these, where they stand; the chains they lead to are then in `chains`."""
        # By what they match, since a second one that matches the same is never read.
        unlike: dict[tuple[object, ...], Line] = {}
        for line in lines:
            unlike.setdefault(line[2:], line)
        everything = Region()
        found = self._read(everything.up_to_cover(unlike.values()), everything, COPIES, DEPTH)
        unread = _unread(lines, [*found, *(text for texts in self.chains.values() for text in texts)])
        if unread:
            # No packet gets to them, as an earlier rule always speaks first; they are kept for who asks.
            self.chains[f"{self.prefix}UNREACHED"] = unread
        return found

    def _read(self, lines: Lines, region: Region, copies: float, depth: int) -> tuple[str, ...]:
        """The rules for a region, to stand among others: a packet that none matches goes on to the next."""
        if len(lines) <= LEAF:
            return tuple(line.text for line in lines)
        split = best(lines, region, copies, self.far_end) if depth else None
        if split:
            return (f"-j {self._chain(self._dispatch(split, len(lines), copies, depth))}",)
        # Rules that can't be told apart together may be in two halves, one read after the other.
        one, other = _halves(lines, region)
        return self._read(one, region, copies, depth) + self._read(other, region, copies, depth)

    def _dispatch(self, split: Split, count: int, copies: float, depth: int) -> tuple[str, ...]:
        """The rules of a chain that only leads on; it is left for good (-g), so that no packet comes back."""
        left = copies * count / size(split)
        texts = []
        for branch in split:
            inner = self._read(branch.lines, branch.region, left, depth - 1)
            if len(inner) == 1 and inner[0].startswith("-j "):
                target = f"-g {inner[0].removeprefix('-j ')}"
            elif inner:
                target = f"-g {self._chain(inner)}"
            elif branch.test:
                target = "-j RETURN"
            else:
                continue
            texts.append(f"{branch.test} {target}".lstrip())
        return tuple(texts)

    def _chain(self, texts: tuple[str, ...]) -> str:
        name = f"{self.prefix}{len(self.chains) + 1:04}"
        self.chains[name] = texts
        return name


def _unread(lines: Sequence[Line], texts: Sequence[str]) -> tuple[str, ...]:
    read = set(texts)
    return tuple(line.text for line in lines if line.text not in read)


def _halves(lines: Lines, region: Region) -> tuple[Lines, Lines]:
    """Narrow far ends before wide ones where one action makes the order of no account, else as they stand."""
    narrow = tuple(line for line in lines if line.length > region.length)
    if 0 < len(narrow) < len(lines) and len({line.action for line in lines}) == 1:
        return narrow, tuple(line for line in lines if line.length <= region.length)
    middle = len(lines) // 2
    return lines[:middle], lines[middle:]
