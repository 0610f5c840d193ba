"""Sockets of another network than the program's own: it can ask there, and do nothing else there."""

from __future__ import annotations

import socket

VARIABLE = "VPCCTL_OUTSIDE"
"""The environment variable with the numbers of their descriptors, those for UDP first."""

UDP, TCP = 128, 16
"""How many of each: a program can use one again and again, by dissolving its association (connect(2))."""


def sockets() -> tuple[int, ...]:
    """New ones, of the network that this process is in."""
    kinds = (socket.SOCK_DGRAM,) * UDP + (socket.SOCK_STREAM,) * TCP
    return tuple(_socket(kind).detach() for kind in kinds)


def _socket(kind: int) -> socket.socket:
    """For both families, if the kernel has both: IPv4 addresses are mapped (ipv6(7))."""
    try:
        made = socket.socket(socket.AF_INET6, kind)
    except OSError:
        return socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    return made
