"""Running sandboxes, recognised by their process 1, and the way into one of them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.syscalls import Namespace

COMM = "vpcctl-sandbox"
"""What process 1 of a sandbox is called in /proc/PID/comm."""

PROC = Path("/proc")
KINDS = {"user": Namespace.USER, "net": Namespace.NET, "uts": Namespace.UTS, "pid": Namespace.PID,
         "mnt": Namespace.MOUNT}
"""In the order in which they are joined: the first gives the right to the others, the last hides /proc."""


@frozen
class Sandbox:
    """A running one: its process 1 as seen from here, its host name, and the folder it was started in."""

    pid: int
    name: str
    folder: str


def running(proc: Path = PROC) -> list[Sandbox]:
    """The sandboxes of this user (for root: all), oldest first."""
    found = []
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):
            if (process / "comm").read_text().strip() == COMM and _is_first((process / "status").read_text()):
                name = (process / "root/etc/hostname").read_text().strip()
                found.append(Sandbox(int(process.name), name, os.readlink(process / "cwd")))
    return sorted(found, key=lambda one: one.pid)


def is_inside(proc: Path = PROC) -> bool:
    """Whether this process is in a sandbox: its process 1 can't be anybody else's."""
    try:
        return (proc / "1/comm").read_text().strip() == COMM
    except OSError:
        return False


def _is_first(status: str) -> bool:
    """Whether a process is process 1 of a namespace below ours."""
    numbers = re.search(r"^NSpid:\s+(.*)$", status, re.MULTILINE)
    return numbers is not None and len(numbers[1].split()) > 1 and numbers[1].split()[-1] == "1"


def chosen(found: Sequence[Sandbox], wanted: str) -> Sandbox:
    """The one with that pid or name, or the only one; VpcctlError if that is ambiguous."""
    if not found:
        raise VpcctlError("no sandbox of yours is running", "start one: vpcctl sandbox")
    matching = [one for one in found if wanted in ("", one.name, str(one.pid))]
    listed = ", ".join(f"{one.pid} ({one.name}, in {one.folder})" for one in found)
    if not matching:
        raise VpcctlError(f"sandbox '{wanted}' is not running", f"use one of: {listed}")
    if len(matching) > 1:
        raise VpcctlError(f"{len(matching)} sandboxes are running: {listed}",
                          f"say which: vpcctl sandbox --join {matching[-1].pid}")
    return matching[0]


def join(sandbox: Sandbox) -> None:
    """Move this process (for PID: its children) into the sandbox's namespaces; it can't come back."""
    try:
        with ExitStack() as stack:
            files = {}
            for name in KINDS:
                path = f"{PROC}/{sandbox.pid}/ns/{name}"
                # One's own user namespace can't be joined again (setns(2)).
                if name != "user" or os.readlink(path) != os.readlink(f"{PROC}/self/ns/user"):
                    files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                    stack.callback(os.close, files[name])
            for name, file in files.items():
                syscalls.setns(file, KINDS[name])
    except FileNotFoundError:
        raise VpcctlError(f"sandbox {sandbox.pid} has just ended", "see: vpcctl sandbox --list") from None
    except OSError as error:
        raise VpcctlError(f"can't enter sandbox {sandbox.pid}: {error.strerror}",
                          "join it as the user who started it") from None
