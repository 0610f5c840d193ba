"""The output of `ip -j` and others, which is untrusted: root in a namespace names what is in it; pure."""

from __future__ import annotations

import json
import re
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Outcome

_ESCAPE = re.compile(r'\\(u[0-9A-Fa-f]{4}|.)', re.DOTALL)
_KNOWN = frozenset('"\\/bfnrt')
_HOOK = frozenset({"type", "hook", "prio", "policy"})
"""What nft prints of a chain only if it has a hook."""


def parsed(outcome: Outcome, otherwise: str = "[]") -> Any:
    """The JSON that a command printed, `otherwise` if it printed nothing; VpcctlError if it is not JSON."""
    if outcome.status != 0:
        raise VpcctlError(f"{outcome.command} failed: {outcome.reason()}")
    text = outcome.stdout.strip() or otherwise
    try:
        return lenient(text)
    except (ValueError, RecursionError) as error:
        raise VpcctlError(f"{outcome.command} printed something that is not JSON: {error}") from None


def lenient(text: str) -> Any:
    """JSON as iproute2 writes it: control characters are not escaped, and older versions wrote \\' for '."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        return json.loads(_ESCAPE.sub(_known, text), strict=False)


def _known(escape: re.Match[str]) -> str:
    """An escape of JSON unchanged, any other as the character that it escapes."""
    return escape[0] if escape[1] in _KNOWN or len(escape[1]) > 1 else escape[1]


def by_address(found: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Neighbours by link and address."""
    return {(one["dev"], one["dst"]): one for one in found}


def by_link(found: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """What there are several of at a link, by the link."""
    held: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        held.setdefault(one["dev"], []).append(one)
    return held


def by_mac(found: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The MAC entries of bridges by port and MAC."""
    return {(one["ifname"], one["mac"]): one for one in found if "master" in one}


def of_table(outcome: Outcome) -> list[dict[str, Any]]:
    """The content of an nft table. The chains of one with a flag have no hook: it is dormant (nft(8)).

    Ours have no flag. Which one it is, nft 1.0.6 prints from memory that it has freed.
    """
    listed: list[dict[str, Any]] = parsed(outcome, "{}").get("nftables", [])
    if not any(one.get("table", {}).get("flags") for one in listed):
        return listed
    return [{"chain": {key: value for key, value in one["chain"].items() if key not in _HOOK}}
            if "chain" in one else one for one in listed]
