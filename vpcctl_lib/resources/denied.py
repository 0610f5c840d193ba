"""How a table of network ACLs counts what it drops, by flow and machine: others pay nothing for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vpcctl_lib.flows.names import FOUR, IN, OUT, REFUSED, REFUSED_LOST, SIX, refused_sets
from vpcctl_lib.resources.counting import ends, is_later, kind, set_text
from vpcctl_lib.resources.shapes import Shape, shape_of, shapes, things

ROOM = 16384
"""The most flows in a set, of all machines of a VPC."""

CHAINS = {way: f"{REFUSED}-{way}" for way in (IN, OUT)}
"""Where a packet goes that an ACL does not let in, or out, in the place of being dropped."""

PORTS = {IN: "oifname . ", OUT: "iifname . "}
"""What comes first in a key: the port of the machine that sends the packet, or that would get it."""

DROP, GOTO = "counter drop comment", "counter goto {} comment"

Item = dict[str, Any]


def counting(line: str, chain: str) -> str:
    """A line of an ACL's chain in nft's syntax that counts what it drops."""
    way = IN if chain.startswith(f"{IN}-") else OUT
    # The comment comes last, and says the rule in words.
    return line.replace(DROP, GOTO.format(CHAINS[way]), 1)


def _families(dual: bool) -> str:
    return FOUR + SIX if dual else FOUR


def _names(dual: bool) -> set[str]:
    return {name for way in CHAINS for name in refused_sets(way, _families(dual))}


def _key(way: str, family: str, protocol: int) -> str:
    more = "th sport . th dport" if protocol else "meta l4proto"
    return f"{PORTS[way]}{ends(family)} . {more}"


def _lines(way: str, dual: bool) -> Iterator[str]:
    for family in _families(dual):
        found = refused_sets(way, family)
        bare = next(name for name, protocol in found.items() if not protocol)
        # First: else ports would be taken from what a later fragment carries.
        yield f"{is_later(family)} update @{bare} {{ {_key(way, family, 0)} }} drop"
        for name, protocol in found.items():
            others = ", ".join(str(one) for one in found.values() if one)
            match = str(protocol) if protocol else f"!= {{ {others} }}"
            yield f"{kind(family)} {match} update @{name} {{ {_key(way, family, protocol)} }} drop"
    yield f'counter name "{REFUSED_LOST}" drop'


def text(dual: bool) -> str:
    """The sets and the chains, as the first part of a table."""
    sets = "".join(set_text(name, _key(way, family, protocol), ROOM) for way in CHAINS
                   for family in _families(dual) for name, protocol in refused_sets(way, family).items())
    chains = "".join(
        f"\tchain {chain} {{\n" + "".join(f"\t\t{line}\n" for line in _lines(way, dual)) + "\t}\n"
        for way, chain in CHAINS.items())
    return f"\tcounter {REFUSED_LOST} {{\n\t}}\n{sets}{chains}"


def without(listed: Sequence[Mapping[str, Any]], dual: bool) -> tuple[list[Item], bool]:
    """A table as it would be if it did not count, and whether it does; ValueError if it counts otherwise."""
    held = [dict(one) for one in listed]
    names = {one["name"] for one in things(held, "chain")} & {*CHAINS.values()}
    if not names:
        return held, False
    inner = [one for one in held if one.get("chain", {}).get("name") in names
             or one.get("rule", {}).get("chain") in names]
    shall: dict[str, list[Shape]] = {chain: [shape_of(line) for line in _lines(way, dual)]
                                     for way, chain in CHAINS.items()}
    sets = {one["name"] for one in things(held, "set")} & (_names(True) | _names(False))
    if shapes(inner) != shall or sets != _names(dual):
        raise ValueError(REFUSED)
    return [_plain(one) for one in held if one not in inner and one.get("set", {}).get("name") not in sets
            and "counter" not in one], True


def _plain(item: Item) -> Item:
    """A rule that drops where ours leads to the counting."""
    rule = item.get("rule")
    if not rule:
        return item
    expr = [{"drop": None} if part.get("goto", {}).get("target") in CHAINS.values() else part
            for part in rule["expr"]]
    return {"rule": {**rule, "expr": expr}}
