"""The bytes of a file that a person named, of no more than a limit; no device and no pipe is set off."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from vpcctl_lib.errors import BadInput

MAX_BYTES = 4 * 1024 * 1024


def from_path(path: Path, name: str) -> bytes:
    """All of a regular file; BadInput says why not, about it as `name`."""
    try:
        # Before it is opened, as that can set a device off; and after, as it may be another by then.
        _check_kind(path.stat(), name)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            _check_kind(status, name)
            raw = _read(file, name)
    except OSError as error:
        raise _unreadable(name, error) from None
    except ValueError:
        raise BadInput(f"{name}: can't be read: a file's name can't hold a NUL") from None
    if len(raw) > MAX_BYTES:
        size = max(status.st_size, len(raw))
        raise BadInput(f"{name}: too large: {size:,} bytes, the limit is {MAX_BYTES:,} (4 MiB)")
    return raw


def from_stream(stream: BinaryIO, name: str) -> bytes:
    """All that comes out of there; BadInput as above."""
    try:
        raw = _read(stream, name)
    except OSError as error:
        raise _unreadable(name, error) from None
    if len(raw) > MAX_BYTES:
        raise BadInput(f"{name}: too large: the limit is {MAX_BYTES:,} bytes (4 MiB)")
    return raw


def _read(file: BinaryIO, name: str) -> bytes:
    raw: bytes | None = file.read(MAX_BYTES + 1)
    if raw is None:
        # As /proc/kmsg answers, which calls itself a regular file.
        raise BadInput(f"{name}: can't be read: it has nothing to read now")
    return raw


def _unreadable(name: str, error: OSError) -> BadInput:
    return BadInput(f"{name}: can't be read: {(error.strerror or 'unknown error').lower()}")


def _check_kind(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise BadInput(f"{name}: is a folder, not a file", "name a JSON or YAML file in it")
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"{name}: is not a regular file", "save it to a file, and name that")
