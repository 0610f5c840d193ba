"""How the steps of `processes` are carried out: a program is started, waited for and stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.keeper import limits
from vpcctl_lib.keeper.folders import OWN
from vpcctl_lib.keeper.orders import MARK
from vpcctl_lib.kernel import processes
from vpcctl_lib.kernel.disk import make_secret_folder
from vpcctl_lib.kernel.netns import within
from vpcctl_lib.kernel.proc import setting
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.resources.operation import Desk, Facts
from vpcctl_lib.workloads import logs, members
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


class Start(Protocol):
    """What has to be known of a program to start it (`processes.Start`)."""

    @property
    def namespace(self) -> str:
        """Where it runs."""

    @property
    def mark(self) -> str:
        """Whose it is."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The program with its arguments."""

    @property
    def log(self) -> str:
        """Where its output goes, below the state folder."""

    @property
    def port(self) -> int | None:
        """On which it answers HTTP when it is ready."""

    def command(self, folder: Path) -> Command:
        """What starts it; logs lie in the folder."""


def start(one: Start, desk: Desk) -> Facts:
    """Ready when this returns; what is written down of it."""
    log = desk.folder / one.log
    make_secret_folder(desk.folder, os.path.dirname(one.log))
    reader, writer = os.pipe()
    with Report(reader) as report:
        try:
            child = desk.runner.spawn(one.command(desk.folder), {MARK: one.mark}, writer)
        finally:
            os.close(writer)
        try:
            _wait_until_ready(one, report)
        except (VpcctlError, OSError) as error:
            desk.evidence.add(log)
            _end(one, report)
            raise VpcctlError(f"{one.mark} did not start: {error}", _advice(one, log)) from None
        finally:
            child.wait()
        desk.notes += [f"{one.mark}: {short}" for short in report.shortfalls]
        return report.facts()


def stop(namespace: str, mark: str, facts: Facts, seconds: float) -> None:
    """Again until none is left, as one that was just being started may have begun another."""
    for _ in range(STOPS):
        living = members.of_workload(namespace, mark, facts)
        if not living:
            break
        left = processes.end(living, seconds)
        if left:
            raise VpcctlError(f"can't stop {', '.join(process.name() for process in left)}")
    if facts.get("netns"):
        limits.remove(limits.name(mark, int(facts["netns"])))


def empty(namespaces: Collection[str], desk: Desk) -> None:
    """Stop all that runs in there, and note it."""
    for _ in range(10):
        living = _staying(namespaces)
        if not living:
            return
        desk.notes += [f"stopped {process.name()}, which ran in {space}" for space, process in living]
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
        living = members.of_workload(start.namespace, start.mark, report.facts())
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
    """Whether a GET inside the namespace gets a page, by each family that it has."""
    has_ipv6 = setting("net.ipv6.conf.lo.disable_ipv6", namespace) == "0"
    return all(_answers_at(namespace, host, port) for host in ("127.0.0.1", *(["::1"] if has_ipv6 else [])))


def _answers_at(namespace: str, host: str, port: int) -> bool:
    """Over loopback, which every policy allows."""
    # Imported late: it brings ssl and email, a third of what a change takes to start.
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=2)
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
