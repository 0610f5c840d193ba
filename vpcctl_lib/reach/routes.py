"""Routes and policy rules as `ip -j -d` shows them, and which one a packet takes (ip-rule(8)); pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Network, ip_address, ip_network
from typing import Any

from vpcctl_lib.firewall.families import word
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import ANYWHERE, Address, Family, Network
from vpcctl_lib.model.policies import Protocol

EVERYWHERE: Network = IPv4Network("0.0.0.0/0")
"""In a policy rule, of either family: any address."""

FURTHEST = 40
"""The most hops; a longer walk is going in circles."""

KNOWN_ROUTE = frozenset({"type", "dst", "gateway", "dev", "table", "protocol", "scope", "prefsrc", "metric",
                         "flags", "tos", "pref", "metrics", "nexthops", "nhid"})
KNOWN_HOP = frozenset({"gateway", "dev", "weight", "flags"})
PACED = frozenset({"mtu", "advmss", "window", "rtt", "rttvar", "ssthresh", "cwnd", "initcwnd", "initrwnd",
                   "reordering", "rto_min", "quickack", "congctl", "cc_algo", "features"})
"""Metrics of a route that change how much is sent at once, not whether it arrives (ip-route(8))."""

KNOWN_RULE = frozenset({"priority", "src", "srclen", "dst", "dstlen", "iif", "iif_detached", "oif",
                        "oif_detached", "table", "fwmark", "fwmask", "not", "protocol", "action", "ipproto",
                        "suppress_prefixlen"})
WHOLE_MARK = 0xFFFFFFFF
ACTIONS = frozenset({"", "to_tbl", "lookup"})
REFUSALS = frozenset({"blackhole", "unreachable", "prohibit"})
BUILT_IN = ("local", "main", "default")
"""The tables of the rules that every namespace starts with (fib_default_rules_init); IPv6 has no third."""


@frozen
class Lookup:
    """What a route lookup depends on."""

    destination: Address
    source: Address | None = None
    incoming: str = "lo"
    outgoing: str = ""
    mark: int | None = 0
    protocol: Protocol | None = None
    """None for an ARP question: it has no protocol for `ipproto` to match."""

    def words(self) -> Iterator[str]:
        """The arguments of `ip route get`."""
        yield str(self.destination)
        if self.source is not None:
            yield from ("from", str(self.source))
        if self.incoming != "lo":
            yield from ("iif", self.incoming)
        if self.mark:
            yield from ("mark", str(self.mark))
        if self.protocol is not None:
            yield from ("ipproto", word(self.protocol))


@frozen
class PolicyRule:
    """A line of `ip rule`."""

    table: str = ""
    source: Network = EVERYWHERE
    destination: Network = EVERYWHERE
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
    priority: int = 0

    @classmethod
    def parse(cls, one: dict[str, Any]) -> PolicyRule:
        """A rule of `ip -j -d rule show`."""
        odd = ", ".join(sorted(one.keys() - KNOWN_RULE))
        mask = int(one.get("fwmask", hex(WHOLE_MARK)), 0) if "fwmark" in one else 0
        return cls(str(one.get("table", "")), _network(one, "src"), _network(one, "dst"), one.get("iif", ""),
                   one.get("oif", ""), int(one.get("fwmark", "0"), 0), mask, str(one.get("ipproto", "")),
                   "not" in one, one.get("action", ""), one.get("suppress_prefixlen", -1), odd,
                   int(one.get("priority", 0)))

    @cached_property
    def is_built_in(self) -> bool:
        """Whether it is one of those that every namespace starts with."""
        return self == replace(PolicyRule(self.table, priority=self.priority), action=self.action) \
            and self.table in BUILT_IN

    def __str__(self) -> str:
        """The words with which `ip rule` adds and deletes it."""
        words = ["not" if self.negated else "", *_selector("from", self.source),
                 *_selector("to", self.destination), *_named("iif", self.incoming),
                 *_named("oif", self.outgoing), *_named("fwmark", self._marks()),
                 *_named("ipproto", self.protocol), *self._does()]
        return " ".join(filter(None, words))

    def _marks(self) -> str:
        if not self.mask:
            return ""
        return f"{self.mark:#x}" if self.mask == WHOLE_MARK else f"{self.mark:#x}/{self.mask:#x}"

    def _does(self) -> list[str]:
        shortest = ["suppress_prefixlength", str(self.shortest)] if self.shortest >= 0 else []
        return ["lookup", self.table, *shortest] if self.action in ACTIONS else [self.action]

    def speaks_of(self, lookup: Lookup) -> bool | None:
        """Whether it matches; None if that is unknown."""
        there = not self.destination.prefixlen or lookup.destination in self.destination
        sure = [there, self.incoming in ("", lookup.incoming),
                self.outgoing in ("", lookup.outgoing), self._source(lookup.source)]
        if not all(sure):
            return self.negated
        if self.odd or (self.mask and lookup.mark is None):
            return None
        marked = not self.mask or ((lookup.mark or 0) & self.mask) == self.mark
        spoken = self.protocol in ("", word(lookup.protocol) if lookup.protocol else "")
        return (marked and spoken) != self.negated

    def _source(self, source: Address | None) -> bool:
        return not self.source.prefixlen or (source is not None and source in self.source)


@frozen
class Route:
    """A line of a route table; `odd` says which part of it is not modelled."""

    network: Network
    kind: str = "unicast"
    device: str = ""
    gateway: Address | None = None
    source: Address | None = None
    table: str = "main"
    scope: str = "global"
    metric: int = 0
    dead: bool = False
    tos: bool = False
    odd: str = ""
    hops: tuple[Route, ...] = ()
    """With several next hops, the route by each; `device` and `gateway` are then empty."""

    rule: PolicyRule | None = None
    """The policy rule by which it was found."""

    @classmethod
    def parse(cls, one: dict[str, Any], family: Family = Family.INET) -> Route:
        """A route of `ip -j -d route show table all`."""
        network = ANYWHERE[family] if one["dst"] == "default" else ip_network(one["dst"])
        odd = sorted({*one.keys() - KNOWN_ROUTE, *_odd_metrics(one), *_odd_hops(one)})
        gateway = _gateway(one)
        source = ip_address(one["prefsrc"]) if "prefsrc" in one else None
        route = cls(network, one.get("type", "unicast"), one.get("dev", ""), gateway, source,
                    str(one.get("table", "main")), one.get("scope", "global"), int(one.get("metric", 0)),
                    "dead" in one.get("flags", ()), "tos" in one, ", ".join(odd))
        return route if odd else route._by_hops(one.get("nexthops", ()))

    def _by_hops(self, hops: Sequence[dict[str, Any]]) -> Route:
        """The same with only those next hops that are alive."""
        alive = [one for one in hops if "dead" not in one.get("flags", ())]
        ways = tuple(replace(self, device=one["dev"], gateway=_gateway(one)) for one in alive)
        if len(ways) == 1:
            return ways[0]
        return replace(self, hops=ways, dead=self.dead or (bool(hops) and not ways))

    @property
    def devices(self) -> tuple[str, ...]:
        """The links that it leads to."""
        return tuple(dict.fromkeys(hop.device for hop in self.hops)) or (self.device,)

    def __str__(self) -> str:
        if self.rule is not None and self.rule.action in REFUSALS:
            return f"refused by ip rule {self.rule.priority}: {self.rule}"
        kind = "" if self.kind == "unicast" else f"{self.kind} "
        where = written(self.network) if self.network.prefixlen else "default"
        via = f" via {self.gateway}" if self.gateway else ""
        device = f" dev {self.device}" if self.device else ""
        table = "" if self.table == "main" else f" table {self.table}"
        several = f" nexthop {' nexthop '.join(hop.hop for hop in self.hops)}" if self.hops else ""
        return f"{kind}{where}{via}{device}{several}{table}"

    @property
    def hop(self) -> str:
        """The next hop alone, as ip-route(8) writes it."""
        return f"via {self.gateway} dev {self.device}" if self.gateway else f"dev {self.device}"

    def serves(self, lookup: Lookup) -> bool:
        """Whether it matches that lookup."""
        if lookup.destination not in self.network or self.dead or self.tos:
            return False
        return not lookup.outgoing or lookup.outgoing in self.devices


def written(network: Network) -> str:
    """A network as `ip` writes it: an address alone without its length."""
    return str(network).removesuffix(f"/{network.max_prefixlen}")


def _selector(word: str, network: Network) -> list[str]:
    """`from` is written even for a rule that matches all: `ip rule add` would warn without it."""
    if not network.prefixlen:
        return ["from", "all"] if word == "from" else []
    return [word, written(network)]


def _named(word: str, value: str) -> list[str]:
    return [word, value] if value else []


def _gateway(one: dict[str, Any]) -> Address | None:
    return ip_address(one["gateway"]) if "gateway" in one else None


def _odd_metrics(one: dict[str, Any]) -> set[str]:
    return {name for metrics in one.get("metrics", ()) for name, value in metrics.items()
            if name not in PACED and not (name == "hoplimit" and value > FURTHEST)}


def _odd_hops(one: dict[str, Any]) -> set[str]:
    if "nhid" in one and not ("dev" in one or "nexthops" in one or one.get("type", "unicast") != "unicast"):
        return {"nhid"}
    return {name for hop in one.get("nexthops", ()) for name in hop} - KNOWN_HOP


def _network(one: dict[str, Any], key: str) -> Network:
    if one.get(key, "all") == "all":
        return EVERYWHERE
    address = ip_address(one[key])
    return ip_network((address, int(one.get(f"{key}len", address.max_prefixlen))), strict=False)


class CantTell(Exception):
    """The tables contain something that is not modelled."""


def find(routes: list[Route], rules: list[PolicyRule], lookup: Lookup) -> Route | None:
    """The route of the first table that has one, as fib_lookup() of fib_rules.c goes through them."""
    for rule in rules:
        spoken = rule.speaks_of(lookup)
        if spoken is None:
            raise CantTell(f"ip rule with {rule.odd or 'a mark'} is not modelled")
        if not spoken:
            continue
        if rule.action in REFUSALS:
            return Route(EVERYWHERE, rule.action, rule=rule)
        if rule.action not in ACTIONS:
            raise CantTell(f"ip rule with action {rule.action} is not modelled")
        route = longest([route for route in routes if route.table == rule.table], lookup)
        if route and route.kind != "throw" and route.network.prefixlen > rule.shortest:
            return replace(route, rule=rule)
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
