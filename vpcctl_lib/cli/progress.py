"""A line on stderr that tells what takes so long: on a terminal only, and only after the first second."""

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
    """Shows the step under way until something is printed; a thread draws, as the work has no pauses."""

    def __init__(self) -> None:
        self._step: object = "working"
        self._steps = 0
        self._ended: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """From here on a second counts; in pipes nothing does."""
        if self._thread is not None or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        # Imported late: most starts draw nothing.
        import threading

        from vpcctl_lib.kernel.interrupts import held

        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._draw, args=(self._ended,), daemon=True)
        with held():
            self._thread.start()

    def resume(self) -> None:
        """Go on after something was printed, if it was begun at all."""
        if self._ended is not None:
            self.start()

    def step(self, what: object) -> None:
        """What is being done now; spelt only when it is drawn."""
        self._steps += 1
        self._step = what

    def stop(self) -> None:
        """The line goes, so that something else can be printed."""
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
        # A terminal that doesn't know its width says 0.
        return (columns or 80) - 1

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


progress = Progress()
"""Of this run: one command, one line."""
