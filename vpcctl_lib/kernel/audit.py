"""The audit log: who ran what, and each external command with its exit status and time."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.kernel import disk
from vpcctl_lib.kernel.run import Outcome
from vpcctl_lib.visible import visible

LONGEST = 2000
"""Characters of one command that are logged: a policy of 10,000 rules is not copied into the log."""

LARGEST = 10 * 1024 * 1024
"""Bytes from which on a new log is begun; the one before is kept."""


class Audit:
    """Appends to vpcctl.log, one line an event; a log that can't be written stops no reader."""

    def __init__(self, log: Path) -> None:
        self._log = _Log(log)
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
        """How a command that changes things, or that failed, came out.

        Everybody may read the log: the message quotes no file (`VpcctlError.discreet`).
        """
        self._begin()
        self._write(f"ended with {code}" + (f": {message}" if message else ""))

    def _begin(self) -> None:
        """The command line goes before the first thing that it does."""
        if not self._begun:
            self._begun = True
            self._write(f"user {_user()} ran: {shlex.join(['vpcctl', *sys.argv[1:]])}")

    def _write(self, text: str) -> None:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            line = f"{moment} [{os.getpid()}] {_line(text)}\n".encode()
            os.write(self._log.opened(), line)
        except OSError:
            # Reading needs no root: a plain user's `vpc list` can't write to root's log.
            return


class _Log:
    """The file, open to append to until we end; from a size on it gets another name, and a new one begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1

    def opened(self) -> int:
        """A descriptor to append a line to."""
        if self._file < 0:
            self._open()
        if os.fstat(self._file).st_size >= LARGEST:
            self._renew()
        return self._file

    def _open(self) -> None:
        file = disk.open_kept(self._path, os.O_WRONLY | os.O_APPEND, disk.PUBLIC)
        if self._file < 0:
            self._file = file
            return
        # Under the number that it had: another thread may just be writing to that.
        os.dup2(file, self._file, inheritable=False)
        os.close(file)

    def _renew(self) -> None:
        """One of all who write renames it, the others find the new one; if that can't be, it goes on growing.

        They wait for each other at a file that nobody else may open: the log itself may be locked by whoever
        may read it.
        """
        with suppress(OSError):
            lock = disk.open_kept(self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR, disk.SECRET)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self._is_still_it():
                    self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._open()
            finally:
                os.close(lock)

    def _is_still_it(self) -> bool:
        try:
            return os.path.samestat(os.lstat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False


def _line(text: str) -> str:
    """One line, in which nothing steers the terminal of who reads it; a word typed may be any bytes."""
    flat = " ⏎ ".join(text.splitlines())
    if len(flat) > LONGEST:
        flat = f"{flat[:LONGEST]} … ({len(flat)} characters)"
    return visible(flat, keep="")


def _user() -> str:
    name = _login() if os.geteuid() else "root"
    behind = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {behind})" if behind else name


def _login() -> str:
    # Imported late: root makes all changes, and is known without.
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.geteuid()}"
