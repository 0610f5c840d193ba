"""The files that a workload sees: the host's, less what others share through them."""

from __future__ import annotations

import os
import re

from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.syscalls import MountFlag

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
"""Of the memory, for all folders that are its own together (tmpfs(5))."""

SHM = f"{PRIVATE}/shm"

NAMESPACE_FILES = "/etc/netns"
MOUNTS = "/proc/self/mountinfo"


def arrange(namespace: str, hide: tuple[str, ...], read_only: bool) -> list[str]:
    """Give this process's mount namespace folders of its own; called before it has a PID namespace.

    With `read_only` nothing else can be written to. Returns what could not be done.
    """
    syscalls.mount("", "/", "", MountFlag.PRIVATE | MountFlag.RECURSIVE, "")
    shortfalls = _close(read_only)
    files = _namespace_files(namespace)
    _make_devices()
    _take_away(*OWN)
    own = _outermost(*(os.path.realpath(folder) for folder in (*OWN, SHM, NAMESPACE_FILES, *hide)
                       if os.path.isdir(folder)))
    _cover(own)
    syscalls.mount("sysfs", "/sys", "sysfs", SAFEST | MountFlag.READ_ONLY, "")
    for descriptor, target in files:
        try:
            _bind(descriptor, target, own)
        except OSError as error:
            shortfalls.append(f"what /etc/netns has for {target} is not there: {error.strerror}")
    return shortfalls


def _outermost(*paths: str) -> tuple[str, ...]:
    """Those that are not in another of them, which goes over them, too."""
    return tuple(dict.fromkeys(path for path in paths
                               if not any(path.startswith(f"{other}/") for other in paths)))


def _take_away(*folders: str) -> None:
    """Unmount what is mounted in these: covered, it would still be listed in /proc/self/mountinfo.

    There is the name of each namespace, and so of all VPCs of others and their subnets.
    """
    inside = tuple(f"{os.path.realpath(folder)}/" for folder in folders)
    while True:
        with open(MOUNTS) as mounts:
            places = [_unescaped(line.split()[4]) for line in mounts]
        found = _outermost(*sorted({place for place in places if place.startswith(inside)}, key=len))
        if not any([_detach(place) for place in found]):
            return


def _unescaped(path: str) -> str:
    """A path that /proc writes, with a blank, a tab, a line's end or a backslash as its number (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def _detach(place: str) -> bool:
    """Whether it is gone, with all that is mounted below."""
    try:
        syscalls.unmount(place)
    except OSError:
        # What a user namespace was born with is locked (mount_namespaces(7)), or something is over it.
        return False
    return True


def _close(read_only: bool) -> list[str]:
    """A user who owns nothing could still write to what all may write to, and leave something for others.

    A program whose file gives it capabilities, such as ping, is refused to who may have none, unless it is
    on a file system that gives nothing (nosuid): then it runs without them.
    """
    try:
        syscalls.restrict_mounts("/", read_only)
    except OSError as error:
        return [f"it can write to what all may write to: {error.strerror}"] if read_only else []
    return []


def _cover(targets: tuple[str, ...]) -> None:
    """One file system in memory, of which each of these shows a folder of its own."""
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


def _bind(descriptor: int, target: str, own: tuple[str, ...]) -> None:
    """Over a file, which is made only where it has been covered: /etc/resolv.conf often leads to /run."""
    if not os.path.lexists(target) and target.startswith(tuple(f"{folder}/" for folder in own)):
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    syscalls.mount(f"/proc/self/fd/{descriptor}", target, "", MountFlag.BIND, "")
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
