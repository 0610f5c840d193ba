"""The few system calls that Python before 3.12 does not offer."""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class Namespace(IntFlag):
    """What a process can have of its own (CLONE_NEW… in sched.h)."""

    MOUNT = 0x00020000
    UTS = 0x04000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class MountFlag(IntFlag):
    """How a file system is mounted (MS_… in sys/mount.h)."""

    NONE = 0
    NOSUID = 1 << 1
    NODEV = 1 << 2
    NOEXEC = 1 << 3
    BIND = 1 << 12
    RECURSIVE = 1 << 14
    PRIVATE = 1 << 18


def unshare(namespaces: Namespace) -> None:
    """Move this process (for PID: its children) into new namespaces."""
    _check(_libc.unshare(int(namespaces)), "unshare")


def mount(source: str, target: str, kind: str, flags: MountFlag, options: str) -> None:
    """Mount a file system, as mount(2) does."""
    number = ctypes.c_ulong(flags)
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), number, options.encode())
    _check(result, f"mount {kind} on {target}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send us this signal when the process that forked us ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0), "prctl")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
