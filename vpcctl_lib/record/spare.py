"""A file that keeps room on the disk for the record, so that what takes things away needs no free room."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.kernel import disk

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""No block, or no inode, is left; or none for this user."""

EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""

HERE = -100
"""AT_FDCWD: paths as they stand."""

LEAST, MORE = 16 * 1024, 48 * 1024
"""Room beyond twice the record: what is under way is in the record twice, before and after. The difference
is what the record may grow by before the spare is made larger."""


class Spare:
    """A file of a size for the next record, in the same folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def renew(self, record: int) -> None:
        """Have it be of a size for a record of that size; where the disk has no room it stays as it is."""
        wanted = 2 * record + MORE
        try:
            status = os.lstat(self._path)
            fits = 2 * record + LEAST <= status.st_size <= 4 * wanted
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                # What is kept of a lost record has been exchanged with it.
                self._path.unlink()
            elif fits:
                return
        except FileNotFoundError:
            pass
        with suppress(OSError):
            self._reserve(wanted)

    def _reserve(self, size: int) -> None:
        file = disk.open_kept(self._path, os.O_RDWR, disk.PUBLIC)
        try:
            os.posix_fallocate(file, 0, size)
            os.ftruncate(file, size)
        finally:
            os.close(file)

    def replace(self, targets: Sequence[Path], text: bytes) -> None:
        """Have each of the files hold the text, one after the other, in the room that is ours already.

        The text goes into the spare, which changes names with the file then: so no inode is needed, no block
        is given back that another could take first, and what was the file is the next one's spare.
        OSError if there is no spare, or if it is too small and the disk has no more.
        """
        for target in targets:
            self._fill(text)
            try:
                _exchange(self._path, target)
            except OSError:
                # There is no such file yet, or the file system has no such call: the room is given back.
                self._path.replace(target)

    def _fill(self, text: bytes) -> None:
        try:
            file = os.open(self._path, os.O_RDWR | disk.SAFE)
        except FileNotFoundError:
            raise _no_room(self._path) from None
        try:
            if os.fstat(file).st_nlink > 1:
                raise _no_room(self._path)
            os.fchmod(file, disk.PUBLIC)
            disk.write_all(file, text)
            os.ftruncate(file, len(text))
            os.fsync(file)
        finally:
            os.close(file)


def _no_room(path: Path) -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _exchange(one: Path, other: Path) -> None:
    """Two names of files change places at once (renameat2(2))."""
    # Imported late: only a full disk needs it.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if libc.renameat2(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
