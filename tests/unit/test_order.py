"""In which order tests begin, and what is reported of them."""

from __future__ import annotations

import pytest

from tests.order import between, dealt
from tests.reports import read


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


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_those_that_share_something_come_to_one_worker_after_long_ones(workers: int) -> None:
    tests = [f"{kind}{number}" for kind in "abcdefxyl" for number in range(6)]
    found = dealt(tests, lambda test: test[0] == "l", workers,
                  lambda test: test[0] if test[0] in "abc" else None)
    assert sorted(found) == sorted(tests), "each once"
    parts = [found[len(tests) * number // workers:len(tests) * (number + 1) // workers]
             for number in range(workers)]
    for number, part in enumerate(parts):
        assert "".join(dict.fromkeys(test[0] for test in part)).startswith("l" + "abc"[number::workers])
        assert {test for test in part if test[0] in "abc"} == {
            test for test in tests if test[0] in "abc"[number::workers]}


def test_more_long_ones_than_a_part_holds_are_dealt_all_the_same() -> None:
    assert dealt("abc", str.isalpha, 2) == ["a", "c", "b"]


def test_the_first_and_the_last_of_each_name_are_at_its_ends() -> None:
    assert between(["a1", "b1", "a2", "a3", "c1", "a4", "c2"], lambda test: test[0]) == ["a2", "a3"]


@pytest.mark.parametrize(("outcomes", "expected"), [
    ("passed passed passed", "call"), ("passed failed passed", "call"), ("passed skipped passed", "call"),
    ("passed passed failed", "call teardown"), ("passed failed failed", "call teardown"),
    ("failed - passed", "setup"), ("failed - failed", "setup teardown"), ("skipped - passed", "setup")])
def test_a_report_is_read_unless_something_was_prepared_or_ended_well(outcomes: str, expected: str) -> None:
    phases = zip(("setup", "call", "teardown"), outcomes.split(), strict=True)
    reports = [pytest.TestReport("a test", ("file", 1, "test"), {}, outcome, None, when)  # type: ignore[arg-type]
               for when, outcome in phases if outcome != "-"]
    assert " ".join(str(report.when) for report in read(reports)) == expected
