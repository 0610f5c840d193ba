"""One real packet, sent from a namespace, and what came back."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import proc
from vpcctl_lib.model.addressing import Address
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.packet import ECHO_REQUEST, ECHO_REQUEST6, REPLIES

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
RECVERR = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR of linux/in.h, IPV6_RECVERR of linux/in6.h: report every ICMP error at once."""

SOCKETS = {Protocol.TCP: (socket.SOCK_STREAM, 0), Protocol.UDP: (socket.SOCK_DGRAM, 0),
           Protocol.ICMP: (socket.SOCK_RAW, socket.IPPROTO_ICMP),
           Protocol.ICMPV6: (socket.SOCK_RAW, socket.IPPROTO_ICMPV6)}


class Result(Enum):
    """What a packet met."""

    ANSWERED = "answered"
    REFUSED = "refused: it arrived and nothing listens, or a rule answered with a reset"
    REJECTED = "rejected on the way"
    SILENCE = "no answer"


REJECTIONS = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM, errno.ENOPROTOOPT,
                        errno.EHOSTDOWN, errno.ENONET, errno.EINVAL, errno.EPROTO, errno.EOPNOTSUPP,
                        errno.EXDEV})


@frozen
class Probe:
    """The result, and whether the walk agrees; None if the packet proves nothing."""

    result: str
    agrees: bool | None
    kind: Result = Result.ANSWERED


def send(namespace: str, address: Address, protocol: Protocol, port: int | None,
         patience: float = PATIENCE_SECONDS) -> Result:
    """Send a connect, an echo request or a datagram, from a namespace or (the empty name) the host."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with proc.visit(namespace, lambda: socket.socket(family, *SOCKETS[protocol])) as opened:
        opened.settimeout(patience)
        return _outcome(lambda: WAYS[protocol](opened, str(address), port or 0))


def _outcome(ask: Callable[[], None]) -> Result:
    try:
        ask()
    except TimeoutError:
        return Result.SILENCE
    except OSError as error:
        if error.errno in (errno.ECONNREFUSED, errno.ECONNRESET):
            return Result.REFUSED
        if error.errno in REJECTIONS:
            return Result.REJECTED
        raise
    return Result.ANSWERED


def _connect(opened: socket.socket, address: str, port: int) -> None:
    opened.setsockopt(*RECVERR[opened.family], 1)
    opened.connect((address, port))


def _datagram(opened: socket.socket, address: str, port: int) -> None:
    _connect(opened, address, port)
    opened.send(b"vpcctl reach\n")
    opened.recv(65536)


def _echo(opened: socket.socket, address: str, _: int) -> None:
    """RFC 792, RFC 4443: a request, answered with our number."""
    number = struct.pack("!H", os.getpid() & 0xFFFF)
    opened.connect((address, 0))
    opened.setsockopt(*RECVERR[opened.family], 1)
    is_six = opened.family == socket.AF_INET6
    deadline = time.monotonic() + (opened.gettimeout() or PATIENCE_SECONDS)
    _undisturbed(opened, number, deadline, lambda: opened.send(_request(number, is_six)))
    while not _is_answer(_undisturbed(opened, number, deadline, lambda: opened.recv(65536)), number, is_six):
        pass


def _undisturbed(opened: socket.socket, number: bytes, deadline: float, call: Callable[[], T]) -> T:
    """Repeat the call: a raw socket gets every ICMP error, even those about other packets."""
    while (left := deadline - time.monotonic()) > 0:
        opened.settimeout(left)
        try:
            return call()
        except TimeoutError:
            raise
        except OSError:
            if not _is_of_another(opened, number):
                raise
    raise TimeoutError


def _is_of_another(opened: socket.socket, number: bytes) -> bool:
    """Whether the next ICMP error quotes an echo request that is not ours (ip(7), IP_RECVERR)."""
    opened.setblocking(False)
    try:
        quoted = opened.recvmsg(65536, 0, socket.MSG_ERRQUEUE)[0]
    except BlockingIOError:
        return False
    return quoted[4:6] != number


def _is_answer(packet: bytes, number: bytes, is_six: bool) -> bool:
    """Of IPv6, a raw socket hands on what comes after the header."""
    start = 0 if is_six else (packet[0] & 15) * 4
    kind = REPLIES[ECHO_REQUEST6 if is_six else ECHO_REQUEST]
    return packet[start] == kind and packet[start + 4:start + 6] == number


def _request(number: bytes, is_six: bool) -> bytes:
    """The message; the kernel computes the checksum of ICMPv6, which has both addresses in it."""
    kind = ECHO_REQUEST6 if is_six else ECHO_REQUEST
    head, rest = struct.pack("!BB", kind, 0), number + struct.pack("!H", 1) + b"vpcctl!!"
    total = sum(struct.unpack(f"!{(len(head) + len(rest)) // 2}H", head + rest))
    total = (total >> 16) + (total & 0xFFFF)
    return head + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + rest


WAYS: dict[Protocol, Callable[[socket.socket, str, int], None]] = {
    Protocol.TCP: _connect, Protocol.UDP: _datagram, Protocol.ICMP: _echo, Protocol.ICMPV6: _echo}


def judge(result: Result, protocol: Protocol, is_reachable: bool, is_rejected: bool) -> Probe:
    """Whether the packet did what the walk said; an unanswered datagram may have arrived."""
    if result is Result.ANSWERED:
        return Probe(result.value, is_reachable, result)
    if result is Result.REFUSED:
        return Probe(result.value, True if is_reachable else is_rejected, result)
    if result is Result.SILENCE and protocol is Protocol.UDP and is_reachable:
        return Probe("no answer: the datagram may have arrived, since UDP needs no answer", None, result)
    return Probe(result.value, not is_reachable, result)
