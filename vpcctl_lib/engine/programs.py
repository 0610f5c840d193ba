"""Workloads: started to outlive the command, ready before it returns, stopped with their children."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.keeper import limits
from vpcctl_lib.keeper.folders import OWN
from vpcctl_lib.keeper.orders import MARK
from vpcctl_lib.kernel.disk import make_secret_folder
from vpcctl_lib.kernel.netns import within
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.processes import KEEPER_SECONDS, Start, Stop
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


def start(runner: Runner, folder: Path, one: Start) -> Report:
    """Start it, and wait until it is ready; what its keeper reported. Its log lies in the folder."""
    log = one.log_file(folder)
    make_secret_folder(folder, os.path.dirname(one.log))
    reader, writer = os.pipe()
    with Report(reader) as report:
        try:
            child = runner.spawn(one.command(folder), {MARK: one.mark}, writer)
        finally:
            os.close(writer)
        try:
            _wait_until_ready(one, report)
        except (VpcctlError, OSError) as error:
            _end(one, report)
            raise VpcctlError(f"{one.mark} did not start: {error}", _advice(one, log)) from None
        finally:
            child.wait()
        return report


def stop(one: Stop) -> None:
    """Stop its processes, again until none is left: one that was just started may have begun another."""
    for _ in range(STOPS):
        living = processes.of_workload(one.namespace, one.mark, one.facts)
        if not living:
            break
        left = processes.end(living, one.seconds + KEEPER_SECONDS)
        if left:
            raise VpcctlError(f"can't stop {', '.join(process.name() for process in left)}")
    if one.facts.get("netns"):
        limits.remove(limits.name(one.mark, int(one.facts["netns"])))


def empty(namespaces: Collection[str], notes: list[str]) -> None:
    """Stop all that runs in there, again until none is left, as it may start others meanwhile; noted."""
    for _ in range(10):
        living = _staying(namespaces)
        if not living:
            return
        notes += [f"stopped {process.name()}, which ran in {space}" for space, process in living]
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
