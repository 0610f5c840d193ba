"""What all tests share: signals as in a shell's foreground, and which tests wait for a run with more time."""

import gc
import os
import signal
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from tests.dear import LEFT, SLOW
from tests.order import between, dealt
from tests.reports import read

BESIDE = "beside other programs: "
"""How the reason begins for which a test beside a program that is not here was skipped."""

SYSTEM = Path(__file__).with_name("system")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs with SIGINT ignored, and whatever they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow tests wait for a run that has the time; of those that several workers share, long ones begin."""
    for item in [] if SLOW else waiting(items, everything=config.args == config.getini("testpaths")):
        item.add_marker(pytest.mark.skip(reason=LEFT))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = dealt(items, lambda item: item.get_closest_marker("long") is not None, workers, shared)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A worker sends a report that somebody reads; to send and take all five took a tenth of the time."""
    option = item.config.option
    if not hasattr(item.config, "workerinput") or option.verbose > 0 or option.durations is not None:
        return None
    for report in read(runtestprotocol(item, log=False, nextitem=nextitem)):
        item.ihook.pytest_runtest_logreport(report=report)
    return True


def shared(item: pytest.Item) -> Hashable:
    """What it shares with others, so that one worker computes it once: a field's change, or a mark's word."""
    mark = item.get_closest_marker("beside")
    if mark:
        return str(mark.args[0])
    field = item.callspec.params.get("field") if hasattr(item, "callspec") else None
    return field and str(field)


def waiting(items: Sequence[pytest.Item], everything: bool) -> list[pytest.Item]:
    """Those that wait for --slow: slow ones and, in a run of everything, cases of tests with a real kernel.

    Of the cases of one such test the first and the last run all the same.
    """
    slow = [item for item in items if item.get_closest_marker("slow")]
    if not everything:
        return slow
    cases = [item for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")
             and SYSTEM in item.path.parents and not item.get_closest_marker("each_case")]
    return slow + between(cases, lambda item: (item.path, item.originalname))


# Modules and tests stay until the end: garbage collection need not look at them again and again.
gc.disable()


def pytest_collection_finish() -> None:
    """Nor at the rest as often as in a program: it took a tenth of the time of the unit tests."""
    gc.freeze()
    gc.enable()
    gc.set_threshold(100_000, 50, 100)


def pytest_unconfigure() -> None:
    """What is there now goes with the process: to take it apart first takes a second."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What was not tried for want of time or of a program, and the figures of the fault tests.

    Here, as the process that only hands tests out to others loads no conftest further in.
    """
    tell_what_was_skipped(terminalreporter)
    tell_faults(terminalreporter)


def tell_what_was_skipped(terminalreporter: Any) -> None:
    """Each program that was missing, and the line that brings them all."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.getreports("skipped")]
    left = sum(LEFT in reason for reason in reasons)
    if left:
        terminalreporter.section("NOT TRIED for want of time", yellow=True, bold=True)
        terminalreporter.line(f"{left} slow tests; to try them: ./tests/run.sh --slow")
    lacks = sorted({reason.partition(BESIDE)[2] for reason in reasons if BESIDE in reason})
    if lacks:
        terminalreporter.section("NOT TRIED beside other programs", yellow=True, bold=True)
        for lack in lacks:
            terminalreporter.line(lack)
        terminalreporter.line("to try them, as root on Debian or Ubuntu: NEIGHBOURS=1 ./tests/run.sh")


def tell_faults(terminalreporter: Any) -> None:
    """The figures of the fault tests, in one table, for docs/reliability.md."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    found = [dict(report.user_properties)["faults"] for report in reports
             if "faults" in dict(report.user_properties)]
    if not found:
        return
    figures = {key: sum(line[key] for line in found) for key in ("found", "injected", "failed")}
    total = {"command": "all", **figures, "seed": ""}
    terminalreporter.section("fault injection")
    terminalreporter.line(f"{'command':40} {'found':>8} {'injected':>8} {'failed':>8} {'VPCCTL_SEED':>12}")
    for line in (*sorted(found, key=lambda line: str(line["command"])), total):
        terminalreporter.line("{command:40} {found:8} {injected:8} {failed:8} {seed:>12}".format(**line))
