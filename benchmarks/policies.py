"""Big policies of many shapes, each of ten thousand rules, and packets that go to their edges; pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from benchmarks.walk import Packet
from vpcctl_lib.model.policies import Action, Ports, Protocol, Rule

MANY_RULES = 10_000
HALF = MANY_RULES // 2
ACTIONS = (Action.ALLOW, Action.DENY)
WITH_PORTS = (Protocol.TCP, Protocol.UDP)
FOURTH = tuple(one for one in Protocol if one is not Protocol.ICMPV6)
"""The protocols that packets of IPv4 have."""
NAMES = ("tcp", "udp", "icmp", "gre")
PRIVATE = 0x0A000000
ANY = (8, 12, 16, 20, 24, 28, 32)

Dice = random.Random
Rules = tuple[Rule, ...]


def service(number: int) -> Rule:
    """A source and a port, as a large customer has thousands of them."""
    span = Ports(1000 + number % 5000, 1000 + number % 5000 + (number % 3) * 10)
    network = IPv4Network((PRIVATE + (number << 8), 24))
    return Rule(WITH_PORTS[number % 2], ACTIONS[number % 5 == 0], span, network)


def tcp(first: int, last: int, number: int = 1, network: IPv4Network | None = None) -> Rule:
    """A rule for ports; every seventh denies."""
    return Rule(Protocol.TCP, ACTIONS[number % 7 == 0], Ports(first, last), network)


def deny(port: int) -> Rule:
    """Nothing gets to one port."""
    return Rule(Protocol.TCP, Action.DENY, Ports(port, port))


def host(number: int, action: Action = Action.DENY) -> Rule:
    """All that comes from one address."""
    return Rule(Protocol.ALL, action, None, IPv4Network(PRIVATE + number))


NUMBERED: dict[str, Callable[[int], Rule]] = {
    "sources and ports": service,
    "ranges inside each other": lambda n: tcp(30000 - n, 30000 + 2 * n, n),
    "a port from hosts": lambda n: tcp(443, 443, n, IPv4Network(PRIVATE + n)),
    "few services": lambda n: tcp(80 + n % 8, 80 + n % 8, n, IPv4Network((PRIVATE + (n // 8 << 8), 24))),
    "hosts, then ports": lambda n: host(n) if n < HALF else tcp(n, n),
    "sources, and a port here and there": lambda n: tcp(n + 1, n + 1) if n % 100 == 0 else service(n),
    "hosts and ports in turns": lambda n: host(n, Action.ALLOW) if n % 2 else tcp(1 + n * 6, 1 + n * 6),
    "hosts allowed and ports denied in turns":
        lambda n: host(n, Action.ALLOW) if n % 2 else deny(1 + n * 6),
    "the same": lambda _: service(7),
}
"""Rules by their number."""


def _one_port(dice: Dice) -> Ports:
    port = dice.randint(1, 65535)
    return Ports(port, port)


def _some_ports(dice: Dice) -> Ports:
    first = dice.randint(1, 65535)
    return Ports(first, min(65535, first + dice.choice((0, 0, 10, 1000, 20000))))


def _network(dice: Dice, lengths: Sequence[int] = (32,), bits: int = 24) -> IPv4Network:
    start = dice.getrandbits(bits) | (PRIVATE if bits < 32 else 0)
    return IPv4Network((start, dice.choice(lengths)), strict=False)


def _hosts_or_ports(dice: Dice) -> Rule:
    if dice.random() < 0.5:
        return Rule(Protocol.ALL, dice.choice(ACTIONS), None, _network(dice))
    return Rule(Protocol.TCP, dice.choice(ACTIONS), _one_port(dice))


def _mixed(dice: Dice, lengths: Sequence[int] = (32,), ports: Callable[[Dice], Ports] = _one_port,
           bits: int = 24) -> Rule:
    """Any protocol, with or without a port, with or without a source, allowed or denied."""
    protocol = dice.choice(FOURTH)
    span = ports(dice) if protocol in WITH_PORTS and dice.random() < 0.67 else None
    # Without either, one of the first rules would speak for all that follow.
    network = _network(dice, lengths, bits) if span is None or dice.random() < 0.5 else None
    return Rule(protocol, dice.choice(ACTIONS), span, network)


THROWN: dict[str, Callable[[Dice], Rule]] = {
    "ports": lambda dice: Rule(dice.choice(WITH_PORTS), dice.choice(ACTIONS), _one_port(dice)),
    "hosts": lambda dice: Rule(Protocol.ALL, dice.choice(ACTIONS), None, _network(dice, bits=32)),
    "sources of any length": lambda dice: Rule(Protocol.ALL, dice.choice(ACTIONS), None,
                                               _network(dice, ANY, 32)),
    "hosts with ports": lambda dice: Rule(dice.choice(WITH_PORTS), dice.choice(ACTIONS), _one_port(dice),
                                          _network(dice)),
    "hosts or ports": _hosts_or_ports,
    "hosts, ports or both, any protocol": _mixed,
    "networks, ports or both, any protocol": lambda dice: _mixed(dice, (24,)),
    "prefixes and ranges that overlap": lambda dice: _mixed(dice, ANY[2:], _some_ports),
    "anything": lambda dice: _mixed(dice, ANY, _some_ports, 32),
}
"""Rules by the dice."""

DISTINCT = (*NUMBERED, *THROWN)
SHAPES = (*DISTINCT, "a mixture with duplicates")


def policy(shape: str, count: int = MANY_RULES) -> Rules:
    """Rules of that shape, always the same ones."""
    dice = random.Random(shape)  # noqa: S311 - no secret
    if shape in NUMBERED:
        return tuple(map(NUMBERED[shape], range(count)))
    if shape in THROWN:
        return tuple(THROWN[shape](dice) for _ in range(count))
    few = [_mixed(dice) for _ in range(count // 3)]
    return tuple(dice.choice(few) for _ in range(count))


def document(rules: Sequence[Rule]) -> dict[str, list[dict[str, object]]]:
    """As a policy file has it."""
    return {"ingress": [_entry(rule) for rule in rules]}


def _entry(rule: Rule) -> dict[str, object]:
    entry: dict[str, object] = {"protocol": rule.protocol.value, "action": rule.action.value}
    if rule.ports:
        entry["port"] = str(rule.ports) if rule.ports.first < rule.ports.last else rule.ports.first
    if rule.network:
        entry["source"] = str(rule.network)
    return entry


def packets(rules: Sequence[Rule], count: int, seed: int = 1) -> dict[str, list[Packet]]:
    """So many for one of the last rules, for any rule, half for one and half for another, for none."""
    dice = random.Random(seed)  # noqa: S311 - no secret
    late = [_for(dice, rule) for rule in rules[-count:]]
    some = [_for(dice, dice.choice(rules)) for _ in range(count)]
    return {"late": late, "some": some,
            "both": [replace(one, port=other.port) for one, other in zip(some, late, strict=True)],
            "none": [Packet(dice.choice(NAMES), dice.getrandbits(32), 0) for _ in range(count)]}


def _for(dice: Dice, rule: Rule) -> Packet:
    """A packet that the rule matches, whatever stands before it."""
    protocol = dice.choice(NAMES) if rule.protocol is Protocol.ALL else rule.protocol.value
    network = rule.network or IPv4Network((PRIVATE, 8))
    ports = rule.ports or Ports(1, 65535)
    return Packet(protocol, dice.randint(*far_ends(network)), dice.randint(ports.first, ports.last))


def far_ends(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """The first and the last address; to index a network takes several times as long."""
    first = int(network.network_address)
    return first, first + (1 << network.max_prefixlen - network.prefixlen) - 1
