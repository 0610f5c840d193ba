"""The nft table of a machine in groups: marks the packets of those whom the rules of its groups name."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

from vpcctl_lib.firewall.families import named, word
from vpcctl_lib.firewall.marks import MASK, SHIFT, Test
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Address, Family, in_spans
from vpcctl_lib.model.endpoints import Stand
from vpcctl_lib.model.naming import GROUP_SET, GROUP_TABLE, POLICY_TABLE
from vpcctl_lib.model.policies import Ports, Protocol
from vpcctl_lib.resources.base import MISSING, Fault, Operations, changed
from vpcctl_lib.resources.leaving import LeaveTable
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.table import Table, head

HEAD = head("ip", GROUP_TABLE)

APART = "groups"
"""No other command of a change touches the table, nor waits for it."""

PRIORITIES = {"filter": -10, POLICY_TABLE: -160}
"""By the table of iptables that has the machine's rules: before it (0, -150), and after tracking (-200)."""

ENDS = {"incoming": ("saddr", "iifname"), "outgoing": ("daddr", "oifname")}
"""By chain: the end of the packet that is the far one there, and the link that it passes."""

TYPES = {Family.INET: "ipv4_addr", Family.INET6: "ipv6_addr"}
"""What nft calls an address."""

Element = dict[str, Any]
Expression = list[Element]


@frozen
class Members:
    """The addresses of a group, packed: five hundred namespaces may have them."""

    group: str
    spans: str = ""


@frozen
class Marking(Table):
    """The sets of groups and, in order, the tests of packets. Members come and go without another rule."""

    members: tuple[Members, ...] = ()
    incoming: tuple[Test, ...] = ()
    outgoing: tuple[Test, ...] = ()
    attached: bool = False
    """Whether the namespace is somebody else's."""

    interface: str = ""
    """Our link, where the rules are for its packets only: the marks of others are the owner's."""

    forwards: bool = False
    """Whether the rules are for all that passes the link."""

    family: Family = Family.INET
    """That of the packets: each has a table of its own."""

    head = HEAD
    apart = APART

    @property
    def removal(self) -> str:
        """That of its family."""
        return head(self.family.nft, GROUP_TABLE)

    @property
    def key(self) -> Hashable:
        """The namespace, and the family."""
        return ("marking", self.namespace, *((self.family,) if self.family is Family.INET6 else ()))

    @property
    def rest(self) -> object:
        """The tests, and the names of the groups."""
        names = [one.group for one in self.members]
        return self.incoming, self.outgoing, self.interface, self.forwards, names

    @property
    def _stand(self) -> Stand:
        """Where the rules are that ask for the marks."""
        return Stand.LINK if self.forwards else Stand.ENDS

    @property
    def ip_table(self) -> tuple[str, str, Family]:
        """The namespace, our name, and the family."""
        return (self.namespace, GROUP_TABLE, self.family)

    def unmake(self, facts: Facts) -> Operations:
        """In a namespace of somebody else's, as far as its owner lets it."""
        gone = super().unmake(facts)
        return (LeaveTable(self.namespace, self.removal, APART),) if self.attached else gone

    def moved(self, old: Any) -> str:
        """Members that came and that went."""
        return "".join(_moved(self.family, one.group, before.spans, one.spans)
                       for before, one in zip(old.members, self.members, strict=True))

    def text(self) -> str:
        """The table in nft's syntax."""
        kind = TYPES[self.family]
        sets = "".join(f"\tset {GROUP_SET}{one.group} {{\n\t\ttype {kind}\n{_elements(one.spans)}\t}}\n"
                       for one in self.members)
        chains = "".join(_chain(self.family, name, tests, self._stand, self.interface)
                         for name, tests in self._chains().items())
        return f"table {self.family.nft} {GROUP_TABLE} {{\n{sets}{chains}}}\n"

    def _chains(self) -> dict[str, tuple[Test, ...]]:
        """The chains that have something to test."""
        held = {"incoming": self.incoming, "outgoing": self.outgoing}
        return {name: tests for name, tests in held.items() if tests}

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The table must have exactly our chains and tests, in order, and exactly our members."""
        listed = kernel.ip_table(*self.ip_table)
        if listed is None:
            return MISSING
        held = table_of(listed, self.family)
        shall = (self._chains(), self._stand, self.interface)
        if held is None or (dict(held.tests), held.stand, held.interface) != shall:
            return changed("its rules differ")
        members = {one.group: in_spans(one.spans) for one in self.members}
        if held.members.keys() != members.keys():
            return changed("its groups differ")
        return next((_difference(name, found, members[name]) for name, found in held.members.items()
                     if found != members[name]), None)

    def __str__(self) -> str:
        return f"groups' members{'' if self.family is Family.INET else ' of IPv6'} in {self.namespace}"


def _difference(group: str, held: frozenset[Address], shall: frozenset[Address]) -> Fault:
    return changed(f"group {group}: {len(shall - held)} of its {len(shall)} addresses missing, "
                   f"{len(held - shall)} not ours")


@frozen
class Held:
    """What a table has, if it is one of ours: the addresses by group, and the tests by chain."""

    members: Mapping[str, frozenset[Address]]
    tests: Mapping[str, tuple[Test, ...]]
    stand: Stand = Stand.ENDS
    """The rules that its chains come right before."""

    interface: str = ""
    """The link whose packets it marks; empty for all."""


def table_of(listed: list[Element], family: Family = Family.INET) -> Held | None:
    """What is in a table that nft has listed; None if not everything in it is as we would have made it."""
    sets = {item["set"]["name"]: item["set"] for item in listed if "set" in item}
    chains = {item["chain"]["name"]: item["chain"] for item in listed if "chain" in item}
    try:
        members = {name.removeprefix(GROUP_SET): frozenset(map(ip_address, one.get("elem", ())))
                   for name, one in sets.items()}
        rules = {name: [item["rule"]["expr"] for item in listed if item.get("rule", {}).get("chain") == name]
                 for name in chains}
        interface = next((_interface(name, held) for name, held in rules.items()), "")
        tests = {name: tuple(_tests(family, name, held, interface)) for name, held in rules.items()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    kinds = {kind for item in listed for kind in item}
    stand = next((stand for stand in Stand if all(_is_ours(chain, stand) for chain in chains.values())), None)
    ours = kinds <= {"metainfo", "table", "set", "chain", "rule"}
    return Held(members, tests, stand, interface) if ours and stand else None


def _hook(chain: str, stand: Stand) -> tuple[str, int]:
    """The hook of a chain, and its priority there."""
    built_in = stand.incoming if chain == "incoming" else stand.outgoing
    return built_in.lower(), PRIORITIES[stand.table]


def _is_ours(chain: Element, stand: Stand) -> bool:
    held = {key: chain.get(key) for key in ("type", "hook", "prio", "policy")}
    hook, priority = _hook(chain["name"], stand)
    return held == {"type": "filter", "hook": hook, "prio": priority, "policy": "accept"}


def _interface(chain: str, rules: list[Expression]) -> str:
    """The link that a chain is about, if it names one."""
    match = rules[1][0].get("match", {}) if len(rules) > 1 else {}
    return str(match["right"]) if match.get("left") == {"meta": {"key": ENDS[chain][1]}} else ""


def _tests(family: Family, chain: str, rules: list[Expression], interface: str) -> Iterator[Test]:
    """The tests of a chain; ValueError if one is not ours."""
    first = _first(chain, interface)
    if rules[:len(first)] != first:
        raise ValueError(chain)
    for held in rules[len(first):]:
        test = _test(held)
        if _expression(family, chain, test) != held:
            raise ValueError(chain)
        yield test


def _test(held: Expression) -> Test:
    """What an expression of ours tests; whether it is ours is to be seen."""
    group = held[0]["match"]["right"].removeprefix(f"@{GROUP_SET}")
    number = held[-2]["mangle"]["value"]["|"][1] >> SHIFT
    if len(held) == 3:
        return Test(group, number)
    left, value = held[1]["match"]["left"], held[1]["match"]["right"]
    field = left.get("payload", {"protocol": "ip"})
    if field["protocol"] == "ip":
        return Test(group, number, named(value))
    span = value["range"] if isinstance(value, dict) else [value, value]
    return Test(group, number, Protocol(field["protocol"]), Ports(*span))


@lru_cache(maxsize=64)
def _moved(family: Family, group: str, old: str, new: str) -> str:
    """The commands that turn the addresses of a group into others."""
    before, after = in_spans(old), in_spans(new)
    steps = (("delete", before - after), ("add", after - before))
    return "".join(f"{verb} element {family.nft} {GROUP_TABLE} {GROUP_SET}{group} {{ {_listed(found)} }}\n"
                   for verb, found in steps if found)


def _listed(addresses: frozenset[Address]) -> str:
    return ", ".join(map(str, sorted(addresses, key=int)))


@lru_cache(maxsize=64)
def _elements(spans: str) -> str:
    return elements(tuple(map(str, sorted(in_spans(spans), key=int))))


def elements(held: Sequence[str]) -> str:
    """The elements of a set in nft's syntax, a line for each."""
    lines = ",\n".join(f"\t\t\t{one}" for one in held)
    return f"\t\telements = {{\n{lines}\n\t\t}}\n" if lines else ""


def _chain(family: Family, name: str, tests: tuple[Test, ...], stand: Stand, interface: str) -> str:
    (hook, priority), (end, link) = _hook(name, stand), ENDS[name]
    lines = (
        # iptables lets them pass, too, and asks no mark.
        "ct state established,related accept",
        *([f'{link} != "{interface}" accept'] if interface else []),
        # A program may have set a mark of its own.
        f"meta mark set meta mark & {MASK ^ 0xFFFFFFFF:#010x}",
        *(f"{family.nft} {end} @{GROUP_SET}{one.group} {_matched(family, one)}meta mark set meta mark | "
          f"{one.number << SHIFT:#010x} accept" for one in tests))
    body = "".join(f"\t\t{line}\n" for line in lines)
    return (f"\tchain {name} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;\n"
            f"{body}\t}}\n")


def _matched(family: Family, test: Test) -> str:
    if test.protocol is Protocol.ALL:
        return ""
    if test.ports is None:
        # Of IPv6, other headers may come before that of the protocol.
        key = "ip protocol" if family is Family.INET else "meta l4proto"
        return f"{key} {word(test.protocol)} "
    return f"{test.protocol.value} dport {test.ports} "


def _match(protocol: str, field: str, right: object, operator: str = "==") -> Element:
    left = {"payload": {"protocol": protocol, "field": field}}
    return {"match": {"op": operator, "left": left, "right": right}}


def _mark(operator: str, bits: int) -> Element:
    mark = {"meta": {"key": "mark"}}
    return {"mangle": {"key": mark, "value": {operator: [mark, bits]}}}


ACCEPT: Element = {"accept": None}


def _first(chain: str, interface: str) -> list[Expression]:
    """The first rules of a chain, as nft lists them in JSON."""
    known = {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}
    other = {"op": "!=", "left": {"meta": {"key": ENDS[chain][1]}}, "right": interface}
    return [[{"match": known}, ACCEPT], *([[{"match": other}, ACCEPT]] if interface else []),
            [_mark("&", MASK ^ 0xFFFFFFFF)]]



def _expression(family: Family, chain: str, test: Test) -> Expression:
    """A test as nft lists it in JSON (libnftables-json(5))."""
    if test.protocol is Protocol.ALL:
        matched = []
    elif test.ports is None and family is Family.INET6:
        left = {"meta": {"key": "l4proto"}}
        matched = [{"match": {"op": "==", "left": left, "right": word(test.protocol)}}]
    elif test.ports is None:
        matched = [_match("ip", "protocol", test.protocol.value)]
    else:
        first, last = test.ports.first, test.ports.last
        matched = [_match(test.protocol.value, "dport", first if first == last else {"range": [first, last]})]
    return [_match(family.nft, ENDS[chain][0], f"@{GROUP_SET}{test.group}"), *matched,
            _mark("|", test.number << SHIFT), ACCEPT]
