"""The kernel's table of connections, over netlink (linux/netfilter/nfnetlink_conntrack.h): find, forget, add.

conntrack(8) is not on every host, and can't match "not translated": that takes a program around it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import proc

NETLINK_NETFILTER = 12
_SUBSYSTEM = 1 << 8
_NEW, _GET, _DELETE = _SUBSYSTEM, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _DUMP, _CREATE, _EXCLUSIVE = 1, 4, 0x300, 0x400, 0x200
_NESTED, _TYPE = 0x8000, 0x3FFF
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_FAMILY = struct.Struct("=BBH")
_SEEN_REPLY, _ASSURED, _CONFIRMED, _SOURCE_TRANSLATED = 1 << 1, 1 << 2, 1 << 3, 1 << 4
"""IPS_… of linux/netfilter/nf_conntrack_common.h."""

_ESTABLISHED = 3
"""TCP_CONNTRACK_ESTABLISHED."""

IpAddress = IPv4Address | IPv6Address
_NUMBERS = {4: (socket.AF_INET, 1, 2), 6: (socket.AF_INET6, 3, 4)}
"""By IP version: its family, and the attributes of an end's two addresses (CTA_IP_V4_SRC, …)."""

_LARGEST = 1 << 16
_TIMEOUTS = {socket.IPPROTO_TCP: 432_000, socket.IPPROTO_UDP: 180}
"""Seconds until the kernel sees a packet of it and sets its own timeout: the longest default."""


class _Part(IntEnum):
    """The attributes of an entry (CTA_…)."""

    ORIGINAL = 1
    REPLY = 2
    STATUS = 3
    PROTOCOL = 4
    TIMEOUT = 7
    ID = 12
    ZONE = 18


@frozen
class Ends:
    """The two ends of a connection, both of one family, seen from the side that began it."""

    protocol: int
    source: tuple[IpAddress, int]
    destination: tuple[IpAddress, int]

    def back(self) -> Ends:
        """The ends seen from the other side."""
        return Ends(self.protocol, self.destination, self.source)


@frozen
class Known:
    """An entry: its ends, whether it leaves with another source, and its identity."""

    source: IpAddress
    destination: IpAddress
    translated: bool
    words: bytes
    protocol: int = 0
    port: int = 0
    """That of the destination, before it is translated; 0 if there is none."""

    seen_as: IpAddress | None = None
    """The source after translation, to which answers come."""


_COUNT = "net/netfilter/nf_conntrack_count"
"""The number of entries in the network namespace of whoever reads it."""


class Table:
    """The connections of the calling thread's network namespace; OSError if they are unavailable."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._number = 0

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def forget(self, is_meant: Callable[[Known], bool]) -> int:
        """Delete the chosen entries; returns their number."""
        if proc.setting(_COUNT) == "0":
            # To list even none takes the kernel 10 ms: it looks through the entries of all namespaces.
            return 0
        found = [entry for entry in self._all() if is_meant(entry)]
        return sum(self._changed(_DELETE, 0, entry.words, errno.ENOENT, entry.source) for entry in found)

    def translated(self) -> list[Known]:
        """The entries that leave with another source than they came with."""
        return [entry for entry in self._all() if entry.translated] if proc.setting(_COUNT) != "0" else []

    def add(self, connections: Iterable[Ends]) -> int:
        """Add open connections; returns how many were new."""
        how = _CREATE | _EXCLUSIVE
        return sum(self._changed(_NEW, how, _entry(one), errno.EEXIST, one.source[0]) for one in connections)

    def _send(self, kind: int, flags: int, body: bytes, family: int) -> None:
        self._number += 1
        text = _FAMILY.pack(family, 0, 0) + body
        length = _HEADER.size + len(text)
        self._socket.send(_HEADER.pack(length, kind, _REQUEST | flags, self._number, 0) + text)

    def _changed(self, kind: int, flags: int, body: bytes, so_already: int, end: IpAddress) -> bool:
        self._send(kind, flags | _ACK, body, _NUMBERS[end.version][0])
        for answered, text in self._messages():
            if answered == _ERROR:
                code = -_number(text[:4])
                if code not in (0, so_already):
                    raise OSError(code, os.strerror(code))
                return code == 0
        return False

    def _all(self) -> list[Known]:
        self._send(_GET, _DUMP, b"", socket.AF_UNSPEC)
        found: list[Known] = []
        while True:
            for kind, text in self._messages():
                if kind == _ERROR:
                    raise OSError(-_number(text[:4]), os.strerror(-_number(text[:4])))
                if kind == _DONE:
                    return found
                if entry := _known(text[_FAMILY.size:]):
                    found.append(entry)

    def _messages(self) -> Iterator[tuple[int, bytes]]:
        """The messages of one read: each one's kind, and the bytes after its header."""
        data = self._socket.recv(_LARGEST)
        while len(data) >= _HEADER.size:
            length, kind, _, _, _ = _HEADER.unpack_from(data)
            yield kind, data[_HEADER.size:length]
            data = data[_aligned(length):]


def _known(text: bytes) -> Known | None:
    parts = dict(_attributes(text))
    status = struct.unpack(">I", parts.get(_Part.STATUS, bytes(4)))[0]
    original = dict(_attributes(parts.get(_Part.ORIGINAL, b"")))
    held, upper = (dict(_attributes(original.get(number, b""))) for number in (1, 2))
    addresses = [ip_address(held[one]) for _, *both in _NUMBERS.values() for one in both if one in held]
    if len(addresses) != 2:
        return None
    # With its number: an entry with the same ends a moment later is another connection.
    named = (_Part.ORIGINAL, _Part.ZONE, _Part.ID)
    words = b"".join(_attribute(part, parts[part], part is _Part.ORIGINAL) for part in named if part in parts)
    source, destination = addresses
    back = dict(_attributes(dict(_attributes(parts.get(_Part.REPLY, b""))).get(1, b"")))
    answered = next((ip_address(back[one]) for _, _, one in _NUMBERS.values() if one in back), None)
    return Known(source, destination, bool(status & _SOURCE_TRANSLATED), words,
                 upper.get(1, b"\0")[0], int.from_bytes(upper.get(3, b""), "big"), answered)


def _entry(ends: Ends) -> bytes:
    tcp = _attribute(1, _attribute(1, bytes([_ESTABLISHED])), True)
    return b"".join((
        _attribute(_Part.ORIGINAL, _tuple(ends), True), _attribute(_Part.REPLY, _tuple(ends.back()), True),
        _attribute(_Part.STATUS, struct.pack(">I", _SEEN_REPLY | _ASSURED | _CONFIRMED)),
        _attribute(_Part.TIMEOUT, struct.pack(">I", _TIMEOUTS[ends.protocol])),
        _attribute(_Part.PROTOCOL, tcp, True) if ends.protocol == socket.IPPROTO_TCP else b""))


def _tuple(ends: Ends) -> bytes:
    _, source, destination = _NUMBERS[ends.source[0].version]
    addresses = _attribute(source, ends.source[0].packed) \
        + _attribute(destination, ends.destination[0].packed)
    ports = b"".join(_attribute(number, struct.pack(">H", port))
                     for number, port in ((2, ends.source[1]), (3, ends.destination[1])))
    return _attribute(1, addresses, True) + _attribute(2, _attribute(1, bytes([ends.protocol])) + ports, True)


def _attribute(kind: int, value: bytes, nested: bool = False) -> bytes:
    length = _ATTRIBUTE.size + len(value)
    head = _ATTRIBUTE.pack(length, kind | (_NESTED if nested else 0))
    return head + value + bytes(_aligned(length) - length)


def _attributes(text: bytes) -> Iterator[tuple[int, bytes]]:
    while len(text) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(text)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE, text[_ATTRIBUTE.size:length]
        text = text[_aligned(length):]


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _number(text: bytes) -> int:
    return int(struct.unpack("=i", text)[0])
