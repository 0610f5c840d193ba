"""A policy as the iptables rules of its subnet's namespace, and the counters of those rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model.naming import POLICY_IN
from vpcctl_lib.model.topology import Action, Policy, Ports, Protocol, Rule

INGRESS_TREE, EGRESS_TREE = "VPCCTL-IN-", "VPCCTL-OUT-"
MANY = 64
"""From this many rules on, they become a tree: a shorter list is easier to understand as it is."""

_TARGETS = {Action.ALLOW: "ACCEPT", Action.DENY: "DROP"}
# iptables-save puts the comment in quotes.
_TAGGED = re.compile(r'.*--comment ("?)vpcctl:((?:ingress|egress)(?:\[\d+\]|\.default))\1(?: |$)', re.DOTALL)


@frozen
class Filter:
    """The rules of a built-in chain, each as the text after `-A INPUT `, and the chains they lead to."""

    rules: tuple[str, ...]
    inner: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def ingress_filter(policy: Policy) -> Filter:
    """INPUT, so that a packet meets few rules even if there are many."""
    return _filter(ingress_rules(policy), policy.ingress, (INGRESS_TREE, "-s"))


def egress_filter(policy: Policy) -> Filter:
    """OUTPUT, likewise."""
    return _filter(egress_rules(policy), policy.egress or (), (EGRESS_TREE, "-d"))


def is_ingress(chain: str) -> bool:
    """Whether a chain of a subnet's namespace is for incoming packets."""
    return chain in ("INPUT", POLICY_IN) or chain.startswith(INGRESS_TREE)


def _filter(plain: tuple[str, ...], rules: tuple[Rule, ...], tree: tuple[str, str]) -> Filter:
    if len(rules) < MANY:
        return Filter(plain)
    # Imported late: few policies are as long.
    from vpcctl_lib.firewall.decision_tree import Tree
    from vpcctl_lib.firewall.splits import line

    grown = Tree(*tree)
    before = len(plain) - len(rules) - 1
    read = grown.grow([line(rule, text) for rule, text in zip(rules, plain[before:-1], strict=True)])
    return Filter((*plain[:before], *read, plain[-1]), grown.chains)


def ingress_rules(policy: Policy) -> tuple[str, ...]:
    """The rules of INPUT, in order: each is the text after `-A INPUT `."""
    return _chain("ingress", policy.ingress, policy.default)


def egress_rules(policy: Policy) -> tuple[str, ...]:
    """The rules of OUTPUT, in order: each is the text after `-A OUTPUT `; none if it is open."""
    return () if policy.egress is None else _chain("egress", policy.egress, policy.default)


def counters(held: Saved) -> dict[str, tuple[int, int]]:
    """Packets and bytes by rule (`ingress[0]`, `ingress.default`), of what was saved with counters.

    A rule may be in several chains; a packet meets one of them.
    """
    found: dict[str, tuple[int, int]] = {}
    for _, rule, counted in held.counted():
        tag = _TAGGED.match(rule) if counted else None
        if tag:
            packets, size = map(int, counted[1:-1].split(":"))
            before = found.get(tag[2], (0, 0))
            found[tag[2]] = (before[0] + packets, before[1] + size)
    return found


def _chain(direction: str, rules: tuple[Rule, ...], default: Action) -> tuple[str, ...]:
    loopback = "-i lo" if direction == "ingress" else "-o lo"
    return (
        # RELATED lets in the ICMP errors about a connection: path MTU discovery fails without them.
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        f"{loopback} -j ACCEPT",
        # A FIN, Xmas or NULL scan fits no connection, and would pass a rule that opens the port.
        "-m conntrack --ctstate INVALID -j DROP",
        *(rule_line(direction, number, rule) for number, rule in enumerate(rules)),
        default_line(direction, default),
    )


def default_line(direction: str, default: Action) -> str:
    """The last rule of a direction."""
    return f"{_tag(f'{direction}.default')} -j {_TARGETS[default]}"


def rule_line(direction: str, number: int, rule: Rule) -> str:
    """The rule of that number in its direction's list."""
    far_end = "-s" if direction == "ingress" else "-d"
    network = "" if rule.network is None else f"{far_end} {rule.network}"
    tag = _tag(f"{direction}[{number}]")
    words = (network, _match(rule.protocol, rule.ports), tag, f"-j {_TARGETS[rule.action]}")
    return " ".join(filter(None, words))


def _match(protocol: Protocol, ports: Ports | None) -> str:
    if protocol is Protocol.ALL:
        return ""
    if ports is None:
        return f"-p {protocol.value}"
    span = str(ports).replace("-", ":")
    return f"-p {protocol.value} -m {protocol.value} --dport {span}"


def _tag(index: str) -> str:
    """The comment by which a rule's counters are found again."""
    return f"-m comment --comment vpcctl:{index}"
