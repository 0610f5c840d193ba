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
from tests.dear import EVERYTHING, examples
from tests.fields import made
from tests.unit.listing import acl_table
from vpcctl_lib.firewall import acl_chains
from vpcctl_lib.firewall.acl_chains import (
    LATER,
    NAMED,
    SIX,
    UNREACHED,
    Branch,
    Chains,
    Field,
    Fork,
    Lead,
    Line,
    chains,
)
from vpcctl_lib.firewall.acl_nft import Direction, counted, seen, text
from vpcctl_lib.firewall.acl_words import from_words, in_words
from vpcctl_lib.firewall.families import BITS
from vpcctl_lib.model.acls import REST, in_force
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import (
    Acl,
    AclRule,
    Action,
    Ports,
    Protocol,
    concerns,
    family_of,
)
from vpcctl_lib.resources.acl_table import Edge, Listed, held_in
from vpcctl_lib.resources.acls import Acls

ROUTER = IPv4Address("10.0.0.1")
PORTED = (Protocol.TCP, Protocol.UDP)
PORTS_OF = {Field.TCP_PORT: Protocol.TCP, Field.UDP_PORT: Protocol.UDP}


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


_asked: dict[int, Asked] = {}
"""What each rule asks, by its identity, which no other gets while it is in here: to hash it takes longer."""


def asked(rule: AclRule) -> Asked:
    """The same for all addresses, or all ports, where the rule names none."""
    if id(rule) not in _asked:
        _asked[id(rule)] = _taken_apart(rule)
    return _asked[id(rule)]


def _taken_apart(rule: AclRule) -> Asked:
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
        value = packet.port if packet.protocol is PORTS_OF[fork.field] else None
    return next((one.chain for one in fork.branches
                 if value is not None and one.first <= value <= one.last), "")


SIXTH = 0xFD << 120
FOURTH = tuple(one for one in Protocol if one is not Protocol.ICMPV6)
"""The protocols of IPv4."""


def of_either(draw: random.Random, number: int) -> AclRule:
    """A rule of IPv4, of IPv6 or of both."""
    one = rule(draw, number)
    if one.protocol is Protocol.ICMP and draw.random() < 0.5:
        one = replace(one, protocol=Protocol.ICMPV6, network=None)
    if one.network is None or one.protocol is Protocol.ICMP or draw.random() < 0.5:
        return one
    return replace(one, network=IPv6Network(
        (draw.choice((draw.getrandbits(128), SIXTH + draw.getrandbits(10))),
         draw.choice((8, 32, 64, 126, 128))), strict=False))


def rule(draw: random.Random, number: int) -> AclRule:
    """A rule whose edges often touch those of others."""
    protocol = draw.choice(FOURTH)
    first = draw.choice((1, 80, 1024, draw.randint(1, 60000)))
    ports = Ports(first, min(65535, first + draw.choice((0, 0, 9, 40000)))) \
        if protocol in PORTED and draw.random() < 0.7 else None
    network = IPv4Network((draw.choice((draw.getrandbits(32), 0x0A000000 + draw.getrandbits(10))),
                           draw.choice((8, 24, 28, 30, 32))), strict=False)
    return AclRule(number, protocol, draw.choice(list(Action)), ports,
                   network if draw.random() < 0.8 else None)


def packets(rules: tuple[AclRule, ...], draw: random.Random, count: int,
            family: Family = Family.INET) -> list[Packet]:
    """Packets at and beside the edges of the rules, and others."""
    ends, ports = [0, 2**BITS[family] - 1, 0x0A000001 if family is Family.INET else SIXTH], [1, 80, 65535]
    protocols = (*FOURTH[:3], None) if family is Family.INET else (*NAMED, None)
    for one in rules:
        if one.network and family_of(one.network) is family:
            first, last = int(one.network.network_address), int(one.network.broadcast_address)
            ends += [max(first - 1, 0), first, last, min(last + 1, 2**BITS[family] - 1)]
        if one.ports:
            ports += [max(one.ports.first - 1, 1), one.ports.first, one.ports.last,
                      min(one.ports.last + 1, 65535)]
    found = []
    for _ in range(count):
        protocol = draw.choice(protocols)
        port = draw.choice((*ports, None)) if protocol in PORTED else 0
        found.append(Packet(protocol, draw.choice(ends), port, family))
    return found


def agree(rules: tuple[AclRule, ...], draw: random.Random, count: int = 200) -> int:
    """The chains decide as the numbers do; the most lines that a packet meets."""
    turns, most = list(map(asked, in_force(rules))), 0
    trees = {dual: chains("x", rules, dual) for dual in (False, True)}
    # Whatever the families: a lost record is rebuilt from the chains.
    for found in trees.values():
        assert {line.number for lines in found.values() for line in lines if isinstance(line, AclRule)} \
            == {one.rule.number for one in turns}
    for dual, family in ((False, Family.INET), (True, Family.INET), (True, Family.INET6)):
        found = trees[dual]
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
    agree(tuple(of_either(draw, number) for number in range(1, count + 1)), draw)


@examples(25)
@given(st.integers(0, 2**32), st.sampled_from((20, 60, 150)))
def test_a_tree_decides_as_the_numbers_do(seed: int, count: int) -> None:
    draw = random.Random(seed)  # noqa: S311
    before = acl_chains.MANY
    # So that small lists become trees, too.
    acl_chains.MANY = acl_chains.LEAF
    try:
        agree(tuple(of_either(draw, number) for number in range(1, count + 1)), draw)
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
    # Those of both kinds are these and more.
    pytest.param(lambda: [*far_ends(10_000), AclRule(1, Protocol.ALL, Action.ALLOW)], 30,
                 marks=pytest.mark.slow),
    pytest.param(lambda: [*far_ends(10_000), *ALLOWED], 30, marks=pytest.mark.slow),
    pytest.param(lambda: ports(10_000), 30, marks=pytest.mark.slow),
    (lambda: [*far_ends(5000), *ports(5000)], 50),
    pytest.param(lambda: [*far_ends(3000, Protocol.UDP), *ports(3000), *far_ends(3000, Protocol.TCP)], 60,
                 marks=() if EVERYTHING else pytest.mark.slow),
], ids=["far ends", "far ends and a few ports", "ports", "far ends, then ports", "by protocol"])
def test_a_packet_meets_few_of_ten_thousand(rules: Callable[[], list[AclRule]], most: int) -> None:
    assert agree(numbered(rules()), random.Random(1), 60 if EVERYTHING else 15) <= most  # noqa: S311


def ranges(count: int, protocol: Protocol = Protocol.UDP) -> list[AclRule]:
    """Ranges of ports that overlap."""
    return [AclRule(1, protocol, Action.ALLOW, Ports(5 * number + 1, 5 * number + 30))
            for number in range(count)]


def services(count: int) -> list[AclRule]:
    """Ports from networks, of two protocols in turns; what follows is for all of them."""
    return [AclRule(1, PORTED[number % 2], Action.ALLOW, Ports(100 + number % 7, 100 + number % 9),
                    IPv4Network((0x0A000000 + (number << 8), 24))) if number % 7 <= number % 9 else
            AclRule(1, Protocol.ICMP, Action.ALLOW, None, IPv4Network((0x0A000000 + (number << 10), 22)))
            for number in range(count)]


def inside_each_other(count: int) -> list[AclRule]:
    """Networks inside each other, which no split of far ends takes apart, and ports behind each."""
    return [AclRule(1, Protocol.ALL, Action.DENY, None, IPv4Network((0x0A000000, 8 + number % 24)))
            if number % 2 else AclRule(1, Protocol.TCP, Action.ALLOW, Ports(number + 1, number + 1))
            for number in range(count)]


@pytest.mark.parametrize(("rules", "size"), [
    (lambda: far_ends(101), (16, 118, 15, 10)),
    (lambda: [*far_ends(120), *ALLOWED], (50, 389, 48, 11)),
    (lambda: ports(130), (24, 286, 21, 12)),
    (lambda: ranges(130), (68, 274, 65, 6)),
    (lambda: services(200), (62, 475, 60, 11)),
    (lambda: inside_each_other(120), (5, 306, 2, 124)),
    (lambda: [*far_ends(90), *ports(90), *ranges(90), *services(90)], (191, 1427, 184, 30)),
    (lambda: [*far_ends(60, Protocol.UDP), AclRule(1, Protocol.TCP, Action.DENY), *ports(60)],
     (26, 269, 22, 64)),
], ids=["far ends", "and a few ports", "ports", "ranges", "services", "inside each other", "of all kinds",
        "behind a protocol"])
def test_how_large_trees_are(rules: Callable[[], list[AclRule]], size: tuple[int, ...]) -> None:
    """Chains, their lines, the ways of their look-ups, and the most lines that a packet meets."""
    held = numbered(rules())
    found = chains("x", held)
    lines = [line for one in found.values() for line in one]
    assert (len(found), len(lines), sum(len(line.branches) for line in lines if isinstance(line, Fork)),
            agree(held, random.Random(1), 60)) == size  # noqa: S311


def of_all_sorts(seed: int) -> tuple[AclRule, ...]:
    """Rules of a few protocols, of which a part is for all far ends, and a part for all ports."""
    draw = random.Random(seed)  # noqa: S311
    protocols = draw.sample(FOURTH, draw.choice((1, 2, 4)))
    to_all, of_all, wide = (draw.choice((0.0, 0.02, 0.1, 0.2)) for _ in range(3))
    found = []
    for _ in range(draw.choice((110, 150))):
        protocol, first = draw.choice(protocols), draw.choice((1, 80, 443, draw.randint(1, 65535)))
        last = 65535 if draw.random() < wide else min(first + draw.choice((0, 0, 9, 99)), 65535)
        network = IPv4Network((draw.choice((0, 1 << 31)), 1) if draw.random() < wide else (
            0x0A000000 + draw.getrandbits(16), draw.choice((20, 24, 28, 32, 32))), strict=False)
        found.append(AclRule(1, protocol, draw.choice(list(Action)),
                             Ports(first, last) if protocol in PORTED and draw.random() >= of_all else None,
                             None if draw.random() < to_all else network))
    return numbered(found)


@pytest.mark.parametrize(("seed", "size"), [*enumerate((
    (11, 276, 8), (3, 222, 1), (100, 542, 118), (8, 185, 5), (2, 113, 1), (3, 191, 0), (8, 533, 6),
    (54, 359, 51), (5, 115, 3), (119, 881, 116), (20, 362, 24), (3, 264, 1), (2, 111, 0), (9, 119, 7),
    (4, 175, 1), (26, 240, 24), (6, 266, 2), (27, 273, 24), (9, 186, 6), (3, 198, 0), (21, 472, 18),
    (2, 111, 0), (24, 246, 22), (11, 279, 7), (42, 384, 39), (38, 369, 41), (15, 241, 19), (16, 279, 12)))])
def test_how_large_trees_of_all_sorts_of_rules_are(seed: int, size: tuple[int, ...]) -> None:
    """Their chains, the lines of these, and the ways of look-ups."""
    found = chains("x", of_all_sorts(seed))
    lines = [line for one in found.values() for line in one]
    assert (len(found), len(lines), sum(len(one.branches) for one in lines if isinstance(one, Fork))) == size


@pytest.mark.parametrize(("room", "size"), [
    (0, (2, 483, 0)), (1, (9, 849, 6)), (2, (58, 784, 69)), (3, (119, 830, 130))])
def test_how_large_trees_are_that_may_not_be_deep(room: int, size: tuple[int, ...],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acl_chains, "ROOM", room)
    held = numbered([*far_ends(60), *ports(60), *services(60), *ranges(60)])
    found = chains("x", held)
    lines = [line for one in found.values() for line in one]
    assert (len(found), len(lines), sum(len(one.branches) for one in lines if isinstance(one, Fork))) == size
    agree(held, random.Random(1), 60)  # noqa: S311


def test_rules_of_all_protocols_alone_are_not_told_apart_by_them() -> None:
    rules = numbered([AclRule(1, Protocol.ALL, Action.DENY, None, IPv4Network(((number % 5) << 24, length)))
                      for length in range(8, 32) for number in range(1, 6)])
    forks = [line for lines in chains("x", rules).values() for line in lines if isinstance(line, Fork)]
    assert all(one.branches for one in forks)
    assert all(one.first <= one.last for fork in forks for one in fork.branches)
    assert Field.PROTOCOL not in {one.field for one in forks}
    agree(rules, random.Random(1))  # noqa: S311


def test_what_no_packet_reaches_is_kept_in_one_chain() -> None:
    rules = numbered([*far_ends(150), AclRule(1, Protocol.ALL, Action.ALLOW), *ports(2),
                      AclRule(1, Protocol.ICMPV6, Action.ALLOW)])
    assert chains("x", rules)[f"x{UNREACHED}"] == rules[151:]


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


def test_forks_by_each_field_are_read_back() -> None:
    one = table(Acl("all", numbered([*ports(60), *ranges(60), *far_ends(60)]), numbered(services(150))))
    held = held_in(acl_table(one))
    assert held is not None
    assert held.acls == one.acls


def test_what_nft_lists_is_read_back() -> None:
    held = held_in(acl_table(BIG))
    assert held is not None
    assert (held.near, held.acls) == ((ROUTER,), BIG.acls)
    assert BIG.differs(held) == []
    other = held_in(acl_table(replace(BIG, edges=BIG.edges[:1], acls=BIG.acls[::-1])))
    assert other is not None
    assert BIG.differs(other) == [f"its subnets differ ({name})" for name in (
        "edges", "subnets", "inside", "out", "in")]


FAR = Branch(0x0A000001, 0x0A000001, "a"), Branch(0x0A000002, 0x0A000009, "b")
WAYS = Branch(1, 5, "a"), Branch(7, 7, "b")


@pytest.mark.parametrize(("line", "chain", "ingress", "egress"), [
    (Lead("a"), "x", "goto a", "goto a"),
    (Lead("a", later=True), "x", *["ip frag-off & 0x1fff != 0 goto a"] * 2),
    (Lead("a", later=True), f"x{SIX}", *["frag frag-off != 0 goto a"] * 2),
    (Lead("a", six=True), "x", *["ether type ip6 goto a"] * 2),
    (Fork(Field.PROTOCOL, (Branch(0, 0, "a"), Branch(2, 2, "b"))), "x",
     *["meta l4proto vmap { tcp : goto a, icmp : goto b }"] * 2),
    (Fork(Field.FAR_END, FAR), "x", "ip saddr vmap { 10.0.0.1 : goto a, 10.0.0.2-10.0.0.9 : goto b }",
     "ip daddr vmap { 10.0.0.1 : goto a, 10.0.0.2-10.0.0.9 : goto b }"),
    (Fork(Field.FAR_END, (Branch(SIXTH, SIXTH + 1, "a"),)), f"x{SIX}",
     "ip6 saddr vmap { fd00::-fd00::1 : goto a }", "ip6 daddr vmap { fd00::-fd00::1 : goto a }"),
    (Fork(Field.TCP_PORT, WAYS), "x", *["tcp dport vmap { 1-5 : goto a, 7 : goto b }"] * 2),
    (Fork(Field.UDP_PORT, WAYS), "x", *["udp dport vmap { 1-5 : goto a, 7 : goto b }"] * 2)])
def test_what_leads_on_in_nft_s_words(line: Line, chain: str, ingress: str, egress: str) -> None:
    assert (text(line, Direction.INGRESS, chain), text(line, Direction.EGRESS, chain)) == (ingress, egress)


PORT = {"payload": {"protocol": "tcp", "field": "dport"}}


def match(left: object, right: object = 80) -> dict[str, object]:
    return {"match": {"op": "==", "left": left, "right": right}}


@pytest.mark.parametrize("expr", [
    7, [{"goto": {}}], [match(5)], [match({})], [match({"meta": {"key": "l4proto"}}, {"range": 5})]])
def test_a_rule_of_a_form_that_none_of_ours_has_is_only_itself(expr: object) -> None:
    (found,) = seen({"comment": "mine", "expr": expr}).parts
    assert seen({"comment": "mine", "expr": expr}).comment == "mine"
    assert found not in ([], (), "goto")
    assert seen({"comment": "mine", "expr": expr}) != seen({"comment": "mine", "expr": 8})
    assert len({found, seen({"expr": [match(PORT)]}).parts, seen({"expr": [{"accept": None}]}).parts}) == 3


@pytest.mark.parametrize(("expr", "parts"), [
    (["word", {"counter": {"packets": 1}}], ("word", "counter")), ([{}, {"drop": None}], ((), "drop")),
    ([{"vmap": {"key": PORT, "data": {"set": [[80, {"drop": None}], [81, {"goto": {"target": "a"}}]]}}}],
     (("vmap", ("tcp", "dport"), frozenset({(80, 80, ""), (81, 81, "a")})),)),
    ([match(PORT)], (("match", "==", ("tcp", "dport"), (80, 80)),))])
def test_each_part_of_a_rule_is_seen(expr: list[object], parts: tuple[object, ...]) -> None:
    assert seen({"expr": expr}).parts == parts


@pytest.mark.parametrize(("plain", "more"), [
    (PORT, {**PORT, "mask": 1}), (PORT, {"payload": {"protocol": "tcp", "field": "dport", "base": "th"}}),
    ({"meta": {"key": "l4proto"}}, {"meta": {"key": "l4proto"}, "mask": 1}),
    ({"meta": {"key": "l4proto"}}, {"meta": {"key": "l4proto", "mask": 1}})])
def test_a_field_with_something_more_is_another(plain: object, more: object) -> None:
    assert seen({"expr": [match(plain)]}) != seen({"expr": [match(more)]})


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
    assert counted([{"expr": [{"counter": {"packets": 3, "bytes": 7}}]}]) == {}


def test_a_change_leaves_other_acls_alone() -> None:
    small = Listed("small", ("5 icmp any any deny",))
    after = replace(BIG, acls=(BIG.acls[0], small))
    text = str(after.change(BIG)[0].text)  # type: ignore[attr-defined]
    assert "small" in text
    assert "big" not in text
    assert after.change(after) == ()
    assert "delete table" in replace(after, gateway=IPv4Address("10.0.0.9")).change(BIG)[0].text  # type: ignore[attr-defined]
