"""Tasks, some of which wait for others, done in parallel by a few threads."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from threading import Condition, Thread
from typing import Any, TypeVar

from vpcctl_lib.kernel.interrupts import held

Item = TypeVar("Item")
Result = TypeVar("Result")
Task = Callable[[], None]


class Crew:
    """Does tasks, each after those it waits for; the caller's thread takes part."""

    def __init__(self, tasks: Sequence[Task], waits: Sequence[Collection[int]], most: int) -> None:
        self._tasks = tasks
        self._missing = [len(others) for others in waits]
        self._followers: list[list[int]] = [[] for _ in tasks]
        for number, others in enumerate(waits):
            for other in others:
                self._followers[other].append(number)
        self._ready = [number for number, missing in enumerate(self._missing) if not missing]
        self._under_way = 0
        self._failures: dict[int, BaseException] = {}
        self._changed = Condition()
        self._spare = most - 1
        self._threads: list[Thread] = []

    def work(self) -> None:
        """Do all; after a failure no task starts, and the failure is raised once the running ones end."""
        self._work()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[min(self._failures)]

    def _work(self) -> None:
        while (number := self._next()) is not None:
            try:
                self._tasks[number]()
            except BaseException as error:  # noqa: BLE001 - `work` raises it, in the caller's thread
                self._failures[number] = error
            self._end(number)

    def _next(self) -> int | None:
        """The first task that is ready; None if no task is left to start."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or not self._under_way or self._failures)
            if not self._ready or self._failures:
                return None
            self._under_way += 1
            number = heapq.heappop(self._ready)
            if self._ready and self._spare:
                self._hire()
            return number

    def _hire(self) -> None:
        thread = Thread(target=self._work)
        try:
            thread.start()
        except RuntimeError:
            # No memory or no more processes for this user (pthread_create(3)): existing threads do it all.
            self._spare = 0
            return
        self._spare -= 1
        self._threads.append(thread)

    def _end(self, number: int) -> None:
        with self._changed:
            self._under_way -= 1
            for follower in self._followers[number]:
                self._missing[follower] -= 1
                if not self._missing[follower]:
                    heapq.heappush(self._ready, follower)
            # This thread takes the next one itself: waking others for nothing takes longer than the work.
            if self._failures or not (self._ready or self._under_way):
                self._changed.notify_all()
            elif len(self._ready) > 1:
                self._changed.notify(len(self._ready) - 1)


def each(function: Callable[[Item], Result], items: Iterable[Item], most: int) -> list[Result]:
    """The function's results for the items, computed in parallel; signals wait until all have answered."""
    results: dict[int, Result] = {}

    def take(number: int, item: Item) -> None:
        results[number] = function(item)

    tasks = [partial(take, number, item) for number, item in enumerate(items)]
    with held():
        Crew(tasks, [()] * len(tasks), most).work()
    return [results[number] for number in range(len(tasks))]


def together(*questions: Callable[[], Any]) -> list[Any]:
    """The answers to a few questions, each of which waits for a process of its own, asked side by side."""
    return each(lambda ask: ask(), questions, len(questions))
