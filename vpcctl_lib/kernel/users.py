"""As whom workloads run: a number for each VPC, of users who own nothing and are in no list of users."""

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


RANGES = (Range(0x70000000, LINK_COUNT), Range(60706, 478))
"""Both are nobody's (systemd, "Users, Groups, UIDs and GIDs on systemd Systems"): the first is past those of
containers, the second is for where a user namespace has numbers of 16 bits only."""


def owned_by(number: int) -> Iterator[int]:
    """The user of the VPC with that cable number, in each range that has room for it."""
    return (span.first + number for span in RANGES if number < span.size)


def is_mapped(uid: int) -> bool:
    """Whether we may become that user: in a sandbox without root there is none but root."""
    spans = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return os.geteuid() == 0 and any(int(first) <= uid < int(first) + int(count) for first, _, count in spans)


def usable(number: int) -> int | None:
    """The first of the VPC's users that we may become; None where there is none.

    Who is not root only wants to know what root would do.
    """
    return next((uid for uid in owned_by(number) if os.geteuid() != 0 or is_mapped(uid)), None)


def account(name: str) -> pwd.struct_passwd:
    """The host's user of that name or number; KeyError where there is none."""
    return pwd.getpwuid(int(name)) if name.isascii() and name.isdecimal() else pwd.getpwnam(name)


def check_user(name: str) -> None:
    """Refuse a user whom a workload can't run as: one that is not there, or root."""
    try:
        found = account(name) if name else None
    except (KeyError, OverflowError):
        raise BadInput(f"there is no user '{name}' on this host", "leave --user out: a workload then runs as "
                       "a user of its VPC's own") from None
    if found is not None and found.pw_uid == 0:
        raise BadInput(f"'{name}' is root, and a workload never is", "name another user, or leave it out")


def name_of(uid: int) -> str:
    """What the host calls a user; empty where it has no name for the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""
