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
"""The most characters of one command in the log: a policy of 10,000 rules is not copied into it."""

LARGEST = 10 * 1024 * 1024
"""The size in bytes at which a new log begins; the previous one is kept."""


class Audit:
    """Appends to vpcctl.log, one line for each event; an unwritable log stops no read-only command."""

    def __init__(self, log: Path) -> None:
        self._log = _Log(log)
        self._begun = False

    def record(self, outcome: Outcome) -> None:
        """An external command that has run."""
        self._begin()
        said = f" ({_line(outcome.reason())})" if outcome.status else ""
        command = _line(str(outcome.command))
        self._write(f"exit {outcome.status} {outcome.milliseconds:.1f} ms: {command}{said}")

    def record_own(self, text: str) -> None:
        """What vpcctl did itself, written as the command that does the same."""
        self._begin()
        self._write(f"done: {_line(text)}")

    def record_end(self, code: int, message: str = "") -> None:
        """The result of a command that changes things, or that failed.

        Everybody may read the log, so the message quotes no file (`VpcctlError.discreet`).
        """
        self._begin()
        self._write(f"ended with {code}" + (f": {_line(message)}" if message else ""))

    def _begin(self) -> None:
        """Log the command line before its first action."""
        if not self._begun:
            self._begun = True
            self._write(_line(f"user {_user()} ran: {shlex.join(['vpcctl', *sys.argv[1:]])}"))

    def _write(self, text: str) -> None:
        """Append a line; whatever others can decide of it is made safe before."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        try:
            line = f"{moment} [{os.getpid()}] {text}\n".encode()
            os.write(self._log.opened(), line)
        except OSError:
            # Reading needs no root: a plain user's `vpc list` can't write to root's log.
            return


class _Log:
    """The file, open for appending until we end; when it is too large it is renamed, and a new one begins."""

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
        # Under the same descriptor number: another thread may just be writing to it.
        os.dup2(file, self._file, inheritable=False)
        os.close(file)

    def _renew(self) -> None:
        """One of the writers renames it, the others find the new one; if renaming fails, it keeps growing.

        They lock a file that nobody else may open: the log itself can be locked by anybody who may read
        it.
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
    """One line that can't control the reader's terminal; a typed word may be any bytes."""
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
