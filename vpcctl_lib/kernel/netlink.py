"""Questions to the kernel over netlink (netlink(7)), in the namespace of the calling thread."""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterator

ROUTE, NETFILTER = 0, 12
"""NETLINK_ROUTE and NETLINK_NETFILTER of linux/netlink.h."""

REQUEST, ACK, DUMP, CREATE, REPLACE = 1, 4, 0x300, 0x400, 0x100
_ERROR, _DONE = 2, 3
_INTERRUPTED = 0x10
"""NLM_F_DUMP_INTR: something changed while the kernel listed it."""

_TYPE = 0x3FFF
"""Without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER."""

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LARGEST = 1 << 18
_PATIENCE = 30.0
"""Seconds without an answer."""

_LISTINGS = 5
"""How often something is listed that changes meanwhile; then the last one counts, as with `ip`."""

Message = tuple[int, bytes]
"""Its kind, and what follows its header."""


class Netlink:
    """A socket for questions; all methods raise OSError if the kernel refuses."""

    def __init__(self, protocol: int = ROUTE) -> None:
        # `socket` takes six times as long to load.
        import _socket

        self._socket = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, protocol)
        self._socket.settimeout(_PATIENCE)
        self._number = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def listing(self, kind: int, body: bytes, most: int = _LISTINGS,
                room: int = sys.maxsize) -> list[Message]:
        """Everything of a kind, if it has room; at most so often, if something changes meanwhile."""
        for _ in range(most):
            self._send(kind, REQUEST | DUMP, body)
            found, is_whole = self._listed(room)
            if is_whole:
                break
        return found

    def ask(self, kind: int, body: bytes, flags: int = 0) -> bytes:
        """The one answer to a question; empty to a change (with ACK) that was made."""
        self._send(kind, REQUEST | flags, body)
        for answered, _, said in self._messages():
            if answered != _ERROR:
                return said
            _check(said)
        return b""

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._number += 1
        self._socket.send(_HEADER.pack(_HEADER.size + len(body), kind, flags, self._number, 0) + body)

    def _listed(self, room: int) -> tuple[list[Message], bool]:
        found: list[Message] = []
        is_whole = True
        while True:
            for kind, flags, said in self._messages():
                is_whole = is_whole and not flags & _INTERRUPTED
                if kind in (_ERROR, _DONE):
                    _check(said)
                    return found, is_whole
                found.append((kind, said))
                room -= len(said)
            if room < 0:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    def _messages(self) -> Iterator[tuple[int, int, bytes]]:
        """The messages of one read: each one's kind, flags, and the bytes after its header."""
        data, _, cut, _ = self._socket.recvmsg(_LARGEST)
        if cut & _truncated():
            raise OSError(f"the kernel's answer is longer than {_LARGEST} bytes")
        start = 0
        while start + _HEADER.size <= len(data):
            length, kind, flags, answered, _ = _HEADER.unpack_from(data, start)
            if answered == self._number:
                yield kind, flags, data[start + _HEADER.size:start + length]
            start += (length + 3) & ~3


def _truncated() -> int:
    import _socket

    return int(_socket.MSG_TRUNC)


def _check(said: bytes) -> None:
    """Raise the error that such a message reports, if it does; the end of a listing may lack the number."""
    code = -number(said[:4]) if len(said) >= 4 else 0
    if code:
        raise OSError(code, os.strerror(code))


def attribute(kind: int, value: bytes) -> bytes:
    """An attribute, padded."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length % 4)


def attributes(said: bytes, start: int = 0) -> dict[int, bytes]:
    """The attributes by their kind; of several of one kind, the last."""
    return dict(each_attribute(said, start))


def each_attribute(said: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """All attributes in order, each with its kind."""
    end = len(said)
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(said, start)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE, said[start + _ATTRIBUTE.size:start + length]
        start += (length + 3) & ~3


def number(value: bytes) -> int:
    """A signed number of the machine's byte order."""
    return int.from_bytes(value, sys.byteorder, signed=True)


def unsigned(value: bytes) -> int:
    """A number of the machine's byte order."""
    return int.from_bytes(value, sys.byteorder)


def text(value: bytes) -> str:
    """A name, which ends with a zero byte; as `ip` prints it, if it is no UTF-8."""
    return value.split(b"\0", 1)[0].decode(errors="replace")
