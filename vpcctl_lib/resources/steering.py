"""What leads a subnet's packets to its route table: an nft table of family bridge in the VPC's namespace.

It marks packets by the port that they come in at, after the guard has let them in. Packets to the outside go
to the router, whatever MAC their sender wrote: a route table decides about the next hop, not the sender.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import ANYWHERE, Family, Network
from vpcctl_lib.model.naming import BRIDGE_TABLE, ROUTES_SET, ROUTES_TABLE
from vpcctl_lib.model.tables import SHIFT
from vpcctl_lib.resources.base import MISSING, Fault, changed
from vpcctl_lib.resources.expressions import (
    ACCEPT,
    Expression,
    beyond,
    field,
    match,
    meta,
    networks,
    of,
    plain,
    read,
    setting,
)
from vpcctl_lib.resources.hops import VIA, Chains, Hop, chain, held, hops_of, numbers_of
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

ORIGIN, HOOK, AWAY = "origin", "prerouting", "away"
PRIORITY = -199
"""Right after the guard (-200), which sends packets for a machine to its MAC."""

FORM = 2
"""The version of the table's form, so that the next change replaces an older one."""


@frozen
class Listed:
    """A route table, for a lost record: lines of `number N`, `route TO TARGET` and `subnet NAME`."""

    name: str
    words: tuple[str, ...] = ()


@frozen
class Origin:
    """A port, and the number of the route table of the subnet behind it."""

    port: str
    number: int

    @property
    def element(self) -> str:
        """Its element in the map."""
        return f'"{self.port}" : jump {chain(self.number)}'


@frozen
class Detour:
    """Answers from those sources to a subnet: by a middlebox, or straight if it has no port."""

    source: Network
    target: Network
    port: str = ""
    mac: str = ""

    @property
    def rule(self) -> str:
        """The rule for what others than the middlebox itself send on."""
        family = of(self.target)
        source = f"{family} saddr {plain(self.source)} " if self.source.prefixlen else ""
        other = f'iifname != "{self.port}" ' if self.port else ""
        turned = f"ether daddr set {self.mac} " if self.port else ""
        return f"{other}{source}{family} daddr {plain(self.target)} {turned}accept"


@frozen
class Steering(Table):
    """The table, loaded atomically; when only machines come and go, only their elements change."""

    router: str
    """The MAC of the router's bridge."""

    near: IPv4Network
    """The addresses that are not routed: the VPC's first CIDR."""

    origins: tuple[Origin, ...] = ()
    tables: tuple[Listed, ...] = ()
    detours: tuple[Detour, ...] = ()
    """The first that matches decides."""

    more: tuple[IPv4Network, ...] = ()
    """Its other CIDRs."""

    prefix: IPv6Network | None = None
    """Those of IPv6, if the VPC has it."""

    hops: tuple[Hop, ...] = ()
    """What the bridge switches instead of the router; of a table, the first that matches decides."""

    form: int = 1

    head = head("bridge", ROUTES_TABLE)
    # In one command with the guard's: a machine that it lets in has its route table from the start.
    apart = BRIDGE_TABLE
    unasked = False

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("steering", self.namespace)

    @property
    def rest(self) -> tuple[object, ...]:
        """Where packets go, and what it says of route tables."""
        return (self.router, self.inside, self.tables, self.detours, self.hops, self._numbers, self.form)

    @property
    def inside(self) -> tuple[Network, ...]:
        """All addresses that are not routed; those of IPv6 last."""
        return (self.near, *self.more, *((self.prefix,) if self.prefix else ()))

    @property
    def _numbers(self) -> tuple[int, ...]:
        """Those of the tables that something is led by."""
        return tuple(sorted({*(one.number for one in self.origins), *(one.number for one in self.hops)}))

    @property
    def _chains(self) -> Chains:
        return Chains((self.near, *self.more), self.prefix is not None, self._numbers, self.hops)

    def moved(self, old: Steering) -> str:
        """Ports that come and go, or get another number."""
        return _moved("delete", old, self) + _moved("add", self, old)

    def text(self) -> str:
        """The table in nft's syntax."""
        lines = ",\n".join(f"\t\t\t{one.element}" for one in self.origins)
        held = f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""
        inert = "".join(f"\tchain {ROUTES_SET}{one.name} {{\n{_comments(one.words)}\t}}\n"
                        for one in self.tables)
        vias = "".join(f"\tchain {name} {{\n{_lines(rules)}\t}}\n"
                       for name, rules in self._chains.rules().items())
        away = (f"iifname vmap @{ORIGIN}", f"ether daddr set {self.router} meta pkttype set host accept")
        return (f"table bridge {ROUTES_TABLE} {{\n\tmap {ORIGIN} {{\n\t\ttype ifname : verdict\n{held}\t}}\n"
                f"{inert}{vias}\tchain {AWAY} {{\n{_lines(away)}\t}}\n\tchain {HOOK} {{\n"
                f"\t\ttype filter hook {HOOK} priority {PRIORITY}; policy accept;\n"
                f"{_lines(self._rules())}\t}}\n}}\n")

    def _rules(self) -> Iterator[str]:
        yield from (f"{beyond('daddr', part)} goto {AWAY}" for part in _by_family(self.inside))
        if self.detours:
            yield from (f"{of(one)} saddr {one} accept" for one in self.inside)
            yield from (one.rule for one in self.detours)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have exactly our rules, ports and route tables."""
        listed = kernel.bridge_table(self.namespace, ROUTES_TABLE)
        if listed is None:
            return MISSING
        wrong = [*self._wrong(listed)]
        return changed("; ".join(wrong)) if wrong else None

    def _wrong(self, listed: Sequence[dict[str, Any]]) -> Iterator[str]:
        if not is_whole(listed) or far_of(listed) != (self.inside, self.router) \
                or detours_of(listed) != list(self.detours) or hops_of(listed) != self.hops:
            yield "its rules differ"
        if origins_of(listed) != {one.port: one.number << SHIFT for one in self.origins}:
            yield "its ports differ"
        if set(listed_in(listed)) != set(self.tables):
            yield "what it says of route tables differs"

    def __str__(self) -> str:
        return f"marks for route tables in {self.namespace}"


def _by_family(inside: Sequence[Network]) -> list[list[Network]]:
    """Those of IPv4, and those of IPv6 if there are any."""
    parted = ([one for one in inside if one.version == version] for version in (4, 6))
    return [part for part in parted if part]


def _lines(rules: Iterable[str]) -> str:
    return "".join(f"\t\t{one}\n" for one in rules)


def _comments(words: Sequence[str]) -> str:
    return "".join(f'\t\tcontinue comment "{one}"\n' for one in words)


def _moved(verb: str, one: Steering, other: Steering) -> str:
    there = frozenset(other.origins)
    found = [origin.element for origin in one.origins if origin not in there]
    return f"{verb} element bridge {ROUTES_TABLE} {ORIGIN} {{ {', '.join(found)} }}\n" if found else ""


def listed_in(listed: Sequence[dict[str, Any]]) -> tuple[Listed, ...]:
    """The route tables in a table that nft has listed."""
    found: dict[str, list[str]] = {item["chain"]["name"]: [] for item in listed if "chain" in item}
    for item in listed:
        if "rule" in item:
            found.setdefault(str(item["rule"].get("chain")), []).append(str(item["rule"].get("comment", "")))
    return tuple(Listed(name.removeprefix(ROUTES_SET), tuple(words)) for name, words in found.items()
                 if name.startswith(ROUTES_SET))


def origins_of(listed: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The marks by port in a table that nft has listed."""
    found = (item["map"] for item in listed if item.get("map", {}).get("name") == ORIGIN)
    try:
        return {str(port): int(verdict["jump"]["target"].removeprefix(VIA)) << SHIFT
                for held in found for port, verdict in held.get("elem", ())}
    except (LookupError, TypeError, ValueError):
        return {}


def far_of(listed: Sequence[dict[str, Any]]) -> tuple[tuple[Network, ...], str] | None:
    """The addresses that are not routed, and the MAC to which packets for all others go."""
    try:
        router = next(one["mangle"]["value"] for one in _rules_of(listed, AWAY)[1] if "mangle" in one)
        led = (rule for rule in _hooked(listed) if rule[-1] == {"goto": {"target": AWAY}})
        return tuple(read(one["match"]["right"]) for rule in led for one in rule[:-1]), str(router)
    except (LookupError, TypeError, ValueError, StopIteration):
        return None


def _rules_of(listed: Sequence[dict[str, Any]], chain: str) -> list[Any]:
    return [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == chain]


def _hooked(listed: Sequence[dict[str, Any]]) -> list[Any]:
    """The rules of our hook."""
    return _rules_of(listed, HOOK)


def detours_of(listed: Sequence[dict[str, Any]]) -> list[Detour]:
    """The ways of answers in a table that nft has listed; empty if a rule is of another form."""
    rules = _hooked(listed)
    far = far_of(listed)
    try:
        fixed = len(_by_family(far[0])) if far else 0
        return [_detour(rule) for rule in rules[fixed + len(far[0]):]] if far else []
    except (LookupError, TypeError, ValueError):
        return []


def _detour(rule: Sequence[dict[str, Any]]) -> Detour:
    port = mac = ""
    found: dict[str, Network] = {}
    for part in rule:
        if "mangle" in part:
            mac = str(part["mangle"]["value"])
        elif "match" in part and part["match"]["op"] == "!=":
            port = str(part["match"]["right"])
        elif "match" in part:
            found[part["match"]["left"]["payload"]["field"]] = read(part["match"]["right"])
    target = found["daddr"]
    everywhere = ANYWHERE[Family.INET if target.version == 4 else Family.INET6]
    return Detour(found.get("saddr", everywhere), target, port, mac)


def is_whole(listed: Sequence[dict[str, Any]]) -> bool:
    """Whether a table has our hook and rules, and no others."""
    far = far_of(listed)
    if far is None:
        return False
    kinds = {kind for item in listed for kind in item}
    hooks = [{key: item["chain"].get(key) for key in ("name", "type", "hook", "prio", "policy")}
             for item in listed if "hook" in item.get("chain", {})]
    hook = {"name": HOOK, "type": "filter", "hook": HOOK, "prio": PRIORITY, "policy": "accept"}
    own = [one for one in far[0] if isinstance(one, IPv4Network)]
    vias = Chains(own, len(own) < len(far[0]), numbers_of(listed), hops_of(listed)).listed()
    chains = (HOOK, AWAY, *vias)
    inert = all(item["rule"].get("expr") in ([], [{"continue": None}]) for item in listed
                if item.get("rule", {}).get("chain", HOOK) not in chains)
    return kinds <= {"metainfo", "table", "map", "chain", "rule"} and hooks == [hook] \
        and _hooked(listed) == _expressions(far[0], detours_of(listed)) \
        and _rules_of(listed, AWAY) == _away(far[1]) and held(listed) == vias and inert


def _expressions(near: Sequence[Network], detours: Sequence[Detour]) -> list[Expression]:
    """The rules of our hook as nft lists them in JSON (libnftables-json(5))."""
    fixed = [[*networks("daddr", "!=", part), {"goto": {"target": AWAY}}] for part in _by_family(near)]
    inside = [[*networks("saddr", "==", (one,)), ACCEPT] for one in near if detours]
    return [*fixed, *inside, *([*_turn(one), ACCEPT] for one in detours)]


def _away(router: str) -> list[Expression]:
    """Those for what goes to the outside."""
    return [[{"vmap": {"key": meta("iifname"), "data": f"@{ORIGIN}"}}],
            [setting(field("ether", "daddr"), router), setting(meta("pkttype"), "host"), ACCEPT]]


def _turn(one: Detour) -> Iterator[Any]:
    if one.port:
        yield match("!=", meta("iifname"), one.port)
    yield from networks("saddr", "==", (one.source,))
    yield from networks("daddr", "==", (one.target,))
    if one.port:
        yield setting(field("ether", "daddr"), one.mac)
