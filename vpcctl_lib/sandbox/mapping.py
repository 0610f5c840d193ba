"""The users of a sandbox without root: a range of numbers where the host has set one aside, or root alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.run import Command, Runner, fork, has
from vpcctl_lib.kernel.syscalls import Namespace
from vpcctl_lib.kernel.users import name_of

SUBIDS = {"gid": Path("/etc/subgid"), "uid": Path("/etc/subuid")}
"""In the order in which they are used: users without groups would be of no use."""

Range = tuple[int, int]
"""The first number and how many there are."""


def set_aside(text: str, name: str, number: int) -> Range | None:
    """The largest range that a file such as /etc/subuid has for a user (subuid(5)); None if it has none."""
    found = []
    for line in text.splitlines():
        owner, *words = line.strip().split(":")
        if owner in (name, str(number)) and len(words) == 2 and all(word.isdigit() for word in words):
            found.append((int(words[0]), int(words[1])))
    return max(found, key=lambda one: one[1], default=None)


def unshare(namespaces: Namespace, uid: int, gid: int) -> None:
    """Move into these and a user namespace in which we are root, with as many users as we may have."""
    ranges = _ranges(uid)
    reader, writer = os.pipe()
    helper = fork(lambda: _map(reader, writer, os.getppid(), (gid, uid), ranges)) if ranges else None
    os.close(reader)
    try:
        syscalls.unshare(namespaces | Namespace.USER)
        os.write(writer, b"!") if helper else None
    finally:
        os.close(writer)
        status = os.waitpid(helper, 0)[1] if helper else 1
    if status != 0:
        _map_ourselves(uid, gid)


def _ranges(uid: int) -> dict[str, Range]:
    """Those of both kinds; none where one is missing, or the tools that write them."""
    found: dict[str, Range] = {}
    for kind, file in SUBIDS.items():
        with suppress(OSError):
            one = set_aside(file.read_text(errors="replace"), name_of(uid), uid)
            found.update({kind: one} if one and has(f"new{kind}map") else {})
    return found if len(found) == len(SUBIDS) else {}


def _map(reader: int, writer: int, target: int, ours: tuple[int, int], ranges: dict[str, Range]) -> int:
    """Write the maps from outside, as soon as the namespace is there: only these set-uid tools may."""
    os.close(writer)
    if not os.read(reader, 1):
        return 1
    for (kind, (first, count)), own in zip(ranges.items(), ours, strict=True):
        words = ("0", str(own), "1", "1", str(first), str(count))
        outcome = Runner().change(Command((f"new{kind}map", str(target), *words)))
        if outcome.status != 0:
            return 1
    return 0


def _map_ourselves(uid: int, gid: int) -> None:
    """Root alone, for which nobody's leave is needed."""
    Path("/proc/self/setgroups").write_text("deny")
    for kind, number in (("uid", uid), ("gid", gid)):
        map_file = Path(f"/proc/self/{kind}_map")
        if not map_file.read_text().strip():
            map_file.write_text(f"0 {number} 1")
