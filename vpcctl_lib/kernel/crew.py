"""Tasks, some of which wait for others, done in parallel by a few threads."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from functools import partial
from threading import Condition, Thread
from typing import Any, TypeVar

from vpcctl_lib.kernel.interrupts import held

Item = TypeVar("Item")
Result = TypeVar("Result")
Task = Callable[[], None]


class Crew:
    """Does tasks, each after those it waits for; the caller's thread joins in when all are handed out."""

    def __init__(self, most: int) -> None:
        self._tasks: list[Task] = []
        self._missing: list[int] = []
        self._followers: list[list[int]] = []
        self._ended: list[bool] = []
        self._ready: list[int] = []
        self._idle = 0
        self._unfinished = 0
        self._more_to_come = True
        self._failures: dict[int, BaseException] = {}
        self._changed = Condition()
        self._spare = most - 1
        self._threads: list[Thread] = []

    def work(self, tasks: Iterable[tuple[Task, Collection[int]]]) -> None:
        """Do all, each with the numbers of those it waits for; the first begin while later ones are computed.

        After a failure no task starts, and the failure is raised once the running ones end.
        """
        try:
            for task, others in tasks:
                if self._failures:
                    break
                self._add(task, others)
        except BaseException as error:  # noqa: BLE001 - raised below, when nothing runs any more
            self._failures[len(self._tasks)] = error
        with self._changed:
            self._more_to_come = False
            self._changed.notify_all()
        self._work()
        for thread in self._threads:
            thread.join()
        if self._failures:
            raise self._failures[min(self._failures)]

    def _add(self, task: Task, others: Collection[int]) -> None:
        with self._changed:
            number = len(self._tasks)
            missing = [other for other in others if not self._ended[other]]
            for other in missing:
                self._followers[other].append(number)
            self._tasks.append(task)
            self._missing.append(len(missing))
            self._followers.append([])
            self._ended.append(False)
            self._unfinished += 1
            if not missing:
                heapq.heappush(self._ready, number)
                self._call_for_help(1)

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
            self._idle += 1
            self._changed.wait_for(self._is_news)
            self._idle -= 1
            if not self._ready or self._failures:
                return None
            return heapq.heappop(self._ready)

    def _is_news(self) -> bool:
        return bool(self._ready or self._failures) or not (self._more_to_come or self._unfinished)

    def _call_for_help(self, tasks: int) -> None:
        """For this many tasks: those who wait, and one more thread if they are not enough."""
        self._changed.notify(tasks)
        if self._spare and tasks > self._idle:
            self._hire()

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
            self._unfinished -= 1
            self._ended[number] = True
            for follower in self._followers[number]:
                self._missing[follower] -= 1
                if not self._missing[follower]:
                    heapq.heappush(self._ready, follower)
            # This thread takes the next one itself: waking others for nothing takes longer than the work.
            if self._failures or not (self._more_to_come or self._unfinished):
                self._changed.notify_all()
            elif len(self._ready) > 1:
                self._call_for_help(len(self._ready) - 1)


def each(function: Callable[[Item], Result], items: Iterable[Item], most: int) -> list[Result]:
    """The function's results for the items, computed in parallel; signals wait until all have answered."""
    results: dict[int, Result] = {}

    def take(number: int, item: Item) -> None:
        results[number] = function(item)

    tasks = [(partial(take, number, item), ()) for number, item in enumerate(items)]
    with held():
        Crew(most).work(tasks)
    return [results[number] for number in range(len(tasks))]


def together(*questions: Callable[[], Any]) -> list[Any]:
    """The answers to a few questions, each of which waits for a process of its own, asked side by side."""
    return each(lambda ask: ask(), questions, len(questions))
