"""What a keeper tells of the workload that it starts, while somebody waits for it."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from types import TracebackType

from vpcctl_lib import processes
from vpcctl_lib.errors import VpcctlError

CHUNK = 1 << 16


class Report:
    """The reading end of the pipe that a keeper writes to."""

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._rest = b""
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
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return False
        data = os.read(self._pipe, CHUNK)
        if not data:
            raise VpcctlError("its first process ended without a word")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(*line.decode(errors="replace").partition(" "))
        return True

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
