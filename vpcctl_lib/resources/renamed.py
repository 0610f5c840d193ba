"""The host's links by number, which a link keeps when it is renamed."""

from __future__ import annotations

from collections.abc import Collection

from vpcctl_lib.resources.operation import Facts

_NUMBER = "number/"


def numbers(names: Collection[str]) -> dict[str, str]:
    """The facts by which these links are found again."""
    # Imported late, here and below: it takes long to load, and few changes are about the host's links.
    import socket

    return {f"{_NUMBER}{name}": str(number) for number, name in socket.if_nameindex() if name in names}


def name_now(name: str, facts: Facts) -> str:
    """What a link is called by now."""
    number = facts.get(f"{_NUMBER}{name}", "")
    if not number.isdecimal():
        return name
    import socket

    try:
        return socket.if_indextoname(int(number))
    except (OSError, OverflowError):
        # It has gone.
        return name
