"""Files and folders of our own: opened without following a link, and with a fixed mode whatever the umask."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""Follow no link, and do not wait for a FIFO in a file's place (no effect on a file)."""

PUBLIC, SECRET = 0o644, 0o600
SECRET_FOLDER, PUBLIC_FOLDER = 0o700, 0o755


def open_kept(path: Path, flags: int, mode: int, always: bool = False) -> int:
    """A descriptor of a permanent file, created with that mode if missing; OSError if it is not a file.

    With `always` an existing file gets the mode, too; otherwise a mode that somebody changed stays.
    """
    # Emptied only once its owner is known.
    how = flags & ~os.O_TRUNC
    try:
        file = os.open(path, how | SAFE)
    except FileNotFoundError:
        file, always = _made(path, how, mode), True
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        _check_owner(status, str(path))
        _check_names(status, str(path))
        if always and stat.S_IMODE(status.st_mode) != mode:
            os.fchmod(file, mode)
        if flags & os.O_TRUNC:
            os.ftruncate(file, 0)
    except OSError:
        os.close(file)
        raise
    return file


def _made(path: Path, flags: int, mode: int) -> int:
    """Create the file; or open the one that somebody else created first."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL | SAFE, mode)
    except FileExistsError:
        return os.open(path, flags | SAFE)


def _check_owner(status: os.stat_result, path: str) -> None:
    """Refuse a file that root did not create: its mode does not bind its owner."""
    if os.geteuid() == 0 and status.st_uid not in (0, os.getuid()):
        raise OSError(errno.EPERM, f"it belongs to uid {status.st_uid}, not to root", path)


def _check_names(status: os.stat_result, path: str) -> None:
    """Refuse a file with other names: somebody may have hard-linked any file of root's there."""
    if status.st_nlink > 1:
        raise OSError(errno.EPERM, f"it is a hard link: the file has {status.st_nlink} names", path)


def write_new(path: Path, text: bytes | bytearray, mode: int = PUBLIC) -> None:
    """Write a temporary file with that text, on disk once this returns; removes a stale one first."""
    with suppress(FileNotFoundError):
        path.unlink()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, mode)
    try:
        # Before it has content: the umask may have cleared a bit.
        os.fchmod(file, mode)
        write_all(file, text)
        os.fsync(file)
    finally:
        os.close(file)


def write_all(file: int, text: bytes | bytearray) -> None:
    """Write all of it, even if the kernel takes less at a time."""
    left = memoryview(text)
    while left:
        left = left[os.write(file, left):]


def read_own(path: Path, check: Callable[[Path, int], None]) -> bytes:
    """The content of our file, after the check; OSError if it is a link or not a file."""
    file = os.open(path, os.O_RDONLY | SAFE)
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        check(path, file)
        return opened.read()


def make_folder(path: Path) -> None:
    """Make a folder and all those above it, readable by everybody whatever the umask."""
    if not path.is_dir():
        make_folder(path.parent)
        _make(str(path), PUBLIC_FOLDER, None)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def make_secret_folder(top: Path, below: str) -> None:
    """Make folders below `top` (`logs/vpc1/public`) that nobody else may enter, whatever the umask.

    It follows no link, because it opens each folder relative to the one before; it also closes existing ones.
    `top` itself must exist.
    """
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in Path(below).parts:
            here = _stepped(here, name)
    finally:
        os.close(here)


def _stepped(here: int, name: str) -> int:
    """A descriptor of that folder in another, created if missing; closes the other's descriptor."""
    _make(name, SECRET_FOLDER, here)
    there = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        status = os.fstat(there)
        _check_owner(status, name)
        if stat.S_IMODE(status.st_mode) != SECRET_FOLDER:
            os.fchmod(there, SECRET_FOLDER)
    except OSError:
        os.close(there)
        raise
    os.close(here)
    return there


def _make(name: str, mode: int, home: int | None) -> None:
    try:
        os.mkdir(name, mode, dir_fd=home)
    except FileExistsError:
        return
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=home)
    try:
        os.fchmod(folder, mode)
    finally:
        os.close(folder)
