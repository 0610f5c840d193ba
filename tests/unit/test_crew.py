"""Tasks that wait for others: in the order that must be, else side by side, and no more after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.kernel.crew import Crew, each, together


@st.composite
def orders(draw: st.DrawFn) -> list[frozenset[int]]:
    """For each task some of those before it."""
    count = draw(st.integers(0, 12))
    return [draw(st.frozensets(st.integers(0, number - 1))) if number else frozenset()
            for number in range(count)]


@given(orders(), st.integers(1, 4))
def test_each_task_is_done_once_and_after_those_it_waits_for(waits: list[frozenset[int]], most: int) -> None:
    done: list[int] = []
    Crew(most).work((partial(done.append, number), others) for number, others in enumerate(waits))
    assert sorted(done) == list(range(len(waits)))
    assert all(waits[number] <= set(done[:place]) for place, number in enumerate(done))


def test_side_by_side_what_waits_for_nothing_and_never_more_than_asked_for() -> None:
    meeting = threading.Barrier(3, timeout=20)
    lock, running, most = threading.Lock(), 0, 0

    def task() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        meeting.wait()
        with lock:
            running -= 1

    Crew(3).work([(task, ())] * 12)
    assert most == 3


def test_where_no_thread_more_may_be_had_those_there_are_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    done: list[int] = []
    Crew(3).work((partial(done.append, number), ()) for number in range(5))
    assert sorted(done) == list(range(5))


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt])
def test_after_a_failure_nothing_more_is_begun_and_all_has_come_to_rest(kind: type[BaseException]) -> None:
    failed, ended, begun = threading.Event(), [], []

    def fail() -> None:
        failed.set()
        raise kind("no")

    def last() -> None:
        failed.wait(20)
        ended.append("under way")

    tasks = [last, fail, lambda: begun.append("follower"), lambda: begun.append("of both")]
    with pytest.raises(kind, match="no"):
        Crew(2).work(zip(tasks, [(), (), {1}, {0, 1}], strict=True))
    assert (ended, begun) == (["under way"], [])


def test_the_first_begin_while_the_rest_is_computed() -> None:
    begun = threading.Event()

    def handed_out() -> Iterator[tuple[Callable[[], None], frozenset[int]]]:
        yield begun.set, frozenset()
        assert begun.wait(20)
        yield begun.clear, frozenset({0})

    Crew(2).work(handed_out())
    assert not begun.is_set()


def test_if_the_rest_cannot_be_computed_all_has_come_to_rest() -> None:
    ended: list[str] = []
    begun = threading.Event()

    def task() -> None:
        begun.set()
        time.sleep(0.05)
        ended.append("under way")

    def handed_out() -> Iterator[tuple[Callable[[], None], frozenset[int]]]:
        yield task, frozenset()
        assert begun.wait(20)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Crew(2).work(handed_out())
    assert ended == ["under way"]


@pytest.mark.parametrize("most", [1, 3, 100])
def test_results_stand_in_the_order_of_the_items(most: int) -> None:
    assert each(lambda number: number * number, range(20), most) == [number**2 for number in range(20)]
    assert each(str, (), most) == []


def test_questions_are_asked_side_by_side() -> None:
    all_asked = threading.Barrier(3, timeout=10)
    assert len(set(together(all_asked.wait, all_asked.wait, all_asked.wait))) == 3
