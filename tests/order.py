"""Which tests run, and in which order: long ones first, so that all workers end at about the same time.

Then those that share what takes long to compute, each with the others on one worker.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def dealt(tests: Sequence[T], is_long: Callable[[T], bool], workers: int,
          shares: Callable[[T], Hashable] = lambda _: None) -> list[T]:
    """The tests in the order in which they begin, the long ones shared out evenly, and what they share.

    With --dist worksteal each worker gets one of as many equal parts in a row, begins at its front, and
    leaves its end to whoever has nothing left to do.
    """
    hands: list[list[T]] = [[] for _ in range(workers)]
    for number, test in enumerate(filter(is_long, tests)):
        hands[number % workers].append(test)
    at: dict[Hashable, int] = {}
    rest: list[T] = []
    for test in (test for test in tests if not is_long(test)):
        shared = shares(test)
        some = rest if shared is None else hands[at.setdefault(shared, len(at)) % workers]
        some.append(test)
    found: list[T] = []
    for number, hand in enumerate(hands):
        found += hand
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
