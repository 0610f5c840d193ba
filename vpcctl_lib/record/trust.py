"""Whose folder it is: what root writes to and believes lies where nobody else can have put it."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.errors import VpcctlError

DEFAULT_FOLDER = Path("/var/lib/vpcctl")
"""Where the state is unless somebody says otherwise."""

LINKS = 40
"""As many as the kernel itself follows on one way (path_resolution(7))."""

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def check_folder(folder: Path) -> None:
    """Refuse, as root, a folder that somebody else could fill: its own owner, or that of one above it.

    Each folder and link on the way is looked at, as the kernel goes it. What is missing is no fault: it is
    made by us, and the way is looked at again then.
    """
    if os.geteuid() != 0:
        return
    if folder == DEFAULT_FOLDER:
        _close(folder)
    strangers = unmapped()
    for place, status, is_last in _way(os.path.join(os.getcwd(), folder)):
        trusted = {0, os.getuid()} | (set() if is_last else strangers)
        problem = _problem(status, trusted, is_last)
        if problem:
            told = "it" if place == folder else str(place)
            raise VpcctlError(f"the state folder {folder} is not root's alone: {told} {problem}",
                              _hint(place, status, trusted, is_last or place == folder))


def _close(folder: Path) -> None:
    """Take from others the right to write to a folder of root's, which is for nothing but our state.

    What they put there before still belongs to them, and is refused by that.
    """
    try:
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
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
    """Why somebody else could change what is there; empty if nobody can."""
    if status.st_uid not in trusted:
        return f"belongs to {_user(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode) or not status.st_mode & OTHERS_MAY_WRITE:
        return ""
    # In such a folder nobody renames or removes what is not theirs, and what lies in it is looked at next.
    if status.st_mode & stat.S_ISVTX and not is_last:
        return ""
    return f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"


def _hint(place: Path, status: os.stat_result, trusted: set[int], is_last: bool) -> str:
    """What to type; not for folders above, which have their owner for a reason."""
    if not is_last:
        return "use a folder that only root can write to, such as --state-dir /var/lib/vpcctl"
    if status.st_uid not in trusted:
        return ("use another, such as --state-dir /var/lib/vpcctl; or if you know what is in it: "
                f"chown -R root: {place}")
    return f"if you know what is in it: chmod -R go-w {place}"


def _user(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"uid {uid}"


def _way(path: str) -> Iterator[tuple[Path, os.stat_result, bool]]:
    """Each folder and link that the kernel comes by on its way; then, marked as the last, where it ends."""
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
            # Whoever opens it says what is wrong.
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


def unmapped(uid_map: str = "") -> set[int]:
    """The uid that all unknown users have here, where root is a plain user's (user_namespaces(7)).

    The host's own / and /var belong to such a one. Who it is can't be told; but this root can do no more than
    the user who made the namespace, whom the host's root rules anyway. Only folders above are taken from it,
    never the state folder itself. Where the number is that of a user of this namespace (on every real host:
    nobody), it tells nothing, and is a stranger's.
    """
    unknown = int(Path("/proc/sys/kernel/overflowuid").read_text())
    lines = (uid_map or Path("/proc/self/uid_map").read_text()).splitlines()
    spans = (map(int, line.split()) for line in lines)
    return set() if any(first <= unknown < first + count for first, _, count in spans) else {unknown}
