"""In which order tests begin."""

from __future__ import annotations

import pytest

from tests.order import dealt


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
@pytest.mark.parametrize("many", [0, 1, 3, 7, 20, 40])
def test_each_worker_begins_with_its_share_of_the_long_ones(workers: int, many: int) -> None:
    tests = list(range(100))
    found = dealt(tests, lambda test: test >= 100 - many, workers)
    assert sorted(found) == tests, "each once"
    parts = [found[100 * number // workers:100 * (number + 1) // workers] for number in range(workers)]
    for number, part in enumerate(parts):
        share = list(range(100 - many, 100))[number::workers]
        assert part[:len(share)] == share
        assert part[len(share):] == sorted(test for test in part if test < 100 - many), "as they stand"


def test_more_long_ones_than_a_part_holds_are_dealt_all_the_same() -> None:
    assert dealt("abc", str.isalpha, 2) == ["a", "c", "b"]
