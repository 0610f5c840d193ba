"""What a program gets of what is outside: it can do nothing else there.

Sockets of another network than its own, by which it can ask, and folders that it does not see otherwise.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

FOLDERS = "VPCCTL_FOLDERS"
"""The environment variable with the numbers of the descriptors of folders, in their order."""

MODE = 0o700

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


def folders(opened: Sequence[str], written: str, uid: int | None) -> tuple[int, ...]:
    """Descriptors of these folders; the written one is made, and given to the user, before."""
    if written:
        os.makedirs(os.path.dirname(written), exist_ok=True)
        if not os.path.isdir(written):
            os.mkdir(written, MODE)
    held = tuple(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                 for folder in (*opened, *([written] if written else [])))
    if written and uid is not None:
        os.fchown(held[-1], uid, uid)
    return held
