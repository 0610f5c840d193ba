"""Process 1 of a sandbox: builds it, starts the program, and reaps whatever is left to it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vpcctl_lib import syscalls
from vpcctl_lib.run import start
from vpcctl_lib.sandbox import plan
from vpcctl_lib.sandbox.child import CannotRun, fork_until_ready
from vpcctl_lib.sandbox.filesystem import build
from vpcctl_lib.sandbox.internet import serve
from vpcctl_lib.sandbox.links import configure
from vpcctl_lib.sandbox.refusal import explained


@dataclass(frozen=True)
class Job:
    """The program to run, and whether it is a plain user's."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    is_plain: bool


def run(job: Job, ready: Callable[[], None]) -> int:
    """Be process 1 until the program ends; its exit code, by which the kernel ends all the others."""
    syscalls.die_with_parent(signal.SIGKILL)
    with explained(job.is_plain):
        socket.sethostname(plan.HOSTNAME)
        build()
    fork_until_ready(serve)
    configure(plan.host_links())
    pid = _start(job)
    ready()
    return _reap_until(pid)


def _start(job: Job) -> int:
    try:
        return start(job.argv, job.environment)
    except FileNotFoundError as error:
        raise CannotRun(f"{job.argv[0]}: command not found", "", 127) from error
    except OSError as error:
        raise CannotRun(f"{job.argv[0]}: {error.strerror}", "", 126) from error


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
