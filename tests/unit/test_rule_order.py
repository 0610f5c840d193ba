"""Where a rule goes back to in a chain that others have changed meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.engine import rule_order
from vpcctl_lib.engine.rule_order import RuleOrder, position
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.saves import HeldChain, words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources import SingleRule


def chain(names: str) -> tuple[frozenset[tuple[str, ...]], ...]:
    return tuple(words(f"-j {name}") for name in names)


@pytest.mark.parametrize(("before", "now", "after"), [
    ("xab", "ab", "xab"),
    ("axb", "ab", "axb"),
    ("abx", "ab", "abx"),
    # What others have put in meanwhile keeps its place, at the top and at the end.
    ("axb", "0ab1", "0axb1"),
    ("xa", "0a", "x0a"),
    # What stood before it has gone too.
    ("abxc", "c", "xc"),
    ("abxc", "ac", "axc"),
    # The same rule twice.
    ("axa", "aa", "axa"),
])
def test_position(before: str, now: str, after: str) -> None:
    (rule,) = chain("x")
    index = position(rule, chain(before), chain(now))
    assert now[:index] + "x" + now[index:] == after


@given(st.permutations("abcdefgh"), st.integers(1, 8))
def test_rules_that_left_from_the_end_come_back_as_they_were(before: list[str], leaving: int) -> None:
    now = list(before)
    gone = [now.pop(now.index(name)) for name in sorted(before)[:leaving]]
    for name in reversed(gone):
        (rule,) = chain(name)
        now.insert(position(rule, chain("".join(before)), chain("".join(now))), name)
    assert now == before


class Held:
    """The host's chains, each a rule a letter; one that is None can't be read."""

    def __init__(self, **chains: str | None) -> None:
        self.chains = chains

    def chain(self, namespace: str, table: str, name: str, family: Family) -> HeldChain | None:
        found = self.chains.get(name, "")
        if found is None:
            raise VpcctlError("no answer")
        return HeldChain("", chain(found)) if found else None


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr(rule_order, "Kernel", lambda runner: runner)
    return Held()


def rule(name: str, place: str = "FORWARD") -> SingleRule:
    return SingleRule("filter", place, f"-j {name}")


def back(order: RuleOrder, coming: list[SingleRule], going: str = "") -> dict[str, list[str]]:
    """For each rule that comes back, the lines that put it there."""
    found = order.back(coming, [rule(name) for name in going])
    return {one.rule[-1]: [str(operation) for operation in work] for one, work in found.items()}


def lines(*places: tuple[str, int]) -> dict[str, list[str]]:
    return {name: [str(operation) for operation in rule(name).put(number)] for name, number in places}


def noted(held: Any, leaving: str) -> RuleOrder:
    order = RuleOrder(held)
    order.note([rule(name) for name in leaving])
    return order


def test_several_come_back_each_behind_the_one_before(held: Held) -> None:
    held.chains = {"FORWARD": "axyb"}
    order = noted(held, "xy")
    held.chains = {"FORWARD": "ab"}
    assert back(order, [rule("x"), rule("y")]) == lines(("x", 2), ("y", 3))
    assert back(order, [rule("y"), rule("x")]) == lines(("y", 2), ("x", 2))


def test_what_goes_meanwhile_counts_for_nothing(held: Held) -> None:
    held.chains = {"FORWARD": "abx"}
    order = noted(held, "x")
    held.chains = {"FORWARD": "abc"}
    assert back(order, [rule("x")], going="b") == lines(("x", 2))
    assert back(order, [rule("x")], going="z") == lines(("x", 3)), "it has gone already"


def test_the_order_is_that_before_the_first_rule_left(held: Held) -> None:
    held.chains = {"FORWARD": "axy"}
    order = noted(held, "y")
    held.chains = {"FORWARD": "xa"}
    order.note([rule("x")])
    held.chains = {"FORWARD": "a"}
    assert back(order, [rule("x")]) == lines(("x", 2))


def test_of_a_chain_that_could_not_be_read_nothing_is_known(held: Held) -> None:
    held.chains = {"FORWARD": None}
    order = noted(held, "x")
    held.chains = {"FORWARD": "ab"}
    assert back(order, [rule("x")]) == {}


def test_what_somebody_removed_before_does_not_come_back(held: Held) -> None:
    held.chains = {"FORWARD": "ab"}
    assert back(noted(held, "x"), [rule("x")]) == {"x": []}


def test_a_chain_that_is_gone_is_an_empty_one(held: Held) -> None:
    held.chains = {"FORWARD": "ax"}
    order = noted(held, "x")
    held.chains = {}
    assert back(order, [rule("x"), rule("y", "INPUT")]) == lines(("x", 1))
