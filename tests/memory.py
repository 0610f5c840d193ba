"""Where tests that touch no network keep their files: in memory, if the host has a place for that.

Some disks take seconds to remove a thousand folders.
"""

import os

SHARED = "/dev/shm"  # noqa: S108 - what is put there is in a folder that only its owner can read


def is_fit(folder: str) -> bool:
    """Whether files can be made there, and programs run: in a container often none can."""
    return os.access(folder, os.W_OK) and not os.statvfs(folder).f_flag & os.ST_NOEXEC


place: str | None = SHARED if is_fit(SHARED) else None
"""The folder; None is the one for temporary files."""
