"""How large the trees of network ACLs are: who changes how rules are split sees here what becomes of them."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Network
from typing import NamedTuple

import pytest

from tests.dear import by_lot
from tests.unit.test_acl_chains import ALLOWED, agree, decided, far_ends, numbered, packets, ports, rule
from vpcctl_lib.firewall.acl_chains import Chains, Fork, chains
from vpcctl_lib.model.policies import AclRule, Action, Ports, Protocol


class Size(NamedTuple):
    """What there is of a tree, and how many lines the packets of a test meet in all, and one at most."""

    chains: int
    lines: int
    ways: int
    deepest: int
    met: int
    most: int


def ways(found: Chains) -> list[tuple[str, str]]:
    """The chains that lead on to another, with that one, as often as they do."""
    return [(name, one.chain) for name, lines in found.items() for line in lines
            if not isinstance(line, AclRule)
            for one in (line.branches if isinstance(line, Fork) else (line,))]


def deepest(found: Chains) -> int:
    """How many chains are one below the other."""
    below = dict.fromkeys(found, set[str]())
    for name, other in ways(found):
        below[name] = {*below[name], other}

    @cache
    def from_here(name: str) -> int:
        return 1 + max(map(from_here, below[name]), default=0)

    return from_here(next(iter(found)))


def size(rules: tuple[AclRule, ...]) -> Size:
    """That of the tree of these rules, which decides as they do."""
    found = chains("x", rules)
    lines = [decided(found, packet)[1] for packet in packets(rules, random.Random(1), 200)]  # noqa: S311
    agree(rules, random.Random(1), 200)  # noqa: S311 - no secret
    return Size(len(found), sum(map(len, found.values())), len(ways(found)), deepest(found),
                sum(lines), max(lines))


def ranges(count: int, width: int) -> list[AclRule]:
    """Ports that overlap, of TCP and UDP in turns."""
    return [AclRule(1, (Protocol.TCP, Protocol.UDP)[number % 2], (Action.ALLOW, Action.DENY)[number % 3 == 0],
                    Ports(20 * number + 1, 20 * number + width)) for number in range(count)]


def around(count: int) -> list[AclRule]:
    """Networks within networks."""
    return [AclRule(1, Protocol.ALL, Action.DENY, None, IPv4Network((0x0A000000 + (number << 10), length),
                                                                   strict=False))
            for number in range(count) for length in (32, 24, 16)]


def mixed(count: int, seed: int) -> list[AclRule]:
    """Any."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    return [rule(draw, number) for number in range(1, count + 1)]


def in_turns(count: int) -> list[AclRule]:
    """A far end and a port, then the next two."""
    return [one for pair in zip(far_ends(count), ports(count), strict=True) for one in pair]


def for_all(count: int) -> list[AclRule]:
    """Ports of a far end, among many that ask for no port."""
    narrow = [replace(one, network=IPv4Network(0x0A000000 + number))
              for number, one in enumerate(ports(count))]
    wide = [AclRule(1, Protocol.TCP, Action.DENY, Ports(1, 65535 - number)) for number in range(count)]
    return [*narrow, *wide]


SHAPES: dict[str, tuple[list[AclRule], Size]] = {
    "as many as are a list": (far_ends(99), Size(1, 100, 0, 1, 14718, 100)),
    "one more": (far_ends(100), Size(16, 117, 15, 2, 1380, 9)),
    "far ends and a few ports": ([*far_ends(300), *ALLOWED], Size(122, 965, 121, 3, 1460, 10)),
    "of one protocol": (far_ends(300, Protocol.UDP), Size(44, 345, 43, 2, 1697, 9)),
    "ports": (ports(300), Size(48, 650, 46, 3, 845, 11)),
    "far ends, then ports": ([*far_ends(150), *ports(150)], Size(116, 1022, 135, 5, 1871, 20)),
    "three sections": ([*far_ends(60), *ports(60), *far_ends(60, Protocol.TCP)],
        Size(61, 548, 75, 7, 1928, 29)),
    "five sections": ([*far_ends(30), *ports(30), *far_ends(30, Protocol.TCP), *ports(20), *far_ends(20)],
        Size(26, 370, 24, 4, 3412, 133)),
    "in turns": (in_turns(80), Size(29, 433, 27, 3, 5993, 163)),
    "ranges that overlap a little": (ranges(200, 30), Size(37, 372, 35, 3, 1093, 11)),
    "ranges that overlap more": (ranges(200, 90), Size(47, 458, 45, 3, 941, 9)),
    "ranges that overlap much": (ranges(200, 900), Size(7, 340, 5, 3, 4007, 103)),
    "networks within networks": (around(60), Size(1, 181, 0, 1, 5910, 181)),
    "few networks within networks": ([*around(3), *far_ends(150)], Size(25, 188, 24, 2, 1312, 9)),
    "wide and narrow ports": (for_all(80), Size(16, 259, 26, 4, 1008, 12)),
    "the same again and again": ([AclRule(1, Protocol.TCP, Action.DENY, Ports(80, 80))] * 120,
        Size(3, 125, 2, 2, 3600, 123)),
    "any, 1": (mixed(120, 1), Size(25, 287, 22, 3, 1301, 12)),
    "any, 2": (mixed(250, 2), Size(22, 504, 19, 4, 1533, 10)),
    "any, 3": (mixed(400, 3), Size(20, 790, 17, 4, 1718, 13)),
}


FEW = 8
"""As many become trees; with --slow all."""


@pytest.mark.parametrize("shape", by_lot(list(SHAPES), FEW, "shapes"))
def test_a_tree_is_as_large_as_it_was(shape: str) -> None:
    rules, wanted = SHAPES[shape]
    assert size(numbered(rules)) == wanted
