"""A policy as the iptables rules of its subnet's namespace, and the counters of those rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from vpcctl_lib.firewall.families import BITS, ERRORS, word
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import POLICY_IN
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule, concerns

INGRESS, EGRESS = "ingress", "egress"
INGRESS_TREE, EGRESS_TREE = "VPCCTL-IN-", "VPCCTL-OUT-"
TREES = {INGRESS: INGRESS_TREE, EGRESS: EGRESS_TREE}
FAR_ENDS = {INGRESS: "-s", EGRESS: "-d"}
"""iptables' options for the far end."""

OTHERS, ANY, BETWEEN = "OTHERS", "any", "~"
"""The end of the name of the chain with notes, and the words there."""

MANY = 64
"""From this many rules on, they become a tree: a shorter list is easier to understand as it is."""

_TARGETS = {Action.ALLOW: "ACCEPT", Action.DENY: "DROP"}
# iptables-save puts the comment in quotes.
_TAGGED = re.compile(
    r'.*--comment ("?)vpcctl:((?:[a-z0-9-]+:)?(?:ingress|egress)(?:\[\d+\]|\.default))\1(?: |$)', re.DOTALL)


@frozen
class Filter:
    """The rules of a built-in chain, each as the text after `-A INPUT `, and the chains they lead to."""

    rules: tuple[str, ...]
    inner: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def ingress_filter(policy: Policy, family: Family = Family.INET, alone: bool = True) -> Filter:
    """INPUT of a family, so that a packet meets few rules even if there are many.

    Where it is alone, the rules of the other family are noted for a lost record.
    """
    return _filter(INGRESS, policy.ingress, policy.default, family, alone)


def egress_filter(policy: Policy, family: Family = Family.INET, alone: bool = True) -> Filter:
    """OUTPUT, likewise; nothing if it is open."""
    return Filter(()) if policy.egress is None else \
        _filter(EGRESS, policy.egress, policy.default, family, alone)


def is_ingress(chain: str) -> bool:
    """Whether a chain of a subnet's namespace is for incoming packets."""
    return chain in ("INPUT", POLICY_IN) or chain.startswith(INGRESS_TREE)


def _filter(direction: str, rules: Sequence[Rule], default: Action, family: Family, alone: bool) -> Filter:
    texts = _texts(direction, rules, family)
    found = filtered(direction, [rules[number] for number in texts], list(texts.values()),
                     (default_line(direction, default),), family)
    others = tuple(note(direction, number, rule) for number, rule in enumerate(rules)
                   if alone and number not in texts)
    return replace(found, inner={**found.inner, TREES[direction] + OTHERS: others}) if others else found


def note(direction: str, number: int, rule: Rule) -> str:
    """The rule of a family that no packet there has: its comment has all of it, and nothing leads to it."""
    words = (f"{direction}[{number}]", rule.protocol.value, str(rule.ports or ANY), str(rule.network or ANY),
             rule.action.value)
    return f"{_tag(BETWEEN.join(words))} -j RETURN"


def filtered(direction: str, rules: Sequence[Rule], texts: Sequence[str], last: Sequence[str],
             family: Family = Family.INET) -> Filter:
    """The built-in chain of these rules, whose texts become a tree if they are many; then comes the last.

    All of the rules concern that family.
    """
    openings = _openings(direction, family)
    if len(rules) < MANY:
        return Filter((*openings, *texts, *last))
    # Imported late: few policies are as long.
    from vpcctl_lib.firewall.decision_tree import Tree
    from vpcctl_lib.firewall.splits import FarEnd, line

    grown = Tree(TREES[direction], FarEnd(FAR_ENDS[direction], BITS[family]))
    read = grown.grow([line(rule, text) for rule, text in zip(rules, texts, strict=True)])
    return Filter((*openings, *read, *last), grown.chains)


def ingress_rules(policy: Policy, family: Family = Family.INET) -> tuple[str, ...]:
    """The rules of INPUT, in order: each is the text after `-A INPUT `."""
    return _chain(INGRESS, policy.ingress, policy.default, family)


def egress_rules(policy: Policy, family: Family = Family.INET) -> tuple[str, ...]:
    """The rules of OUTPUT, in order: each is the text after `-A OUTPUT `; none if it is open."""
    return () if policy.egress is None else _chain(EGRESS, policy.egress, policy.default, family)


def counters(*saved: Saved) -> dict[str, tuple[int, int]]:
    """Packets and bytes by rule (`ingress[0]`, `ingress.default`), of what was saved with counters.

    A rule may be in several chains, also in those of both families; a packet meets one of them.
    """
    found: dict[str, tuple[int, int]] = {}
    for _, rule, counted in (one for held in saved for one in held.counted()):
        tag = _TAGGED.match(rule) if counted else None
        if tag:
            packets, size = map(int, counted[1:-1].split(":"))
            before = found.get(tag[2], (0, 0))
            found[tag[2]] = (before[0] + packets, before[1] + size)
    return found


def _chain(direction: str, rules: Sequence[Rule], default: Action, family: Family) -> tuple[str, ...]:
    return (*_openings(direction, family), *_texts(direction, rules, family).values(),
            default_line(direction, default))


def _openings(direction: str, family: Family) -> tuple[str, ...]:
    """What comes before all rules."""
    loopback = "-i lo" if direction == INGRESS else "-o lo"
    return (
        # RELATED lets in the ICMP errors about a connection: path MTU discovery fails without them.
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        f"{loopback} -j ACCEPT",
        *(ERRORS if family is Family.INET6 else ()),
        # A FIN, Xmas or NULL scan fits no connection, and would pass a rule that opens the port.
        "-m conntrack --ctstate INVALID -j DROP",
    )


def _texts(direction: str, rules: Sequence[Rule], family: Family) -> dict[int, str]:
    """By number, the rules that concern a family."""
    return {number: rule_line(direction, number, rule) for number, rule in enumerate(rules)
            if concerns(rule, family)}


def default_line(direction: str, default: Action, of: str = "") -> str:
    """The last rule of a direction."""
    return f"{_tag(f'{of}{direction}.default')} -j {_TARGETS[default]}"


def rule_line(direction: str, number: int, rule: Rule) -> str:
    """The rule of that number in its direction's list."""
    return tagged_line(direction, f"{direction}[{number}]", rule)


def tagged_line(direction: str, tag: str, rule: Rule, condition: str = "") -> str:
    """A rule with that tag, and a condition of iptables besides its own."""
    network = "" if rule.network is None else f"{FAR_ENDS[direction]} {rule.network}"
    words = (network, _match(rule.protocol, rule.ports), condition, _tag(tag), f"-j {_TARGETS[rule.action]}")
    return " ".join(filter(None, words))


def _match(protocol: Protocol, ports: Ports | None) -> str:
    if protocol is Protocol.ALL:
        return ""
    if ports is None:
        return f"-p {word(protocol)}"
    span = str(ports).replace("-", ":")
    return f"-p {protocol.value} -m {protocol.value} --dport {span}"


def _tag(index: str) -> str:
    """The comment by which a rule's counters are found again."""
    return f"-m comment --comment vpcctl:{index}"
