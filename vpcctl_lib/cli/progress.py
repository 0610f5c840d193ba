"""A line on stderr that shows the step under way: only on a terminal, and only after the first second."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from vpcctl_lib.visible import visible

if TYPE_CHECKING:
    import threading

DELAY, TURN = 1.0, 0.1
FRAMES = "|/-\\"
CLEAR = "\r\x1b[K"


class Progress:
    """Shows the step under way until something is printed; a thread draws, because the work has no pauses."""

    def __init__(self) -> None:
        self._step: object = "working"
        self._steps = 0
        self._ended: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the clock; in a pipe nothing is drawn."""
        if self._thread is not None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        # Imported late: most runs draw nothing.
        import threading

        from vpcctl_lib.kernel.interrupts import held

        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, args=(self._ended,), daemon=True)
        with held():
            self._thread.start()

    def resume(self) -> None:
        """Continue after something was printed, if it was started at all."""
        if self._ended is not None:
            self.start()

    def step(self, what: object) -> None:
        """Set the current step; its text is made only when it is drawn."""
        self._steps += 1
        self._step = what

    def stop(self) -> None:
        """Clear the line, so that something else can be printed."""
        if self._thread is not None and self._ended is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _draw(self, ended: threading.Event) -> None:
        turn = 0
        if ended.wait(DELAY):
            return
        while True:
            self._write(CLEAR + self._line(turn))
            turn += 1
            if ended.wait(TURN):
                self._write(CLEAR)
                return

    def _line(self, turn: int) -> str:
        seconds = DELAY + turn * TURN
        what = visible(str(self._step).partition("\n")[0], keep="")
        step = f"step {self._steps}: {what}" if self._steps else what
        return f"{FRAMES[turn % len(FRAMES)]} {seconds:.0f} s, {step}"[:self._width()]

    def _width(self) -> int:
        try:
            columns = os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            columns = 0
        # A terminal that doesn't know its width reports 0.
        return (columns or 80) - 1

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


progress = Progress()
"""The progress of this run: one command, one line."""
