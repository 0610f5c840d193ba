"""Many rules as a tree: any packet meets few of them, and the same one decides as in their plain order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import policies
from benchmarks.policies import far_ends
from benchmarks.walk import Packet, Walk
from tests.dear import DEAR, by_lot
from vpcctl_lib.firewall import decision_tree, splits
from vpcctl_lib.firewall.decision_tree import COPIES, LEAF, WORTH_BLOCKS, Tree
from vpcctl_lib.firewall.filter_rules import (
    MANY,
    Filter,
    egress_filter,
    egress_rules,
    ingress_filter,
    ingress_rules,
)
from vpcctl_lib.firewall.splits import FarEnd, Line, Region, line
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule

MOST_LINES = 4
"""For each rule, on average."""

DEEPEST = 15
"""The kernel takes 16 levels, the built-in chain included."""


def decided(found: Filter, packet: Packet) -> str:
    return Walk(found.inner, packet).verdict(found.rules) or ""


class Plain:
    """The rules in their plain order, compared as what they are: to read the text of all takes far longer."""

    def __init__(self, rules: Sequence[Rule], texts: Sequence[str]) -> None:
        assert len(texts) == len(rules) + 4, "three before, and the default"
        *self._texts, self._default = texts[3:]
        self._rules = [_compared(rule) for rule in rules]

    def decided(self, packet: Packet) -> str:
        """The text of the first rule that matches."""
        for (protocol, low, high, first, last), text in zip(self._rules, self._texts, strict=True):
            if low <= packet.far_end <= high and first <= packet.port <= last \
                    and protocol in ("all", packet.protocol):
                return text
        return self._default


def _compared(rule: Rule) -> tuple[str, int, int, int, int]:
    ports, (first, last) = rule.ports, far_ends(rule.network) if rule.network else (0, 2**32 - 1)
    return (rule.protocol.value, first, last, ports.first if ports else 0, ports.last if ports else 65535)


# Few values, so that rules overlap, repeat and hide each other.
LENGTHS = (0, 8, 15, 16, 24, 31, 32)
EDGES = (0x0A000000, 0x0A000001, 0x0A000100, 0x0A010000, 0x0AFFFFFF, 0, 2**32 - 1)
addresses = st.sampled_from(EDGES) | st.integers(0, 2**32 - 1)
networks = st.builds(lambda address, length: IPv4Network((address, length), strict=False), addresses,
                     st.sampled_from(LENGTHS))
port = st.sampled_from((1, 22, 80, 81, 443, 8000, 65534, 65535)) | st.integers(1, 65535)
spans = st.builds(lambda one, other: Ports(min(one, other), max(one, other)), port, port) | port.map(
    lambda one: Ports(one, one))
rules = st.one_of(
    st.builds(Rule, st.sampled_from((Protocol.TCP, Protocol.UDP)), st.sampled_from(Action), st.none() | spans,
              st.none() | networks),
    st.builds(Rule, st.sampled_from((Protocol.ICMP, Protocol.ALL)), st.sampled_from(Action), st.none(),
              st.none() | networks))
packets = st.builds(Packet, st.sampled_from(("tcp", "udp", "icmp", "gre")), addresses,
                    st.integers(0, 65535) | port)


def corners(policy: Sequence[Rule], seed: int) -> list[Packet]:
    """Packets at the edges of the rules, and just outside."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    ports = sorted({0, 65535, *(edge for rule in policy if rule.ports
                                for edge in (rule.ports.first - 1, rule.ports.first, rule.ports.last,
                                             min(65535, rule.ports.last + 1)))})
    ends = sorted({0, *(edge % 2**32 for rule in policy if rule.network
                        for first, last in (far_ends(rule.network),)
                        for edge in (first - 1, first, last, last + 1))})
    return [*(Packet(dice.choice(("tcp", "udp", "icmp", "gre")), end, dice.choice(ports)) for end in ends),
            *(Packet(dice.choice(("tcp", "udp")), dice.choice(ends), port) for port in ports)]


@given(st.lists(rules, min_size=MANY, max_size=3 * MANY), st.lists(packets, max_size=20),
       st.sampled_from(Action), st.integers(0, 99))
@DEAR
def test_the_verdict_is_that_of_the_plain_order_and_no_rule_is_lost(
        ingress: list[Rule], some: list[Packet], default: Action, seed: int) -> None:
    policy = Policy(tuple(ingress), tuple(ingress), default)
    for texts, found in ((ingress_rules(policy), ingress_filter(policy)),
                         (egress_rules(policy), egress_filter(policy))):
        plain = Plain(ingress, texts)
        for packet in (*some, *corners(policy.ingress, seed)):
            assert decided(found, packet).split()[-1] == plain.decided(packet).split()[-1]
        assert set(texts) <= {*found.rules, *(text for texts in found.inner.values() for text in texts)}


@given(st.lists(rules, min_size=MANY, max_size=3 * MANY), st.integers(0, 99))
@DEAR
def test_the_rule_that_decides_is_the_first_that_matches(ingress: list[Rule], seed: int) -> None:
    """So that the counters are those of the plain order; all of one action may come in another one."""
    ingress[0] = replace(ingress[0], action=Action.DENY)
    ingress[1:] = [replace(rule, action=(Action.ALLOW, Action.DENY)[number % 2])
                   for number, rule in enumerate(ingress[1:])]
    policy = Policy(tuple(ingress))
    found, plain = ingress_filter(policy), Plain(ingress, ingress_rules(policy))
    for packet in corners(policy.ingress, seed):
        assert decided(found, packet) == plain.decided(packet)


hosts = st.builds(Rule, st.just(Protocol.ALL), st.sampled_from(Action), st.none(), networks)
ports_only = st.builds(Rule, st.sampled_from((Protocol.TCP, Protocol.UDP)), st.sampled_from(Action), spans)
in_turns = st.lists(st.tuples(hosts, ports_only | rules), min_size=MANY // 2, max_size=MANY).map(
    lambda pairs: [rule for pair in pairs for rule in pair])


@given(in_turns, st.sampled_from((2, 5, 24)), st.integers(0, 2**32 - 1), st.integers(0, 99))
@DEAR
def test_rules_of_two_kinds_in_turns(ingress: list[Rule], blocks: int, mark: int, seed: int) -> None:
    """With few and short blocks, so that there are blocks of blocks; others' bits of the mark stay."""
    policy = Policy(tuple(ingress))
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in ((decision_tree, "BLOCKS", blocks), (decision_tree, "LEAF", 2),
                                    (splits, "LEAF", 2), (decision_tree, "WORTH_BLOCKS", 4)):
            patch.setattr(module, name, value)
        found = ingress_filter(policy)
    plain = Plain(ingress, ingress_rules(policy))
    for packet in corners(policy.ingress, seed):
        walk = Walk(found.inner, replace(packet, mark=mark))
        told = walk.verdict(found.rules) or ""
        assert told.split()[-1] == plain.decided(packet).split()[-1]
        assert walk.mark in (mark, mark & ~decision_tree.NOTES)
        assert walk.deepest <= DEEPEST


def test_few_rules_stay_where_a_person_would_read_them() -> None:
    policy = Policy(tuple(Rule(Protocol.TCP, Action.ALLOW, Ports(n, n)) for n in range(1, MANY)))
    assert ingress_filter(policy) == Filter(ingress_rules(policy))
    assert egress_filter(policy) == Filter(())


LIMITS = {2000: (70, 160), policies.MANY_RULES: (100, 200)}
"""Rules that a packet meets of so many: of those that can be told apart, and of those that take blocks."""

IN_BLOCKS = frozenset((
    "hosts allowed and ports denied in turns", "hosts or ports", "hosts, ports or both, any protocol",
    "networks, ports or both, any protocol", "prefixes and ranges that overlap", "anything",
    "a mixture with duplicates"))

IN_ANY_ORDER = frozenset(("hosts and ports in turns",))
"""All are of one action: any that matches may decide."""


DEEPEST_SHAPES = ("sources, and a port here and there", "prefixes and ranges that overlap")
"""Of those that can be told apart, and of those that take blocks."""

PACKETS = 150
"""As many are sent through each; with --slow several hundreds."""

DEEP = by_lot(DEEPEST_SHAPES, 1, "deepest")
FEW = 8
"""As many shapes are tried; with --slow all."""

SIZES = [(shape, 2000) for shape in by_lot(list(policies.SHAPES), FEW, "shapes")] + [
    # Half a second each, for a tree that is one chain deeper than that of two thousand.
    pytest.param(shape, policies.MANY_RULES, marks=() if shape in DEEP else pytest.mark.slow)
    for shape in policies.SHAPES]


@pytest.mark.parametrize(("shape", "count"), SIZES)
def test_of_thousands_of_rules_a_packet_meets_few_and_the_first_that_matches_decides(
        shape: str, count: int) -> None:
    rules = policies.policy(shape, count)
    policy = Policy(rules)
    found = ingress_filter(policy)
    dice = random.Random(1)  # noqa: S311 - no secret
    most = LIMITS[count][shape in IN_BLOCKS]
    some = [packet for kind in policies.packets(rules, 100).values() for packet in kind]
    for packet in by_lot((*some, *corners(dice.sample(rules, 100), 1)), PACKETS, shape):
        walk = Walk(found.inner, packet)
        assert walk.verdict(found.rules)
        assert walk.read <= most, packet
        assert walk.deepest <= DEEPEST
        assert walk.mark == 0
    assert sum(map(len, found.inner.values())) <= MOST_LINES * count
    if shape not in IN_ANY_ORDER:
        plain = Plain(rules, ingress_rules(policy))
        for packet in (packet for kind in policies.packets(rules, 4, 2).values() for packet in kind):
            assert decided(found, packet) == plain.decided(packet)


def test_rules_that_no_packet_gets_to_are_kept_apart() -> None:
    everything = Rule(Protocol.ALL, Action.DENY)
    late = Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80))
    found = ingress_filter(Policy((everything, *[late] * MANY)))
    assert len(found.inner["VPCCTL-IN-UNREACHED"]) == MANY
    assert all("UNREACHED" not in rule for rule in found.rules)


def test_no_way_is_deeper_than_the_kernel_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "FANOUT", 2)
    texts = [line(Rule(Protocol.TCP, Action.ALLOW, Ports(n, n)), f"-p tcp -m tcp --dport {n} -j ACCEPT")
             for n in range(1, 2001)]
    tree = Tree("T-", FarEnd("-s"))
    top = tree.grow(texts)
    walks = [Walk(tree.chains, Packet("tcp", 0, port)) for port in range(1, 2001, 7)]
    assert all(walk.verdict(top) for walk in walks)
    assert max(walk.deepest for walk in walks) <= DEEPEST


def accepted(*rules: Rule) -> tuple[Line, ...]:
    """Lines in iptables' words; those for ports accept, and those for hosts drop."""
    found = (line(rule, "") for rule in rules)
    return tuple(one._replace(text=f"{one.test(FarEnd('-s'))} -j {'ACCEPT' if rule.ports else 'DROP'}")
                 for one, rule in zip(found, rules, strict=True))


def to_port(number: int, network: str = "") -> Rule:
    far_end = IPv4Network(network) if network else None
    return Rule(Protocol.TCP, Action.ALLOW, Ports(number, number), far_end)


def from_network(number: int) -> Rule:
    return Rule(Protocol.ALL, Action.DENY, None, IPv4Network((0x0A000000 + (number << 8), 24)))


def deepest(lines: tuple[Line, ...], room: int) -> int:
    tree = Tree("T-", FarEnd("-s"))
    top = tree._read(lines, Region(), COPIES, room)
    walks = [Walk(tree.chains, Packet("tcp", 0, port)) for port in range(1, 101)]
    assert all((walk.verdict(top) or "").endswith("ACCEPT") for walk in walks)
    return max(walk.deepest for walk in walks)


def test_chains_nest_as_deep_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "FANOUT", 2)
    single = accepted(*(to_port(port) for port in range(1, 401)))
    assert [deepest(single, room) for room in range(9)] == [1, 1, 3, 3, 4, 4, 5, 5, 6]
    in_turns = accepted(*(rule for n in range(100) for rule in (from_network(n), to_port(n + 1))))
    assert [deepest(in_turns, room) for room in range(7)] == [1, 1, 3, 4, 4, 6, 6]
    monkeypatch.setattr(decision_tree, "BLOCKS", 2)
    assert [deepest(in_turns, room) for room in range(6)] == [1, 1, 3, 4, 5, 6]


def test_as_many_rules_as_a_packet_may_meet_stay_a_list() -> None:
    for count, chains in ((LEAF, 0), (LEAF + 1, 4)):
        tree = Tree("T-", FarEnd("-s"))
        lines = accepted(*(to_port(port) for port in range(1, count + 1)))
        found = tree.grow(lines)
        assert (found == tuple(one.text for one in lines)) is (chains == 0)
        assert len(tree.chains) == chains


def test_two_kinds_in_turns_stay_a_list_as_long_as_blocks_are_no_shorter() -> None:
    rules = [rule for n in range(WORTH_BLOCKS) for rule in (from_network(n), to_port(n + 1))]
    for count, has_blocks in ((WORTH_BLOCKS, False), (WORTH_BLOCKS + 1, True)):
        tree = Tree("T-", FarEnd("-s"))
        tree._read(accepted(*rules[:count]), Region(), COPIES, 14)
        assert any("MARK" in text for texts in tree.chains.values() for text in texts) is has_blocks


def test_a_packet_between_the_ports_of_all_rules_returns() -> None:
    tree = Tree("T-", FarEnd("-s"))
    tree.grow(accepted(*(to_port(port, f"10.0.0.0/{8 + n}") for n in range(12) for port in (10, 1000))))
    assert [text for texts in tree.chains.values() for text in texts if "RETURN" in text] == [
        "-p tcp -m tcp --dport 11:999 -j RETURN"]


def test_what_is_read_is_not_kept_as_unreached() -> None:
    tree = Tree("T-", FarEnd("-s"))
    tree.grow(accepted(*(to_port(port) for port in range(1, 101))))
    assert "T-UNREACHED" not in tree.chains


def test_a_few_sections_are_read_one_after_the_other() -> None:
    rules = [*(from_network(n) for n in range(20)), *(to_port(n) for n in range(1, 21))]
    for count, lists in ((1, 2), (2, 4)):
        tree = Tree("T-", FarEnd("-s"))
        many = [replace(rule, network=IPv4Network((int(rule.network[0]) + (turn << 20), 24)))
                if rule.network else to_port(rule.ports.first + 100 * turn)  # type: ignore[union-attr]
                for turn in range(count) for rule in rules]
        found = tree._read(accepted(*many), Region(Protocol.TCP), COPIES, 14)
        assert len(found) == lists, "a chain each"


def test_a_chain_of_several_lists_leads_to_each() -> None:
    rules = [replace(rule, protocol=protocol) for protocol in (Protocol.TCP, Protocol.UDP)
             for rule in (*(from_network(n) for n in range(20)), *(to_port(n) for n in range(1, 21)))]
    tree = Tree("T-", FarEnd("-s"))
    top = tree.grow(accepted(*rules))
    verdicts = [Walk(tree.chains, Packet("tcp", 0, port)).verdict(top) or "" for port in range(1, 21)]
    assert all(verdict.endswith("ACCEPT") for verdict in verdicts)


def test_a_mark_that_a_packet_comes_with_leads_it_to_no_block() -> None:
    tree = Tree("T-", FarEnd("-s"))
    top = tree.grow(accepted(*(rule for n in range(WORTH_BLOCKS) for rule in (
        from_network(n), to_port(n + 1)))))
    for port in range(1, WORTH_BLOCKS + 1):
        walk = Walk(tree.chains, Packet("tcp", 0, port, mark=decision_tree.NOTES))
        assert (walk.verdict(top) or "").endswith(f"--dport {port} -j ACCEPT")
