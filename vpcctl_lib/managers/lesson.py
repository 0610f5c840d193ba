"""The course: builds and breaks a lesson's network, checks its repair, takes all of it away."""

from __future__ import annotations

import io
import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vpcctl_lib import sandbox
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.files import documents
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import disk, netns
from vpcctl_lib.kernel.run import Command, Runner, need
from vpcctl_lib.lessons.course import COURSE, named, number_of
from vpcctl_lib.lessons.lesson import Lesson
from vpcctl_lib.managers import baseline
from vpcctl_lib.managers.base import Context, Manager
from vpcctl_lib.managers.baseline import Baseline
from vpcctl_lib.managers.host import HostManager
from vpcctl_lib.managers.questions import Finding, findings
from vpcctl_lib.managers.topology import TopologyManager

FILE = "lesson.json"
EMPTY = "version: 1\n"


@frozen
class Progress:
    """Which lesson runs in a sandbox, and what its host was like before."""

    lesson: int = 0
    """Its number; 0: none."""

    hints: int = 0
    """How many were given."""

    solved: tuple[int, ...] = ()
    """The lessons whose check has passed in this sandbox."""

    before: Baseline = Baseline()


@frozen
class Checked:
    """What the network answered; and once all of it is right, whether it is as recorded."""

    findings: tuple[Finding, ...]
    hints: int
    """How many were given."""

    in_sync: bool | None = None

    @property
    def is_solved(self) -> bool:
        """Whether every answer is right."""
        return all(one.is_right for one in self.findings)


def _progress(data: Any) -> Progress:
    """The progress in a file; ValueError, TypeError or AttributeError for what is none."""
    found = Progress(**data)
    if found.lesson not in range(len(COURSE) + 1):
        raise ValueError(f"lesson {found.lesson} does not exist")
    return replace(found, solved=tuple(found.solved), before=baseline.read(data.get("before", {})))


def _network(text: str) -> Any:
    """A topology file, as its reader has it."""
    return documents.read_stream(io.BytesIO(text.encode()), "the lesson's network")


def find_lesson(text: str) -> Lesson:
    """The lesson of that number or name."""
    lesson = named(text)
    if lesson is None:
        raise BadInput(f"lesson '{text}' does not exist",
                       f"use a number from 1 to {len(COURSE)}, or a name: vpcctl lesson list")
    return lesson


def check_tools(lesson: Lesson) -> None:
    """Refuse a lesson for which this host lacks a program."""
    need(*lesson.needs)
    if any(ask.six for ask in lesson.asks) and not netns.have_ipv6():
        raise VpcctlError("this kernel has no IPv6", "take another lesson: vpcctl lesson list")


class LessonManager(Manager):
    """Starts, checks and ends lessons, in a sandbox and nowhere else."""

    def __init__(self, context: Context) -> None:
        """Refuse a real host: VpcctlError."""
        if not sandbox.is_inside():
            way = "enter the sandbox with it: vpcctl sandbox --join" if sandbox.running() else \
                "start one: vpcctl lesson start 1"
            raise VpcctlError("no lesson is running here", way)
        super().__init__(context)
        self._file = context.store.folder / FILE

    def progress(self) -> Progress:
        """What is known of this sandbox; nothing if no lesson was started."""
        try:
            return _progress(json.loads(self._file.read_text()))
        except FileNotFoundError:
            return Progress()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise VpcctlError(f"{self._file} can't be read: {error}",
                              f"exit the sandbox; or remove the file: rm {self._file}") from None

    def running(self) -> Lesson:
        """The lesson that runs; VpcctlError if there is none."""
        number = self.progress().lesson
        if not number:
            raise VpcctlError("no lesson is running here", "start one: vpcctl lesson start 1")
        return COURSE[number - 1]

    def start(self, lesson: Lesson, again: bool) -> bool:
        """Build its network and break it; False if it runs already, and `again` is not asked for."""
        before, number = self.progress(), number_of(lesson)
        if before.lesson == number and not again:
            return False
        if before.lesson not in (0, number) and before.lesson not in before.solved:
            raise VpcctlError(f"lesson {before.lesson} is running, and not solved yet",
                              "end it first: vpcctl lesson quit; or go on with it: vpcctl lesson hint")
        check_tools(lesson)
        if before.lesson:
            self.quit()
        self._check_empty()
        # Read before anything is noted: who interrupts the import of the reader could not quit after it.
        wanted = _network(lesson.network)
        self._save(Progress(number, solved=before.solved, before=baseline.look(self._unseen)))
        try:
            self._build(lesson, wanted)
        except BaseException:
            # Also when the person interrupts it: half a network would be no lesson.
            self.quit()
            raise
        return True

    def check(self) -> Checked:
        """Ask the network what the lesson asks of it."""
        lesson, progress = self.running(), self.progress()
        found = Checked(tuple(findings(lesson.asks, self.state().topology, self._unseen)), progress.hints)
        if not found.is_solved:
            return found
        if progress.lesson not in progress.solved:
            self._save(replace(progress, solved=(*progress.solved, progress.lesson)))
        return replace(found, in_sync=HostManager(self.context).status().in_sync)

    def hint(self) -> int:
        """How many hints the person has now, with one more than before if there is one."""
        lesson, progress = self.running(), self.progress()
        given = min(progress.hints + 1, len(lesson.hints))
        self._save(replace(progress, hints=given))
        return given

    def quit(self) -> None:
        """Take away the lesson's network, and what was done by hand on the host since it began."""
        progress = self.progress()
        # First the host's rules: one by hand that forwards would keep the host forwarding.
        baseline.put_back_rules(self._unseen, progress.before)
        self._match(_network(EMPTY), prune=True)
        baseline.put_back_rest(self._unseen, progress.before)
        if progress.solved:
            self._save(Progress(solved=progress.solved))
        else:
            self._file.unlink(missing_ok=True)

    @property
    def _unseen(self) -> Runner:
        """A runner of which no log knows: it would tell what the fault is."""
        return Runner()

    def _check_empty(self) -> None:
        topology = self.context.store.load().topology
        there = [*(f"VPC {vpc.name}" for vpc in topology.vpcs),
                 *(f"pool {pool.cidr}" for pool in topology.pools)]
        if there:
            raise VpcctlError(f"this sandbox is not empty: it has {', '.join(there)}",
                              "exit, and start the lesson outside, which opens another sandbox; or delete "
                              "all of that")

    def _build(self, lesson: Lesson, wanted: Any) -> None:
        for line in lesson.prepare:
            self._do(line)
        self._match(wanted)
        for line in lesson.fault:
            self._do(line)

    def _match(self, wanted: Any, prune: bool = False) -> None:
        TopologyManager(self.context).apply(wanted, Path("/"), prune, lambda _: None)

    def _do(self, line: str) -> None:
        done = self._unseen.change(Command(tuple(shlex.split(line))))
        if done.status != 0:
            raise VpcctlError(f"the lesson can't be built on this host: {done.reason()}")

    def _save(self, progress: Progress) -> None:
        disk.make_folder(self._file.parent)
        new = self._file.with_suffix(".new")
        disk.write_new(new, json.dumps(asdict(progress)).encode())
        new.replace(self._file)
