"""Process 1 of a sandbox: builds it, starts the program, and reaps whatever is left to it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from vpcctl_lib.run import start
from vpcctl_lib.sandbox import kernel, plan
from vpcctl_lib.sandbox.child import CannotRun, fork_until_ready
from vpcctl_lib.sandbox.internet import serve
from vpcctl_lib.sandbox.links import configure


def run(argv: Sequence[str], environment: Mapping[str, str], ready: Callable[[], None]) -> int:
    """Be process 1 until the program ends; its exit code, by which the kernel ends all the others."""
    kernel.die_with_parent(signal.SIGKILL)
    socket.sethostname(plan.HOSTNAME)
    _build_filesystem()
    fork_until_ready(serve)
    configure(plan.host_links())
    pid = _start(argv, environment)
    ready()
    return _reap_until(pid)


def _build_filesystem() -> None:
    here = os.getcwd()
    for step in plan.filesystem(Path(plan.STATE).is_dir(), Path("/etc/netns").is_dir()):
        _take(step)
    # The same path again, now through the new mounts; one that they hide is gone, and we stay where we are.
    with suppress(FileNotFoundError):
        os.chdir(here)


def _take(step: plan.Step) -> None:
    if isinstance(step, plan.Mount):
        kernel.mount(step.source, step.target, step.kind, step.flags, step.options)
    elif isinstance(step, plan.Folder):
        Path(step.path).mkdir(exist_ok=True)
        Path(step.path).chmod(0o755)
    else:
        Path(step.path).write_text(step.text)
        Path(step.path).chmod(0o644)


def _start(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        return start(argv, environment)
    except FileNotFoundError as error:
        raise CannotRun(f"{argv[0]}: command not found", "", 127) from error
    except OSError as error:
        raise CannotRun(f"{argv[0]}: {error.strerror}", "", 126) from error


def _reap_until(program: int) -> int:
    """Wait for every child, our own or an orphan's, until the program itself has ended."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == program:
            return exit_code(status)


def exit_code(status: int) -> int:
    """The exit code of a wait status: 128 + n after signal n, as shells do."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
