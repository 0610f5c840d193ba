"""The few system calls that Python before 3.12 does not offer."""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 15, 24, 38
_MOUNT_SETATTR, _MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _AT_RECURSIVE = 442, 1, 2, 0x8000
_OPEN_TREE, _MOVE_MOUNT, _CLONE, _CLOSE_ON_EXEC, _FROM_EMPTY_PATH, _HERE = 428, 429, 1, 0o2000000, 4, -100
_PR_SET_KEEPCAPS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 8, 47, 2
_LAST_CAPABILITY = 63
"""A capability set has 64 bits (linux/capability.h)."""

_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "armv7l": 311, "i686": 288,
           "ppc64le": 271, "s390x": 280}
"""The number of keyctl(2), for which glibc has no function, by machine (asm/unistd.h)."""

_KEYCTL_JOIN_SESSION_KEYRING = 1
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_MNT_DETACH = 2


class Namespace(IntFlag):
    """The kinds of namespaces (CLONE_NEW… in sched.h)."""

    MOUNT = 0x00020000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class MountFlag(IntFlag):
    """How a file system is mounted (MS_… in sys/mount.h)."""

    NONE = 0
    READ_ONLY = 1 << 0
    NOSUID = 1 << 1
    NODEV = 1 << 2
    NOEXEC = 1 << 3
    REMOUNT = 1 << 5
    BIND = 1 << 12
    RECURSIVE = 1 << 14
    PRIVATE = 1 << 18


def unshare(namespaces: Namespace) -> None:
    """Move this process (for PID: its children) into new namespaces."""
    _check(_libc.unshare(int(namespaces)), "unshare")


def join(namespace: str, kind: Namespace) -> None:
    """Move this process into the namespace that the file stands for (setns(2))."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, int(kind)), namespace)
    finally:
        os.close(descriptor)


def setns(descriptor: int, kind: Namespace) -> None:
    """Move this process (for PID: its children) into the namespace of an open file (setns(2))."""
    _check(_libc.setns(descriptor, int(kind)), "setns")


def mount(source: str, target: str, kind: str, flags: MountFlag, options: str) -> None:
    """Mount a file system, as mount(2) does."""
    number = ctypes.c_ulong(flags)
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), number, options.encode())
    _check(result, f"mount {kind} on {target}")


def unmount(target: str) -> None:
    """Unmount what is mounted there, with everything below, even if in use (MNT_DETACH, umount2(2))."""
    _check(_libc.umount2(os.fsencode(target), _MNT_DETACH), f"umount {target}")


def copy_of_mounts(path: str) -> int:
    """A descriptor of a copy of a folder with everything mounted below it; later mounts do not cover it.

    open_tree(2), Linux 5.2, with the same number on all machines, like move_mount(2).
    """
    flags = ctypes.c_uint(_CLONE | _CLOSE_ON_EXEC | _AT_RECURSIVE)
    found = int(_libc.syscall(ctypes.c_long(_OPEN_TREE), ctypes.c_int(_HERE), path.encode(), flags))
    _check(min(found, 0), f"open_tree {path}")
    return found


def attach(mounts: int, target: str) -> None:
    """Mount such a copy."""
    result = _libc.syscall(ctypes.c_long(_MOVE_MOUNT), ctypes.c_int(mounts), b"", ctypes.c_int(_HERE),
                           target.encode(), ctypes.c_uint(_FROM_EMPTY_PATH))
    _check(result, f"move_mount to {target}")


def die_with_parent(signal: int) -> None:
    """Have the kernel send us this signal when our parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal), 0, 0, 0), "prctl")


def set_name(name: str) -> None:
    """Set our name in /proc/PID/comm: up to 15 bytes."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "prctl")


def renounce() -> None:
    """Drop all capabilities from the next program on, for good (capabilities(7))."""
    for capability in range(_LAST_CAPABILITY + 1):
        # EINVAL: this kernel does not have the capability.
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def hold(*capabilities: int) -> None:
    """Keep what is permitted when the user changes, and prepare to pass these on; before `renounce`.

    PR_SET_KEEPCAPS of prctl(2). What is inheritable must be in the bounding set when it becomes so.
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, sets), "capget")
    sets[2] = sum(1 << one for one in capabilities)
    _check(_libc.capset(header, sets), "capset")
    _check(_libc.prctl(_PR_SET_KEEPCAPS, ctypes.c_ulong(1), 0, 0, 0), "prctl")


def pass_on(*capabilities: int) -> None:
    """Have the next program get these capabilities, below 32, which are held (capabilities(7)); no others."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    all_of_them = sum(1 << one for one in capabilities)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(*[all_of_them] * 3, 0, 0, 0)), "capset")
    for one in capabilities:
        raising = ctypes.c_ulong(_PR_CAP_AMBIENT_RAISE)
        _check(_libc.prctl(_PR_CAP_AMBIENT, raising, ctypes.c_ulong(one), 0, 0), "prctl")


def raise_permitted() -> None:
    """Make permitted capabilities effective again after a change of the effective user."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, sets), "capget")
    sets[0], sets[3] = sets[1], sets[4]
    _check(_libc.capset(header, sets), "capset")


def restrict_mounts(folder: str, read_only: bool) -> None:
    """Below that folder, set-id bits and file capabilities have no effect; optionally it is read-only.

    mount_setattr(2), Linux 5.12, with one number on all machines.
    """
    wanted = _MOUNT_ATTR_NOSUID | (_MOUNT_ATTR_RDONLY if read_only else 0)
    attributes = (ctypes.c_uint64 * 4)(wanted, 0, 0, 0)
    result = _libc.syscall(ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(-1), folder.encode(),
                           ctypes.c_uint(_AT_RECURSIVE), attributes, ctypes.c_size_t(32))
    _check(result, f"mount_setattr {folder}")


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def filter_calls(program: bytes) -> None:
    """Let a BPF program decide on each system call from now on, including children's (seccomp(2)).

    Needs `no_new_privs`, or CAP_SYS_ADMIN.
    """
    given = _Program(len(program) // 8, program)
    _check(_libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(given), 0, 0),
           "prctl")


def keep(*capabilities: int) -> None:
    """Keep only these capabilities from now on, all below 32 (capset(2), _LINUX_CAPABILITY_VERSION_3)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    effective = permitted = sum(1 << capability for capability in capabilities)
    sets = (ctypes.c_uint32 * 6)(effective, permitted, 0, 0, 0, 0)
    _check(_libc.capset(header, sets), "capset")


def join_new_keyring() -> None:
    """Replace the inherited session keyring with an empty one (keyctl(2))."""
    number = _KEYCTL.get(os.uname().machine)
    if number is None:
        raise OSError(0, "the number of keyctl is unknown on this machine", "keyctl")
    if _libc.syscall(ctypes.c_long(number), ctypes.c_int(_KEYCTL_JOIN_SESSION_KEYRING), None) < 0:
        _check(-1, "keyctl")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
