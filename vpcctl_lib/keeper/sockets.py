"""The kinds of sockets that a workload can make: those that its network namespace confines; pure but for one.

AF_VSOCK knows no network namespaces: it leads to the hypervisor, and to whoever else listens there.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import NamedTuple

from vpcctl_lib.kernel import syscalls

FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET)
"""A list of what is let through: who knows what a kernel of tomorrow has, or one with more modules.

AF_ALG, AF_BLUETOOTH, AF_RDS, AF_TIPC, AF_VSOCK and some thirty more are nothing that a program in a VPC has
to do with, and have been ways into the kernel. AF_PACKET takes a capability that no workload has.
"""

class _Machine(NamedTuple):
    """AUDIT_ARCH_… (linux/audit.h), and the numbers of socket(2) and socketpair(2) (asm/unistd.h)."""

    arch: int
    socket: int
    pair: int
    older: tuple[int, tuple[int, ...]] | None = None
    """The 32-bit machine that it can be as well, and that one's numbers for sockets."""


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 41, 53, (0x40000003, (102, 359, 360))),
    "aarch64": _Machine(0xC00000B7, 198, 199, (0x40000028, (102, 281, 288))),
    "riscv64": _Machine(0xC00000F3, 198, 199),
    "loongarch64": _Machine(0xC0000102, 198, 199),
}
_IO_URING_SETUP = 425
"""io_uring_setup(2), the same on all: IORING_OP_SOCKET makes sockets that no filter sees."""

_X32 = 0x40000000
"""What the numbers of x86's third way into the kernel begin with (asm/unistd.h)."""

_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data (linux/seccomp.h); all these machines have the lower half first."""

_LOAD, _IS, _IS_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
"""BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_RET|K (linux/bpf_common.h)."""

_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
"""SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO (linux/seccomp.h)."""


class _Line(NamedTuple):
    """An instruction; it goes on where `yes` or `no` says, or with the next one."""

    code: int
    value: int
    yes: str = ""
    no: str = ""
    label: str = ""


def filter_of(machine: str) -> bytes | None:
    """The BPF program for a kind of machine, None where its numbers are not known.

    A 32-bit program can make no socket: socketcall(2) has its arguments where no filter sees them.
    """
    if machine not in _MACHINES:
        return None
    known = _MACHINES[machine]
    arch, numbers = known.older or (known.arch, ())
    lines = [
        _Line(_LOAD, _ARCH), _Line(_IS, known.arch, yes="own"), _Line(_IS, arch, no="absent"),
        _Line(_LOAD, _NUMBER),
        *(_Line(_IS, number, yes="absent") for number in (*numbers, _IO_URING_SETUP)),
        _Line(_RETURN, _ALLOW),
        _Line(_LOAD, _NUMBER, label="own"), _Line(_IS_AT_LEAST, _X32, yes="absent"),
        _Line(_IS, _IO_URING_SETUP, yes="absent"),
        _Line(_IS, known.socket, yes="family"), _Line(_IS, known.pair, no="allowed"),
        _Line(_LOAD, _FIRST_ARGUMENT, label="family"),
        *(_Line(_IS, int(family), yes="allowed") for family in FAMILIES),
        _Line(_RETURN, _FAIL | errno.EAFNOSUPPORT),
        _Line(_RETURN, _ALLOW, label="allowed"),
        _Line(_RETURN, _FAIL | errno.ENOSYS, label="absent"),
    ]
    places = {line.label: at for at, line in enumerate(lines)}
    return b"".join(_packed(line, at, places) for at, line in enumerate(lines))


def _packed(line: _Line, at: int, places: dict[str, int]) -> bytes:
    """A struct sock_filter, which tells how many instructions are passed over."""
    skips = [places[label] - at - 1 if label else 0 for label in (line.yes, line.no)]
    return struct.pack("=HBBI", line.code, *skips, line.value)


def confine() -> bool:
    """Let this process and its children make no other sockets; False where that can't be had here."""
    program = filter_of(os.uname().machine)
    if program is None:
        return False
    try:
        syscalls.filter_calls(program)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        return False
    return True
