"""Which tests run, and in which order: long ones first, so that all workers end at about the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def dealt(tests: Sequence[T], is_long: Callable[[T], bool], workers: int) -> list[T]:
    """The tests in the order in which they begin, the long ones shared out evenly.

    With --dist worksteal each worker gets one of as many equal parts in a row, begins at its front, and
    leaves its end to whoever has nothing left to do.
    """
    long = [test for test in tests if is_long(test)]
    rest = [test for test in tests if not is_long(test)]
    found: list[T] = []
    for number in range(workers):
        found += long[number::workers]
        length = len(tests) * (number + 1) // workers - len(found)
        found += rest[:max(0, length)]
        del rest[:max(0, length)]
    return found + rest


def between(tests: Iterable[T], name: Callable[[T], Hashable]) -> list[T]:
    """Of the tests of each name all but the first and the last."""
    found = defaultdict(list)
    for test in tests:
        found[name(test)].append(test)
    return [test for some in found.values() for test in some[1:-1]]
