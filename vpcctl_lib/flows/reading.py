"""What the kernel has counted in a namespace since the last reading, over netlink.

Reading sets a counter back by what was read (Linux 6.5), so no packet is counted twice, nor lost in between.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from vpcctl_lib.flows.names import ROOM
from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.netlink import NETFILTER, Netlink, attribute, attributes, each_attribute
from vpcctl_lib.kernel.syscalls import Namespace

INET, BRIDGE = 1, 7
"""NFPROTO_INET and NFPROTO_BRIDGE of linux/netfilter.h."""

_TABLE, _PACKETS, _ELEMENTS = (10 << 8 | kind for kind in (1, 21, 33))
"""NFT_MSG_GETTABLE, NFT_MSG_GETOBJ_RESET and NFT_MSG_GETSETELEM_RESET of the subsystem nftables
(linux/netfilter/nf_tables.h)."""

_COUNTER = (1).to_bytes(4, "big")
"""NFT_OBJECT_COUNTER."""

_FLAGS = 2
"""NFTA_TABLE_FLAGS: ours has none."""

_HEADER = 4
"""The size of struct nfgenmsg."""

_KEY, _ONE, _SEVERAL = 1, 7, 11
"""NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_EXPR and NFTA_SET_ELEM_EXPRESSIONS."""

_SET_BYTES = 256 * ROOM
"""The most that is read of a set; an element of ours has half of it."""

_ATTRIBUTE = 4
"""The size of an attribute's header."""

Counted = dict[bytes, tuple[int, int]]
"""Packets and bytes by the key of an element, since the last reading."""


class Taken(NamedTuple):
    """What was in a table."""

    handle: int
    """Another one than before: the table was made again, and what was in it is lost."""

    lost: int
    """Packets for which a set had no room."""

    sets: Sequence[Counted]
    missing: int = 0
    """Packets that were to pass and have not; below 0 if some came while it was read."""


class Wanted(NamedTuple):
    """What is read of a table."""

    name: str
    lost: str
    """The counter of packets for which a set had no room."""

    sets: Sequence[str]
    before: Sequence[str] = ()
    behind: Sequence[str] = ()
    """Counters of the packets that were to pass, and of those that have."""


def is_possible() -> bool:
    """Whether this kernel sets counters back as they are read: a table that does not exist is asked for."""
    body = bytes((INET, 0, 0, 0)) + attribute(1, b"vpcctl-probe\0") + attribute(2, b"vpcctl-probe\0")
    try:
        with Netlink(NETFILTER) as netlink:
            netlink.listing(_ELEMENTS, body, 1)
    except OSError as error:
        # What it says of messages that it does not know (nfnetlink_rcv_msg).
        return error.errno != errno.EINVAL
    return True


class Namespaces:
    """Network namespaces by their names, in a folder that is held open; entered by the calling thread."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, name: str, family: int, wanted: Wanted) -> Taken:
        """A table there; OSError if it, the namespace or one of the sets is missing, or a set is too large.

        LookupError if it is dormant, or an element has no key or no counter.
        """
        there = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        try:
            syscalls.setns(there, Namespace.NET)
        finally:
            os.close(there)
        try:
            with Netlink(NETFILTER) as netlink:
                return _taken(netlink, family, wanted)
        finally:
            syscalls.setns(self._home, Namespace.NET)


def _taken(netlink: Netlink, family: int, wanted: Wanted) -> Taken:
    def body(*given: tuple[int, bytes]) -> bytes:
        parts = ((1, wanted.name.encode() + b"\0"), *given)
        return bytes((family, 0, 0, 0)) + b"".join(attribute(kind, value) for kind, value in parts)

    def packets(names: Sequence[str]) -> int:
        said = [netlink.ask(_PACKETS, body((2, name.encode() + b"\0"), (3, _COUNTER))) for name in names]
        held = [attributes(attributes(one, _HEADER).get(4, b"")).get(2, b"") for one in said]
        return sum(int.from_bytes(one, "big") for one in held)

    held = attributes(netlink.ask(_TABLE, body()), _HEADER)
    if any(held.get(_FLAGS, b"")):
        # A dormant one counts nothing.
        raise LookupError(wanted.name)
    handle = held.get(4, b"")
    # First, and those behind last: what is missing then never was on its way.
    before = packets(wanted.before)
    # Listed once: if something changes meanwhile, what is not listed is there the next time.
    found = [counted(said for _, said in netlink.listing(_ELEMENTS, body((2, name.encode() + b"\0")), 1,
                                                         _SET_BYTES)) for name in wanted.sets]
    missing = before - packets(wanted.behind)
    return Taken(int.from_bytes(handle, "big"), packets((wanted.lost,)), found, missing)


def counted(said: Iterator[bytes]) -> Counted:
    """The elements in answers of the kernel, less those without a packet. LookupError as in `read`."""
    found: Counted = {}
    layouts: dict[int, tuple[slice, slice, slice]] = {}
    for message in said:
        for _, element in each_attribute(attributes(message, _HEADER).get(3, b"")):
            # Those of a length are laid out alike: to look for the parts of each takes five times as long.
            length = len(element)
            key, size, packets = layouts.get(length) or layouts.setdefault(length, _layout(element))
            number = int.from_bytes(element[packets], "big")
            if number:
                found[element[key]] = (number, int.from_bytes(element[size], "big"))
    return found


def _layout(element: bytes) -> tuple[slice, slice, slice]:
    """Where the key, the bytes and the packets are."""
    whole = slice(0, len(element))
    key = _part(element, _part(element, whole, _KEY), 1)
    expression = _part(element, whole, _ONE, _SEVERAL)
    data = _part(element, expression, 2) if _has(element, expression, 2) else \
        _part(element, _part(element, expression, 1), 2)
    return key, _part(element, data, 1), _part(element, data, 2)


def _parts(element: bytes, within: slice) -> Iterator[tuple[int, slice]]:
    start = within.start
    for kind, value in each_attribute(element[within]):
        yield kind, slice(start + _ATTRIBUTE, start + _ATTRIBUTE + len(value))
        start += _ATTRIBUTE + (len(value) + 3 & ~3)


def _part(element: bytes, within: slice, *kinds: int) -> slice:
    for kind, place in _parts(element, within):
        if kind in kinds:
            return place
    raise LookupError(kinds)


def _has(element: bytes, within: slice, kind: int) -> bool:
    return any(found == kind for found, _ in _parts(element, within))
