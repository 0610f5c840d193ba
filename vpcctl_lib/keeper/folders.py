"""The files that a workload sees: the host's, without those through which others could be reached."""

from __future__ import annotations

import os
import re

from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.syscalls import MountFlag

OWN = ("/tmp", "/var/tmp", "/run")  # noqa: S108 - these are covered, not used
"""Folders that are its own and empty: the host's have sockets and files through which others communicate."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
         "stderr": "/proc/self/fd/2"}
PRIVATE = "/dev"
"""Has only what every program needs: on many hosts /dev/net/tun, /dev/fuse and more are open to all."""

SAFE = MountFlag.NOSUID | MountFlag.NODEV
SAFEST = SAFE | MountFlag.NOEXEC
SPACE = "size=10%"
"""Share of the memory for all of its own folders together (tmpfs(5))."""

SHM = f"{PRIVATE}/shm"

NAMESPACE_FILES = "/etc/netns"
MOUNTS = "/proc/self/mountinfo"


def arrange(namespace: str, hide: tuple[str, ...], read_only: bool, show: tuple[str, ...] = ()) -> list[str]:
    """Give this process's mount namespace folders of its own; called before it has a PID namespace.

    With `read_only` nothing else can be written to. The folders in `show` stay the host's. Returns what
    failed.
    """
    syscalls.mount("", "/", "", MountFlag.PRIVATE | MountFlag.RECURSIVE, "")
    shortfalls = _close(read_only)
    files = _namespace_files(namespace)
    shown = [(os.open(folder, os.O_PATH | os.O_CLOEXEC), folder) for folder in show if os.path.isdir(folder)]
    _make_devices()
    _take_away(*OWN)
    own = _outermost(*(os.path.realpath(folder) for folder in (*OWN, SHM, NAMESPACE_FILES, *hide)
                       if os.path.isdir(folder)))
    _cover(own)
    syscalls.mount("sysfs", "/sys", "sysfs", SAFEST | MountFlag.READ_ONLY, "")
    for descriptor, folder in shown:
        _show(descriptor, folder)
    for descriptor, target in files:
        try:
            _bind(descriptor, target, own)
        except OSError as error:
            shortfalls.append(f"what /etc/netns has for {target} is missing: {error.strerror}")
    return shortfalls


def _outermost(*paths: str) -> tuple[str, ...]:
    """Those that are not inside another of them: covering the outer one covers them, too."""
    return tuple(dict.fromkeys(path for path in paths
                               if not any(path.startswith(f"{other}/") for other in paths)))


def _take_away(*folders: str) -> None:
    """Unmount what is mounted in these: if only covered, /proc/self/mountinfo would still list it.

    It shows the name of each namespace, and so of all other VPCs and their subnets.
    """
    inside = tuple(f"{os.path.realpath(folder)}/" for folder in folders)
    while True:
        with open(MOUNTS) as mounts:
            places = [_unescaped(line.split()[4]) for line in mounts]
        found = _outermost(*sorted({place for place in places if place.startswith(inside)}, key=len))
        if not any([_detach(place) for place in found]):
            return


def _unescaped(path: str) -> str:
    """A path as /proc writes it: blanks, tabs, newlines and backslashes are octal numbers (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _detach(place: str) -> bool:
    """Unmount it with everything mounted below; whether that worked."""
    try:
        syscalls.unmount(place)
    except OSError:
        # What a user namespace was born with is locked (mount_namespaces(7)), or something covers it.
        return False
    return True


def _close(read_only: bool) -> list[str]:
    """A user who owns nothing could still write where everybody may, and leave something for others.

    A program whose file gives it capabilities, such as ping, does not start without them, unless it is
    on a file system mounted nosuid: then it runs without them.
    """
    try:
        syscalls.restrict_mounts("/", read_only)
    except OSError as error:
        return [f"it can write to folders that everybody may write to: {error.strerror}"] if read_only else []
    return []


def _cover(targets: tuple[str, ...]) -> None:
    """Mount one file system in memory; each of these shows its own folder of it."""
    base = targets[0]
    _tmpfs(base, f"mode=755,{SPACE}", SAFE)
    held = []
    for number in range(len(targets)):
        os.mkdir(f"{base}/{number}")
        os.chmod(f"{base}/{number}", 0o1777)  # noqa: S103 - as the host's own are, with the sticky bit
        held.append(os.open(f"{base}/{number}", os.O_PATH | os.O_CLOEXEC))
    for descriptor, target in zip(held, targets, strict=True):
        syscalls.mount(f"/proc/self/fd/{descriptor}", target, "", MountFlag.BIND, "")
        os.close(descriptor)


def arrange_processes() -> int:
    """Its own /proc, whose settings can't be written; called in the PID namespace.

    Returns a descriptor of the settings of users, which stays writable.
    """
    syscalls.mount("proc", "/proc", "proc", SAFEST, "")
    users = os.open("/proc/sys/user", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.mount("/proc/sys", "/proc/sys", "", MountFlag.BIND, "")
    again = MountFlag.BIND | MountFlag.REMOUNT | MountFlag.READ_ONLY
    syscalls.mount("", "/proc/sys", "", again | SAFEST, "")
    return users


def _namespace_files(namespace: str) -> list[tuple[int, str]]:
    """The files that replace those of /etc (ip-netns(8)), opened before their targets are covered."""
    folder = f"{NAMESPACE_FILES}/{namespace}"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return [(os.open(f"{folder}/{name}", os.O_PATH | os.O_CLOEXEC), os.path.realpath(f"/etc/{name}"))
            for name in names]


def _bind(descriptor: int, target: str, own: tuple[str, ...]) -> None:
    """Bind over a file, which is created only where it was covered: /etc/resolv.conf often leads to /run."""
    if not os.path.lexists(target) and target.startswith(tuple(f"{folder}/" for folder in own)):
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    syscalls.mount(f"/proc/self/fd/{descriptor}", target, "", MountFlag.BIND, "")
    os.close(descriptor)


def _show(descriptor: int, folder: str) -> None:
    """Bind a folder of the host's into one of its own, so that it can read what is there."""
    os.makedirs(folder, mode=0o755, exist_ok=True)
    syscalls.mount(f"/proc/self/fd/{descriptor}", folder, "", MountFlag.BIND, "")
    syscalls.mount("", folder, "", MountFlag.BIND | MountFlag.REMOUNT | MountFlag.READ_ONLY | SAFEST, "")
    os.close(descriptor)


def _make_devices() -> None:
    held = {name: os.open(f"{PRIVATE}/{name}", os.O_PATH | os.O_CLOEXEC) for name in DEVICES
            if os.path.exists(f"{PRIVATE}/{name}")}
    _tmpfs(PRIVATE, "mode=755,size=64k", MountFlag.NOSUID | MountFlag.NOEXEC)
    for name, descriptor in held.items():
        _bind(descriptor, f"{PRIVATE}/{name}", (PRIVATE,))
    for name, target in LINKS.items():
        os.symlink(target, f"{PRIVATE}/{name}")
    os.mkdir(SHM)


def _tmpfs(folder: str, options: str, flags: MountFlag) -> None:
    syscalls.mount("vpcctl", folder, "tmpfs", flags, options)
