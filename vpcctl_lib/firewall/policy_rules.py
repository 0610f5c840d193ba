"""A policy read back from the rules of its subnet's namespace, where root may have changed them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import ip_network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.families import named
from vpcctl_lib.firewall.filter_rules import (
    ANY,
    BETWEEN,
    EGRESS,
    FAR_ENDS,
    INGRESS,
    TREES,
    default_line,
    note,
    rule_line,
)
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.saves import Words, words
from vpcctl_lib.model.addressing import ANYWHERE, Family
from vpcctl_lib.model.naming import MARK, POLICY_IN, POLICY_OUT, POLICY_TABLE
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule, concerns

_CHAINS = {INGRESS: ("INPUT", POLICY_IN), EGRESS: ("OUTPUT", POLICY_OUT)}
"""By direction: the built-in chain, and the chain of ours where others may have rules, too."""

_RULE = re.compile(r"(?:ingress|egress)\[(\d{1,6})\]")
_NOTE = re.compile(rf"{_RULE.pattern}{BETWEEN}.*")


class Misread(VpcctlError):
    """A rule has our tag, but is not as vpcctl would write it."""


def policy_of(kernel: Kernel, space: str, beside: bool = False,
              families: Sequence[Family] = (Family.INET,)) -> Policy | None:
    """The policy in force in a machine's namespace, without its descriptions; None if there is none.

    The families are those that its VPC has.
    """
    default, ingress = _direction(kernel, space, INGRESS, beside, families)
    if default is None:
        return None
    closed, egress = _direction(kernel, space, EGRESS, beside, families)
    if closed not in (None, default):
        raise Misread("its two defaults differ")
    return Policy(ingress, None if closed is None else egress, default)


def _direction(kernel: Kernel, space: str, direction: str, beside: bool,
               families: Sequence[Family]) -> tuple[Action | None, tuple[Rule, ...]]:
    read = [_read(kernel, space, direction, beside, family) for family in families]
    if len({default for default, _ in read}) > 1:
        raise Misread(f"{direction}.default differs between IPv4 and IPv6")
    by_family = {family: found for family, (_, found) in zip(families, read, strict=True)}
    numbers = sorted({number for found in by_family.values() for number in found})
    if numbers != list(range(len(numbers))):
        raise Misread(f"some of its {direction} rules are missing")
    return read[0][0], tuple(_joined(f"{direction}[{number}]", number, by_family) for number in numbers)


def _joined(place: str, number: int, found: Mapping[Family, Mapping[int, Rule]]) -> Rule:
    """The rule of a number, which concerns the families in which it was found."""
    held = [rules[number] for rules in found.values() if number in rules]
    if any(rule != held[0] for rule in held):
        raise Misread(f"{place} differs between IPv4 and IPv6")
    one = held[0]
    for family, rules in found.items():
        if number not in rules and concerns(one, family):
            # A rule for anybody is in both: this one is for anybody of the other family.
            one = replace(one, network=next(ANYWHERE[other] for other in found if other is not family))
    return one


def _read(kernel: Kernel, space: str, direction: str, beside: bool,
          family: Family) -> tuple[Action | None, dict[int, Rule]]:
    """The default and, by number, the rules of a family."""
    default: Action | None = None
    found: dict[int, Rule] = {}
    for held in _rules(kernel, space, direction, beside, family):
        rule = options(held)
        tag = rule.get("--comment", "").removeprefix(MARK)
        number = _RULE.fullmatch(tag)
        if tag == f"{direction}.default":
            default = _default(direction, rule, held)
        elif number or (number := _NOTE.fullmatch(tag)):
            is_note = BETWEEN in tag
            read = _noted(direction, int(number[1]), tag, held) if is_note else \
                _rule(direction, int(number[1]), rule, held)
            if found.setdefault(int(number[1]), read) != read:
                raise Misread(f"there are two rules {tag}")
    return default, found


def _rules(kernel: Kernel, space: str, direction: str, beside: bool, family: Family) -> Iterator[Words]:
    """The rules of a direction's chain, and of the chains to which it leads if there are many."""
    built_in, own = _CHAINS[direction]
    chain, table = (own, POLICY_TABLE) if beside else (built_in, "filter")
    tree = TREES[direction]
    inner = [name for where, name in kernel.chains(space, family) if where == table and name.startswith(tree)]
    for name in (chain, *inner):
        held = kernel.chain(space, table, name, family)
        yield from held.rules if held else ()


def _default(direction: str, rule: dict[str, str], held: Words) -> Action:
    action = _action(rule)
    if words(default_line(direction, action)) != held:
        raise Misread(f"{direction}.default is not as vpcctl writes it")
    return action


def _rule(direction: str, number: int, rule: dict[str, str], held: Words) -> Rule:
    far_end = FAR_ENDS[direction]
    try:
        network = ip_network(rule[far_end]) if far_end in rule else None
        read = Rule(named(rule.get("-p", Protocol.ALL.value)), _action(rule), _ports(rule), network)
    except ValueError as error:
        raise Misread(f"{direction}[{number}] is not as vpcctl writes it: {error}") from None
    if words(rule_line(direction, number, read)) != held:
        raise Misread(f"{direction}[{number}] is not as vpcctl writes it")
    return read


def _noted(direction: str, number: int, tag: str, held: Words) -> Rule:
    """The rule in a note."""
    try:
        _, protocol, ports, network, action = tag.split(BETWEEN)
        span = _ports({} if ports == ANY else {"--dport": ports}, "-")
        read = Rule(Protocol(protocol), Action(action), span, None if network == ANY else ip_network(network))
    except ValueError as error:
        raise Misread(f"{direction}[{number}] is not as vpcctl notes it: {error}") from None
    if words(note(direction, number, read)) != held:
        raise Misread(f"{direction}[{number}] is not as vpcctl notes it")
    return read


def _action(rule: dict[str, str]) -> Action:
    return Action.ALLOW if rule.get("-j") == "ACCEPT" else Action.DENY


def options(rule: Words) -> dict[str, str]:
    """A rule's options, each with its first value."""
    return {option[0]: option[1] if len(option) > 1 else "" for option in rule}


def _ports(rule: dict[str, str], between: str = ":") -> Ports | None:
    if "--dport" not in rule:
        return None
    first, _, last = rule["--dport"].partition(between)
    return Ports(int(first), int(last or first))
