"""What `ip -j` and its like answer: a stranger's text, as root in a namespace names what is in it; pure."""

from __future__ import annotations

import json
import re
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Outcome

_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|.)', re.DOTALL)
_KNOWN = frozenset('"\\/bfnrt')


def parsed(outcome: Outcome, otherwise: str = "[]") -> Any:
    """The JSON that a command printed, `otherwise` where it printed nothing; VpcctlError if it did not."""
    if outcome.status != 0:
        raise VpcctlError(f"{outcome.command} failed: {outcome.reason()}")
    text = outcome.stdout.strip() or otherwise
    try:
        return lenient(text)
    except (ValueError, RecursionError) as error:
        raise VpcctlError(f"{outcome.command} printed what is no JSON: {error}") from None


def lenient(text: str) -> Any:
    """JSON as iproute2 writes it: control characters stand as they are, and older ones wrote \\' for '."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return json.loads(_ESCAPE.sub(_known, text), strict=False)


def _known(escape: re.Match[str]) -> str:
    """An escape of JSON's as it is, any other as what it escapes."""
    return escape[0] if escape[1] in _KNOWN or len(escape[1]) > 1 else escape[1]


def whole_lines(text: str) -> list[str]:
    """The lines that iptables-save printed; a comment may hold line breaks, and is no line of its own."""
    lines: list[str] = []
    broken = ""
    for line in text.split("\n"):
        broken = f"{broken}\n{line}" if broken else line
        if '"' in broken and _is_open(broken):
            continue
        lines.append(broken)
        broken = ""
    return [*lines, *broken.split("\n")] if broken else lines


def _is_open(line: str) -> bool:
    """Whether a quotation goes on after its end."""
    plain = re.sub(r"\\.", "", line, flags=re.DOTALL) if "\\" in line else line
    return plain.count('"') % 2 == 1
