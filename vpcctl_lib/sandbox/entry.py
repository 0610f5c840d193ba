"""Enters a sandbox, and ends it when its program ends or a signal says so."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import vpcctl_lib
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.run import TOOLS, WATCHED, is_typed, need, search_path
from vpcctl_lib.kernel.syscalls import Namespace
from vpcctl_lib.kernel.users import is_mapped
from vpcctl_lib.sandbox import inside, joining, mapping, plan
from vpcctl_lib.sandbox.child import Task, fork_until_ready
from vpcctl_lib.sandbox.refusal import explained
from vpcctl_lib.sandbox.shell import Shell, banner, prepared

NOBODY = 65534

_NEEDED = (1 << 12) | (1 << 21)
"""CAP_NET_ADMIN and CAP_SYS_ADMIN: with these no user namespace is needed."""

_OWN = Namespace.NET | Namespace.MOUNT | Namespace.PID | Namespace.UTS


@frozen
class Wish:
    """What is asked of a sandbox: a program (none: a shell), folders to keep, a name."""

    argv: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    name: str = plan.HOSTNAME
    completion: Callable[[str], str] = lambda shell: ""
    """The completion script for that shell; empty if it has none."""

    tell: Callable[[str], None] = lambda text: None
    """Prints for a person."""

    first: tuple[str, ...] = ()
    """A program that runs before, on the same terminal: if it fails, nothing else is started."""


def enter(wish: Wish) -> int:
    """Run a program in a sandbox of its own and return its exit code, 128 + n after signal n.

    This process joins the sandbox's namespaces and can't leave them: end it soon after.
    """
    need(*TOOLS)
    is_plain = not is_powerful(os.geteuid(), Path("/proc/self/status").read_text())
    with explained(is_plain):
        _join_namespaces(is_plain, os.geteuid(), os.getegid())
    job = _job(wish, is_plain)
    if not wish.argv and not wish.first and os.isatty(0):
        job = replace(job, greeting=banner(wish.kept, has_users=not is_plain or is_mapped(NOBODY)))
    return _run(partial(inside.run, job))


def join(wish: Wish, wanted: str) -> int:
    """The same in a running sandbox: the one with that pid or name, or the only one."""
    sandbox = joining.chosen(joining.running(), wanted)
    here = os.getcwd()
    joining.join(sandbox)
    return _run(partial(inside.attend, replace(_job(wish, is_plain=True), kept=(here,))))


def _job(wish: Wish, is_plain: bool) -> inside.Job:
    environment = plan.environment(os.environ, search_path(), launcher_folder())
    program = shell()
    script = "" if wish.argv else wish.completion(os.path.basename(program))
    chosen = Shell(wish.argv) if wish.argv else prepared(program, script)
    return inside.Job(chosen.argv, {**environment, **dict(chosen.variables)}, is_plain, wish.tell,
                      first=wish.first, files=chosen.files, kept=wish.kept, name=wish.name)


def _run(task: Task) -> int:
    # Blocked, then waited for: no signal can arrive between two lines.
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    terminal = _foreground()
    pid = fork_until_ready(task)
    code = _supervise(pid)
    _restore(terminal)
    return code


def shell() -> str:
    """The person's shell, or the first one that exists."""
    wanted = (os.environ.get("SHELL", ""), "/bin/bash", "/bin/sh")
    return next((path for path in wanted if os.access(path, os.X_OK)), "/bin/sh")


def launcher_folder() -> str | None:
    """The folder of the `vpcctl` that belongs to this code: the checkout, or that of the installed script."""
    checkout = Path(vpcctl_lib.__file__).resolve().parent.parent
    started_as, python = Path(sys.argv[0]).absolute(), Path(sys.executable)
    folders = (checkout, started_as.parent, python.parent, Path(sysconfig.get_path("scripts")))
    return next((str(folder) for folder in folders if os.access(folder / "vpcctl", os.X_OK)), None)


def is_powerful(uid: int, status: str) -> bool:
    """Whether a process with that /proc/self/status may make namespaces without a user namespace."""
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return uid == 0 and int(effective, 16) & _NEEDED == _NEEDED


def _join_namespaces(is_plain: bool, uid: int, gid: int) -> None:
    if not is_plain:
        syscalls.unshare(_OWN)
        return
    mapping.unshare(_OWN, uid, gid)


def _supervise(pid: int) -> int:
    """Wait for process 1; a signal to us ends it, and with it everything inside."""
    while True:
        received = signal.sigwaitinfo(WATCHED)
        if received.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                return inside.exit_code(status)
        elif not is_typed(received):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 128 + received.si_signo


def _foreground() -> int | None:
    """The process group the terminal belongs to, None without a terminal."""
    with suppress(OSError):
        return os.tcgetpgrp(0)
    return None


def _restore(group: int | None) -> None:
    """Take the terminal back: a shell inside can't give it, since it does not see our process group."""
    if group is not None and group == os.getpgrp():
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        with suppress(OSError):
            os.tcsetpgrp(0, group)
