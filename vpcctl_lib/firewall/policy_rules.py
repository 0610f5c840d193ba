"""A policy read back from the rules of its subnet's namespace, where root may have changed them; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import EGRESS, FAR_ENDS, INGRESS, TREES, default_line, rule_line
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.saves import Words, words
from vpcctl_lib.model.naming import MARK, POLICY_IN, POLICY_OUT, POLICY_TABLE
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule

_CHAINS = {INGRESS: ("INPUT", POLICY_IN), EGRESS: ("OUTPUT", POLICY_OUT)}
"""By direction: the built-in chain, and the chain of ours where others may have rules, too."""

_RULE = re.compile(r"(?:ingress|egress)\[(\d{1,6})\]")


class Misread(VpcctlError):
    """A rule has our tag, but is not as vpcctl would write it."""


def policy_of(kernel: Kernel, space: str, beside: bool = False) -> Policy | None:
    """The policy in force in a machine's namespace, without its descriptions; None if there is none."""
    default, ingress = _direction(kernel, space, INGRESS, beside)
    if default is None:
        return None
    closed, egress = _direction(kernel, space, EGRESS, beside)
    if closed not in (None, default):
        raise Misread("its two defaults differ")
    return Policy(ingress, None if closed is None else egress, default)


def _direction(kernel: Kernel, space: str, direction: str,
               beside: bool) -> tuple[Action | None, tuple[Rule, ...]]:
    default: Action | None = None
    found: dict[int, Rule] = {}
    for held in _rules(kernel, space, direction, beside):
        rule = options(held)
        tag = rule.get("--comment", "").removeprefix(MARK)
        number = _RULE.fullmatch(tag)
        if tag == f"{direction}.default":
            default = _default(direction, rule, held)
        elif number:
            read = _rule(direction, int(number[1]), rule, held)
            if found.setdefault(int(number[1]), read) != read:
                raise Misread(f"there are two rules {tag}")
    if found.keys() != set(range(len(found))):
        raise Misread(f"some of its {direction} rules are missing")
    return default, tuple(found[number] for number in range(len(found)))


def _rules(kernel: Kernel, space: str, direction: str, beside: bool) -> Iterator[Words]:
    """The rules of a direction's chain, and of the chains to which it leads if there are many."""
    built_in, own = _CHAINS[direction]
    chain, table = (own, POLICY_TABLE) if beside else (built_in, "filter")
    tree = TREES[direction]
    inner = [name for where, name in kernel.chains(space) if where == table and name.startswith(tree)]
    for name in (chain, *inner):
        held = kernel.chain(space, table, name)
        yield from held.rules if held else ()


def _default(direction: str, rule: dict[str, str], held: Words) -> Action:
    action = _action(rule)
    if words(default_line(direction, action)) != held:
        raise Misread(f"{direction}.default is not as vpcctl writes it")
    return action


def _rule(direction: str, number: int, rule: dict[str, str], held: Words) -> Rule:
    far_end = FAR_ENDS[direction]
    try:
        network = IPv4Network(rule[far_end]) if far_end in rule else None
        read = Rule(Protocol(rule.get("-p", "all")), _action(rule), _ports(rule), network)
    except ValueError as error:
        raise Misread(f"{direction}[{number}] is not as vpcctl writes it: {error}") from None
    if words(rule_line(direction, number, read)) != held:
        raise Misread(f"{direction}[{number}] is not as vpcctl writes it")
    return read


def _action(rule: dict[str, str]) -> Action:
    return Action.ALLOW if rule.get("-j") == "ACCEPT" else Action.DENY


def options(rule: Words) -> dict[str, str]:
    """A rule's options, each with its first value."""
    return {option[0]: option[1] if len(option) > 1 else "" for option in rule}


def _ports(rule: dict[str, str]) -> Ports | None:
    if "--dport" not in rule:
        return None
    first, _, last = rule["--dport"].partition(":")
    return Ports(int(first), int(last or first))
