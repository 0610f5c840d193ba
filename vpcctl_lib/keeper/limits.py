"""How many processes and how much memory a workload may have, enforced by a cgroup if possible."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

MOUNTS = "/proc/self/mountinfo"
PARENT = "vpcctl"
"""The parent of all our cgroups."""

TRIES = 5
PROCESSES, MEMORY = "pids", "memory"
FILES = {(PROCESSES, 1): "pids.max", (PROCESSES, 2): "pids.max",
         (MEMORY, 1): "memory.limit_in_bytes", (MEMORY, 2): "memory.max"}
"""The file for each limit, by controller and version (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst)."""


class Controller(NamedTuple):
    """Where a cgroup controller is mounted, and its cgroup version."""

    name: str
    folder: str
    version: int


class Cgroups:
    """A cgroup of this name for each limit that the kernel can enforce; `lacking` names the others."""

    def __init__(self, name: str, limits: Mapping[str, int]) -> None:
        self.lacking: list[str] = []
        self._name = name
        self._entries: list[int] = []
        self._tops: list[int] = []
        """Held open, because other file systems will cover them."""

        wanted = {controller: limit for controller, limit in limits.items() if limit}
        found = {one.name: one for one in _controllers(wanted)} if wanted else {}
        for controller, limit in wanted.items():
            if controller not in found or not self._make(found[controller], limit):
                self.lacking.append(controller)

    def _make(self, controller: Controller, limit: int) -> bool:
        folder = f"{controller.folder}/{PARENT}/{self._name}"
        try:
            _make_folder(controller, folder)
            _write(f"{folder}/{FILES[controller.name, controller.version]}", str(limit))
            entry = os.open(f"{folder}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            # Read-only in a container, or managed by another program: treat it as missing.
            return False
        self._entries.append(entry)
        self._tops.append(os.open(controller.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        return True

    def enter(self) -> None:
        """Move this process in."""
        for entry in self._entries:
            os.write(entry, b"0")

    def remove(self) -> None:
        """Remove the cgroups, in which nothing runs any more."""
        for top in self._tops:
            _remove(f"{PARENT}/{self._name}", top)


def name(mark: str, network: int) -> str:
    """A name that no other workload on this machine has: it contains the number of its network."""
    return f"{mark.replace('/', '.')}.{network}"


def remove(name: str) -> None:
    """Remove the empty cgroups of that name, left over from a keeper that was killed."""
    for folder in {one.folder for one in _controllers((PROCESSES, MEMORY))}:
        _remove(f"{folder}/{PARENT}/{name}", None)


def _remove(folder: str, top: int | None) -> None:
    """The one above it, too, unless it has others; the kernel may have kept it when the last one went."""
    for one in (folder, os.path.dirname(folder)):
        try:
            os.rmdir(one, dir_fd=top)
        except FileNotFoundError:
            continue
        except OSError:
            return


def _make_folder(controller: Controller, folder: str) -> None:
    """Retry if the one above it is removed meanwhile because it was empty."""
    for attempt in range(TRIES):
        try:
            if controller.version == 2:
                _pass_on(controller)
            os.makedirs(folder, exist_ok=True)
            return
        except FileNotFoundError:
            if attempt == TRIES - 1:
                raise


def is_exempt() -> bool:
    """Whether our user is the machine's root, whose processes no limit counts (setrlimit(2))."""
    with open("/proc/self/uid_map") as spans:
        return any(line.split()[:2] == ["0", "0"] for line in spans)


def bound_processes(number: int) -> None:
    """Without a cgroup: limit the user's processes in its user namespace, which we have already entered."""
    resource.setrlimit(resource.RLIMIT_NPROC, (number, number))


def _controllers(wanted: Iterable[str]) -> Iterator[Controller]:
    with open(MOUNTS) as mounts:
        for line in mounts:
            # proc(5): optional fields end with a single hyphen, then come kind, source and options.
            place, _, kind = line.partition(" - ")
            folder, words = place.split()[4], kind.split()
            if words[0] == "cgroup":
                yield from (Controller(name, folder, 1) for name in wanted if name in words[2].split(","))
            elif words[0] == "cgroup2":
                yield from (Controller(name, folder, 2) for name in wanted if name in _offered(folder))


def _offered(folder: str) -> list[str]:
    try:
        with open(f"{folder}/cgroup.controllers") as offered:
            return offered.read().split()
    except OSError:
        # Something else is mounted over it.
        return []


def _pass_on(controller: Controller) -> None:
    """Enable the controllers for the cgroups below: they have only what their parent passes on."""
    os.makedirs(f"{controller.folder}/{PARENT}", exist_ok=True)
    for folder in (controller.folder, f"{controller.folder}/{PARENT}"):
        _write(f"{folder}/cgroup.subtree_control", f"+{controller.name}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
