"""The one kind of error a person sees, and the exit codes of the command line."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    FAILED = 1
    BAD_INPUT = 2


class VpcctlError(Exception):
    """Something the person can act on: what happened, and a hint on what would be right."""

    def __init__(self, message: str, hint: str = "", code: int = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = int(code)


class BadInput(VpcctlError):
    """What was typed, or a file that was named, can't be right whatever the host looks like."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint, ExitCode.BAD_INPUT)
