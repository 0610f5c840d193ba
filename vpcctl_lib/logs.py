"""Workloads' logs as files: what a workload wrote, the older log before the newer, read from the end."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from vpcctl_lib.keeper.log import OLDER


def files(log: Path) -> list[Path]:
    """The older one, if there is one, and the log itself."""
    return [log.with_name(log.name + OLDER), log]


def remove(log: Path) -> None:
    """Gone, the older one too."""
    for file in files(log):
        file.unlink(missing_ok=True)


def text(log: Path) -> str:
    """All that is kept of what the workload wrote; FileNotFoundError if it has no log."""
    older, newer = files(log)
    before = older.read_bytes() if older.exists() else b""
    return (before + newer.read_bytes()).decode(errors="replace")


def tail(log: Path, size: int) -> bytes:
    """The last bytes of the log."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read(size)


def follow(log: Path) -> Generator[bytes, None, None]:
    """All that is kept, then what is added, for ever; nothing at times. It goes on where a new log begins."""
    file = log.open("rb")
    try:
        older, _ = files(log)
        # Where it became the older one just now, it is read once.
        if older.exists() and _is_another(older, os.fstat(file.fileno())):
            yield older.read_bytes()
        while True:
            yield file.read()
            if _is_another(log, os.fstat(file.fileno())):
                yield file.read()
                file.close()
                file = log.open("rb")
    finally:
        file.close()


def _is_another(log: Path, held: os.stat_result) -> bool:
    try:
        return log.stat().st_ino != held.st_ino
    except FileNotFoundError:
        return False
