"""Ctrl-C, TERM and HUP while the host is being changed: noted, and obeyed between two commands."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from vpcctl_lib.errors import VpcctlError

NOTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(VpcctlError):
    """A signal asked us to stop; the exit code is the shell's 128 + number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted ({signal.Signals(number).name})")
        self.code = 128 + number


class Interrupts:
    """A `with` block in which signals wait until `check` is called."""

    def __init__(self) -> None:
        self._number = 0
        self._old: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        for number in NOTED:
            # What is ignored, as nohup(1) has it, stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._number = number

    def check(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self._number:
            raise Interrupted(self._number)


@contextmanager
def held() -> Iterator[None]:
    """Signals take effect at the end of the block: Python can't be interrupted while it starts a thread."""
    if threading.current_thread() is not threading.main_thread():
        # It is the main thread that signals come to, and it waits for this one.
        yield
        return
    came: list[int] = []
    old = {number: signal.signal(number, lambda number, _: came.append(number)) for number in NOTED}
    try:
        yield
    finally:
        for known, handler in old.items():
            signal.signal(known, handler)
        for number in came:
            signal.raise_signal(number)
