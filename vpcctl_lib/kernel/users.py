"""The users that workloads run as: a number for each VPC, of users who own nothing and are in no list."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vpcctl_lib.errors import BadInput
from vpcctl_lib.model.addressing import LINK_COUNT


class Range(NamedTuple):
    """Consecutive numbers of users."""

    first: int
    size: int


RANGES = (Range(0x70000000, LINK_COUNT), Range(60706, 477))
"""Both are unassigned (systemd, "Users, Groups, UIDs and GIDs on systemd Systems"): the first is above
those of containers, the second is for user namespaces with only 16-bit numbers."""

HOST = -1
"""In the place of a cable's number: what runs for all VPCs has the number after each range."""


def owned_by(number: int) -> Iterator[int]:
    """The user of the VPC with that cable number, in each range that has room for it."""
    return (span.first + (span.size if number == HOST else number) for span in RANGES if number < span.size)


def is_mapped(uid: int) -> bool:
    """Whether we may become that user: a sandbox without root has only root."""
    spans = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return os.geteuid() == 0 and any(int(first) <= uid < int(first) + int(count) for first, _, count in spans)


def usable(number: int) -> int | None:
    """The first of the VPC's users that we may become; None if there is none.

    A plain user only rehearses what root would do.
    """
    return next((uid for uid in owned_by(number) if os.geteuid() != 0 or is_mapped(uid)), None)


def account(name: str) -> pwd.struct_passwd:
    """The host's user of that name or number; KeyError if it does not exist."""
    return pwd.getpwuid(int(name)) if name.isascii() and name.isdecimal() else pwd.getpwnam(name)


def check_user(name: str) -> None:
    """Refuse a user that a workload can't run as: one that does not exist, or root."""
    try:
        found = account(name) if name else None
    except (KeyError, OverflowError):
        raise BadInput(f"user '{name}' does not exist on this host", "leave --user out: the workload then "
                       "runs as a user of its VPC's own") from None
    if found is not None and found.pw_uid == 0:
        raise BadInput(f"'{name}' is root: a workload never runs as root",
                       "name another user, or leave it out")


def name_of(uid: int) -> str:
    """The host's name for a user; empty if the number has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
