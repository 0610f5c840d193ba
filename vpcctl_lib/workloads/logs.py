"""Workloads' logs as files: what a workload wrote, the older log before the newer, read from the end."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

from vpcctl_lib.keeper.fate import ENDING, Fate, read
from vpcctl_lib.keeper.log import OLDER
from vpcctl_lib.model.naming import MARK


def files(log: Path) -> list[Path]:
    """All that there may be of a workload: the log, the one before it, and what has become of the program."""
    return [*_parts(log), _fate(log)]


def _parts(log: Path) -> tuple[Path, Path]:
    """The older one, which may be missing, and the log itself."""
    return log.with_name(log.name + OLDER), log


def _fate(log: Path) -> Path:
    return log.with_name(log.name + ENDING)


def fate(log: Path) -> Fate | None:
    """What has become of the workload's program; None where that is not known, or not to be read."""
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
    """Where the logs of a subnet's workloads lie, by the mark of the subnet."""
    return state / "logs" / owner.removeprefix(MARK)


def left_in(folder: Path) -> list[Path]:
    """All files of ours in a subnet's folder, those of programs that did not start too."""
    return sorted(folder.glob("*.log*"))


def remove(log: Path) -> None:
    """Gone, with all that belongs to it."""
    for file in files(log):
        file.unlink(missing_ok=True)


def text(log: Path) -> str:
    """All that is kept of what the workload wrote; FileNotFoundError if it has no log."""
    older, newer = _parts(log)
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
        older, _ = _parts(log)
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
