"""The worked example of docs/architecture.md: its blocks of changes, and a copy of the program with them."""

from __future__ import annotations

import re
import shutil
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/architecture.md"
BLOCK = re.compile(r"^```diff\n\+\+\+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """What the example changes in one file: runs of lines that are there, each before the lines to add."""

    path: str
    lines: tuple[str, ...]

    def applied(self, text: str) -> str:
        """The file with the change; AssertionError if the old lines are not there just once."""
        known = kept = ""
        for is_new, run in groupby(self.lines, key=lambda line: line.startswith("+")):
            lines = list(run)
            if is_new:
                text = text.replace(known, kept + _joined(lines)) if known else _joined(lines)
                continue
            known, kept = _joined(lines), _joined([line for line in lines if not line.startswith("-")])
            assert text.count(known) == 1, f"{self.path}: not there just once:\n{known}"
        return text


def _joined(lines: list[str]) -> str:
    return "".join(f"{line[1:]}\n" for line in lines)


def blocks() -> list[Block]:
    """The changes, in the order of the page."""
    return [Block(path, tuple(lines.splitlines())) for path, lines in BLOCK.findall(PAGE.read_text())]


def copied(folder: Path) -> Path:
    """A copy of the program, its tests and its documents, with the example applied."""
    for name in ("vpcctl_lib", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "system"))
    for name in ("pyproject.toml", "vpcctl"):
        shutil.copy(ROOT / name, folder / name)
    for block in blocks():
        file = folder / block.path
        file.write_text(block.applied(file.read_text() if file.exists() else ""))
    return folder
