"""A seal on a large record: if it is whole, this very program wrote every line, which need not be decoded.

Two changes in a row are nearly always of one version of vpcctl, and change little of a large record.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from collections.abc import Iterator, Sequence
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import vpcctl_lib

END = '"}\n'
FOLDER = Path(vpcctl_lib.__file__).parent
"""The program's own files."""

_PARTS, _SEAL = b'\n],\n"parts": ', b',\n"seal": "'


class Opened(NamedTuple):
    """What a sealed record has in it."""

    head: str
    """All that is before the ledger."""

    lines: list[str]
    """The ledger's entries."""

    parts: tuple[int, ...]
    """How many of them belong to each part of the blueprint."""


def seal(text: bytearray, parts: Sequence[int]) -> bool:
    """Add the rest, with a seal, to a record that ends with the last entry of the ledger; whether it can."""
    if not program():
        return False
    text += _PARTS + json.dumps(parts).encode()
    text += _SEAL + f"{_digest(text)}{END}".encode()
    return True


def opened(whole: bytes, ledger: bytes) -> Opened | None:
    """The record in a text; `ledger` is where its ledger begins. None if it has no seal, or not its own."""
    # A large text is copied as seldom as possible.
    end = whole.rfind(_SEAL)
    text = memoryview(whole)
    if end < 0 or not program() or text[end + len(_SEAL):] != f"{_digest(text[:end])}{END}".encode():
        return None
    start, parts = whole.find(ledger), whole.rfind(_PARTS)
    lines = str(text[start + len(ledger):parts], "ascii").split(",\n")
    return Opened(whole[:start].decode(), lines, tuple(json.loads(whole[parts + len(_PARTS):end])))


def _digest(body: bytearray | memoryview) -> str:
    """A checksum against accidents and hand edits; only root, who may do anything, can write the record."""
    return f"{program()}-{crc32(body):08x}"


@cache
def program() -> str:
    """What distinguishes this program from any other version; empty if its files are not there.

    Its files by size and times, as Python itself decides whether what it has compiled is of today: to read
    them would take longer than all else that a seal costs.
    """
    found, count = crc32(vpcctl_lib.__version__.encode()), 0
    for told in _files(str(FOLDER)):
        found, count = crc32(told.encode(), found), count + 1
    return f"{count}-{found:08x}" if count else ""


def _files(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=attrgetter("name"))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.endswith(".py"):
            status = entry.stat()
            yield f"{entry.path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n"
        elif entry.name != "__pycache__" and entry.is_dir():
            yield from _files(entry.path)
