"""The one kind of error a person sees, its parts that quote a file, and the command line's exit codes."""

from __future__ import annotations

import re
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2


BEGIN, INSTEAD, END = "\ufdd0", "\ufdd1", "\ufdd2"
"""Delimit a quotation in a message until the error is made: no text contains these (Unicode 23.7)."""

NOT_SHOWN = "(not shown)"
_MARKS = re.compile(f"[{BEGIN}{INSTEAD}{END}]")
_QUOTATION = re.compile(f"{BEGIN}([^{_MARKS.pattern[1:-1]}]*){INSTEAD}([^{_MARKS.pattern[1:-1]}]*){END}")


def quoted(text: str, instead: str = NOT_SHOWN) -> str:
    """Text from a file, for a message; `instead` replaces it for readers who must not see the file."""
    return BEGIN + _MARKS.sub("", text) + INSTEAD + _MARKS.sub("", instead) + END


def revealed(text: str) -> str:
    """The message with what it quotes."""
    return _QUOTATION.sub(r"\1", text)


def withheld(text: str) -> str:
    """The message without what it quotes."""
    return _QUOTATION.sub(r"\2", text)


class VpcctlError(Exception):
    """Something the person can act on: what happened, and a hint on what would be right."""

    def __init__(self, message: str, hint: str = "", code: int = ExitCode.FAILED) -> None:
        super().__init__(revealed(message))
        self.told = message, hint
        """Message and hint with their quotations marked, for an error that wraps this one."""
        self.message = revealed(message)
        self.hint = revealed(hint)
        self.code = int(code)

    def discreet(self) -> str:
        """The message for readers other than the one who named the file: it quotes nothing."""
        said, whole = self.told[0], revealed(self.told[0])
        # Text that was added to the message later quotes nothing.
        return self.message.replace(whole, withheld(said), 1) if whole else self.message

    def withholding(self) -> VpcctlError:
        """The same error for a file that the person did not name: without the file's content."""
        message, hint = map(withheld, self.told)
        return VpcctlError(message, hint, self.code)


class BadInput(VpcctlError):
    """What was typed, or a named file, can't be right whatever the host looks like."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, ExitCode.BAD_INPUT)
