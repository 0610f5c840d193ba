"""The record as it lies on disk, and the topology in it: all that a command needs which only shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vpcctl_lib.codec import Misfit, decode
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import Topology

DEFAULT_FOLDER = Path("/var/lib/vpcctl")
FILE = "state.json"
VERSION = 1


def topology(folder: Path) -> Topology:
    """What was asked for; VpcctlError if the record can't be read or understood.

    The ledger stays unread: it is most of the file, and knowing its kinds takes most of the program.
    """
    file = folder / FILE
    data = read(file)
    try:
        return Topology() if data is None else decode(Topology, data.get("topology"), "topology")
    except Misfit as error:
        raise damaged(file, str(error)) from None


def read(file: Path) -> dict[str, Any] | None:
    """The document, of a version that we know; None if there is none."""
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    except PermissionError:
        raise VpcctlError(f"may not read {file}", "run it as root: sudo vpcctl …") from None
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(file, str(error)) from None
    return _parse(file, text)


def _parse(file: Path, text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(file, str(error)) from None
    version = data.get("version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise VpcctlError(f"{file} has version {version}; this vpcctl knows up to {VERSION}",
                          "use the newer vpcctl that wrote it; nothing was changed")
    if version != VERSION:
        raise damaged(file, "it has no version that vpcctl knows")
    return dict(data)


def damaged(file: Path, why: str) -> VpcctlError:
    """The error for a record that can't be understood."""
    return VpcctlError(f"{file} is damaged: {why}",
                       "nothing was changed; put a good copy in its place, or run cleanup.sh, which "
                       "removes all that bears vpcctl's mark without this file")
