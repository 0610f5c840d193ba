"""Process 1 of a sandbox: builds it, starts the program, and reaps all orphans."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns, syscalls
from vpcctl_lib.kernel.run import start
from vpcctl_lib.sandbox import plan, shell
from vpcctl_lib.sandbox.child import CannotRun, fork_until_ready
from vpcctl_lib.sandbox.filesystem import build, take
from vpcctl_lib.sandbox.internet import serve
from vpcctl_lib.sandbox.joining import COMM
from vpcctl_lib.sandbox.links import check_firewall, configure
from vpcctl_lib.sandbox.plan import Step
from vpcctl_lib.sandbox.refusal import explained


@frozen
class Job:
    """The program to run and what it needs, and whether it is a plain user's; `tell` prints a line."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    is_plain: bool
    tell: Callable[[str], None]
    first: tuple[str, ...] = ()
    greeting: str = ""
    files: tuple[Step, ...] = ()
    kept: tuple[str, ...] = ()
    name: str = plan.HOSTNAME


def run(job: Job, ready: Callable[[], None]) -> int:
    """Be process 1 until the program ends; returns its exit code. The kernel then ends all the others."""
    syscalls.die_with_parent(signal.SIGKILL)
    syscalls.set_name(COMM)
    with explained(job.is_plain):
        socket.sethostname(job.name)
        left = build(job.kept, job.files, job.name)
    fork_until_ready(serve)
    configure(plan.host_links(netns.have_ipv6()))
    check_firewall()
    warning = shell.shortfall(left, job.environment, os.getcwd())
    # A sandbox within a sandbox: the outer one throws it away.
    if warning and "VPCCTL_SANDBOX" not in os.environ:
        job.tell(warning)
    if job.greeting:
        job.tell(job.greeting)
    pid = _start(job.first or job.argv, job.environment)
    ready()
    code = _reap_until(pid)
    if code or not job.first:
        return code
    return _reap_until(_start(job.argv, job.environment))


def attend(job: Job, ready: Callable[[], None]) -> int:
    """In a sandbox that another process 1 runs: run the program; returns its exit code."""
    syscalls.die_with_parent(signal.SIGKILL)
    with suppress(OSError):
        os.chdir(job.kept[0])
    take(job.files)
    pid = _start(job.argv, job.environment)
    ready()
    return exit_code(os.waitpid(pid, 0)[1])


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
