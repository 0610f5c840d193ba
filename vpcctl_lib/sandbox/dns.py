"""A name server's answers, as a pure function of the query."""

from __future__ import annotations

from ipaddress import IPv4Address

NAMES = {"example.com": IPv4Address("8.8.8.8"), "internet.test": IPv4Address("8.8.8.8")}
"""All the names there are in the simulated internet."""

_HEADER = 12
_TYPE_A, _TYPE_ANY, _CLASS_IN = 1, 255, 1
_NO_ERROR, _FORMAT_ERROR, _NO_SUCH_NAME = 0, 1, 3
_TTL = 60


def answer(query: bytes) -> bytes | None:
    """The reply to a DNS query; None for anything else, which gets no answer."""
    if len(query) < _HEADER or query[2] & 0x80:
        return None
    question = _question(query)
    if question is None:
        return _reply(query, _FORMAT_ERROR, b"", b"")
    name, kind, wire = question
    address = NAMES.get(name)
    if address is None:
        return _reply(query, _NO_SUCH_NAME, wire, b"")
    return _reply(query, _NO_ERROR, wire, _record(address) if kind in (_TYPE_A, _TYPE_ANY) else b"")


def _question(query: bytes) -> tuple[str, int, bytes] | None:
    """The one question of a query: its name in lower case, its type, and its bytes."""
    if query[4:6] != b"\0\1":
        return None
    labels, at = [], _HEADER
    while at < len(query) and 0 < query[at] < 64:
        labels.append(query[at + 1:at + 1 + query[at]])
        at += 1 + query[at]
    end = at + 5
    if end > len(query) or query[at] != 0:
        return None
    name = b".".join(labels).decode("latin-1").lower()
    return name, int.from_bytes(query[at + 1:at + 3], "big"), query[_HEADER:end]


def _record(address: IPv4Address) -> bytes:
    """An A record for the name asked for, which stands right after the header."""
    name = (0xC000 | _HEADER).to_bytes(2, "big")
    fixed = b"".join(number.to_bytes(size, "big") for number, size in
                     ((_TYPE_A, 2), (_CLASS_IN, 2), (_TTL, 4), (len(address.packed), 2)))
    return name + fixed + address.packed


def _reply(query: bytes, code: int, question: bytes, record: bytes) -> bytes:
    # Response, authoritative; opcode and "recursion desired" as they came; recursion available.
    flags = bytes([0x84 | (query[2] & 0x79), 0x80 | code])
    counts = bytes([0, 1 if question else 0, 0, 1 if record else 0, 0, 0, 0, 0])
    return query[:2] + flags + counts + question + record
