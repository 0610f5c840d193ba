"""Takes the steps of the plan that give a sandbox its own folders."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.syscalls import MountFlag
from vpcctl_lib.sandbox import plan
from vpcctl_lib.sandbox.plan import Copy, Cover, File, Folder, Mount, Step

MOUNTS = Path("/proc/self/mountinfo")
WHOLE = (0, 0, 4294967295)
"""What /proc/self/uid_map says outside of all user namespaces (user_namespaces(7))."""


def build(kept: Sequence[str], more: Sequence[Step], hostname: str) -> list[str]:
    """Build the sandbox's folders in this process's mount namespace; those that stay the host's own.

    `kept` are whole paths of folders that shall do so. What else is in the list, the kernel can't cover.
    """
    here = os.getcwd()
    copies = [(path, syscalls.copy_of_mounts(path)) for path in kept]
    covers = plan.covers(list(plan.covered(_mounted(), _folders_in)), _is_whole())
    steps = plan.filesystem(Path(plan.STATE).is_dir(), Path("/etc/netns").is_dir(), covers, more, hostname)
    left = take(steps)
    for path, copy in copies:
        Path(path).mkdir(parents=True, exist_ok=True)
        syscalls.attach(copy, path)
        os.close(copy)
    # The same path again, now through the new mounts; if they hide it or only root was let in, we stay here.
    with suppress(FileNotFoundError, PermissionError):
        os.chdir(here)
    return left


def _is_whole() -> bool:
    return tuple(map(int, Path("/proc/self/uid_map").read_text().split())) == WHOLE


def _mounted() -> set[str]:
    """Where something is mounted; blanks in it stand as \\040 and the like (proc_pid_mountinfo(5))."""
    places = (line.split(" ")[4] for line in MOUNTS.read_text().splitlines())
    return {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place) for place in places}


def _folders_in(path: str) -> list[str]:
    with suppress(OSError), os.scandir(path) as found:
        return sorted(entry.path for entry in found if entry.is_dir(follow_symlinks=False))
    return []


def take(steps: Sequence[Step]) -> list[str]:
    """Take the steps; the folders that could not be covered."""
    left = []
    for step in steps:
        if isinstance(step, Mount):
            _mount(step)
        elif isinstance(step, Cover):
            left += [] if _cover(step) else [step.path]
        elif isinstance(step, Folder):
            _make_folder(Path(step.path))
        elif isinstance(step, File):
            _write(step)
        elif isinstance(step, Copy):
            _copy(step)
        else:
            _mirror(Path(step.source), Path(step.target))
    return left


def _cover(step: Cover) -> bool:
    """Put a layer over a folder, which has the folder's owner and mode as far as these exist here."""
    held, upper = os.stat(step.path), f"{step.scratch}/upper"
    os.makedirs(upper)
    os.mkdir(f"{step.scratch}/work")
    os.chmod(upper, stat.S_IMODE(held.st_mode))
    with suppress(OSError):
        os.chown(upper, held.st_uid, held.st_gid)
        # A change of the owner takes the set-id bits away.
        os.chmod(upper, stat.S_IMODE(held.st_mode))
    try:
        syscalls.mount("vpcctl", step.path, "overlay", MountFlag.NODEV, step.options)
    except OSError:
        # Before Linux 5.11 plain users can't; a third layer and some file systems are refused to all.
        return False
    return True


def _mount(step: Mount) -> None:
    try:
        syscalls.mount(step.source, step.target, step.kind, step.flags, step.options)
    except OSError:
        if not step.instead:
            raise
        take(step.instead)


def _make_folder(path: Path) -> None:
    path.mkdir(exist_ok=True)
    path.chmod(0o755)


def _write(step: File) -> None:
    path = Path(step.path)
    path.write_text(step.text)
    path.chmod(0o644)


def _copy(step: Copy) -> None:
    # It copies all it can and complains at the end, about keys and the like that only root may read.
    with suppress(shutil.Error):
        shutil.copytree(step.source, step.target, symlinks=True, dirs_exist_ok=True)


def _mirror(source: Path, target: Path) -> None:
    for entry in source.iterdir():
        twin = target / entry.name
        if entry.is_symlink():
            twin.symlink_to(entry.readlink())
            continue
        if entry.is_dir():
            twin.mkdir()
        else:
            twin.touch()
        syscalls.mount(str(entry), str(twin), "", MountFlag.BIND | MountFlag.RECURSIVE, "")
