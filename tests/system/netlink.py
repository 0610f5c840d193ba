"""What the kernel says of the network of this thread's namespace, without the start of a tool."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

GETLINK, GETADDR, GETROUTE, GETNEIGH, GETRULE = 18, 22, 26, 30, 34
"""linux/rtnetlink.h"""

DELETE_CONNECTIONS = 1 << 8 | 2
"""linux/netfilter/nfnetlink_conntrack.h"""

GETQDISC, KIND, QUEUE = 38, 1, struct.Struct("=BxxxiIII")
UNASKED = (b"noqueue", b"pfifo_fast", b"mq", b"fq_codel", b"noop")
"""What a link has by itself."""

AF_BRIDGE, NETFILTER = 7, 12
REQUEST, ACK, DUMP, DONE, ERROR = 0x1, 0x4, 0x300, 3, 2
HEADER = struct.Struct("=IHHII")
LINK = struct.Struct("=BxHiII")
ADDRESS = struct.Struct("=BBBBi")
NEIGHBOUR = struct.Struct("=BxxxiHBB")
ROUTE = struct.Struct("=8BI")
ATTRIBUTE = struct.Struct("=HH")
PERMANENT, STATIC = 0x80, 0x40
LLADDR, CACHEINFO, LINKINFO, EXT_MASK, SKIP_STATS = 2, 3, 18, 29, 1 << 3
AT_ONCE = 1 << 18


def network() -> bytes:
    """All links, addresses, routes, rules and lasting neighbours: the same here is the same to `ip`."""
    without_counters = struct.pack("=HHI", 8, EXT_MASK, SKIP_STATS)
    with _asking() as asking:
        return b"".join((
            *(_without(LINKINFO, one, LINK.size)
              for one in _dump(asking, GETLINK, LINK.pack(0, 0, 0, 0, 0) + without_counters)),
            *_dump(asking, GETADDR, ADDRESS.pack(0, 0, 0, 0, 0)),
            *_dump(asking, GETROUTE, ROUTE.pack(*[0] * 9)),
            *_dump(asking, GETRULE, ROUTE.pack(*[0] * 9)),
            *(_without(CACHEINFO, one, NEIGHBOUR.size)
              for one in _dump(asking, GETNEIGH, NEIGHBOUR.pack(0, 0, 0, 0, 0))
              if NEIGHBOUR.unpack_from(one)[2] & PERMANENT)))


def stations() -> Iterator[str]:
    """The hardware addresses that somebody entered in a bridge, each with its port."""
    with _asking() as asking:
        for one in _dump(asking, GETNEIGH, NEIGHBOUR.pack(AF_BRIDGE, 0, 0, 0, 0)):
            _, number, state, *_ = NEIGHBOUR.unpack_from(one)
            address = dict(_attributes(one[NEIGHBOUR.size:])).get(LLADDR)
            if state & STATIC and address:
                yield f"{address.hex(':')} at {socket.if_indextoname(number)}"


def has_queues() -> bool:
    """Whether a link has a queueing discipline that somebody gave it."""
    with _asking() as asking:
        found = [dict(_attributes(one[QUEUE.size:]))
                 for one in _dump(asking, GETQDISC, QUEUE.pack(0, 0, 0, 0, 0))]
    return any(one[KIND].rstrip(b"\0") not in UNASKED for one in found)


def forget_connections() -> None:
    """Connection tracking begins anew in this thread's namespace, as far as there is any."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER) as asking:
        asking.send(HEADER.pack(20, DELETE_CONNECTIONS, REQUEST | ACK, 0, 0) + bytes(4))
        asking.recv(AT_ONCE)


def _without(timers: int, told: bytes, head: int) -> bytes:
    """An answer without the attribute that tells how long ago something was, which `ip` hides."""
    return told[:head] + b"".join(one for kind, one in _attributes(told[head:]) if kind != timers)


def _asking() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)


def _dump(asking: socket.socket, kind: int, question: bytes) -> Iterator[bytes]:
    """The body of each answer."""
    asking.send(HEADER.pack(HEADER.size + len(question), kind, REQUEST | DUMP, 0, 0) + question)
    while True:
        told = asking.recv(AT_ONCE)
        while told:
            length, answer, *_ = HEADER.unpack_from(told)
            if answer == ERROR:
                raise RuntimeError(f"netlink refuses {kind}: {told[:length].hex()}")
            if answer == DONE:
                return
            yield told[HEADER.size:length]
            told = told[_aligned(length):]


def _attributes(told: bytes) -> Iterator[tuple[int, bytes]]:
    """Each attribute's kind, and what it holds."""
    while told:
        length, kind = ATTRIBUTE.unpack_from(told)
        yield kind, told[ATTRIBUTE.size:length]
        told = told[_aligned(length):]


def _aligned(length: int) -> int:
    return length + 3 & ~3
