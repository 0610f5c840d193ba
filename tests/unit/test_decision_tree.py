"""Many rules as a tree: any packet meets few of them, and the same one decides as in their plain order."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib import splits
from vpcctl_lib.decision_tree import Tree
from vpcctl_lib.filter_rules import MANY, Filter, egress_filter, egress_rules, ingress_filter, ingress_rules
from vpcctl_lib.model import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.splits import line

MOST_WALKED = 100
MANY_RULES = 10_000
DEEPEST = 15
"""The kernel takes 16 levels, the built-in chain included."""


@dataclass(frozen=True)
class Packet:
    """What a rule of a policy can ask about; a protocol that no rule can name is `gre`."""

    protocol: str
    far_end: int
    port: int


class Walk:
    """A packet's way through chains, as iptables reads them."""

    def __init__(self, chains: Mapping[str, tuple[str, ...]], packet: Packet) -> None:
        self.chains = chains
        self.packet = packet
        self.read = 0
        self.deepest = 0

    def verdict(self, rules: Iterable[str], depth: int = 1) -> str | None:
        """The rule that decides; None if the packet comes to the end of the rules, or returns."""
        self.deepest = max(self.deepest, depth)
        for rule in rules:
            self.read += 1
            words = rule.split()
            if not self.matches(words):
                continue
            kind, target = words[-2:]
            if target == "RETURN":
                return None
            if target not in self.chains:
                return rule
            found = self.verdict(self.chains[target], depth + 1)
            if found or kind == "-g":
                return found
        return None

    def matches(self, words: list[str]) -> bool:
        """Whether all conditions of a rule hold for a new connection."""
        tests: dict[str, Callable[[str], bool]] = {
            "-p": lambda value: value == self.packet.protocol,
            "-s": self.is_within, "-d": self.is_within,
            "-i": lambda _: False, "-o": lambda _: False, "--ctstate": lambda _: False,
            "--dport": self.is_port,
        }
        return all(tests[name](value) for name, value in zip(words, words[1:], strict=False) if name in tests)

    def is_within(self, network: str) -> bool:
        address, _, length = network.partition("/")
        return (int(IPv4Address(address)) ^ self.packet.far_end) >> (32 - int(length)) == 0

    def is_port(self, span: str) -> bool:
        first, _, last = span.partition(":")
        return int(first) <= self.packet.port <= int(last or first)


def decided(rules: tuple[str, ...], packet: Packet, chains: Mapping[str, tuple[str, ...]]) -> str | None:
    return Walk(chains, packet).verdict(rules)


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
                        for edge in (int(rule.network[0]) - 1, int(rule.network[0]), int(rule.network[-1]),
                                     int(rule.network[-1]) + 1))})
    return [*(Packet(dice.choice(("tcp", "udp", "icmp", "gre")), end, dice.choice(ports)) for end in ends),
            *(Packet(dice.choice(("tcp", "udp")), dice.choice(ends), port) for port in ports)]


@given(st.lists(rules, min_size=MANY, max_size=3 * MANY), st.lists(packets, max_size=20),
       st.sampled_from(Action), st.integers(0, 99))
def test_the_verdict_is_that_of_the_plain_order(ingress: list[Rule], some: list[Packet], default: Action,
                                                seed: int) -> None:
    policy = Policy(tuple(ingress), tuple(ingress), default)
    for plain, found in ((ingress_rules(policy), ingress_filter(policy)),
                         (egress_rules(policy), egress_filter(policy))):
        for packet in (*some, *corners(policy.ingress, seed)):
            told, shall = decided(found.rules, packet, found.inner), decided(plain, packet, {})
            assert (told or "").split()[-1] == (shall or "").split()[-1]


@given(st.lists(rules, min_size=MANY, max_size=3 * MANY), st.integers(0, 99))
def test_the_rule_that_decides_is_the_first_that_matches(ingress: list[Rule], seed: int) -> None:
    """So that the counters are those of the plain order; all of one action may come in another one."""
    ingress[0] = replace(ingress[0], action=Action.DENY)
    ingress[1:] = [replace(rule, action=(Action.ALLOW, Action.DENY)[number % 2])
                   for number, rule in enumerate(ingress[1:])]
    policy = Policy(tuple(ingress))
    found = ingress_filter(policy)
    for packet in corners(policy.ingress, seed):
        told = decided(found.rules, packet, found.inner)
        assert told == decided(ingress_rules(policy), packet, {})


@given(st.lists(rules, min_size=MANY, max_size=2 * MANY))
def test_no_rule_is_lost(ingress: list[Rule]) -> None:
    policy = Policy(tuple(ingress))
    found = ingress_filter(policy)
    standing = {*found.rules, *(text for texts in found.inner.values() for text in texts)}
    assert set(ingress_rules(policy)) <= standing


def test_few_rules_stay_where_a_person_would_read_them() -> None:
    policy = Policy(tuple(Rule(Protocol.TCP, Action.ALLOW, Ports(n, n)) for n in range(1, MANY)))
    assert ingress_filter(policy) == Filter(ingress_rules(policy))
    assert egress_filter(policy) == Filter(())


def mixed(number: int) -> Rule:
    """A rule as a large customer has thousands of them."""
    protocol = (Protocol.TCP, Protocol.UDP)[number % 2]
    span = Ports(1000 + number % 5000, 1000 + number % 5000 + (number % 3) * 10)
    network = IPv4Network((0x0A000000 + (number << 8), 24))
    return Rule(protocol, ACTIONS[number % 5 == 0], span, network)


def tcp(first: int, last: int, number: int = 1, network: IPv4Network | None = None) -> Rule:
    """A rule for ports; every seventh denies."""
    return Rule(Protocol.TCP, ACTIONS[number % 7 == 0], Ports(first, last), network)


def hosts(number: int, action: Action = Action.DENY) -> Rule:
    """All that comes from one address."""
    return Rule(Protocol.ALL, action, None, IPv4Network(0x0A000000 + number))


ACTIONS = (Action.ALLOW, Action.DENY)
HALF = MANY_RULES // 2
SHAPES: dict[str, Callable[[int], Rule]] = {
    "sources and ports": mixed,
    "ports": lambda n: tcp(1 + n * 6, 1 + n * 6, n),
    "ranges": lambda n: tcp(30000 - n, 30000 + 2 * n, n),
    "a port from hosts": lambda n: tcp(443, 443, n, IPv4Network(0x0A000000 + n)),
    "scattered hosts": lambda n: hosts(n * 65537 % 2**27),
    "few services": lambda n: tcp(80 + n % 8, 80 + n % 8, n, IPv4Network((0x0A000000 + (n // 8 << 8), 24))),
    "hosts, then ports": lambda n: hosts(n) if n < HALF else tcp(n, n),
    "sources, and a port here and there": lambda n: tcp(n + 1, n + 1) if n % 100 == 0 else mixed(n),
    "hosts and ports in turns": lambda n: hosts(n, Action.ALLOW) if n % 2 else tcp(1 + n * 6, 1 + n * 6),
    "the same": lambda _: mixed(7),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_of_ten_thousand_rules_a_packet_meets_a_hundred(shape: str) -> None:
    policy = Policy(tuple(map(SHAPES[shape], range(MANY_RULES))))
    found = ingress_filter(policy)
    dice = random.Random(1)  # noqa: S311 - no secret
    for packet in corners(dice.sample(policy.ingress, 100), 1):
        walk = Walk(found.inner, packet)
        assert walk.verdict(found.rules)
        assert walk.read <= MOST_WALKED, packet
        assert walk.deepest <= DEEPEST
    assert sum(map(len, found.inner.values())) <= 4 * MANY_RULES


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
    tree = Tree("T-", "-s")
    top = tree.grow(texts)
    walks = [Walk(tree.chains, Packet("tcp", 0, port)) for port in range(1, 2001, 7)]
    assert all(walk.verdict(top) for walk in walks)
    assert max(walk.deepest for walk in walks) <= DEEPEST
