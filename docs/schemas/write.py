#!/usr/bin/env python3
"""Writes the schemas of topology and policy files beside itself, out of the tables of keys; --check compares.

    .venv/bin/python docs/schemas/write.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1]))

from vpcctl_lib.files.schema import schemas  # noqa: E402


def texts() -> dict[Path, str]:
    """What each file must hold."""
    return {FOLDER / f"{name}.json": f"{json.dumps(one, indent=2)}\n" for name, one in schemas().items()}


def main() -> None:
    """Write them, or end with status 1 if one is not current."""
    if sys.argv[1:] == ["--check"]:
        old = [path.name for path, text in texts().items() if not path.exists() or path.read_text() != text]
        sys.exit(f"not current: {', '.join(old)}" if old else None)
    for path, text in texts().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
