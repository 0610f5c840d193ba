"""Runs vpcctl, and at a chosen one of its own doings (a file, a signal, a start) makes that go wrong.

Nothing of this is in vpcctl: Python itself tells of what a program does to the world (sys.addaudithook).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

from vpcctl_lib.cli import main as command_line  # noqa: E402 - from the checkout that these tests stand in

OURS = ("/var/lib/vpcctl/", "/etc/netns", "/etc/systemd/")
FILES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
SIGNALS = {"kill": signal.SIGKILL, "INT": signal.SIGINT, "TERM": signal.SIGTERM}

kind, at, told = os.environ["FAULT_KIND"], int(os.environ["FAULT_AT"]), os.environ["FAULT_DIR"] + "/doings"
doings: list[str] = []
as_it_was = {"fsync": os.fsync, "signal": signal.pidfd_send_signal}


def heed(event: str, arguments: tuple[Any, ...]) -> None:
    """Python's audit hook: what is about to be done, before it is."""
    if event == "open" and _writes(arguments):
        meet(f"write {arguments[0]}")
    elif event in FILES and str(arguments[0]).startswith(OURS):
        meet(f"{event[3:]} {arguments[0]}")
    elif event == "subprocess.Popen":
        meet(f"start {arguments[0]}")


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, _, flags = arguments
    return str(path).startswith(OURS) and not str(path).endswith(".log") \
        and bool(flags & (os.O_WRONLY | os.O_RDWR))


def meet(doing: str) -> None:
    """Count it; at the chosen one, do what the test asks for."""
    doings.append(doing)
    if len(doings) != at:
        return
    if kind in SIGNALS:
        os.kill(os.getpid(), SIGNALS[kind])
    elif kind == "fail":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fsync(descriptor: int) -> None:
    """Of a file or a folder; Python does not tell of it."""
    meet("fsync")
    as_it_was["fsync"](descriptor)


def send(descriptor: int, number: int, *more: Any) -> None:
    """A signal to a process, which may only be refused."""
    try:
        meet(f"signal {number}")
    except OSError:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None
    as_it_was["signal"](descriptor, number, *more)


os.fsync = fsync
signal.pidfd_send_signal = send  # type: ignore[assignment]
sys.addaudithook(heed)
sys.argv[0] = "vpcctl"
try:
    command_line()
finally:
    if at == 0:
        Path(told).write_text("".join(f"{doing}\n" for doing in doings))
