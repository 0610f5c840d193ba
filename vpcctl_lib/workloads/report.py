"""What a keeper tells of the workload that it starts, while somebody waits for it."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from types import TracebackType

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.workloads import processes

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
        """In what the workload is less apart from others than it should be."""

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._pipe)

    def listen(self, seconds: float) -> bool:
        """Wait for the next words, so long at most; whether some came. VpcctlError if it failed or ended."""
        data = self._read(seconds)
        if data is None:
            return False
        if not data:
            raise VpcctlError("its first process ended without a word")
        while self._lines:
            self._take(*self._lines.pop(0).partition(" "))
        return True

    def hear_out(self, seconds: float) -> None:
        """After a failure, wait until nobody can tell more, so long at most: all are on their way out then.

        Who the keeper is may be told only after what went wrong.
        """
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            continue
        for line in self._lines:
            word, _, told = line.partition(" ")
            if word == "keeper":
                self._take(word, " ", told)

    def _read(self, seconds: float) -> bytes | None:
        """What has come, in lines and as it is; None if nothing came within the time."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return None
        data = os.read(self._pipe, CHUNK)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines += (line.decode(errors="replace") for line in lines)
        return data

    def _take(self, word: str, _: str, told: str) -> None:
        if word == "keeper":
            self._keeper = processes.look(int(told))
        elif word == "short":
            self.shortfalls.append(told)
        elif word == "started":
            self._started = True
        elif word == "failed":
            raise VpcctlError(told)
        elif word == "ended":
            raise VpcctlError(f"it ended with {_how(int(told))}")

    @property
    def started(self) -> bool:
        """Whether the program runs, and its keeper is known."""
        return self._started and self._keeper is not None

    def main(self) -> int:
        """The pid of the program itself; 0 if it has none yet."""
        return int(processes.kept_identity(self._keeper)["main"]) if self._keeper else 0

    def facts(self) -> Mapping[str, str]:
        """What is written down of the workload, to know it again."""
        if self._keeper is None:
            return {}
        return processes.kept_identity(self._keeper)


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
