"""JSON that runtimes send: whatever is in it, reading it never fails in another way than we say; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vpcctl_lib.errors import BadInput


def object_in(text: bytes | str) -> dict[str, Any]:
    """The JSON object in a text, empty if the text is; BadInput if it is something else."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput("the request is not a JSON object", "a container runtime sends it")
    return found


def inner(request: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """An object in another one; empty if there is none."""
    found = request.get(key)
    return found if isinstance(found, Mapping) else {}


def names_in(value: object) -> Iterator[str]:
    """Names in a text with commas."""
    return filter(None, str(value or "").split(","))
