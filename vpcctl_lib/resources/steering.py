"""What leads a subnet's packets to its route table: an nft table of family bridge in the VPC's namespace.

It marks packets by the port that they come in at, after the guard has let them in. Packets to the outside go
to the router, whatever MAC their sender wrote: a route table decides about the next hop, not the sender.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import ANYWHERE, Family, Network
from vpcctl_lib.model.naming import BRIDGE_TABLE, ROUTES_SET, ROUTES_TABLE
from vpcctl_lib.model.tables import SHIFT
from vpcctl_lib.resources.base import MISSING, Fault, changed
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

ORIGIN, HOOK = "origin", "prerouting"
PRIORITY = -199
"""Right after the guard (-200), which sends packets for a machine to its MAC."""


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
        return f'"{self.port}" : {self.number << SHIFT:#010x}'


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
        family = _nft(self.target)
        source = f"{family} saddr {_plain(self.source)} " if self.source.prefixlen else ""
        other = f'iifname != "{self.port}" ' if self.port else ""
        turned = f"ether daddr set {self.mac} " if self.port else ""
        return f"{other}{source}{family} daddr {_plain(self.target)} {turned}accept"


def _nft(network: Network) -> str:
    """What nft calls the family of a network."""
    return (Family.INET if network.version == 4 else Family.INET6).nft


def _plain(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


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
        return (self.router, self.inside, self.tables, self.detours)

    @property
    def inside(self) -> tuple[Network, ...]:
        """All addresses that are not routed; those of IPv6 last."""
        return (self.near, *self.more, *((self.prefix,) if self.prefix else ()))

    def moved(self, old: Steering) -> str:
        """Ports that come and go, or get another number."""
        return _moved("delete", old, self) + _moved("add", self, old)

    def text(self) -> str:
        """The table in nft's syntax."""
        lines = ",\n".join(f"\t\t\t{one.element}" for one in self.origins)
        held = f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""
        chains = "".join(f"\tchain {ROUTES_SET}{one.name} {{\n{_comments(one.words)}\t}}\n"
                         for one in self.tables)
        return (f"table bridge {ROUTES_TABLE} {{\n\tmap {ORIGIN} {{\n\t\ttype ifname : mark\n{held}\t}}\n"
                f"{chains}\tchain {HOOK} {{\n"
                f"\t\ttype filter hook {HOOK} priority {PRIORITY}; policy accept;\n"
                f"{''.join(map(self._led, _by_family(self.inside)))}{self._turns()}\t}}\n}}\n")

    def _led(self, inside: Sequence[Network]) -> str:
        """For a family: what goes to the router, and what its packets are marked with."""
        family = _nft(inside[0])
        far = " ".join(f"{family} daddr != {network}" for network in inside)
        return (f"\t\t{far} ether daddr set {self.router} meta pkttype set host\n"
                f"\t\tether type {family} meta mark set iifname map @{ORIGIN}\n")

    def _turns(self) -> str:
        if not self.detours:
            return ""
        inside = (f"{_nft(network)} saddr {network} accept" for network in self.inside)
        return "".join(f"\t\t{line}\n" for line in (*inside, *(one.rule for one in self.detours)))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have exactly our rules, ports and route tables."""
        listed = kernel.bridge_table(self.namespace, ROUTES_TABLE)
        if listed is None:
            return MISSING
        wrong = [*self._wrong(listed)]
        return changed("; ".join(wrong)) if wrong else None

    def _wrong(self, listed: Sequence[dict[str, Any]]) -> Iterator[str]:
        if not is_whole(listed) or far_of(listed) != (self.inside, self.router) \
                or detours_of(listed) != list(self.detours):
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
    return {str(one[0]): int(one[1]) for held in found for one in held.get("elem", ())
            if isinstance(one, list) and len(one) == 2 and isinstance(one[1], int)}


def far_of(listed: Sequence[dict[str, Any]]) -> tuple[tuple[Network, ...], str] | None:
    """The addresses that are not routed, and the MAC to which packets for all others go."""
    rules = _hooked(listed)
    try:
        found, router = _far(rules[0])
        if len(rules) > FIXED and rules[FIXED][0]["match"]["op"] == "!=" \
                and "payload" in rules[FIXED][0]["match"]["left"]:
            found += _far(rules[FIXED])[0]
        return found, router
    except (LookupError, TypeError, ValueError):
        return None


def _far(rule: Sequence[dict[str, Any]]) -> tuple[tuple[Network, ...], str]:
    *matches, mangle, _ = rule
    return tuple(map(_read, (one["match"]["right"] for one in matches))), str(mangle["mangle"]["value"])


def _read(said: Any) -> Network:
    """A network, or a single address, that nft has listed."""
    held = said["prefix"] if isinstance(said, dict) else {"addr": said}
    return ip_network(f"{held['addr']}/{held['len']}" if "len" in held else held["addr"])


def _hooked(listed: Sequence[dict[str, Any]]) -> list[Any]:
    """The rules of our hook."""
    return [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == HOOK]


def detours_of(listed: Sequence[dict[str, Any]]) -> list[Detour]:
    """The ways of answers in a table that nft has listed; empty if a rule is of another form."""
    rules = _hooked(listed)
    far = far_of(listed)
    try:
        fixed = FIXED * len(_by_family(far[0])) if far else 0
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
            found[part["match"]["left"]["payload"]["field"]] = _read(part["match"]["right"])
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
    rules = _hooked(listed)
    inert = all(item["rule"].get("expr") in ([], [{"continue": None}]) for item in listed
                if "rule" in item and item["rule"].get("chain") != HOOK)
    return kinds <= {"metainfo", "table", "map", "chain", "rule"} and hooks == [hook] \
        and rules == _expressions(*far, detours_of(listed)) and inert


FIXED = 2
"""The rules that there are always for a family."""


def _field(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def _match(operator: str, left: Any, right: Any) -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def _set(key: Any, value: Any) -> dict[str, Any]:
    return {"mangle": {"key": key, "value": value}}


def _network(network: Network) -> Any:
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return {"prefix": {"addr": str(network.network_address), "len": network.prefixlen}}


def _expressions(near: Sequence[Network], router: str, detours: Sequence[Detour]) -> list[Any]:
    """The rules as nft lists them in JSON (libnftables-json(5))."""
    origin = {"map": {"key": {"meta": {"key": "iifname"}}, "data": f"@{ORIGIN}"}}
    accept = {"accept": None}
    inside = [[_match("==", _field(_nft(one), "saddr"), _network(one)), accept] for one in near if detours]
    fixed = [rule for part in _by_family(near) for rule in (
        [*(_match("!=", _field(_nft(one), "daddr"), _network(one)) for one in part),
         _set(_field("ether", "daddr"), router), _set({"meta": {"key": "pkttype"}}, "host")],
        [_match("==", _field("ether", "type"), _nft(part[0])), _set({"meta": {"key": "mark"}}, origin)])]
    return [*fixed, *inside, *([*_turn(one), accept] for one in detours)]


def _turn(one: Detour) -> Iterator[Any]:
    if one.port:
        yield _match("!=", {"meta": {"key": "iifname"}}, one.port)
    family = _nft(one.target)
    if one.source.prefixlen:
        yield _match("==", _field(family, "saddr"), _network(one.source))
    yield _match("==", _field(family, "daddr"), _network(one.target))
    if one.port:
        yield _set(_field("ether", "daddr"), one.mac)
