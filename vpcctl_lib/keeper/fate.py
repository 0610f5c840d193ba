"""What has become of a workload: how its program ended last, when, and how often it was started again."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

ENDING = ".fate"
"""Of the file beside the log."""

MODE = 0o600
SIZE = 128
"""Bytes, always as many: what was written once can be written over on a full disk."""


class Fate(NamedTuple):
    """`code` is an exit status, or minus the number of a signal; `ended` is in seconds since 1970."""

    restarts: int = 0
    code: int | None = None
    ended: int | None = None


def written(fate: Fate) -> bytes:
    """The content of the file."""
    return json.dumps(fate._asdict()).ljust(SIZE - 1).encode() + b"\n"


def read(content: bytes) -> Fate | None:
    """What it says; None where it says nothing that we know."""
    try:
        return Fate(**json.loads(content))
    except (ValueError, TypeError):
        return None


class FateFile:
    """Kept beside the log for as long as that; a disk that takes nothing must not stop the program."""

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
        """Instead of what it said before."""
        try:
            os.pwrite(self._file, written(fate), 0)
        except OSError:
            return
