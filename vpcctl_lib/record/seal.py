"""A seal on a large record: if it is whole, this very program wrote every line, which need not be decoded.

Two changes in a row are nearly always of one version of vpcctl, and change little of a large record.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from collections.abc import Sequence
from functools import cache
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
    """What distinguishes this program from any other version: its files; empty if they are not there."""
    found = size = 0
    for where, folders, names in os.walk(FOLDER):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                path = f"{where}/{name}"
                content = _content(path)
                found = crc32(content, crc32(f"{path[len(str(FOLDER)):]} {len(content)} ".encode(), found))
                size += len(content) + 1
    return f"{size}-{found:08x}" if size else ""


def _content(path: str) -> bytes:
    """By the system's calls: Python's files take twice as long, and there are hundreds."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, os.fstat(file).st_size)
    finally:
        os.close(file)
