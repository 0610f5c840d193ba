"""Files and folders of our own: opened without following a link, with their mode whatever the umask."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""No link is followed, and a FIFO in a file's place keeps nobody waiting (to a file that means nothing)."""

PUBLIC, SECRET = 0o644, 0o600
SECRET_FOLDER, PUBLIC_FOLDER = 0o700, 0o755


def open_kept(path: Path, flags: int, mode: int, always: bool = False) -> int:
    """A descriptor of a file that stays, made with that mode if it is missing; OSError if it is no file.

    With `always` one that is there gets the mode, too; else whoever changed it keeps what they chose.
    """
    # Emptied once it is known whose it is.
    how = flags & ~os.O_TRUNC
    try:
        file = os.open(path, how | SAFE)
    except FileNotFoundError:
        file, always = _made(path, how, mode), True
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
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
    """The file made; or that of another, who was quicker."""
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL | SAFE, mode)
    except FileExistsError:
        return os.open(path, flags | SAFE)


def _check_owner(status: os.stat_result, path: str) -> None:
    """Refuse what root did not make: to its owner, its mode means nothing."""
    if os.geteuid() == 0 and status.st_uid not in (0, os.getuid()):
        raise OSError(errno.EPERM, f"it belongs to uid {status.st_uid}, not to root", path)


def _check_names(status: os.stat_result, path: str) -> None:
    """Refuse a file with a name elsewhere: who may link to files of others can put any of root's there."""
    if status.st_nlink > 1:
        raise OSError(errno.EPERM, f"it is a hard link: the file has {status.st_nlink} names", path)


def write_new(path: Path, text: bytes, mode: int = PUBLIC) -> None:
    """A temporary file of ours with that text, on the disk once this returns; a stale one goes first."""
    with suppress(FileNotFoundError):
        path.unlink()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE, mode)
    try:
        # Before anything is in it: the umask may have taken a bit away.
        os.fchmod(file, mode)
        write_all(file, text)
        os.fsync(file)
    finally:
        os.close(file)


def write_all(file: int, text: bytes) -> None:
    """All of it, though the kernel may take less at a time."""
    left = memoryview(text)
    while left:
        left = left[os.write(file, left):]


def read_own(path: Path, check: Callable[[Path, int], None]) -> bytes:
    """What a file of ours holds, once the check has passed; OSError if it is a link or no file."""
    file = os.open(path, os.O_RDONLY | SAFE)
    with open(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        check(path, file)
        return opened.read()


def make_folder(path: Path) -> None:
    """A folder with all those above it, open to be read by everybody whatever the umask."""
    if not path.is_dir():
        make_folder(path.parent)
        _make(str(path), PUBLIC_FOLDER, None)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def make_secret_folder(top: Path, below: str) -> None:
    """Folders below `top` (`logs/vpc1/public`) that nobody else may enter, whatever the umask.

    No link is followed on the way, each step being taken from the folder before it; one that is there already
    is closed, too. `top` itself is there.
    """
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in Path(below).parts:
            here = _stepped(here, name)
    finally:
        os.close(here)


def _stepped(here: int, name: str) -> int:
    """A descriptor of the folder of that name in another, which is made if need be; that other is closed."""
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
