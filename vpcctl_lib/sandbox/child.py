"""A child that says when it is ready, or what stopped it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import fork

Task = Callable[[Callable[[], None]], int]
"""Does its work and returns an exit status; calls what it was given once others can rely on it."""

_READY = b"ready\n"


class CannotRun(VpcctlError):
    """The sandbox's own program can't be started; `status` is what a shell returns for it."""

    def __init__(self, message: str, hint: str, status: int) -> None:
        super().__init__(message, hint)
        self.status = status


def fork_until_ready(task: Task) -> int:
    """Run the task in a copy of this process; its pid once it is ready, or the error that it met before."""
    reader, writer = os.pipe()
    pid = fork(lambda: _report(task, writer))
    os.close(writer)
    with open(reader, "rb") as pipe:
        # Not up to the end of the file: children of the child may hold the pipe open.
        said = pipe.readline()
    if said == _READY:
        return pid
    os.waitpid(pid, 0)
    raise _error(said)


def _report(task: Task, writer: int) -> int:
    try:
        return task(lambda: _say(writer, _READY))
    except CannotRun as error:
        return _complain(writer, error.message, error.hint, error.status)
    except VpcctlError as error:
        return _complain(writer, error.message, error.hint, 0)
    except OSError as error:
        return _complain(writer, f"could not set up the sandbox: {error}", "", 0)


def _complain(writer: int, message: str, hint: str, status: int) -> int:
    _say(writer, json.dumps([message, hint, status]).encode() + b"\n")
    return 1


def _say(writer: int, line: bytes) -> None:
    os.write(writer, line)


def _error(said: bytes) -> VpcctlError:
    if not said:
        return VpcctlError("the sandbox ended before it was ready")
    message, hint, status = json.loads(said)
    return CannotRun(message, hint, status) if status else VpcctlError(message, hint)
