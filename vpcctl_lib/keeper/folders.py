"""The files that a workload sees: the host's, less what others share through them."""

from __future__ import annotations

import os

from vpcctl_lib import syscalls
from vpcctl_lib.syscalls import MountFlag

OWN = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - these are covered, not used
"""Empty folders of its own: in the host's are the sockets and the files by which strangers meet."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
         "stderr": "/proc/self/fd/2"}
PRIVATE = "/dev"
"""Has only what every program needs: /dev/net/tun, /dev/fuse and more are open to all on many hosts."""

SAFE = MountFlag.NOSUID | MountFlag.NODEV
SAFEST = SAFE | MountFlag.NOEXEC
SPACE = "size=10%"
"""Of the memory, for each folder that is its own (tmpfs(5))."""

NAMESPACE_FILES = "/etc/netns"


def arrange(namespace: str, hide: tuple[str, ...]) -> None:
    """Give this process's mount namespace folders of its own; called before it has a PID namespace."""
    syscalls.mount("", "/", "", MountFlag.PRIVATE | MountFlag.RECURSIVE, "")
    files = _namespace_files(namespace)
    _make_devices()
    for folder in (*OWN, *hide):
        if os.path.isdir(folder):
            _tmpfs(os.path.realpath(folder), f"mode=1777,{SPACE}", SAFE)
    syscalls.mount("sysfs", "/sys", "sysfs", SAFEST | MountFlag.READ_ONLY, "")
    for descriptor, target in files:
        _bind(descriptor, target)


def arrange_processes() -> int:
    """Its own /proc, whose settings can't be written; called in the PID namespace.

    Returns a descriptor of the settings of users, which goes on to be writable.
    """
    syscalls.mount("proc", "/proc", "proc", SAFEST, "")
    users = os.open("/proc/sys/user", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.mount("/proc/sys", "/proc/sys", "", MountFlag.BIND, "")
    again = MountFlag.BIND | MountFlag.REMOUNT | MountFlag.READ_ONLY
    syscalls.mount("", "/proc/sys", "", again | SAFEST, "")
    return users


def _namespace_files(namespace: str) -> list[tuple[int, str]]:
    """What stands in for files of /etc (ip-netns(8)), held open before what they lead to is covered."""
    folder = f"{NAMESPACE_FILES}/{namespace}"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [(os.open(f"{folder}/{name}", os.O_PATH | os.O_CLOEXEC), os.path.realpath(f"/etc/{name}"))
            for name in names]


def _bind(descriptor: int, target: str) -> None:
    """Over a file that may have been covered: /etc/resolv.conf often leads to /run."""
    if not os.path.lexists(target):
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    syscalls.mount(f"/proc/self/fd/{descriptor}", target, "", MountFlag.BIND, "")
    os.close(descriptor)


def _make_devices() -> None:
    held = {name: os.open(f"{PRIVATE}/{name}", os.O_PATH | os.O_CLOEXEC) for name in DEVICES
            if os.path.exists(f"{PRIVATE}/{name}")}
    _tmpfs(PRIVATE, "mode=755,size=64k", MountFlag.NOSUID | MountFlag.NOEXEC)
    for name, descriptor in held.items():
        _bind(descriptor, f"{PRIVATE}/{name}")
    for name, target in LINKS.items():
        os.symlink(target, f"{PRIVATE}/{name}")
    os.mkdir(f"{PRIVATE}/shm")
    _tmpfs(f"{PRIVATE}/shm", f"mode=1777,{SPACE}", SAFE)


def _tmpfs(folder: str, options: str, flags: MountFlag) -> None:
    syscalls.mount("vpcctl", folder, "tmpfs", flags, options)
