"""The guard of a VPC's bridge: an nft table that accepts at each port only what its machine may send."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.naming import BRIDGE_TABLE
from vpcctl_lib.resources.base import MISSING, Fault, changed
from vpcctl_lib.resources.guard_rules import (
    CHAINS,
    CHAINS6,
    DISCOVER,
    EXPRESSIONS,
    EXPRESSIONS6,
    LEADS,
    QUOTE,
    QUOTE6,
    TURN,
)
from vpcctl_lib.resources.guarded import (
    FORWARDERS,
    MACHINES,
    MACHINES6,
    MACS,
    OWN,
    OWN6,
    QUOTED,
    QUOTED6,
    RANGES,
    Member,
    Member6,
    Range,
    lines_of,
    unpacked,
)
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

if TYPE_CHECKING:
    from vpcctl_lib.resources.expressions import Expression

HEAD = head("bridge", BRIDGE_TABLE)

FORM, FORM6 = 7, 8
"""The versions of the table's form, without and with IPv6, so that the next change replaces an older one."""

TYPES6 = {OWN6: ["ifname", "ether_addr", "ipv6_addr"]}
TYPES = {OWN: ["ifname", "ether_addr", "ipv4_addr"], MACS: ["ifname", "ether_addr"],
         FORWARDERS: ["ifname", "ether_addr"]}

PRIORITY = -200
"""The priority of `filter` in the family bridge, before br_netfilter passes frames to iptables (at 0)."""


class Kinds(NamedTuple):
    """What a table may have besides: what ICMP errors quote, DHCP, IPv6; and its VPC's CIDRs."""

    quotes: bool
    dhcp: bool
    ipv6: bool
    inside: tuple[IPv4Network, ...]


@frozen
class Guard(Table):
    """The table, loaded atomically: when the machines change, there is no moment without a guard."""

    members: tuple[Member, ...] = ()
    """In a record of an earlier version: the machines, which are packed since."""

    form: int = 1
    quotes: bool = False
    """Whether this nft can match what an ICMP error quotes."""

    ranges: tuple[Range, ...] = ()
    packed: str = ""
    """A line for each machine."""

    dhcp: bool = False
    """Whether machines without an address may ask the router for theirs."""

    ipv6: bool = False
    """Whether its VPC has IPv6."""

    inside: tuple[IPv4Network, ...] = ()
    """Its VPC's CIDRs: what is for the outside need not be looked up among the machines."""

    head = HEAD
    apart = BRIDGE_TABLE

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("guard", self.namespace)

    @property
    def rest(self) -> object:
        """The rules."""
        return self.form, *self._kinds

    def moved(self, old: Any) -> str:
        """The elements of machines that came and that went."""
        # Each element is of one port, so others' need not be compared: there may be a thousand.
        before, after = (replace(one, members=(), packed="\n".join(lines))
                         for one, lines in zip((old, self), _unlike(old.lines, self.lines), strict=True))
        return "".join(_moved(name, before.held(name), after.held(name)) for name in self._sets())

    @property
    def lines(self) -> list[str]:
        """The machines, packed."""
        return self.packed.splitlines() or list(lines_of(self.members))

    @cached_property
    def machines(self) -> tuple[Member | Member6, ...]:
        """The machines, one for each address."""
        return tuple(unpacked(self.packed.splitlines())) or self.members

    @property
    def _kinds(self) -> Kinds:
        return Kinds(self.quotes, self.dhcp, self.ipv6, self.inside)

    def _sets(self) -> list[str]:
        more = [OWN6, MACHINES6, *((QUOTED6,) if self.quotes else ())] if self.ipv6 else []
        return [OWN, MACS, FORWARDERS, MACHINES, RANGES, *((QUOTED,) if self.quotes else ()), *more]

    def held(self, name: str) -> dict[str, None]:
        """The elements of a set: a machine with several addresses is several members, with one MAC."""
        if name == RANGES:
            return dict.fromkeys(one.element for one in self.ranges)
        elements = (member.elements for member in self.machines)
        return dict.fromkeys(held[name] for held in elements if name in held)

    def text(self) -> str:
        """The table in nft's syntax."""
        sets = {name: f"set {name} {{\n\t\ttype {' . '.join(types)}" for name, types in TYPES.items()}
        sets[RANGES] = f"set {RANGES} {{\n\t\ttype ipv4_addr"
        sets[MACHINES] = f"map {MACHINES} {{\n\t\ttype ipv4_addr : ether_addr"
        if self.quotes:
            sets[QUOTED] = f"set {QUOTED} {{\n\t\ttypeof iifname . {QUOTE}"
        if self.ipv6:
            sets |= {name: f"set {name} {{\n\t\ttype {' . '.join(types)}" for name, types in TYPES6.items()}
            sets[MACHINES6] = f"map {MACHINES6} {{\n\t\ttype ipv6_addr : ether_addr"
            if self.quotes:
                sets[QUOTED6] = f"set {QUOTED6} {{\n\t\ttypeof iifname . {QUOTE6}"
        held = "".join(f"\t{head}\n{self._elements(name)}\t}}\n" for name, head in sets.items())
        chains = "".join(f"\tchain {name} {{\n{_hook(name)}{_rules(rules)}\t}}\n"
                         for name, rules in _chains(CHAINS, CHAINS6, self._kinds, _to).items())
        return f"table bridge {BRIDGE_TABLE} {{\n{held}{chains}}}\n"

    def _elements(self, name: str) -> str:
        lines = ",\n".join(f"\t\t\t{element}" for element in self.held(name))
        return f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have our hook, our policy, exactly our rules in order, and exactly our machines."""
        listed = kernel.bridge_table(self.namespace, BRIDGE_TABLE)
        if listed is None:
            return MISSING
        wrong = [*_wrong_rules(listed, self._kinds), *self._wrong_members(listed)]
        return changed("; ".join(wrong)) if wrong else None

    def _wrong_members(self, listed: list[dict[str, Any]]) -> Iterator[str]:
        old, new = members_of(listed), members6_of(listed)
        held: set[Member | Member6] = {*old, *new}
        shall: dict[str, set[tuple[str, ...]]] = {
            MACS: {(member.device, member.mac) for member in held},
            FORWARDERS: {(member.device, member.mac) for member in old if member.forwards},
            MACHINES: {(str(member.address), member.mac) for member in old},
            QUOTED: {(member.device, str(int(member.address))) for member in old if self.quotes},
            MACHINES6: {(str(member.address), member.mac) for member in new},
            # nft lists numbers of more than 64 bits as text.
            QUOTED6: {(member.device, f"{int(member.address):#x}") for member in new if self.quotes}}
        for name, elements in shall.items():
            if parts_of(listed, name) != elements:
                yield f"its set {name} is not that of its machines"
        if ranges_of(listed) != set(self.ranges):
            yield "its subnets without machines differ"
        lost, more = len(set(self.machines) - held), len(held - set(self.machines))
        if lost or more:
            yield f"{lost} of its {len(self.machines)} machines missing, {more} not ours"

    def __str__(self) -> str:
        return f"guard of the ports in {self.namespace}"


def _unlike(old: list[str], new: list[str]) -> tuple[list[str], ...]:
    """Both without what they begin and end with in common: what is left is nearly always what differs."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    tail = next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
    return old[head:len(old) - tail], new[head:len(new) - tail]


def _moved(name: str, old: Mapping[str, None], new: Mapping[str, None]) -> str:
    """The commands that turn the elements of a set into others."""
    gone = [element for element in old if element not in new]
    come = [element for element in new if element not in old]
    steps = (("delete", gone), ("add", come))
    return "".join(f"{verb} element bridge {BRIDGE_TABLE} {name} {{ {', '.join(elements)} }}\n"
                   for verb, elements in steps if elements)


def _to(network: IPv4Network, rule: str) -> str:
    return f"ip daddr {network} {rule}"


def _to_listed(network: IPv4Network, rule: Expression) -> Expression:
    # Imported late, here and below: a change has no need of what nft lists.
    from vpcctl_lib.resources.expressions import networks

    return [*networks("daddr", "==", (network,)), *rule]


def _chains(chains: Mapping[str, Any], more: Mapping[str, Any], kinds: Kinds,
            to: Callable[[IPv4Network, Any], Any]) -> dict[str, Any]:
    """The chains of a table of these kinds; `to` makes a rule one for packets to a network."""
    found = {**chains, **more} if kinds.ipv6 else dict(chains)
    discover = found.pop(DISCOVER)
    if kinds.dhcp:
        found["others"] = (*discover, *found["others"])
    # The hook's chain comes last, because it leads to the others.
    found["prerouting"] = found.pop("prerouting")
    if not kinds.quotes:
        kept = {name: rules for name, rules in found.items() if name not in ("errors", "errors6")}
        found = {name: (*rules[:LEADS[name]], *rules[LEADS[name] + 1:]) if name in LEADS else rules
                 for name, rules in kept.items()}
    rules = found["ipv4"]
    found["ipv4"] = (*rules[:TURN], *(to(one, rules[TURN]) for one in kinds.inside), *rules[TURN + 1:])
    return found


def _hook(chain: str) -> str:
    if chain != "prerouting":
        return ""
    return f"\t\ttype filter hook prerouting priority {PRIORITY}; policy drop;\n"


def _rules(rules: tuple[str, ...]) -> str:
    return "".join(f"\t\t{rule}\n" for rule in rules)


def is_whole(listed: list[dict[str, Any]]) -> bool:
    """Whether a table has our hook, policy and rules, and no others."""
    names = [item.get("set", {}).get("name") for item in listed]
    return any(not list(_wrong_rules(listed, Kinds(QUOTED in names, dhcp, OWN6 in names, inside_of(listed))))
               for dhcp in (False, True))


def inside_of(listed: Sequence[Mapping[str, Any]]) -> tuple[IPv4Network, ...]:
    """The CIDRs in a table that nft has listed: what is for them is looked up among the machines."""
    from vpcctl_lib.resources.expressions import read

    turn = EXPRESSIONS["ipv4"][TURN]
    rules = [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == "ipv4"]
    try:
        found = (read(rule[0]["match"]["right"]) for rule in rules if rule[1:] == turn)
        return tuple(one for one in found if isinstance(one, IPv4Network))
    except (LookupError, TypeError, ValueError):
        return ()


def members_of(listed: list[dict[str, Any]]) -> frozenset[Member]:
    """The machines in a table that nft has listed; an element of another form is not ours."""
    return frozenset(map(_member, _elements_of(listed, OWN)))


def members6_of(listed: list[dict[str, Any]]) -> frozenset[Member6]:
    """The same of IPv6."""
    return frozenset(map(_member6, _elements_of(listed, OWN6)))


def ranges_of(listed: list[dict[str, Any]]) -> frozenset[Range]:
    """The subnets without machines in a table that nft has listed."""
    comments = (str(one.get("elem", {}).get("comment", "")).split() if isinstance(one, dict) else []
                for one in _elements_of(listed, RANGES))
    return frozenset(Range(*words) if len(words) in (3, 4) else Range("", "", "") for words in comments)


def switched_by(listed: list[dict[str, Any]], family: Family = Family.INET) -> dict[Address, str]:
    """The MAC to which the table sends packets for an address."""
    name = MACHINES if family is Family.INET else MACHINES6
    return {ip_address(parts[0]): parts[1] for parts in parts_of(listed, name)}


def parts_of(listed: list[dict[str, Any]], name: str) -> set[tuple[str, ...]]:
    """The elements of a set or map, each as a list of its parts."""
    listings = [element.get("concat", ()) if isinstance(element, dict) else element
                for element in _elements_of(listed, name)]
    return {tuple(map(str, parts)) if isinstance(parts, list) else () for parts in listings}


def _elements_of(listed: list[dict[str, Any]], name: str) -> list[Any]:
    held = [item[kind] for item in listed for kind in ("set", "map") if kind in item]
    return [element for one in held if one.get("name") == name for element in one.get("elem", [])]


def _member(element: Any) -> Member:
    parts, comment = _parts(element)
    if len(parts) != len(TYPES[OWN]):
        return Member(str(element), "", IPv4Address(0), "")
    return Member(parts[0], parts[1], IPv4Address(parts[2]), comment)


def _member6(element: Any) -> Member6:
    parts, comment = _parts(element)
    if len(parts) != len(TYPES6[OWN6]) or comment:
        return Member6(str(element), "", IPv6Address(0))
    return Member6(parts[0], parts[1], IPv6Address(parts[2]))


def _parts(element: Any) -> tuple[list[str], str]:
    """The parts of a concatenation, none if it is anything else, and the comment beside it."""
    inner = element.get("elem", {}) if isinstance(element, dict) else {}
    parts = inner.get("val", element).get("concat", []) if isinstance(element, dict) else []
    found = parts if all(isinstance(part, str) for part in parts) else []
    return found, str(inner.get("comment", ""))


def _wrong_rules(listed: list[dict[str, Any]], kinds: Kinds) -> Iterator[str]:
    """What differs apart from the machines."""
    expressions = _chains(EXPRESSIONS, EXPRESSIONS6, kinds, _to_listed)
    chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
    if chains.keys() != expressions.keys():
        yield f"its chains are {', '.join(chains) or 'missing'}"
    hook = {key: value for key, value in chains.get("prerouting", {}).items()
            if key in ("type", "hook", "prio", "policy")}
    if hook != {"type": "filter", "hook": "prerouting", "prio": PRIORITY, "policy": "drop"}:
        yield f"its hook is {' '.join(map(str, hook.values())) or 'missing'}"
    sets = {item[kind]["name"]: item[kind].get("type") for item in listed for kind in ("set", "map")
            if kind in item}
    # Versions of nft differ in how they print a type that nft inferred.
    shall = {**TYPES, RANGES: "ipv4_addr", MACHINES: "ipv4_addr",
             **({QUOTED: sets.get(QUOTED)} if kinds.quotes else {})}
    if kinds.ipv6:
        shall |= {**TYPES6, MACHINES6: "ipv6_addr",
                  **({QUOTED6: sets.get(QUOTED6)} if kinds.quotes else {})}
    if sets != shall:
        yield f"its sets are {', '.join(sets) or 'missing'}"
    for name, rules in expressions.items():
        held = [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == name]
        if held != list(rules):
            yield f"the rules of its chain {name} differ"
    sorts = {kind for item in listed for kind in item}
    if not sorts <= {"metainfo", "table", "set", "map", "chain", "rule"}:
        yield "something of another kind is in it"
