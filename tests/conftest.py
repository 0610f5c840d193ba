"""What all tests share: signals as in a shell's foreground, however the tests were started."""

import signal
from typing import Any

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts its background jobs with SIGINT ignored, and whatever they start inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The figures of the fault tests, in one table, for docs/reliability.md.

    Here, as the process that only hands tests out to others loads no conftest further in.
    """
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
