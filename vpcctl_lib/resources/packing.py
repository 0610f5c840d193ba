"""Chains as one short text: ten thousand rules would be most of the record; pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from vpcctl_lib.errors import VpcctlError


def packed(chains: Mapping[str, tuple[str, ...]]) -> str:
    """Chains by name as one short text."""
    lines = [f"{name} {rule}" for name, rules in chains.items() for rule in rules]
    if not lines:
        return ""
    # Imported late, here and below: only policies of very many rules have such chains.
    import zlib
    from base64 import b85encode

    return b85encode(zlib.compress("\n".join(lines).encode())).decode()


@lru_cache(maxsize=4)
def unpacked(text: str) -> Mapping[str, tuple[str, ...]]:
    """The chains that `packed` made short, each with at least one rule."""
    if not text:
        return {}
    import zlib
    from base64 import b85decode

    chains: dict[str, list[str]] = {}
    try:
        lines = zlib.decompress(b85decode(text)).decode().splitlines()
    except (ValueError, zlib.error):
        raise VpcctlError("the chains in the record are damaged",
                          "put a good copy of state.json in its place, or run cleanup.sh") from None
    for line in lines:
        name, _, rule = line.partition(" ")
        chains.setdefault(name, []).append(rule)
    return {name: tuple(rules) for name, rules in chains.items()}
