"""The nft table with the network ACLs of a VPC: its parts, and what one that nft has listed says; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Address, IPv6Network
from typing import Any

from vpcctl_lib.firewall.acl_chains import Chains, chains
from vpcctl_lib.firewall.acl_nft import Direction, Seen, expected, rules_in, seen
from vpcctl_lib.firewall.acl_words import from_words, in_words
from vpcctl_lib.flows.names import IN, SIX, refused_sets
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.acls import REST, in_force
from vpcctl_lib.model.addressing6 import VPC_LENGTH, router
from vpcctl_lib.model.policies import AclRule
from vpcctl_lib.resources import denied

EDGES, SUBNETS, INSIDE, OUT, INTO = "edges", "subnets", "inside", "out", "in"
SETS = {EDGES: ("set", "type ipv4_addr"), SUBNETS: ("map", "type ifname : mark"),
        INSIDE: ("set", "type mark . ifname"), OUT: ("map", "type ifname : verdict"),
        INTO: ("map", "type ifname : verdict")}
ERRORS = ("destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem")
"""The errors of ICMPv6 that must pass (RFC 4890, 4.3.1): a sender must learn the MTU of its way."""

FORWARD, INPUT, OUTPUT = "forward", "input", "output"
PRIORITY = -200
"""The priority of `filter` in the family bridge."""

Item = Mapping[str, Any]
"""A part of what nft lists in JSON (libnftables-json(5))."""


@frozen
class Listed:
    """An ACL: the rules of each direction, each in words."""

    name: str
    ingress: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()


@frozen
class Edge:
    """A subnet with an ACL: its name, the first of its addresses, and the ports of its machines."""

    subnet: str
    network: IPv4Address
    acl: str
    ports: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """What packets from it are marked with, on their way from port to port.

        Network addresses are even: with the last bit set, no other mark is like it.
        """
        return marked(int(self.network) | 1)

    def elements(self, name: str) -> list[str]:
        """Its elements in a set or map."""
        out, into = (one.chain(self.acl) for one in (Direction.EGRESS, Direction.INGRESS))
        if name == EDGES:
            return [f'{self.network} comment "{self.subnet} {self.acl}"']
        shape = {SUBNETS: '"{0}" : {1}', INSIDE: '{1} . "{0}"', OUT: f'"{{0}}" : jump {out}',
                 INTO: f'"{{0}}" : jump {into}'}[name]
        return [shape.format(port, self.mark) for port in self.ports]


def marked(mark: int) -> str:
    """A mark as nft writes it."""
    return f"{mark:#010x}"


def lines_of(one: Listed, dual: bool = False) -> Mapping[Direction, Chains]:
    """The chains of an ACL by direction; with `dual`, also for packets of IPv6."""
    return {direction: chains(direction.chain(one.name), tuple(map(from_words, rules)), dual)
            for direction, rules in ((Direction.INGRESS, one.ingress), (Direction.EGRESS, one.egress))}


@frozen
class Held:
    """What a table has, if it is one of ours."""

    near: tuple[IPv4Address, ...]
    """The router's addresses to which, and from which, everything passes."""

    acls: tuple[Listed, ...]
    sets: Mapping[str, frozenset[str]]
    """The elements by set, as a script has them."""

    prefix: IPv6Network | None = None
    counted: bool = False
    """Whether what is dropped is counted, by flow."""

    @cached_property
    def edges(self) -> Mapping[str, str]:
        """By the first address of a subnet, its name and that of its ACL."""
        return self._pairs(EDGES, " comment ")

    @cached_property
    def subnets(self) -> Mapping[str, str]:
        """By port, the mark of its subnet."""
        return self._pairs(SUBNETS)

    @cached_property
    def out(self) -> Mapping[str, str]:
        """By port, the chain for what comes from there."""
        return self._pairs(OUT)

    @cached_property
    def into(self) -> Mapping[str, str]:
        """By port, the chain for what goes there."""
        return self._pairs(INTO)

    def _pairs(self, name: str, between: str = " : ") -> Mapping[str, str]:
        return {first.strip('"'): last.removeprefix("jump ").strip('"')
                for first, _, last in (element.partition(between) for element in self.sets[name])}

    def rules(self, chain: str) -> tuple[AclRule, ...] | None:
        """The rules that a chain stands for, as packets meet them; None if there is no such ACL."""
        if chain not in self._read and chain in self._words:
            self._read[chain] = in_force(tuple(map(from_words, self._words[chain])))
        return self._read.get(chain)

    @cached_property
    def _words(self) -> Mapping[str, tuple[str, ...]]:
        return {direction.chain(one.name): words for one in self.acls for direction, words in (
            (Direction.INGRESS, one.ingress), (Direction.EGRESS, one.egress))}

    @cached_property
    def _read(self) -> dict[str, tuple[AclRule, ...]]:
        return {}


def held_in(listed: Sequence[Item]) -> Held | None:
    """What is in a table that nft has listed; None if not everything in it is as we would have made it."""
    dual = any(item.get("set", {}).get("name") in refused_sets(IN, SIX) for item in listed)
    try:
        listed, counted = denied.without(listed, dual)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    kinds = {kind for item in listed for kind in item}
    found = {item[kind]["name"]: item[kind] for item in listed for kind in ("set", "map") if kind in item}
    rules: dict[str, list[Seen]] = {item["chain"]["name"]: [] for item in listed if "chain" in item}
    for item in listed:
        if "rule" in item:
            rules.setdefault(item["rule"]["chain"], []).append(seen(item["rule"]))
    hooks = {item["chain"]["name"]: item["chain"] for item in listed if "hook" in item.get("chain", ())}
    try:
        near, prefix = _near(hooks, {name: rules.pop(name) for name in (FORWARD, INPUT, OUTPUT)})
        acls = tuple(_acls(rules, prefix is not None))
        sets = {name: frozenset(_element(name, one) for one in found[name].get("elem", ())) for name in SETS}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    ours = kinds <= {"metainfo", "table", "set", "map", "chain", "rule"} and found.keys() == SETS.keys()
    is_whole = ours and (not counted or dual is (prefix is not None))
    return Held(near, acls, sets, prefix, counted) if is_whole else None


def _near(hooks: Mapping[str, Item],
          rules: Mapping[str, list[Seen]]) -> tuple[tuple[IPv4Address, ...], IPv6Network | None]:
    """The router's addresses and the VPC's prefix; ValueError if the chains that see packets are not ours."""
    shall = {name: ("filter", name, PRIORITY, "accept") for name in (FORWARD, INPUT, OUTPUT)}
    if {name: tuple(one.get(key) for key in ("type", "hook", "prio", "policy"))
            for name, one in hooks.items()} != shall:
        raise ValueError("hooks")
    allowed = [one.parts[0] for one in rules[INPUT][1:-1]]
    near = tuple(IPv4Address(one[-1][0]) for one in allowed if one[2][0] == "ip")
    sixth = [int(one[-1][0]) for one in allowed if one[2][0] == "ip6"]
    prefix = IPv6Network((sixth[0] - 1, VPC_LENGTH)) if sixth else None
    for name, lines in _expected_hooks(near, prefix).items():
        if rules[name] != lines:
            raise ValueError(name)
    return near, prefix


def hooks_of(near: Sequence[IPv4Address], prefix: IPv6Network | None) -> dict[str, tuple[str, ...]]:
    """The chains that see packets. ARP passes, and what is for the router or from it, as in AWS."""
    other = f"ether type != {_kinds(prefix)} accept"
    out, into = f"iifname vmap @{OUT}", f"oifname vmap @{INTO}"
    to, source = [[f"ip {end} {one} accept" for one in near] for end in ("daddr", "saddr")]
    if prefix:
        to.append(f"ip6 daddr {router(prefix)} accept")
        # No machine of the VPC can send from other addresses than its own.
        source += [f"ip6 saddr {router(prefix)} accept",
                   f"ip6 saddr != {prefix} icmpv6 type {{ {', '.join(ERRORS)} }} accept"]
    return {FORWARD: (other, f"meta mark set iifname map @{SUBNETS}", f"meta mark . oifname @{INSIDE} accept",
                      out, into),
            INPUT: (other, *to, out), OUTPUT: (other, *source, into)}


def _kinds(prefix: IPv6Network | None) -> str:
    """The kinds of frames that ACLs decide about."""
    return "{ ip, ip6 }" if prefix else "ip"


def _expected_hooks(near: Sequence[IPv4Address], prefix: IPv6Network | None) -> dict[str, list[Seen]]:
    def rule(*expr: Item) -> Seen:
        return seen({"expr": expr})

    def field(protocol: str, name: str) -> Item:
        return {"payload": {"protocol": protocol, "field": name}}

    def match(left: Item, right: object, operator: str = "==") -> Item:
        return {"match": {"op": operator, "left": left, "right": right}}

    def meta(key: str) -> Item:
        return {"meta": {"key": key}}

    accept, kind = {"accept": None}, field("ether", "type")
    other = rule(match(kind, {"set": ["ip", "ip6"]} if prefix else "ip", "!="), accept)
    out, into = (rule({"vmap": {"key": meta(key), "data": f"@{name}"}})
                 for key, name in (("iifname", OUT), ("oifname", INTO)))
    mark = {"mangle": {"key": meta("mark"),
                       "value": {"map": {"key": meta("iifname"), "data": f"@{SUBNETS}"}}}}
    inside = rule(match({"concat": [meta("mark"), meta("oifname")]}, f"@{INSIDE}"), accept)
    to, source = ([rule(match(field("ip", end), str(one)), accept) for one in near]
                  for end in ("daddr", "saddr"))
    if prefix:
        own, inner = str(router(prefix)), {"prefix": {"addr": str(prefix[0]), "len": VPC_LENGTH}}
        to.append(rule(match(field("ip6", "daddr"), own), accept))
        source += [rule(match(field("ip6", "saddr"), own), accept),
                   rule(match(field("ip6", "saddr"), inner, "!="),
                        match(field("icmpv6", "type"), {"set": list(ERRORS)}), accept)]
    return {FORWARD: [other, rule(mark), inside, out, into], INPUT: [other, *to, out],
            OUTPUT: [other, *source, into]}


def _acls(rules: Mapping[str, list[Seen]], dual: bool) -> Iterator[Listed]:
    """The ACLs of these chains; ValueError if a chain is not as we would have made it."""
    found: dict[str, dict[Direction, dict[str, list[Seen]]]] = {}
    for chain, lines in rules.items():
        direction = next((one for one in Direction if chain.startswith(one.chain(""))), None)
        if direction is None:
            raise ValueError(chain)
        name = chain.removeprefix(direction.chain("")).partition(".")[0]
        found.setdefault(name, {}).setdefault(direction, {})[chain] = lines
    for name, directions in found.items():
        one = Listed(name, *(_words(directions[direction])
                             for direction in (Direction.INGRESS, Direction.EGRESS)))
        for direction, shall in lines_of(one, dual).items():
            if directions[direction] != {chain: [expected(line, direction, chain) for line in lines]
                                         for chain, lines in shall.items()}:
                raise ValueError(name)
        yield one


def _words(chains: Mapping[str, list[Seen]]) -> tuple[str, ...]:
    rules = rules_in([line for lines in chains.values() for line in lines])
    return tuple(in_words(rule) for rule in rules if rule != REST)


def _element(name: str, one: Any) -> str:
    """An element of a set, as a script has it."""
    if name == EDGES:
        return f'{one["elem"]["val"]} comment "{one["elem"]["comment"]}"'
    if name == INSIDE:
        mark, port = one["concat"]
        return f'{marked(_number(mark))} . "{port}"'
    port, value = one
    return f'"{port}" : {marked(_number(value))}' if name == SUBNETS else \
        f'"{port}" : jump {value["jump"]["target"]}'


def _number(mark: Any) -> int:
    return mark if isinstance(mark, int) else int(mark, 0)
