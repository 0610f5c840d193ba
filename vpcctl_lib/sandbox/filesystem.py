"""Takes the steps of the plan that give a sandbox its own folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from vpcctl_lib import syscalls
from vpcctl_lib.sandbox import plan
from vpcctl_lib.sandbox.plan import Copy, File, Folder, Mount, Step
from vpcctl_lib.syscalls import MountFlag


def build() -> None:
    """Build the sandbox's folders in this process's mount namespace."""
    here = os.getcwd()
    _take(plan.filesystem(Path(plan.STATE).is_dir(), Path("/etc/netns").is_dir()))
    # The same path again, now through the new mounts; if they hide it or only root was let in, we stay here.
    with suppress(FileNotFoundError, PermissionError):
        os.chdir(here)


def _take(steps: Sequence[Step]) -> None:
    for step in steps:
        if isinstance(step, Mount):
            _mount(step)
        elif isinstance(step, Folder):
            _make_folder(Path(step.path))
        elif isinstance(step, File):
            _write(step)
        elif isinstance(step, Copy):
            _copy(step)
        else:
            _mirror(Path(step.source), Path(step.target))


def _mount(step: Mount) -> None:
    try:
        syscalls.mount(step.source, step.target, step.kind, step.flags, step.options)
    except OSError:
        if not step.instead:
            raise
        _take(step.instead)


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
