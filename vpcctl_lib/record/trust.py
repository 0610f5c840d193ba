"""Who can write to the state folder: root reads and writes only where nobody else can."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.errors import VpcctlError

DEFAULT_FOLDER = Path("/var/lib/vpcctl")
"""The default state folder."""

LINKS = 40
"""As many links as the kernel itself follows in one path (path_resolution(7))."""

OVERFLOW = Path("/proc/sys/kernel/overflowuid")
UID_MAP, STATUS = Path("/proc/self/uid_map"), Path("/proc/self/status")
EVERYBODY = (0, 0, 4294967295)
"""What uid_map has outside of all user namespaces (user_namespaces(7))."""

CAP_FOWNER = 1 << 3
"""To do what only owners may (capabilities(7))."""

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_folder(folder: Path) -> None:
    """Refuse, as root, a folder that another user could change: its owner, or the owner of one above it.

    Every folder and link on the way is checked, as the kernel resolves the path. A missing part is accepted:
    we create it, and the path is checked again then.
    """
    if os.geteuid() != 0:
        return
    if folder == DEFAULT_FOLDER:
        _close(folder)
    for place, status, is_last in _way(os.path.join(os.getcwd(), folder)):
        trusted = {0, os.getuid()} | (set() if is_last else _strangers(place, status))
        problem = _problem(status, trusted, is_last)
        if problem:
            culprit = "it" if place == folder else str(place)
            raise VpcctlError(f"the state folder {folder} is not root's alone: {culprit} {problem}",
                              _hint(place, status, trusted, is_last or place == folder))


def _close(folder: Path) -> None:
    """Remove write permission for others from a folder of root's that holds only our state.

    Files that they put there before still belong to them, and are refused for that reason.
    """
    try:
        file = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        status = os.fstat(file)
        if status.st_uid == 0 and status.st_mode & OTHERS_MAY_WRITE:
            with suppress(OSError):
                os.fchmod(file, stat.S_IMODE(status.st_mode) & ~(OTHERS_MAY_WRITE | stat.S_ISVTX))
    finally:
        os.close(file)


def check_file(path: Path, file: int) -> None:
    """Refuse, as root, an open file that somebody else may have written."""
    status = os.fstat(file)
    trusted = {0, os.getuid()}
    problem = _problem(status, trusted, True) if os.geteuid() == 0 else ""
    if problem:
        raise VpcctlError(f"{path} is not root's alone: it {problem}", _hint(path, status, trusted, True))


def _problem(status: os.stat_result, trusted: set[int], is_last: bool) -> str:
    """Why another user could change it; empty if none can."""
    if status.st_uid not in trusted:
        return f"belongs to {_user(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode) or not status.st_mode & OTHERS_MAY_WRITE:
        return ""
    # In a sticky folder users can rename or remove only their own files, and the next part is checked, too.
    if status.st_mode & stat.S_ISVTX and not is_last:
        return ""
    return f"is writable by others (mode {stat.S_IMODE(status.st_mode):04o})"


def _hint(place: Path, status: os.stat_result, trusted: set[int], is_last: bool) -> str:
    """What to type; not for folders above, which have their owner for a reason."""
    if not is_last:
        return "use a folder that only root can write to, such as --state-dir /var/lib/vpcctl"
    if status.st_uid not in trusted:
        return ("use another, such as --state-dir /var/lib/vpcctl; or if you trust what is in it: "
                f"chown -R root: {place}")
    return f"if you trust what is in it: chmod -R go-w {place}"


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def _way(path: str) -> Iterator[tuple[Path, os.stat_result, bool]]:
    """Each folder and link that the kernel passes on the path; then, marked as the last, its end."""
    here, left, links = "/", _parts(path), 0
    status = os.lstat(here)
    yield Path(here), status, False
    while left:
        part = left.pop(0)
        here = os.path.dirname(here) if part == ".." else os.path.join(here, part)
        try:
            status = os.lstat(here)
            target = os.readlink(here) if stat.S_ISLNK(status.st_mode) else ""
        except OSError:
            # Opening it reports what is wrong.
            return
        yield Path(here), status, False
        if target:
            links += 1
            if links > LINKS:
                return
            here = "/" if target.startswith("/") else os.path.dirname(here)
            left[:0] = _parts(target)
    yield Path(here), os.lstat(here), True


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _strangers(place: Path, status: os.stat_result) -> set[int]:
    """The owner of a folder above, if it is unknown in the user namespace of a plain user; else nobody.

    The host's own / and /var belong to such. The real owner is unknown; but root here can do no more than the
    user who made the namespace, and the host's root controls that user anyway. It is trusted only for folders
    above, never for the state folder itself.
    """
    unknown = int(OVERFLOW.read_text())
    if status.st_uid != unknown:
        return set()
    spans = [tuple(map(int, line.split())) for line in UID_MAP.read_text().splitlines()]
    is_whole = spans == [EVERYBODY]
    is_known = any(first <= unknown < first + count for first, _, count in spans)
    return set() if is_whole or (is_known and not _is_beyond_root(place)) else {unknown}


def _is_beyond_root(place: Path) -> bool:
    """Whether root here has no power over a folder, so that its owner is none of this namespace's users.

    Where a user here has the number that stat(2) shows for unknown ones (nobody, with a range of subuid(5)),
    only the kernel knows: O_NOATIME is for the owner, and for CAP_FOWNER over a known owner (open(2)).
    """
    capabilities = next(line for line in STATUS.read_text().splitlines() if line.startswith("CapEff:"))
    if not int(capabilities.split()[1], 16) & CAP_FOWNER:
        return False
    try:
        os.close(os.open(place, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NOATIME))
    except OSError as error:
        return error.errno == errno.EPERM
    return False
