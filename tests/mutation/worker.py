"""Tries mutants inside one pytest process: the tests are collected once, and each mutant has a fork of it.

A fork gives the functions in question other code objects; no file is changed, nothing imported again. So
tests that start vpcctl as a process of its own see no mutant, and are left out.
"""

from __future__ import annotations

import gc
import importlib
import inspect
import json
import math
import mmap
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

import coverage
import pytest

from tests import memory
from tests.mutation.sites import Mutant, mutated

KILLED, OUT_OF_TIME, SURVIVED, NOT_COVERED = "killed", "out of time", "survived", "not covered"
SEEN = (KILLED, OUT_OF_TIME)
Places = dict[tuple[str, int, str], list[FunctionType]]
Covered = dict[str, dict[int, list[int]]]
"""By file and line, the numbers of the tests that come by."""



class Trial(NamedTuple):
    """A fork with a mutant."""

    mutant: Mutant
    begun: float
    limit: float
    """How many seconds it has."""

    shown: mmap.mmap
    """Shared with the fork: the number of the test that sees the mutant at present."""


Running = dict[int, Trial]
"""By process."""

PATIENCE = 3
"""Seconds of the processor that a test has beyond three times what it took with the right code.

For each test alone: a mutant that loops is not to take the time that all of them have together.
"""

NUMBER = 4
"""Bytes of a test's number."""

WAITING = 5
"""As many times longer a test may take in all, on a machine that does other work, too."""

ENOUGH = 20.0
"""Seconds of tests, as measured (which takes three times as long), that a mutant is shown at most, likeliest
first: some lines are passed by thousands of tests, most of them the same with other values."""


@dataclass
class Worker:
    """The pytest plugin. The verdicts are in `verdicts`, once pytest has ended."""

    mutants: Sequence[Mutant]
    hands: int
    quick: bool = False
    """Without property tests."""

    verdicts: dict[Mutant, str] = field(default_factory=dict)
    seconds: dict[Mutant, float] = field(default_factory=lambda: defaultdict(float))
    """How long each mutant took."""

    broken: list[str] = field(default_factory=list)
    _seers: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    """By file, the tests that saw its mutants so far: likely they see the next one, too."""

    _caches: Sequence[Any] = ()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running each test once."""
        # Many are imported late, and so far by none: each fork must find the functions that it breaks.
        for path in {one.path for one in self.mutants}:
            importlib.import_module(".".join(Path(path).with_suffix("").parts).removesuffix(".__init__"))
        gc.unfreeze()
        self._caches = _caches({str(Path(one.path).resolve()) for one in self.mutants})
        # What has been made so far isn't looked at by the garbage collector in every fork.
        gc.collect()
        gc.freeze()
        items = [one for one in session.items if not (self.quick and is_property(one))]
        with tempfile.TemporaryDirectory(dir=memory.place) as memory.place:
            covered, seconds = self._cover(items)
            if not self.broken:
                self._try_all(items, covered, seconds)
        return True

    def _cover(self, items: Sequence[pytest.Item]) -> tuple[Covered, dict[int, float]]:
        """Which tests run which lines, and how long each takes: each hand takes a part of the tests."""
        files = {str(Path(one.path).resolve()) for one in self.mutants}
        parts = [list(range(len(items)))[hand::self.hands] for hand in range(self.hands)]
        with tempfile.TemporaryDirectory() as folder:
            results = [Path(folder, str(hand)) for hand in range(self.hands)]
            children = [_fork(partial(_measure, items, part, files, self._caches, result))
                        for part, result in zip(parts, results, strict=True)]
            for child in children:
                os.waitpid(child, 0)
            covered: Covered = defaultdict(lambda: defaultdict(list))
            seconds: dict[int, float] = {}
            for result in results:
                found = json.loads(result.read_text())
                self.broken += found["failed"]
                seconds |= {int(number): took for number, took in found["seconds"].items()}
                for path, line, tests in found["lines"]:
                    covered[path][line] += tests
        return covered, seconds

    def _try_all(self, items: Sequence[pytest.Item], covered: Covered, seconds: dict[int, float]) -> None:
        """One fork for each mutant that any test comes by, at most as many at a time as there are hands."""
        places = _functions({one.path for one in self.mutants})
        running: Running = {}
        told = time.monotonic()
        for mutant in self.mutants:
            lines = covered.get(str(Path(mutant.path).resolve()), {})
            tests = {one for line in range(mutant.line, mutant.last_line + 1) for one in lines.get(line, ())}
            if not tests:
                self.verdicts[mutant] = NOT_COVERED
                continue
            while len(running) >= self.hands:
                self._wait(running)
            ordered = _likeliest(mutant, items, tests, seconds, self._seers[mutant.path])
            limits = {one: 3 * seconds[one] + PATIENCE for one in ordered}
            shown = mmap.mmap(-1, NUMBER)
            child = _fork(partial(_try, mutant, places, items, limits, self._caches, shown))
            # In case that it ends no test, and nothing ends it.
            running[child] = Trial(mutant, time.monotonic(), WAITING * sum(limits.values()), shown)
            if time.monotonic() > told + 30:
                told = time.monotonic()
                print(f"{len(self.verdicts)} of {len(self.mutants)} mutants", file=sys.stderr, flush=True)
        while running:
            self._wait(running)

    def _wait(self, running: Running) -> None:
        """Until one has come to its end; who takes far too long is ended, and counts as seen."""
        while True:
            now = time.monotonic()
            for child, trial in [*running.items()]:
                if now > trial.begun + trial.limit:
                    os.kill(child, signal.SIGKILL)
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    del running[child]
                    # Its tests may have been ended before they could remove their files.
                    shutil.rmtree(_files_of(child))
                    self._note(trial, now - trial.begun, _verdict(status))
                    return
            time.sleep(0.005)

    def _note(self, trial: Trial, seconds: float, verdict: str) -> None:
        with trial.shown:
            if verdict == KILLED:
                self._seers[trial.mutant.path][int.from_bytes(trial.shown[:], "little")] += 1
        self.seconds[trial.mutant] = seconds
        self.verdicts[trial.mutant] = verdict


def _verdict(status: int) -> str:
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGXCPU, signal.SIGALRM):
        return OUT_OF_TIME
    return SURVIVED if status == 0 else KILLED


def _likeliest(mutant: Mutant, items: Sequence[pytest.Item], tests: Iterable[int],
               seconds: Mapping[int, float], seers: Counter[int]) -> list[int]:
    """Those that saw others of the file, by how many in a second; then the module's own tests; then others.
    Each time two single cases of each test come first, then the cheapest, and property tests at the end."""
    times_seen: Counter[str] = Counter()
    ranked = []
    for number in sorted(tests, key=seconds.__getitem__):
        name = items[number].nodeid.partition("[")[0]
        path = items[number].path
        times_seen[name] += 1
        ranked.append((-seers[number] / max(seconds[number], 0.001), is_property(items[number]),
                       path.stem != f"test_{Path(mutant.path).stem}", times_seen[name] > 2, seconds[number],
                       number))
    chosen, total = [], 0.0
    for *_, took, number in sorted(ranked):
        total += took
        if chosen and total > ENOUGH:
            break
        chosen.append(number)
    return chosen


@cache
def is_property(item: pytest.Item) -> bool:
    """Whether it is one of Hypothesis's, which has many examples."""
    return item.get_closest_marker("hypothesis") is not None


def _fork(work: Callable[[], object]) -> int:
    """A child that does this, quietly, and ends with its result as exit code."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        memory.place = _files_of(os.getpid())
        os.mkdir(memory.place)
        with open(os.devnull, "r+") as nothing:
            for stream in (0, 1, 2):
                os.dup2(nothing.fileno(), stream)
        code = int(bool(work()))
    finally:
        os._exit(code)


def _files_of(child: int) -> str:
    """The folder for the files of that fork's tests."""
    return os.path.join(memory.place or "", str(child))


class _Reports:
    """Collects what failed."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid} ({report.when})\n{report.longreprtext[-2000:]}")


def _run(items: Sequence[pytest.Item], numbers: Sequence[int], before: Callable[[int], object]) -> _Reports:
    """These tests in this order, until one fails."""
    reports = _Reports()
    items[0].config.pluginmanager.register(reports)
    for number, following in zip(numbers, [*numbers[1:], None], strict=True):
        before(number)
        item, after = items[number], None if following is None else items[following]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if reports.failed:
            break
    return reports


def _caches(files: Collection[str]) -> list[Any]:
    """The caches of functions of these files: what is in one keeps its function from being called."""
    found = (one for one in gc.get_objects() if isinstance(one, type(is_property)))
    return [one for one in found if inspect.getsourcefile(inspect.unwrap(one)) in files]


def _measure(items: Sequence[pytest.Item], part: Sequence[int], files: Iterable[str], caches: Sequence[Any],
             result: Path) -> int:
    measuring = coverage.Coverage(data_file=None, include=sorted(files), config_file=False, messages=False)
    started: list[tuple[int, float]] = []

    def note(number: int) -> None:
        for one in caches:
            one.cache_clear()
        measuring.switch_context(str(number))
        started.append((number, time.process_time()))

    measuring.start()
    reports = _run(items, part, note)
    measuring.stop()
    started.append((-1, time.process_time()))
    seconds = {one: then - now for (one, now), (_, then) in zip(started, started[1:], strict=False)}
    data = measuring.get_data()
    lines = [(path, line, [int(test) for test in tests if test])
             for path in data.measured_files() for line, tests in data.contexts_by_lineno(path).items()]
    result.write_text(json.dumps({"failed": reports.failed, "seconds": seconds, "lines": lines}))
    return 0


def _try(mutant: Mutant, places: Places, items: Sequence[pytest.Item], limits: Mapping[int, float],
         caches: Sequence[Any], shown: mmap.mmap) -> bool:
    """Whether one of these tests sees the mutant; ended once a test has had its seconds of the processor."""
    _, most = resource.getrlimit(resource.RLIMIT_CPU)

    def begin(number: int) -> None:
        shown[:] = number.to_bytes(NUMBER, "little")
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + limits[number]), most))
        signal.setitimer(signal.ITIMER_REAL, WAITING * limits[number])

    module = compile(mutated(mutant), str(Path(mutant.path).resolve()), "exec", dont_inherit=True)
    for key, code in _codes(module):
        for function in places.get(key, ()):
            function.__code__ = code
    for one in caches:
        one.cache_clear()
    return bool(_run(items, list(limits), begin).failed)


def _codes(module: CodeType) -> Iterable[tuple[tuple[str, int, str], CodeType]]:
    """The code of each outermost function, with where it stands."""
    for code in module.co_consts:
        if isinstance(code, CodeType):
            if code.co_flags & 0x2:  # CO_OPTIMIZED and CO_NEWLOCALS: a function; a class has neither
                yield (code.co_filename, code.co_firstlineno, code.co_name), code
            else:
                yield from _codes(code)


def _functions(paths: Iterable[str]) -> Places:
    """All functions that were made of these files."""
    files = {str(Path(path).resolve()) for path in paths}
    gc.unfreeze()
    found: Places = defaultdict(list)
    for one in gc.get_objects():
        if isinstance(one, FunctionType) and one.__code__.co_filename in files:
            found[one.__code__.co_filename, one.__code__.co_firstlineno, one.__code__.co_name].append(one)
    gc.freeze()
    return found


