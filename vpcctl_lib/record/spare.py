"""A file that reserves disk space for the record, so that a delete works on a full disk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.kernel import disk

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""No block or inode is left, or none for this user."""

EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""

HERE = -100
"""AT_FDCWD: paths are used as they are."""

LEAST, MORE = 16 * 1024, 48 * 1024
"""Space beyond twice the record: a change under way is in the record twice, before and after. The record may
grow by this much before the spare is enlarged."""


class Spare:
    """A file large enough for the next record, in the same folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def renew(self, record: int) -> None:
        """Make it large enough for a record of that size; on a full disk it stays as it is."""
        wanted = 2 * record + MORE
        try:
            status = os.lstat(self._path)
            fits = 2 * record + LEAST <= status.st_size <= 4 * wanted
            if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
                # A lost record that is kept has been exchanged with it.
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

    def replace(self, targets: Sequence[Path], text: bytes | bytearray) -> None:
        """Write the text to each of the files, one after the other, in the space that is already reserved.

        The text goes into the spare, which then exchanges names with the file: this needs no new inode, frees
        no block that another program could take first, and makes the old file the next spare.
        OSError if there is no spare, or if it is too small and the disk has no more.
        """
        for target in targets:
            self._fill(text)
            if not _exchanged(self._path, target):
                # The file does not exist yet, or the file system can't exchange: give the space back.
                self._path.replace(target)

    def _fill(self, text: bytes | bytearray) -> None:
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


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two file names atomically (renameat2(2)); whether that was possible."""
    # Imported late: only a full disk needs it.
    import ctypes

    libc = ctypes.CDLL(None)
    names = os.fsencode(one), os.fsencode(other)
    return hasattr(libc, "renameat2") and libc.renameat2(HERE, names[0], HERE, names[1], EXCHANGE) == 0
