"""Our standard output and standard error: a failed write never interrupts a change."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from vpcctl_lib.errors import VpcctlError


class Unwritten(VpcctlError):
    """Standard output can't be written to: the disk is full, for example."""


class _Results(io.FileIO):
    """Standard output: raises its first error; drops everything after that."""

    _lost = False

    def write(self, data: Any, /) -> Any:
        """Write what fits; Unwritten if nothing does."""
        if self._lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            # Else what is still in the buffer would fail once more when Python ends.
            self._lost = True
            if isinstance(error, BrokenPipeError):
                raise
            raise Unwritten(f"can't write to standard output: {error.strerror}") from None


class _Asides(io.FileIO):
    """Standard error: ignores its errors, which can't be reported anywhere; a change continues without it."""

    def write(self, data: Any, /) -> Any:
        """Write what fits; drop the rest."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def set_up() -> None:
    """Route everything that is printed through these."""
    _open_closed()
    sys.stdout = _over(sys.stdout, _Results)
    sys.stderr = _over(sys.stderr, _Asides)


def _open_closed() -> None:
    """Open a closed stream (`vpcctl … >&-`) to nowhere; else a file that we open would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _over(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """The stream, written to in that way; a character that its encoding lacks is escaped."""
    # A byte of the command line that is not UTF-8 is such a character, and so is → for a terminal in Latin-1.
    raw = kind(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "backslashreplace",
                            line_buffering=bool(stream.line_buffering))
