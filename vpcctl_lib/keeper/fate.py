"""What became of a workload: how and when its program last ended, and how often it was restarted."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

ENDING = ".fate"
"""The suffix of the file beside the log."""

MODE = 0o600
SIZE = 128
"""Its size in bytes, always the same: a full disk still lets us overwrite what is there."""


class Fate(NamedTuple):
    """`code` is an exit status, or minus the number of a signal; `ended` is in seconds since 1970."""

    restarts: int = 0
    code: int | None = None
    ended: int | None = None


def written(fate: Fate) -> bytes:
    """The content of the file."""
    return json.dumps(fate._asdict()).ljust(SIZE - 1).encode() + b"\n"


def read(content: bytes) -> Fate | None:
    """What the file says; None if it says nothing that we know."""
    try:
        return Fate(**json.loads(content))
    except (ValueError, TypeError):
        return None


class FateFile:
    """A file beside the log, kept as long as the log; a full disk must not stop the program."""

    def __init__(self, log: str) -> None:
        self._file = -1
        folder, name = os.path.split(log)
        how = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            self._file = os.open(name + ENDING, how, MODE, dir_fd=held)
            os.close(held)
        except OSError:
            return
        self.write(Fate())

    def write(self, fate: Fate) -> None:
        """Replace what the file says."""
        try:
            os.pwrite(self._file, written(fate), 0)
        except OSError:
            return
