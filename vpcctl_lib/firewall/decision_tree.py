"""Many rules as a tree of chains: a packet meets few, and the verdicts are those of the plain list; pure.

Each chain stands for a region: a protocol, a prefix of far ends and a range of ports. It either leads on to
chains for parts of that region, or holds the rules that overlap it, whole and in their order.

If rules for far ends and rules for ports alternate, splitting a region does not help. Then a chain first
notes in the packet's mark which blocks of consecutive rules have one that matches, and leads on to the first
of these blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from vpcctl_lib.firewall.splits import LEAF, FarEnd, Line, Lines, Region, Split, best, joined, size
from vpcctl_lib.model.policies import Action

ROOM = 14
"""How deep chains may nest under the built-in one: the kernel allows 16 in all (NFT_JUMP_STACK_SIZE)."""

COPIES, MIXED_COPIES = 2.2, 1.3
"""How many lines a rule may become on average, since it is in each region that it spans: a range of ports
begins in one and ends in another. Rules for all ports should be split by something other than ports.
"""

SECTIONS = 4
"""The most lists of one kind of rule to read one after another; more are read in blocks."""

BLOCKS = 24
"""Bits of the mark: two levels of this many blocks leave few of ten thousand rules to be read in order."""

WORTH_BLOCKS = 2 * LEAF
"""Up to this many rules, reading them all is as short."""

NOTES = (1 << BLOCKS) - 1
FORGET = f"-j MARK --set-xmark 0x0/{NOTES:#x}"

Texts = tuple[str, ...]


@dataclass
class Tree:
    """The chains made so far; `prefix` begins their names."""

    prefix: str
    far_end: FarEnd
    chains: dict[str, Texts] = field(default_factory=dict)

    def grow(self, lines: Sequence[Line]) -> Texts:
        """The rules that replace these in their chain; adds the chains to which they lead to `chains`."""
        # By what they match, since a second rule that matches the same is never reached.
        unlike: dict[tuple[object, ...], Line] = {}
        for line in lines:
            unlike.setdefault(line[2:], line)
        everything = Region()
        found = self._read(everything.up_to_cover(unlike.values()), everything, COPIES, ROOM)
        unread = _unread(lines, [*found, *(text for texts in self.chains.values() for text in texts)])
        if unread:
            # No packet reaches them, since an earlier rule always matches; they are kept for the reader.
            self.chains[f"{self.prefix}UNREACHED"] = unread
        return found

    def _read(self, lines: Lines, region: Region, copies: float, room: int) -> Texts:
        """The rules for a region, inline: a packet that none matches goes on to the next rule."""
        if len(lines) <= LEAF:
            return tuple(line.text for line in lines)
        few = copies if len(set(map(region.kind, lines))) == 1 else min(copies, MIXED_COPIES)
        split = best(lines, region, few, self.far_end) if room >= 2 else None
        if split:
            return (f"-j {self._chain(self._dispatch(split, len(lines), copies, room - 1))}",)
        # Rules that no single split separates may be in several lists, read one after the other.
        lists = _lists(lines, region)
        if lists:
            return tuple(text for part in lists for text in self._read(part, region, copies, room))
        if len(lines) <= WORTH_BLOCKS or room < 2:
            return tuple(line.text for line in lines)
        return (f"-j {self._chain(self._in_blocks(lines, region, room - 1))}",)

    def _dispatch(self, split: Split, count: int, copies: float, room: int) -> Texts:
        """The rules of a chain that only leads on; it uses goto (-g), so that no packet comes back."""
        left = copies * count / size(split)
        texts = []
        for branch in split:
            inner = self._read(branch.lines, branch.region, left, room - 1)
            if inner:
                texts.append(f"{branch.test} {self._lead(inner)}".lstrip())
            elif branch.test:
                texts.append(f"{branch.test} -j RETURN")
        return tuple(texts)

    def _in_blocks(self, lines: Lines, region: Region, room: int) -> Texts:
        """The rules of a chain that leads on to the first block in which a rule matches, if there is one."""
        length = max(LEAF, math.ceil(len(lines) / BLOCKS))
        blocks = [lines[start:start + length] for start in range(0, len(lines), length)]
        notes = tuple(self._note(line, 1 << number) for number, block in enumerate(blocks)
                      for line in joined(block))
        texts = [FORGET, *self._read(notes, region, COPIES, room), f"{_noted(0, NOTES)} -j RETURN"]
        for number, block in enumerate(blocks):
            # The packet must leave without our notes, as it came.
            inner = self._chain((FORGET, *self._read(block, region, COPIES, room - 1)))
            texts.append(f"{_noted(1 << number, 1 << number)} -g {inner}")
        return tuple(texts)

    def _note(self, line: Line, bit: int) -> Line:
        """A line that sets a bit if the given one matches; all do the same, so their order is free."""
        text = f"{line.test(self.far_end)} -j MARK --set-xmark {bit:#x}/{bit:#x}"
        return line._replace(text=text.lstrip(), action=Action.ALLOW)

    def _lead(self, texts: Texts) -> str:
        """A goto to a chain of these, or directly to the chain they lead to, if they do nothing else."""
        if len(texts) == 1 and texts[0].startswith(f"-j {self.prefix}"):
            return f"-g {texts[0].removeprefix('-j ')}"
        return f"-g {self._chain(texts)}"

    def _chain(self, texts: Texts) -> str:
        name = f"{self.prefix}{len(self.chains) + 1:04}"
        self.chains[name] = texts
        return name


def _noted(bits: int, of: int) -> str:
    return f"-m mark --mark {bits:#x}/{of:#x}"


def _unread(lines: Sequence[Line], texts: Sequence[str]) -> Texts:
    read = set(texts)
    return tuple(line.text for line in lines if line.text not in read)


def _lists(lines: Lines, region: Region) -> list[Lines]:
    """Lists that may be read one after another: a few sections in order, or any lists if all do the same."""
    sections = [tuple(section) for _, section in groupby(lines, region.kind)]
    if 1 < len(sections) <= SECTIONS:
        return sections
    if len({line.action for line in lines}) > 1:
        return []
    narrow = tuple(line for line in lines if line.length > region.length)
    if 0 < len(narrow) < len(lines):
        return [narrow, tuple(line for line in lines if line.length <= region.length)]
    middle = len(lines) // 2
    return [lines[:middle], lines[middle:]]
