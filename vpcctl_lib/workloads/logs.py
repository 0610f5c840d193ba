"""Workloads' logs as files: a workload's output, the older log before the newer, read from the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

from vpcctl_lib.keeper.fate import ENDING, Fate, read
from vpcctl_lib.keeper.log import OLDER
from vpcctl_lib.model.naming import MARK


def files(log: Path) -> list[Path]:
    """All files that a workload may have: the log, the previous one, and the program's fate."""
    return [*_parts(log), _fate(log)]


def _parts(log: Path) -> tuple[Path, Path]:
    """The older log, which may be missing, and the log itself."""
    return log.with_name(log.name + OLDER), log


def _fate(log: Path) -> Path:
    return log.with_name(log.name + ENDING)


def fate(log: Path) -> Fate | None:
    """What became of the workload's program; None if that is unknown or unreadable."""
    try:
        return read(_fate(log).read_bytes())
    except OSError:
        return None


def is_written(log: Path) -> bool:
    """Whether there is anything in it."""
    try:
        return log.stat().st_size > 0
    except OSError:
        return False


def folder_of(state: Path, owner: str) -> Path:
    """The folder of a subnet's workload logs, by the mark of the subnet."""
    return state / "logs" / owner.removeprefix(MARK)


def left_in(folder: Path) -> list[Path]:
    """All our files in a subnet's folder, including those of programs that did not start."""
    return sorted(folder.glob("*.log*"))


def remove(log: Path) -> None:
    """Remove the log with everything that belongs to it."""
    for file in files(log):
        file.unlink(missing_ok=True)


def text(log: Path, takes: Callable[[bytes], bool] = bool) -> str:
    """All output that is kept, of files that are taken by what they have; FileNotFoundError without a log."""
    older, newer = _parts(log)
    before = older.read_bytes() if older.exists() else b""
    return b"".join(part for part in (before, newer.read_bytes()) if takes(part)).decode(errors="replace")


def tail(log: Path, size: int) -> bytes:
    """The last bytes of the log."""
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read(size)


def follow(log: Path, takes: Callable[[bytes], bool] = bool) -> Generator[bytes, None, None]:
    """As `text`, and then what is added, for ever; sometimes empty. It continues with a new log."""
    file = log.open("rb")
    try:
        older, _ = _parts(log)
        # If it has just become the older one, it is read once.
        if older.exists() and _is_another(older, os.fstat(file.fileno())):
            yield from filter(takes, (older.read_bytes(),))
        yield from filter(takes, (file.read(),))
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
