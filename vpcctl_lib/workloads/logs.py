"""Workloads' logs as files: a workload's output, the older log before the newer, read from the end."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.keeper.fate import ENDING, Fate, read
from vpcctl_lib.keeper.log import OLDER
from vpcctl_lib.model.naming import MARK

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe",
          stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


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


def instead(file: Path) -> str:
    """What is in the place of a log; empty if it is a file, or nothing is there."""
    try:
        kind = stat.S_IFMT(file.lstat().st_mode)
    except FileNotFoundError:
        return ""
    return _KINDS.get(kind, "")


def _opened(file: Path) -> BinaryIO:
    """A log to read; VpcctlError if its folder's owner has put something else in its place."""
    found = instead(file)
    if not found:
        held = os.fdopen(os.open(file, _READ), "rb")
        if stat.S_ISREG(os.fstat(held.fileno()).st_mode):
            return held
        held.close()
    raise VpcctlError(f"can't read {file}: {found or instead(file)} is in its place",
                      "somebody else put it there: find out who, and remove it")


def _content(file: Path) -> bytes:
    with _opened(file) as held:
        return held.read()


def text(log: Path, takes: Callable[[bytes], bool] = bool) -> str:
    """All output that is kept, of files that are taken by what they have; FileNotFoundError without a log."""
    older, newer = _parts(log)
    before = b""
    with suppress(FileNotFoundError):
        before = _content(older)
    return b"".join(part for part in (before, _content(newer)) if takes(part)).decode(errors="replace")


def tail(log: Path, size: int) -> bytes:
    """The last bytes of the log."""
    with _opened(log) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - size))
        return file.read(size)


def follow(log: Path, takes: Callable[[bytes], bool] = bool) -> Generator[bytes, None, None]:
    """As `text`, and then what is added, for ever; sometimes empty. It continues with a new log."""
    file = _opened(log)
    try:
        older, _ = _parts(log)
        # If it has just become the older one, it is read once.
        if os.path.lexists(older) and _is_another(older, os.fstat(file.fileno())):
            yield from filter(takes, (_content(older),))
        yield from filter(takes, (file.read(),))
        while True:
            yield file.read()
            if _is_another(log, os.fstat(file.fileno())):
                yield file.read()
                file.close()
                file = _opened(log)
    finally:
        file.close()


def _is_another(log: Path, held: os.stat_result) -> bool:
    try:
        return log.lstat().st_ino != held.st_ino
    except FileNotFoundError:
        return False
