"""Routes and policy rules as `ip -j -d` shows them, and which is a packet's (ip-rule(8)); pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from vpcctl_lib.model import Protocol

EVERYWHERE = IPv4Network("0.0.0.0/0")
KNOWN_ROUTE = frozenset({"type", "dst", "gateway", "dev", "table", "protocol", "scope", "prefsrc", "metric",
                         "flags", "tos", "pref"})
KNOWN_RULE = frozenset({"priority", "src", "srclen", "dst", "dstlen", "iif", "iif_detached", "oif",
                        "oif_detached", "table", "fwmark", "fwmask", "not", "protocol", "action", "ipproto",
                        "suppress_prefixlen"})
ACTIONS = frozenset({"", "to_tbl", "lookup"})
REFUSALS = frozenset({"blackhole", "unreachable", "prohibit"})


@dataclass(frozen=True)
class Lookup:
    """What a route is asked for."""

    destination: IPv4Address
    source: IPv4Address | None = None
    incoming: str = "lo"
    outgoing: str = ""
    mark: int | None = 0
    protocol: Protocol | None = None
    """None is what an ARP question counts as: it has no protocol for `ipproto` to match."""


@dataclass(frozen=True)
class Route:
    """A line of a route table; `odd` says what of it is not modelled."""

    network: IPv4Network
    kind: str = "unicast"
    device: str = ""
    gateway: IPv4Address | None = None
    source: IPv4Address | None = None
    table: str = "main"
    scope: str = "global"
    metric: int = 0
    dead: bool = False
    tos: bool = False
    odd: str = ""

    @classmethod
    def parse(cls, one: dict[str, Any]) -> Route:
        """A route of `ip -j -d route show table all`."""
        network = EVERYWHERE if one["dst"] == "default" else IPv4Network(one["dst"])
        odd = sorted(one.keys() - KNOWN_ROUTE)
        gateway = IPv4Address(one["gateway"]) if "gateway" in one else None
        source = IPv4Address(one["prefsrc"]) if "prefsrc" in one else None
        return cls(network, one.get("type", "unicast"), one.get("dev", ""), gateway, source,
                   str(one.get("table", "main")), one.get("scope", "global"), int(one.get("metric", 0)),
                   "dead" in one.get("flags", ()), "tos" in one, ", ".join(odd))

    def __str__(self) -> str:
        kind = "" if self.kind == "unicast" else f"{self.kind} "
        where = "default" if self.network == EVERYWHERE else str(self.network).removesuffix("/32")
        via = f" via {self.gateway}" if self.gateway else ""
        device = f" dev {self.device}" if self.device else ""
        table = "" if self.table == "main" else f" table {self.table}"
        return f"{kind}{where}{via}{device}{table}"

    def serves(self, lookup: Lookup) -> bool:
        """Whether it can be the one for that lookup."""
        if lookup.destination not in self.network or self.dead or self.tos:
            return False
        return lookup.outgoing in ("", self.device)


@dataclass(frozen=True)
class PolicyRule:
    """A line of `ip rule`."""

    table: str = ""
    source: IPv4Network = EVERYWHERE
    destination: IPv4Network = EVERYWHERE
    incoming: str = ""
    outgoing: str = ""
    mark: int = 0
    mask: int = 0
    protocol: str = ""
    negated: bool = False
    action: str = ""
    shortest: int = -1
    """Routes of this length or shorter don't count (suppress_prefixlength)."""

    odd: str = ""

    @classmethod
    def parse(cls, one: dict[str, Any]) -> PolicyRule:
        """A rule of `ip -j -d rule show`."""
        odd = ", ".join(sorted(one.keys() - KNOWN_RULE))
        mask = int(one.get("fwmask", "0xffffffff"), 0) if "fwmark" in one else 0
        return cls(str(one.get("table", "")), _network(one, "src"), _network(one, "dst"), one.get("iif", ""),
                   one.get("oif", ""), int(one.get("fwmark", "0"), 0), mask, str(one.get("ipproto", "")),
                   "not" in one, one.get("action", ""), one.get("suppress_prefixlen", -1), odd)

    def speaks_of(self, lookup: Lookup) -> bool | None:
        """Whether it matches; None if that can't be told."""
        sure = [lookup.destination in self.destination, self.incoming in ("", lookup.incoming),
                self.outgoing in ("", lookup.outgoing), self._source(lookup.source)]
        if not all(sure):
            return self.negated
        if self.odd or (self.mask and lookup.mark is None):
            return None
        marked = not self.mask or ((lookup.mark or 0) & self.mask) == self.mark
        spoken = self.protocol in ("", lookup.protocol.value if lookup.protocol else "")
        return (marked and spoken) != self.negated

    def _source(self, source: IPv4Address | None) -> bool:
        return self.source == EVERYWHERE or (source is not None and source in self.source)


def _network(one: dict[str, Any], key: str) -> IPv4Network:
    if one.get(key, "all") == "all":
        return EVERYWHERE
    return IPv4Network((one[key], int(one.get(f"{key}len", 32))), strict=False)


class CantTell(Exception):
    """The tables have something that is not modelled."""


def find(routes: list[Route], rules: list[PolicyRule], lookup: Lookup) -> Route | None:
    """The route of the first table that has one, as fib_lookup() of fib_rules.c goes through them."""
    for rule in rules:
        spoken = rule.speaks_of(lookup)
        if spoken is None:
            raise CantTell(f"ip rule with {rule.odd or 'a mark'} is not modelled")
        if not spoken:
            continue
        if rule.action in REFUSALS:
            return Route(EVERYWHERE, rule.action, table="ip rule")
        if rule.action not in ACTIONS:
            raise CantTell(f"ip rule with action {rule.action} is not modelled")
        route = longest([route for route in routes if route.table == rule.table], lookup)
        if route and route.kind != "throw" and route.network.prefixlen > rule.shortest:
            return route
    return None


def longest(routes: list[Route], lookup: Lookup) -> Route | None:
    """The route with the longest prefix, of those the one with the lowest metric, of those the first."""
    fitting = [route for route in routes if route.serves(lookup)]
    if not fitting:
        return None
    best = min(fitting, key=lambda route: (-route.network.prefixlen, route.metric))
    if best.odd:
        raise CantTell(f"route {best} has {best.odd}, which is not modelled")
    return best
