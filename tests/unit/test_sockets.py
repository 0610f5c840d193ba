"""The filter on system calls, read as the kernel reads it."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from vpcctl_lib.keeper.sockets import FAMILIES, filter_of

ALLOWED, NO_FAMILY, ABSENT = 0x7FFF0000, 0x50000 | errno.EAFNOSUPPORT, 0x50000 | errno.ENOSYS
MACHINES = {"x86_64": (0xC000003E, 41, 53), "aarch64": (0xC00000B7, 198, 199)}
OLDER = {"x86_64": (0x40000003, (102, 359, 360)), "aarch64": (0x40000028, (102, 281, 288))}


def decided(machine: str, arch: int, number: int, argument: int = 0) -> int:
    """What comes of a system call (struct seccomp_data in linux/seccomp.h)."""
    program, data = filter_of(machine), struct.pack("=IIQQ5Q", number, arch, 0, argument, *[0] * 5)
    assert program is not None
    lines = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = value = 0
    while True:
        code, yes, no, operand = lines[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == 0x06:
            return int(operand)
        else:
            at += yes if (value == operand if code == 0x15 else value >= operand) else no


@pytest.mark.parametrize("machine", MACHINES)
def test_each_family(machine: str) -> None:
    arch, *making = MACHINES[machine]
    for number in making:
        for family in range(64):
            shall = ALLOWED if family in FAMILIES else NO_FAMILY
            assert decided(machine, arch, number, family) == shall
            # The kernel reads an int: the upper half says nothing.
            assert decided(machine, arch, number, family | 1 << 32) == shall
    assert decided(machine, arch, making[1] + 1, 40) == ALLOWED, "another call"


@pytest.mark.parametrize("machine", MACHINES)
def test_other_ways_to_a_socket(machine: str) -> None:
    arch, making, _ = MACHINES[machine]
    assert decided(machine, arch, 425) == ABSENT, "io_uring"
    assert decided(machine, arch, 0x40000000 | making, 2) == ABSENT, "x32"
    older, numbers = OLDER[machine]
    assert [decided(machine, older, number, 2) for number in numbers] == [ABSENT] * 3
    assert decided(machine, older, 425) == ABSENT
    assert decided(machine, older, 4) == ALLOWED
    assert decided(machine, 0xDEAD, 1) == ABSENT


def test_what_is_let_through() -> None:
    assert not {socket.AF_VSOCK, socket.AF_ALG} & set(FAMILIES)
    assert filter_of("a machine of tomorrow") is None
