"""Network ACLs as chains: a packet meets few rules, and the lowest number that matches decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import policies
from tests.dear import examples
from tests.fields import made
from tests.unit.listing import acl_table
from vpcctl_lib.firewall import acl_chains
from vpcctl_lib.firewall.acl_chains import LATER, NAMED, SIX, UNREACHED, Chains, Field, Fork, Lead, chains
from vpcctl_lib.firewall.acl_nft import counted
from vpcctl_lib.firewall.acl_words import from_words, in_words
from vpcctl_lib.firewall.families import BITS
from vpcctl_lib.model.acls import REST, in_force
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import (
    Acl,
    AclRule,
    Action,
    Network,
    Ports,
    Protocol,
    concerns,
    family_of,
)
from vpcctl_lib.resources.acl_table import Edge, Listed, held_in
from vpcctl_lib.resources.acls import Acls

ROUTER = IPv4Address("10.0.0.1")
PORTED = (Protocol.TCP, Protocol.UDP)


class Packet(NamedTuple):
    """A packet as a rule of one direction sees it; `port` is None in a later fragment."""

    protocol: Protocol | None
    far_end: int
    port: int | None = None
    family: Family = Family.INET


class Asked(NamedTuple):
    """What a rule asks of a packet, in numbers: to ask a network takes several times as long."""

    rule: AclRule
    families: tuple[Family, ...]
    low: int = 0
    high: int = 2**128 - 1
    first: int = 0
    last: int = 65535


def asked(rule: AclRule) -> Asked:
    """The same for all addresses, or all ports, where the rule names none."""
    found = Asked(rule, tuple(family for family in Family if concerns(rule, family)))
    if rule.network:
        low, high = policies.far_ends(rule.network)
        found = found._replace(low=low, high=high)
    return found._replace(first=rule.ports.first, last=rule.ports.last) if rule.ports else found


def matches(one: Asked, packet: Packet) -> bool:
    """Whether a rule matches; a later fragment matches as if its ports fitted."""
    return (one.low <= packet.far_end <= one.high and one.rule.protocol in (Protocol.ALL, packet.protocol)
            and packet.family in one.families
            and (packet.port is None or one.first <= packet.port <= one.last))


def in_order(rules: Sequence[Asked], packet: Packet) -> AclRule:
    """The rule that decides by the order of numbers alone."""
    later = packet.port is None and packet.protocol in PORTED
    return next(one.rule for one in rules if matches(one, packet)
                and not (later and one.rule.ports and one.rule.action is Action.DENY))


def decided(found: Chains, packet: Packet) -> tuple[AclRule, int]:
    """The rule that decides by the chains, and how many lines the packet meets."""
    name, lines, number = next(iter(found)), 0, 0
    while True:
        line = found[name][number]
        lines, number = lines + 1, number + 1
        if isinstance(line, AclRule):
            if matches(asked(line), packet):
                return line, lines
            continue
        chain = line.chain if isinstance(line, Lead) else _branch(line, packet)
        if chain and not (isinstance(line, Lead) and _is_for_others(line, packet)):
            name, number = chain, 0


def _is_for_others(line: Lead, packet: Packet) -> bool:
    is_later = packet.port is None and packet.protocol in PORTED
    return (line.later and not is_later) or (line.six and packet.family is Family.INET)


def _branch(fork: Fork, packet: Packet) -> str:
    if fork.field is Field.FAR_END:
        value: int | None = packet.far_end
    elif fork.field is Field.PROTOCOL:
        value = NAMED.index(packet.protocol) if packet.protocol in NAMED else None
    else:
        value = packet.port
    return next((one.chain for one in fork.branches
                 if value is not None and one.first <= value <= one.last), "")


def rule(draw: random.Random, number: int) -> AclRule:
    """A rule whose edges often touch those of others."""
    protocol = draw.choice(list(Protocol))
    first = draw.choice((1, 80, 1024, draw.randint(1, 60000)))
    ports = Ports(first, min(65535, first + draw.choice((0, 0, 9, 40000)))) \
        if protocol in PORTED and draw.random() < 0.7 else None
    network: Network = IPv4Network((draw.choice((draw.getrandbits(32), 0x0A000000 + draw.getrandbits(10))),
                                    draw.choice((8, 24, 28, 30, 32))), strict=False)
    if protocol is Protocol.ICMPV6 or (protocol is not Protocol.ICMP and draw.random() < 0.5):
        network = IPv6Network((draw.choice((draw.getrandbits(128), SIXTH + draw.getrandbits(10))),
                               draw.choice((8, 32, 64, 126, 128))), strict=False)
    return AclRule(number, protocol, draw.choice(list(Action)), ports,
                   network if draw.random() < 0.8 else None)


SIXTH = 0xFD << 120


def packets(rules: tuple[AclRule, ...], draw: random.Random, count: int,
            family: Family = Family.INET) -> list[Packet]:
    """Packets at and beside the edges of the rules, and others."""
    ends, ports = [0, 2**BITS[family] - 1, 0x0A000001, SIXTH % 2**BITS[family]], [1, 80, 65535]
    for one in rules:
        if one.network and family_of(one.network) is family:
            first, last = int(one.network.network_address), int(one.network.broadcast_address)
            ends += [max(first - 1, 0), first, last, min(last + 1, 2**BITS[family] - 1)]
        if one.ports:
            ports += [max(one.ports.first - 1, 1), one.ports.first, one.ports.last,
                      min(one.ports.last + 1, 65535)]
    found = []
    for _ in range(count):
        protocol = draw.choice((*NAMED, None))
        port = draw.choice((*ports, None)) if protocol in PORTED else 0
        found.append(Packet(protocol, draw.choice(ends), port, family))
    return found


def agree(rules: tuple[AclRule, ...], draw: random.Random, count: int = 200) -> int:
    """The chains decide as the numbers do; the most lines that a packet meets."""
    turns, most = list(map(asked, in_force(rules))), 0
    for dual, family in ((False, Family.INET), (True, Family.INET), (True, Family.INET6)):
        found = chains("x", rules, dual)
        # Whatever the families: a lost record is rebuilt from the chains.
        assert {line.number for lines in found.values() for line in lines if isinstance(line, AclRule)} \
            == {line.number for line in in_force(rules)}
        for packet in packets(rules, draw, count, family):
            said, lines = decided(found, packet)
            wanted = in_order(turns, packet)
            assert (said.number, said.action) == (wanted.number, wanted.action), packet
            most = max(most, lines)
    return most


def numbered(rules: list[AclRule]) -> tuple[AclRule, ...]:
    return tuple(replace(one, number=number) for number, one in enumerate(rules, 1))


@examples(60)
@given(st.integers(0, 2**32), st.sampled_from((0, 1, 5, 40)))
def test_a_few_rules_in_order(seed: int, count: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    agree(tuple(rule(draw, number) for number in range(1, count + 1)), draw)


@examples(25)
@given(st.integers(0, 2**32), st.sampled_from((20, 60, 150)))
def test_a_tree_decides_as_the_numbers_do(seed: int, count: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    before = acl_chains.MANY
    # So that small lists become trees, too.
    acl_chains.MANY = acl_chains.LEAF
    try:
        agree(tuple(rule(draw, number) for number in range(1, count + 1)), draw)
    finally:
        acl_chains.MANY = before


def far_ends(count: int, protocol: Protocol = Protocol.ALL) -> list[AclRule]:
    """Addresses that are denied."""
    return [AclRule(1, protocol, Action.DENY, None, IPv4Network(0x0B000000 + 77 * number))
            for number in range(count)]


def ports(count: int) -> list[AclRule]:
    """Ports that are allowed."""
    return [AclRule(1, Protocol.TCP, Action.ALLOW, Ports(3 * number + 1, 3 * number + 2))
            for number in range(count)]


ALLOWED = [AclRule(1, Protocol.TCP, Action.ALLOW, Ports(443, 443)), AclRule(1, Protocol.ICMP, Action.ALLOW)]


# Made in the test: every worker of every run imports this module.
@pytest.mark.parametrize(("rules", "most"), [
    # Those with a few ports behind them are these and more.
    pytest.param(lambda: [*far_ends(10_000), AclRule(1, Protocol.ALL, Action.ALLOW)], 30,
                 marks=pytest.mark.slow),
    (lambda: [*far_ends(10_000), *ALLOWED], 30), (lambda: ports(10_000), 30),
    (lambda: [*far_ends(5000), *ports(5000)], 50),
    (lambda: [*far_ends(3000, Protocol.UDP), *ports(3000), *far_ends(3000, Protocol.TCP)], 60),
], ids=["far ends", "far ends and a few ports", "ports", "far ends, then ports", "by protocol"])
def test_a_packet_meets_few_of_ten_thousand(rules: Callable[[], list[AclRule]], most: int) -> None:
    assert agree(numbered(rules()), random.Random(1), 60) <= most  # noqa: S311


def test_rules_that_no_packet_reaches_are_kept_for_the_reader() -> None:
    rules = numbered([*far_ends(150), AclRule(1, Protocol.ALL, Action.ALLOW), *ports(9)])
    found = chains("x", rules)
    assert set(rules) <= {line for lines in found.values() for line in lines}
    assert found[f"x{UNREACHED}"] == rules[151:]


def test_few_rules_stand_as_they_are() -> None:
    rules = numbered(far_ends(100 - 1))
    assert chains("x", rules) == {"x": (*rules, REST)}


def test_the_rules_of_a_family_that_is_not_there_are_kept_for_the_reader() -> None:
    four = AclRule(90, Protocol.ALL, Action.ALLOW, None, IPv4Network("10.0.0.0/8"))
    six = AclRule(100, Protocol.ALL, Action.ALLOW, None, IPv6Network("::/0"))
    ping = AclRule(110, Protocol.ICMPV6, Action.ALLOW)
    assert chains("x", (four, six, ping)) == {"x": (four, REST), f"x{UNREACHED}": (six, ping)}
    assert chains("x", (four, six, ping), dual=True) == {
        "x": (Lead(f"x{SIX}", six=True), four, REST), f"x{SIX}": (six, ping, REST)}


def test_later_fragments_pass_where_any_fragment_may() -> None:
    deny, allow = (AclRule(number, Protocol.UDP, action, Ports(53, 53)) for number, action in (
        (90, Action.DENY), (100, Action.ALLOW)))
    found = chains("x", (deny, allow))
    assert found["x"] == (Lead(f"x{LATER}", later=True), deny, allow, REST)
    # One that denies ports says nothing of what has none.
    assert found[f"x{LATER}"] == (replace(allow, ports=None), REST)
    assert chains("x", (AclRule(1, Protocol.UDP, Action.DENY),)).keys() == {"x"}


@given(made(AclRule))
def test_words_say_all_but_the_description(one: AclRule) -> None:
    assert from_words(in_words(one)) == replace(one, description="")


@pytest.mark.parametrize("words", ["", "100 tcp 80 any", "100 tcp 80 any maybe", "0x64 tcp any any allow",
                                   "100 tcp 80-80 any allow", "100 tcp any 10.0.0.1/8 allow"])
def test_other_words_are_not_ours(words: str) -> None:
    with pytest.raises(ValueError, match="."):
        from_words(words)


def table(*acls: Acl) -> Acls:
    edges = tuple(Edge(f"s{number}", IPv4Address("10.0.1.0") + 256 * number, one.name,
                       (f"s-{number}", f"i-{number}")) for number, one in enumerate(acls))
    return Acls("vpc1", ROUTER, tuple(Listed(one.name, tuple(map(in_words, one.ingress)),
                                             tuple(map(in_words, one.egress))) for one in acls), edges)


BIG = table(Acl("big", numbered([*far_ends(120), *ALLOWED]), numbered(ports(130))),
            Acl("small", numbered(ALLOWED)))


DUAL = replace(BIG, prefix=IPv6Network("fd00:0:0:100::/56"), acls=(*BIG.acls, *table(Acl("six", numbered([
        AclRule(1, Protocol.TCP, Action.ALLOW, Ports(80, 90), IPv6Network("fd00::/16")),
        AclRule(1, Protocol.ICMPV6, Action.ALLOW),
        AclRule(1, Protocol.ALL, Action.DENY, None, IPv6Network("::/0"))]), numbered([
            AclRule(1, Protocol.UDP, Action.DENY, None, IPv6Network(SIXTH + 7 * number))
            for number in range(150)]))).acls))
"""The same and one more in a VPC with IPv6."""


def test_of_ipv6_too() -> None:
    held = held_in(acl_table(DUAL))
    assert held is not None
    assert (held.near, held.prefix, held.acls) == ((ROUTER,), DUAL.prefix, DUAL.acls)
    assert DUAL.differs(held) == []
    assert DUAL.differs(replace(held, prefix=None)) == ["its IPv6 prefix is missing"]


def test_what_nft_lists_is_read_back() -> None:
    held = held_in(acl_table(BIG))
    assert held is not None
    assert (held.near, held.acls) == ((ROUTER,), BIG.acls)
    assert BIG.differs(held) == []
    other = held_in(acl_table(replace(BIG, edges=BIG.edges[:1], acls=BIG.acls[::-1])))
    assert other is not None
    assert BIG.differs(other) == [f"its subnets differ ({name})" for name in (
        "edges", "subnets", "inside", "out", "in")]


def damaged() -> Mapping[str, object]:
    """Each rule and chain in turn lost, and each rule's verdict another; then something more."""
    found = {}
    whole = acl_table(table(Acl("a", numbered(ALLOWED), numbered(ALLOWED))))
    for number, item in enumerate(whole):
        if "rule" in item and "comment" not in item["rule"]:
            found[f"{number} lost"] = [*whole[:number], *whole[number + 1:]]
        if "rule" in item:
            other = {"rule": {**item["rule"], "expr": [*item["rule"]["expr"][:-1], {"continue": None}]}}
            found[f"{number} other"] = [*whole[:number], other, *whole[number + 1:]]
        if "hook" in item.get("chain", {}):
            other = {"chain": {**item["chain"], "policy": "drop"}}
            found[f"{number} policy"] = [*whole[:number], other, *whole[number + 1:]]
    found["a rule more"] = [*whole, {"rule": {"chain": "in-a", "expr": [{"accept": None}]}}]
    found["a chain more"] = [*whole, {"chain": {"name": "mine"}}]
    found["a set more"] = [*whole, {"set": {"name": "mine", "elem": []}}]
    return found


@pytest.mark.parametrize("listed", damaged().values(), ids=damaged())
def test_a_table_with_what_is_not_ours_is_not_believed(listed: list[dict[str, object]]) -> None:
    assert held_in(listed) is None


def test_counters_are_summed_by_rule() -> None:
    rules = [item["rule"] for item in acl_table(BIG)
             if item.get("rule", {}).get("chain", "").startswith("in-big")]
    found = counted(rules)
    many = sum(rule.get("comment", "").endswith("121 tcp 443 any allow") or
               rule.get("comment", "") == "fragments of 121 tcp any any allow" for rule in rules)
    assert many > 2
    assert found["121"] == (3 * many, 7 * many)
    assert set(found) == {*map(str, range(1, 123)), "*"}


def test_a_change_leaves_other_acls_alone() -> None:
    small = Listed("small", ("5 icmp any any deny",))
    after = replace(BIG, acls=(BIG.acls[0], small))
    text = str(after.change(BIG)[0].text)  # type: ignore[attr-defined]
    assert "small" in text
    assert "big" not in text
    assert after.change(after) == ()
    assert "delete table" in replace(after, gateway=IPv4Address("10.0.0.9")).change(BIG)[0].text  # type: ignore[attr-defined]
