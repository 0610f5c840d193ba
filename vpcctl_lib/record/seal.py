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

_PARTS, _SEAL = '\n],\n"parts": ', ',\n"seal": "'


class Opened(NamedTuple):
    """What a sealed record has in it."""

    head: str
    """All that is before the ledger."""

    lines: list[str]
    """The ledger's entries."""

    parts: tuple[int, ...]
    """How many of them belong to each part of the blueprint."""


def sealed(text: str, parts: Sequence[int]) -> str:
    """A record's text, which ends with the last entry of the ledger, up to its end, with a seal."""
    body = f"{text}{_PARTS}{json.dumps(parts)}"
    return f"{body}{_SEAL}{_digest(body)}{END}" if program() else f"{text}\n]}}\n"


def opened(text: str, ledger: str) -> Opened | None:
    """The record in a text; `ledger` is where its ledger begins. None if it has no seal, or not its own."""
    body, _, seal = text.rpartition(_SEAL)
    if not (body and program() and seal == f"{_digest(body)}{END}"):
        return None
    head, _, held = body.partition(ledger)
    lines, _, parts = held.rpartition(_PARTS)
    return Opened(head, lines.split(",\n"), tuple(json.loads(parts)))


def _digest(body: str) -> str:
    """A checksum against accidents and hand edits; only root, who may do anything, can write the record."""
    return f"{program()}-{crc32(body.encode()):08x}"


@cache
def program() -> str:
    """What distinguishes this program from any other version: its files; empty if they are not there."""
    found = size = 0
    for where, folders, names in os.walk(FOLDER):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".py"):
                path = f"{where}/{name}"
                with open(path, "rb", buffering=0) as file:
                    content = file.read()
                found = crc32(content, crc32(f"{path[len(str(FOLDER)):]} {len(content)} ".encode(), found))
                size += len(content) + 1
    return f"{size}-{found:08x}" if size else ""
