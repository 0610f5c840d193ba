"""The host's rules of nft: tables, their chains, rules and sets; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen

OF_IPTABLES = frozenset({"filter", "nat", "mangle", "raw", "security"})
"""The tables of ip and ip6 that iptables-nft and ip6tables-nft have, with built-in chains in capitals."""

LISTING = ("nft", "-j", "list", "ruleset")
DEVICES = ("nft", "list", "chains")
"""nft's JSON lacks the devices of a netdev chain (1.0.6), its text has them."""

NOTHING = '{"nftables": []}'
_BLOCK = re.compile(r"^table (\S+) (\S+) \{$|^\tchain (\S+) \{$|hook \S+ devices? (?:= )?(\{[^}]*\}|\S+)",
                    re.MULTILINE)

Statement = Mapping[str, Any]


@frozen
class Rule:
    """The content of a rule, and its number for `nft delete rule`."""

    statements: Sequence[Statement]
    handle: int = 0


@frozen
class Chain:
    """A chain, with its table's name; `hook` is empty for a chain that only other chains call."""

    family: str
    table: str
    name: str
    rules: Sequence[Rule] = ()
    hook: str = ""
    priority: int = 0
    kind: str = "filter"
    policy: str = "accept"
    devices: frozenset[str] = frozenset()
    """Of a chain of hook ingress or egress; empty if unknown."""

    @property
    def is_of_iptables(self) -> bool:
        """Whether iptables-nft may have made it."""
        return self.family in ("ip", "ip6") and self.table in OF_IPTABLES and self.name.isupper()


@frozen
class Table:
    """A table; the chains of a dormant one have no hook (nft(8), "TABLES")."""

    family: str
    name: str
    chains: Mapping[str, Chain] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    is_dormant: bool = False


Ruleset = tuple[Table, ...]


def lacks_devices(listed: Mapping[str, Any]) -> bool:
    """Whether a chain has devices, which only nft's text shows."""
    return any("hook" in chain and chain["hook"] in ("ingress", "egress") for chain in _all(listed, "chain"))


def has_flags(listed: Mapping[str, Any]) -> bool:
    """Whether a table has flags; which ones it has, nft 1.0.6 prints from memory that it has freed."""
    return any(table.get("flags") for table in _all(listed, "table"))


def read(listed: Mapping[str, Any], text: str = "",
         dormant: Collection[tuple[str, str]] = ()) -> Ruleset:
    """All tables in the output of LISTING, and of DEVICES; VpcctlError if it is not understood.

    `dormant` has the families and names of those that were put to sleep.
    """
    try:
        return tables(listed, _devices(text), dormant)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise VpcctlError(f"nft lists rules of an unknown form: {error!r}") from None


def tables(listed: Mapping[str, Any],
           devices: Mapping[tuple[str, str, str], frozenset[str]] | None = None,
           dormant: Collection[tuple[str, str]] = ()) -> Ruleset:
    """The tables in the output of `nft -j list ruleset`."""
    rules: dict[tuple[str, str, str], list[Rule]] = {}
    for rule in _all(listed, "rule"):
        place = rule["family"], rule["table"], rule["chain"]
        rules.setdefault(place, []).append(Rule(tuple(rule.get("expr", ())), rule.get("handle", 0)))
    chains: dict[tuple[str, str], dict[str, Chain]] = {}
    for place in (*_places(_all(listed, "chain")), *rules):
        chains.setdefault(place[:2], {})[place[2]] = Chain(*place, rules.get(place, ()))
    for chain in _all(listed, "chain"):
        place = chain["family"], chain["table"], chain["name"]
        if "hook" in chain:
            chains[place[:2]][place[2]] = Chain(
                *place, rules.get(place, ()), chain["hook"], int(chain.get("prio", 0)),
                chain.get("type", "filter"), chain.get("policy", "accept"),
                _named(chain.get("dev", ())) or (devices or {}).get(place, frozenset()))
    sets: dict[tuple[str, str], dict[str, Any]] = {}
    for one in (*_all(listed, "set"), *_all(listed, "map")):
        sets.setdefault((one["family"], one["table"]), {})[one["name"]] = {"set": one.get("elem", [])}
    return tuple(Table(*place, found, sets.get(place, {}), place in dormant)
                 for place, found in chains.items())


def _all(listed: Mapping[str, Any], kind: str) -> Iterator[Mapping[str, Any]]:
    return (one[kind] for one in listed.get("nftables", ()) if kind in one)


def _places(chains: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, str, str]]:
    return ((chain["family"], chain["table"], chain["name"]) for chain in chains)


def _named(devices: Any) -> frozenset[str]:
    return frozenset([devices] if isinstance(devices, str) else devices)


def _devices(text: str) -> dict[tuple[str, str, str], frozenset[str]]:
    """By chain, the devices of its hook."""
    found: dict[tuple[str, str, str], frozenset[str]] = {}
    family = table = name = ""
    for match in _BLOCK.finditer(text):
        if match[1]:
            family, table = match[1], match[2]
        elif match[3]:
            name = match[3]
        else:
            words = re.findall(r'[^\s{},"]+', match[4])
            found[family, table, name] = frozenset(words)
    return found
