"""Lines that somebody else added to a router of ours: of `ip rule`, and of its route tables."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip, Ip6

BUILT_IN = {0: "local", 32766: "main", 32767: "default"}
"""What each namespace has in `ip rule` from the start (ip-rule(8)), each for all packets."""

PLAIN = ("iif", "oif", "ipproto", "goto")
KNOWN = frozenset({"priority", "not", "src", "srclen", "dst", "dstlen", "iif", "iif_detached", "oif",
                   "oif_detached", "fwmark", "fwmask", "ipproto", "table", "action", "suppress_prefixlen",
                   "protocol"})
ACTIONS = ("blackhole", "unreachable", "prohibit", "nop")


@frozen
class OtherLine(Resource):
    """A line that is never wanted: it is only ever removed, and put back if that is undone."""

    namespace: str
    words: tuple[str, ...]
    """The words for `ip`: `rule` or `route`, and what describes the line."""

    family: Family = Family.INET
    partly: bool = False
    """Whether it has more than these words say: they are enough to remove it, not to put it back."""

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    def make(self) -> Operations:
        """As it was, if that is known."""
        return () if self.partly else (self._ip("add"),)

    def unmake(self, facts: Facts) -> Operations:
        """Removes this line only."""
        return (self._ip("del"),)

    def _ip(self, verb: str) -> Ip:
        step = Ip if self.family is Family.INET else Ip6
        return step(self.namespace, (self.words[0], verb, *self.words[1:]))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must still be there."""
        kind = self.words[0]
        held = map(rule_words, kernel.route_rules(self.namespace, self.family)) if kind == "rule" else \
            map(route_words, kernel.all_routes(self.namespace, self.family))
        return None if self.words in held else MISSING

    def unrecorded(self) -> tuple[str, str]:
        """Only the host's root can have made it: no tenant gets into a router."""
        return str(self), "vpcctl did not make it"

    def __str__(self) -> str:
        kind, *words = self.words
        return f"{f'{self.family.ip} rule' if kind == 'rule' else kind} {' '.join(words)} in {self.namespace}"


def is_built_in(one: Mapping[str, Any]) -> bool:
    """Whether a line of `ip rule` is one that every namespace has."""
    return BUILT_IN.get(one.get("priority", 0)) == one.get("table") and one.get("src") == "all" \
        and not one.keys() - {"priority", "src", "table", "protocol", "action"}


def other_rule(namespace: str, one: Mapping[str, Any], family: Family) -> OtherLine:
    """A line of `ip rule` that was read."""
    return OtherLine(namespace, rule_words(one), family, bool(one.keys() - KNOWN))


def is_kernel_s(one: Mapping[str, Any]) -> bool:
    """Whether a route follows from an address."""
    return one.get("protocol") == "kernel" or one.get("table") == "local"


def rule_words(one: Mapping[str, Any]) -> tuple[str, ...]:
    """A line of `ip rule` that was read, as `ip rule add` takes it."""
    return ("rule", "pref", str(one.get("priority", 0)), *_selectors(one), *_does(one))


def _selectors(one: Mapping[str, Any]) -> Iterator[str]:
    if "not" in one:
        yield "not"
    for key, word in (("src", "from"), ("dst", "to")):
        if (found := _end(one, key)) != "all":
            yield from (word, found)
    if "fwmark" in one:
        yield from ("fwmark", f"{one['fwmark']}/{one['fwmask']}" if "fwmask" in one else str(one["fwmark"]))
    for key in PLAIN:
        if key in one:
            yield from (key, str(one[key]))


def _does(one: Mapping[str, Any]) -> Iterator[str]:
    if one.get("action") in ACTIONS:
        yield str(one["action"])
    elif "table" in one:
        yield from ("lookup", str(one["table"]))
    if one.get("suppress_prefixlen", -1) >= 0:
        yield from ("suppress_prefixlength", str(one["suppress_prefixlen"]))


def line_of_route(namespace: str, one: Mapping[str, Any], family: Family) -> Hashable:
    """What tells a route that was read from others: where it leads, its table and its metric."""
    return (family, namespace, one["dst"], str(one.get("table", "main")), one.get("metric", 0))


OURS = frozenset({"priority", "src", "srclen", "dst", "dstlen", "iif", "iif_detached", "fwmark", "fwmask",
                  "table", "protocol", "action"})
"""What `ip -j -d rule` says of a rule of ours."""


def line_of_rule(namespace: str, one: Mapping[str, Any], family: Family) -> Hashable:
    """What tells a line of `ip rule` that was read from others: what we set in ours, and what else it has."""
    ends = (_end(one, "src"), _end(one, "dst"))
    return (family, namespace, one.get("priority"), *ends, one.get("iif"), one.get("fwmark"),
            one.get("fwmask"), str(one.get("table")), frozenset(one.keys() - OURS))


def _end(one: Mapping[str, Any], key: str) -> str:
    found = one.get(key, "all")
    whole = 128 if ":" in str(found) else 32
    return "all" if found == "all" else f"{found}/{one.get(f'{key}len', whole)}"


def route_words(one: Mapping[str, Any]) -> tuple[str, ...]:
    """A route that was read, as `ip route add` takes it."""
    kind = () if one.get("type", "unicast") == "unicast" else (str(one["type"]),)
    metric = ("metric", str(one["metric"])) if one.get("metric") else ()
    # Of IPv6, a route that leads nowhere is listed with `lo`.
    return ("route", *kind, str(one["dst"]), *_hop(one), *metric, "table", str(one.get("table", "main")),
            *(word for hop in one.get("nexthops", ()) for word in ("nexthop", *_hop(hop))))


def _hop(one: Mapping[str, Any]) -> Iterator[str]:
    for key, word in (("gateway", "via"), ("dev", "dev"), ("prefsrc", "src")):
        if key in one:
            yield from (word, str(one[key]))
