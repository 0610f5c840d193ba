"""Standard output and standard error as we write to them: what can't be written breaks nothing off midway."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from vpcctl_lib.errors import VpcctlError


class Unwritten(VpcctlError):
    """Standard output takes no more: the disk is full, say."""


class _Results(io.FileIO):
    """Standard output: that it takes no more is raised once; what is left then goes nowhere."""

    _lost = False

    def write(self, data: Any, /) -> Any:
        """Write what fits; Unwritten where nothing does."""
        if self._lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            # Else what is still in the buffer would fail once more, when Python ends.
            self._lost = True
            if isinstance(error, BrokenPipeError):
                raise
            raise Unwritten(f"can't write to standard output: {error.strerror}") from None


class _Asides(io.FileIO):
    """Standard error: there is no place left to tell that it takes no more, and a change goes on without."""

    def write(self, data: Any, /) -> Any:
        """Write what fits; the rest goes nowhere."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def set_up() -> None:
    """Have all that is printed go through these."""
    _open_closed()
    sys.stdout = _over(sys.stdout, _Results)
    sys.stderr = _over(sys.stderr, _Asides)


def _open_closed() -> None:
    """What was closed (`vpcctl … >&-`) leads nowhere; else a file that we open would take its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115


def _over(stream: TextIO, kind: type[io.FileIO]) -> TextIO:
    """The stream, written to in that way; a character that its encoding has not is spelt out."""
    # A byte of the command line that is not UTF-8 is such a character, and so is → for a terminal in Latin-1.
    raw = kind(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "backslashreplace",
                            line_buffering=bool(stream.line_buffering))
