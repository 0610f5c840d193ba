"""Where a VXLAN takes packets, in the words of `ip -j -d link`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.kernel.netlink import unsigned

_NUMBERS = {1: "id", 5: "ttl"}
_ADDRESSES = {2: "remote", 4: "local"}
_LEARNING, _PORT = 7, 15
"""IFLA_VXLAN_… of linux/if_link.h."""


def vxlan(held: dict[int, bytes]) -> dict[str, Any]:
    """Whose packets it takes where."""
    return {**{name: unsigned(held[part]) for part, name in _NUMBERS.items() if part in held},
            **{name: str(IPv4Address(held[part])) for part, name in _ADDRESSES.items() if part in held},
            **({"learning": bool(held[_LEARNING][0])} if _LEARNING in held else {}),
            **({"port": int.from_bytes(held[_PORT], "big")} if _PORT in held else {})}
