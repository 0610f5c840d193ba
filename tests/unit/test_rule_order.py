"""Where a rule goes back to in a chain that others have changed meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.engine.rule_order import position
from vpcctl_lib.kernel.saves import words


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
