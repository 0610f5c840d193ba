"""What a keeper reports while it starts a workload and we wait."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from types import TracebackType

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import processes
from vpcctl_lib.workloads import members

CHUNK = 1 << 16


class Report:
    """The reading end of the pipe that a keeper writes to."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._rest = b""
        self._lines: list[str] = []
        self._keeper: processes.Process | None = None
        self._started = False
        self.shortfalls: list[str] = []
        """How the workload is less isolated than it should be."""

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._pipe)

    def listen(self, seconds: float) -> bool:
        """Wait for the next report, up to that time; whether one came. VpcctlError if it failed or ended."""
        data = self._read(seconds)
        if data is None:
            return False
        if not data:
            raise VpcctlError("its first process ended without a report")
        while self._lines:
            self._take(*self._lines.pop(0).partition(" "))
        return True

    def hear_out(self, seconds: float) -> None:
        """After a failure, wait until no writer is left, up to that time: all of them are exiting then.

        The keeper's pid may come after the error.
        """
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            continue
        for line in self._lines:
            word, _, detail = line.partition(" ")
            if word == "keeper":
                self._take(word, " ", detail)

    def _read(self, seconds: float) -> bytes | None:
        """What has come, as lines and unchanged; None if nothing came within the time."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return None
        data = os.read(self._pipe, CHUNK)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += (line.decode(errors="replace") for line in lines)
        return data

    def _take(self, word: str, _: str, detail: str) -> None:
        if word == "keeper":
            self._keeper = processes.look(int(detail))
        elif word == "short":
            self.shortfalls.append(detail)
        elif word == "started":
            self._started = True
        elif word == "failed":
            raise VpcctlError(detail)
        elif word == "ended":
            raise VpcctlError(f"it ended with {_how(int(detail))}")

    @property
    def started(self) -> bool:
        """Whether the program runs, and its keeper is known."""
        return self._started and self._keeper is not None

    def main(self) -> int:
        """The pid of the program itself; 0 if it has none yet."""
        return int(members.kept_identity(self._keeper)["main"]) if self._keeper else 0

    def facts(self) -> Mapping[str, str]:
        """The facts by which the workload is recognised later."""
        if self._keeper is None:
            return {}
        return members.kept_identity(self._keeper)


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
