"""The numbers by which a namespace knows others; links have only those for the other ends of cables."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator

from vpcctl_lib.kernel import netns, proc
from vpcctl_lib.kernel.netlink import Netlink, attribute, attributes, number

_GET = 90
"""RTM_GETNSID of linux/rtnetlink.h."""

_BODY = bytes(4)
_NUMBER, _DESCRIPTOR = 1, 3
"""NETNSA_NSID and NETNSA_FD of linux/net_namespace.h."""


class Numbers:
    """One namespace's numbers for others, each looked for when it is first needed.

    The kernel says the number of a name, not the name of a number (and to `ip netns list-id`, Linux 6.18
    reports only the first 134): the names are tried, the likely ones first, until one has it.
    """

    def __init__(self, namespace: str, names: Collection[str]) -> None:
        self._namespace = namespace
        self._found: dict[int, str] = {}
        self._untried = iter([*_beginnings(namespace, names), *sorted(names)])

    def name(self, wanted: int) -> str:
        """The name of the namespace with that number; empty if it has none."""
        if wanted not in self._found:
            proc.visit(self._namespace, lambda: self._search(wanted))
        return self._found.get(wanted, "")

    def _search(self, wanted: int) -> None:
        with Netlink() as netlink:
            for name in self._untried:
                found = _number_of(netlink, name)
                if found >= 0:
                    self._found[found] = name
                if found == wanted:
                    return


def _beginnings(namespace: str, names: Collection[str]) -> Iterator[str]:
    """The names with which that of the namespace begins: a machine's cable leads to its router."""
    ends = (place for place, letter in enumerate(namespace) if letter == "-")
    return (namespace[:end] for end in ends if namespace[:end] in names)


def _number_of(netlink: Netlink, name: str) -> int:
    """The number of a namespace here; negative if it has none, or is gone."""
    try:
        there = os.open(netns.NAMES / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        said = netlink.ask(_GET, _BODY + attribute(_DESCRIPTOR, struct.pack("=i", there)))
    finally:
        os.close(there)
    return number(attributes(said, len(_BODY)).get(_NUMBER, b"\xff"))
