"""Rules that count, without how nft writes them: what they update, ask and count, and their verdict; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

from vpcctl_lib.flows.names import IN, OUT

LINKS = {IN: "iifname", OUT: "oifname"}

Shape = tuple[str, ...]

_LINE = re.compile(r'(.*?) ?(?:counter name "(\S+)")? ?((?:goto \S+|accept|drop)?)')


def things(listed: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of a kind that nft has listed."""
    return [one[kind] for one in listed if kind in one]


def shape_of(line: str) -> Shape:
    """That of a line of ours."""
    words = line.split()
    updated = [f"{word}:{'0 . 0' in line}" for word in words if word.startswith("@")]
    if updated:
        return (*updated, words[-1])
    asked, counter, verdict = _LINE.fullmatch(line).groups("")  # type: ignore[union-attr]
    return tuple(filter(None, (asked.replace('"', ""), counter, verdict)))


def shapes(listed: Sequence[dict[str, Any]]) -> dict[str, list[Shape]]:
    """The rules that nft has listed, by chain."""
    found: dict[str, list[Shape]] = {one["name"]: [] for one in things(listed, "chain")}
    for rule in things(listed, "rule"):
        found.setdefault(rule["chain"], []).append(_shape(rule["expr"]))
    return found


def _shape(parts: Sequence[dict[str, Any]]) -> Shape:
    updates = any("set" in part for part in parts)
    # nft leaves out what a key asks as well, differently by its version.
    asked = "" if updates else " ".join(_match(part["match"]) for part in parts if "match" in part)
    return (*((asked,) if asked else ()), *(word for part in parts for word in _words(part)))


def _words(part: dict[str, Any]) -> Iterator[str]:
    (kind, held), *_ = part.items()
    if kind == "set":
        yield f"{held['set']}:{held['elem'].get('concat', ())[-2:] == [0, 0]}"
    elif kind == "counter" and isinstance(held, str):
        yield held
    elif kind == "goto":
        yield f"goto {held['target']}"
    elif kind != "match":
        yield kind


def _match(held: dict[str, Any]) -> str:
    """A match as we write it."""
    (kind, left), *_ = held["left"].items() if isinstance(held["left"], dict) else [("", {})]
    what = left.get("protocol", "") if kind == "payload" else kind, left.get("field", left.get("key", ""))
    compared = ("!=",) if held["op"] == "!=" else ()
    # nft needs no `meta` before the name of a link.
    return " ".join((*(what[what[1] in LINKS.values():]), *compared, _value(held["right"])))


def _value(right: Any) -> str:
    if isinstance(right, list):
        return ",".join(map(str, right))
    if isinstance(right, dict) and "range" in right:
        return "-".join(map(str, right["range"]))
    if isinstance(right, dict) and "prefix" in right:
        return f"{_value(right['prefix']['addr'])}/{right['prefix']['len']}"
    try:
        # Some versions of nft, and of Python, write parts of an address of IPv6 as IPv4.
        return str(ip_address(right)) if isinstance(right, str) else str(right)
    except ValueError:
        return str(right)
