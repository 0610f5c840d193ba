"""A workload's log: what came through its pipe, at most twice the limit; it never fills the disk."""

from __future__ import annotations

import os

MODE = 0o600
OLDER = ".1"
"""The suffix of the previous log."""

RESERVE_BYTES = 64 << 20
RESERVE_PART = 8
"""A log leaves this much of its disk free, or an eighth of the disk if that is less."""


def has_room(disk: os.statvfs_result) -> bool:
    """Whether a log may grow on that disk."""
    reserve = min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // RESERVE_PART)
    return disk.f_bavail * disk.f_frsize > reserve


class Log:
    """Appends to a file in a folder that is held open, so it works even if something covers that."""

    def __init__(self, path: str, limit: int) -> None:
        folder, self._name = os.path.split(path)
        self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._limit = limit
        self._lost = 0
        self._file = self._open()

    def _open(self) -> int:
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._name, how, MODE, dir_fd=self._folder)

    def close(self) -> None:
        """Nothing is written any more."""
        os.close(self._file)
        os.close(self._folder)

    def write(self, data: bytes) -> None:
        """Append; what finds no room is counted, and the count written later. The program never waits."""
        try:
            if not self._has_room():
                self._lost += len(data)
                return
            if self._lost:
                self.tell(self._lost)
                self._lost = 0
            written = os.write(self._file, data)
            self._lost += len(data) - written
            self._rotate()
        except OSError:
            # A full or failing disk must not stop the program; the count reports it later.
            self._lost += len(data)

    def tell(self, lost: int) -> None:
        """Write that so many bytes are missing."""
        os.write(self._file, b"[%d bytes found no room on the disk]\n" % lost)

    @property
    def lost(self) -> int:
        """The bytes that found no room since the last that did."""
        return self._lost

    def _has_room(self) -> bool:
        return has_room(os.fstatvfs(self._file))

    def _rotate(self) -> None:
        if self._limit and os.fstat(self._file).st_size > self._limit:
            self.turn()

    def turn(self) -> None:
        """It becomes the older one, and another begins."""
        try:
            if self.is_there():
                os.rename(self._name, self._name + OLDER, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            fresh = self._open()
        except OSError:
            # Its folder was removed: a file that nobody can read must not grow.
            os.ftruncate(self._file, 0)
            return
        os.close(self._file)
        self._file = fresh

    def is_there(self) -> bool:
        """Whether the name still leads to it: somebody may have removed or renamed it."""
        try:
            named = os.stat(self._name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(self._file))
