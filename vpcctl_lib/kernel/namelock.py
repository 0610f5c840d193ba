"""Takes the lock for which `ip netns add` would wait for ever, and which anybody may hold.

iproute2 locks the folder of the names (netns_add() of ip/ipnetns.c), so that two that start at once do not
both mount something over it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vpcctl_lib.kernel import netns, syscalls

SECONDS = 1.0
"""How long an honest holder needs it: the time of two mounts."""

PAUSE_SECONDS = 0.01
CALLS = {"x86_64": (0xC000003E, 73), "aarch64": (0xC00000B7, 32), "riscv64": (0xC00000F3, 32),
         "loongarch64": (0xC0000102, 32)}
"""AUDIT_ARCH_… (linux/audit.h) and the number of flock(2) (asm/unistd.h)."""

_LOAD, _IS, _RETURN = 0x20, 0x15, 0x06
"""BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K (linux/bpf_common.h)."""

_ALLOW, _DONE = 0x7FFF0000, 0x00050000
"""SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with no error (linux/seccomp.h)."""


@contextmanager
def held() -> Iterator[Callable[[], None] | None]:
    """Hold the lock, or do without it after a second; yields what the thread that starts it does first.

    Yields None if this host can't: the program then locks the folder itself.
    """
    program = filter_of(os.uname().machine)
    folder = _open() if program else -1
    if program is None or folder < 0:
        yield None
        return
    try:
        _lock(folder)
        yield lambda: _skip(program, folder)
    finally:
        os.close(folder)


def filter_of(machine: str) -> bytes | None:
    """The BPF program that makes flock(2) succeed; None if the machine's numbers are unknown."""
    if machine not in CALLS:
        return None
    arch, call = CALLS[machine]
    lines = ((_LOAD, 0, 0, 4), (_IS, 0, 3, arch), (_LOAD, 0, 0, 0), (_IS, 0, 1, call),
             (_RETURN, 0, 0, _DONE), (_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _open() -> int:
    try:
        return os.open(netns.NAMES, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        # The folder does not exist yet, so nobody holds its lock.
        return -1


def _lock(folder: int) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                return
            time.sleep(PAUSE_SECONDS)


def _skip(program: bytes, folder: int) -> None:
    """Have this thread, and what it starts, wait for no lock; where that can't be, ours is given up."""
    try:
        syscalls.filter_calls(program)
    except OSError:
        fcntl.flock(folder, fcntl.LOCK_UN)
