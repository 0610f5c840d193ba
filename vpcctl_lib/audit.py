"""The audit log: who ran what, and each external command with its exit status and time."""

from __future__ import annotations

import getpass
import os
import shlex
import sys
import time
from functools import cached_property
from pathlib import Path

from vpcctl_lib.run import Outcome
from vpcctl_lib.visible import visible

LONGEST = 2000
"""Characters of one command that are logged: a policy of 10,000 rules is not copied into the log."""


class Audit:
    """Appends to vpcctl.log, one line an event; a log that can't be written stops no reader."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._begun = False

    def record(self, outcome: Outcome) -> None:
        """An external command that has run."""
        self._begin()
        said = f" ({outcome.reason()})" if outcome.status else ""
        command = _line(str(outcome.command))
        self._write(f"exit {outcome.status} {outcome.milliseconds:.1f} ms: {command}{said}")

    def record_own(self, text: str) -> None:
        """What vpcctl has done itself, told as the command that does the same."""
        self._begin()
        self._write(f"done: {_line(text)}")

    def record_end(self, code: int, message: str = "") -> None:
        """How a command that changes things, or that failed, came out."""
        self._begin()
        self._write(f"ended with {code}" + (f": {message}" if message else ""))

    @cached_property
    def _file(self) -> int:
        """The log, open to append to until we end."""
        return os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _begin(self) -> None:
        """The command line goes before the first thing that it does."""
        if not self._begun:
            self._begun = True
            self._write(f"user {_user()} ran: {shlex.join(['vpcctl', *sys.argv[1:]])}")

    def _write(self, text: str) -> None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            os.write(self._file, f"{moment} [{os.getpid()}] {_line(text)}\n".encode())
        except OSError:
            # Reading needs no root: a plain user's `vpc list` can't write to root's log.
            return


def _line(text: str) -> str:
    """One line, in which nothing steers the terminal of who reads it; a word typed may be any bytes."""
    flat = " ⏎ ".join(text.splitlines())
    if len(flat) > LONGEST:
        flat = f"{flat[:LONGEST]} … ({len(flat)} characters)"
    return visible(flat, keep="")


def _user() -> str:
    try:
        name = getpass.getuser() if os.geteuid() else "root"
    except (KeyError, OSError):
        name = f"uid {os.geteuid()}"
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {behind})" if behind else name
