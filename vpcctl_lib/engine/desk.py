"""Workloads: started to outlive the command, ready before it returns, stopped with their children."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.keeper import limits
from vpcctl_lib.keeper.folders import OWN
from vpcctl_lib.keeper.orders import MARK
from vpcctl_lib.kernel.disk import make_secret_folder
from vpcctl_lib.kernel.netns import within
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources import Namespace, Operation, Program, Resource, forwarders
from vpcctl_lib.resources.operations import Make, PutBack, Remove, Set
from vpcctl_lib.resources.processes import KEEPER_SECONDS, EmptyNamespaces, Start, Stop
from vpcctl_lib.resources.tracking import Forget, Keep
from vpcctl_lib.workloads import logs, processes
from vpcctl_lib.workloads.report import Report

READY_SECONDS = 10.0
SETTLE_SECONDS = 0.3
"""How long a program has to fail at once: a missing library, a bad option."""

LAST_WORDS_SECONDS = 1.0
"""How long a keeper whose program has failed has to end by itself, and to say who it is."""

PASSING_SECONDS = 2.0
"""How long another vpcctl and its tools may be in a namespace that is to go; a look takes milliseconds."""

LOOK_SECONDS = 0.02
STOPS = 3
TAIL_BYTES = 4096


class Desk:
    """Carries out the operations that are no commands; collects what is worth telling."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._failed: set[str] = set()
        self.notes: list[str] = []

    def carry_out(self, operation: Operation) -> Mapping[str, str]:
        """Do it; returns the facts to write down, if it has any."""
        try:
            return self._carry_out(operation)
        except OSError as error:
            raise VpcctlError(f"{error.filename or operation}: {error.strerror}") from None

    def _carry_out(self, operation: Operation) -> Mapping[str, str]:
        if isinstance(operation, Start):
            return self._start(operation)
        if isinstance(operation, PutBack):
            self._put_back(operation)
            return {}
        self._runner.announce(operation)
        if isinstance(operation, (Make, Remove, Set)):
            operation.carry_out()
            self._runner.note(str(operation))
        elif isinstance(operation, Stop):
            self._stop(operation)
        elif isinstance(operation, EmptyNamespaces):
            self._empty(operation)
        elif isinstance(operation, (Forget, Keep)):
            self._tend(operation)
        return {}

    def _tend(self, operation: Forget | Keep) -> None:
        """Where the table of connections can't be had, all else is done, and a note says what may follow."""
        try:
            operation.carry_out()
        except OSError as error:
            self.notes.append(f"{operation.shortfall}: {error.strerror}")

    def sweep_undone(self, made: Iterable[Resource]) -> list[Path]:
        """As `sweep`, but a program that did not start leaves its log where its subnet stays; these logs."""
        made = list(made)
        going = {one.name for one in made if isinstance(one, Namespace)}
        left = [one for one in made if isinstance(one, Program) and one.mark in self._failed
                and one.namespace not in going and logs.is_written(self._folder / one.log)]
        self.sweep(one for one in made if one not in left)
        return [self._folder / one.log for one in left]

    def sweep(self, gone: Iterable[Resource]) -> None:
        """Remove logs of workloads that are gone, all of a subnet's with it, and folders that are empty."""
        try:
            self._sweep(gone)
        except OSError as error:
            raise VpcctlError(f"can't remove {error.filename}: {error.strerror}") from None

    def _sweep(self, gone: Iterable[Resource]) -> None:
        for one in gone:
            if isinstance(one, Program):
                log = self._folder / one.log
                logs.remove(log)
                self._tidy(log.parent)
            elif isinstance(one, Namespace) and (folder := logs.folder_of(self._folder, one.owner)).exists():
                for file in logs.left_in(folder):
                    file.unlink(missing_ok=True)
                self._tidy(folder)

    def _tidy(self, folder: Path) -> None:
        for one in (folder, folder.parent, self._folder / "logs"):
            Remove(one, folder=True).carry_out()

    def _start(self, start: Start) -> Mapping[str, str]:
        log = start.log_file(self._folder)
        make_secret_folder(self._folder, os.path.dirname(start.log))
        reader, writer = os.pipe()
        with Report(reader) as report:
            try:
                variables = {MARK: start.mark}
                child = self._runner.spawn(start.command(self._folder), variables, writer)
            finally:
                os.close(writer)
            try:
                _wait_until_ready(start, report)
            except (VpcctlError, OSError) as error:
                self._failed.add(start.mark)
                _end(start, report)
                raise VpcctlError(f"{start.mark} did not start: {error}", _advice(start, log)) from None
            finally:
                child.wait()
            self.notes += [f"{start.mark}: {short}" for short in report.shortfalls]
            return report.facts()

    def _put_back(self, setting: PutBack) -> None:
        command = setting.command()
        if command is None:
            self.notes.append(f"{setting.key} is not as vpcctl set it: it stays as somebody else did")
            return
        others = forwarders.newcomers(forwarders.look(self._runner), setting.beside)
        if others:
            self.notes.append(forwarders.stays(setting, others))
            return
        outcome = self._runner.change(command)
        if outcome.status != 0:
            raise VpcctlError(f"sysctl failed: {outcome.reason()}")

    def _stop(self, stop: Stop) -> None:
        """Again until none is left, as one that was just being started may have begun another."""
        for _ in range(STOPS):
            living = processes.of_workload(stop.namespace, stop.mark, stop.facts)
            if not living:
                break
            left = processes.end(living, stop.seconds + KEEPER_SECONDS)
            if left:
                raise VpcctlError(f"can't stop {', '.join(process.name() for process in left)}")
        if stop.facts.get("netns"):
            limits.remove(limits.name(stop.mark, int(stop.facts["netns"])))

    def _empty(self, empty: EmptyNamespaces) -> None:
        """Again until none is left, as a process may start others while it is being stopped."""
        for _ in range(10):
            living = _staying(empty.namespaces)
            if not living:
                return
            self.notes += [f"stopped {process.name()}, which ran in {space}" for space, process in living]
            processes.end(process for _, process in living)
        space, _ = living[0]
        raise VpcctlError(f"processes keep starting in {space}", f"ip netns pids {space}")


def _staying(namespaces: Collection[str]) -> list[tuple[str, processes.Process]]:
    """Who is in there, less the tools of another vpcctl (a `status` beside a delete): those are waited for.

    A tool that is just being started does not have its own environment yet, so everybody is looked at twice.
    """
    deadline = time.monotonic() + PASSING_SECONDS
    before: list[tuple[str, processes.Process]] = []
    while True:
        living = processes.by_namespace(namespaces)
        passing = any(processes.is_passing(process) for _, process in living)
        if not living or time.monotonic() > deadline or (living == before and not passing):
            return living
        before = living
        time.sleep(0.02)


def _end(start: Start, report: Report) -> None:
    """Nothing of it is left; a keeper that is on its way out is waited for."""
    report.hear_out(LAST_WORDS_SECONDS)
    for _ in range(STOPS):
        living = processes.of_workload(start.namespace, start.mark, report.facts())
        if not living:
            return
        processes.end(living)
        report.hear_out(LAST_WORDS_SECONDS)


def _wait_until_ready(start: Start, report: Report) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not report.started:
        if not report.listen(deadline - time.monotonic()):
            raise VpcctlError(f"not ready within {READY_SECONDS:.0f} s")
    if start.port is None:
        report.listen(SETTLE_SECONDS)
        return
    while not _serves(start.namespace, start.port, report.main()):
        report.listen(LOOK_SECONDS)
        if time.monotonic() > deadline:
            raise VpcctlError(f"not ready within {READY_SECONDS:.0f} s")


def _serves(namespace: str, port: int, pid: int) -> bool:
    """Whether the page comes, and not from somebody else who has the port."""
    return processes.listens(pid, port) and _answers(namespace, port)


def _answers(namespace: str, port: int) -> bool:
    """Whether a GET inside the namespace gets a page; over loopback, which every policy allows."""
    # Imported late: it brings ssl and email, a third of what a change takes to start.
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        within(namespace, connection.connect)
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _advice(start: Start, log: Path) -> str:
    """The end of what it wrote, or where a file is that it did not find."""
    covered = [word for word in start.argv if word.startswith(tuple(f"{folder}/" for folder in OWN))]
    if covered:
        return f"a workload has its own {', '.join(OWN)}: {covered[0]} of the host is not in there"
    try:
        text = logs.tail(log, TAIL_BYTES)
    except FileNotFoundError:
        return ""
    lines = text.decode(errors="replace").splitlines()[-3:]
    return "its log ends: " + " | ".join(lines) if lines else ""
