"""Real packets: small questions sent from a network namespace, and a service that answers them there."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CLONE_NEWNET = 0x40000000
RECVERR: dict[int, tuple[int, int]] = {
    socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""linux/in.h, linux/in6.h: report every ICMP error to the socket, those that are not final too."""

REACHED = "reached"
VERDICTS = {
    errno.ENETUNREACH: "net unreachable", errno.EHOSTUNREACH: "host unreachable",
    errno.EACCES: "prohibited", errno.ECONNREFUSED: "refused", errno.ECONNRESET: "refused",
    errno.EMSGSIZE: "too big",
}
QUERY = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01"
"""A DNS question, so that name servers answer as well as our own service."""

_libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace: str) -> None:
    """Move this thread into a named network namespace; the empty name is the host."""
    if not namespace:
        return
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), namespace)
    finally:
        os.close(descriptor)


def within(namespace: str, task: Callable[[], Any]) -> Callable[[], Any]:
    """Start the task in a thread that lives in the namespace; the function returned waits for its result."""
    result: list[Any] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            enter(namespace)
            result.append(task())
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def wait() -> Any:
        thread.join()
        if failure:
            raise failure[0]
        return result[0]

    return wait


@dataclass(frozen=True)
class Target:
    """`10.0.1.2` (ping), `10.0.1.2:80` (TCP) or `10.0.1.2:53/udp`; `fd00::2`, `[fd00::2]:80` alike."""

    address: str
    port: int = 0
    protocol: str = "icmp"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target that the text spells."""
        where, _, protocol = text.partition("/")
        has_port = where.count(":") == 1 or "]:" in where
        address, _, port = where.rpartition(":") if has_port else (where, "", "")
        address = address.strip("[]")
        return cls(address, int(port), protocol or "tcp") if port else cls(address)

    @property
    def family(self) -> socket.AddressFamily:
        """That of its address."""
        return socket.AF_INET6 if self.is_six else socket.AF_INET

    @property
    def is_six(self) -> bool:
        """Whether it is of IPv6."""
        return ":" in self.address


def ask(target: Target, patience: float, source: str = "") -> dict[str, Any]:
    """What became of one question: its verdict, and what was answered."""
    way = {"icmp": _ping, "tcp": _tcp, "udp": _udp}[target.protocol]
    deadline = time.monotonic() + patience
    while True:
        try:
            return {"verdict": REACHED, **way(target, patience, source)}
        except TimeoutError:
            return {"verdict": "silence"}
        except OSError as error:
            # The neighbour table is the whole machine's, and another run may fill it for a moment.
            if error.errno != errno.ENOBUFS or time.monotonic() > deadline:
                return {"verdict": VERDICTS.get(error.errno or 0, str(error))}
            time.sleep(0.05)


def _open(kind: int, protocol: int, target: Target, patience: float, source: str) -> socket.socket:
    opened = socket.socket(target.family, kind, protocol)
    opened.settimeout(patience)
    if kind != socket.SOCK_RAW:
        opened.setsockopt(*RECVERR[target.family], 1)
    if source:
        opened.bind((source, 0))
    opened.connect((target.address, target.port))
    return opened


def _tcp(target: Target, patience: float, source: str) -> dict[str, Any]:
    with _open(socket.SOCK_STREAM, 0, target, patience, source) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return {"answer": answer.decode(errors="replace")}


def _udp(target: Target, patience: float, source: str) -> dict[str, Any]:
    with _open(socket.SOCK_DGRAM, 0, target, patience, source) as connection:
        connection.send(QUERY)
        return {"answer": connection.recv(65536).decode(errors="replace")}


def _ping(target: Target, patience: float, source: str) -> dict[str, Any]:
    number = struct.pack("!H", threading.get_native_id() & 0xFFFF)
    is_six = target.family == socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6 if is_six else socket.IPPROTO_ICMP
    with _open(socket.SOCK_RAW, protocol, target, patience, source) as connection:
        # Not before: without a target it would hear of the errors for everybody's packets.
        connection.setsockopt(*RECVERR[target.family], 1)
        # The kernel computes the checksum of ICMPv6, which has both addresses in it.
        connection.send(struct.pack("!BBH2sH", 128, 0, 0, number, 1) if is_six else _echo_request(number))
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            try:
                packet = connection.recv(65536)
            except TimeoutError:
                raise
            except OSError:
                if connection.recv(65536, socket.MSG_ERRQUEUE)[4:6] == number:
                    raise
                continue
            start = 0 if is_six else (packet[0] & 15) * 4
            if is_six and packet[0] == 129 and packet[4:6] == number:
                return {}
            if not is_six and packet[start] == 0 and packet[start + 4:start + 6] == number:
                return {"ttl": packet[8]}
    raise TimeoutError


def _echo_request(number: bytes) -> bytes:
    packet = struct.pack("!BBH2sH", 8, 0, 0, number, 1) + b"vpcctl!!"
    total = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total >> 16) + (total & 0xFFFF)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return packet[:2] + struct.pack("!H", checksum) + packet[4:]


class _Stream(socketserver.BaseRequestHandler):
    """Says who answers and whom it sees; `SEND n` sends n bytes, `TAKE` counts what comes, `HOLD` echoes."""

    place = ""

    def handle(self) -> None:
        """Answer one connection."""
        connection: socket.socket = self.request
        head = connection.recv(65536)
        try:
            self._answer(connection, head)
        except OSError:
            return

    def _answer(self, connection: socket.socket, head: bytes) -> None:
        word, _, rest = head.partition(b" ")
        if word == b"SEND":
            connection.sendall(b"x" * int(rest))
        elif word == b"TAKE":
            count = len(rest)
            while part := connection.recv(65536):
                count += len(part)
            connection.sendall(str(count).encode())
        elif word == b"HOLD":
            connection.sendall(b"held")
            while part := connection.recv(65536):
                connection.sendall(part)
        else:
            mss = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
            connection.sendall(f"{self.place} sees {self.client_address[0]} mss {mss}".encode())


class _Datagram(socketserver.BaseRequestHandler):
    """The same, for one packet."""

    place = ""

    def handle(self) -> None:
        """Answer one packet."""
        _, connection = self.request
        answer = f"{self.place} sees {self.client_address[0]}"
        connection.sendto(answer.encode(), self.client_address)


class _Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Udp(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _Sixth:
    """Only IPv6, so that the same port is free in IPv4."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """Bind it."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # type: ignore[attr-defined]
        super().server_bind()  # type: ignore[misc]


class _Tcp6(_Sixth, _Tcp):
    pass


class _Udp6(_Sixth, _Udp):
    pass


def listen(place: str, ports: list[str], address: str) -> list[socketserver.BaseServer]:
    """Servers on `80` (TCP) and `53/udp`, bound in this thread's namespace."""
    _Stream.place = _Datagram.place = place or "host"
    servers: list[socketserver.BaseServer] = []
    for text in ports:
        port, _, protocol = text.partition("/")
        where = (address, int(port))
        datagrams, streams = (_Udp6, _Tcp6) if ":" in address else (_Udp, _Tcp)
        servers.append(datagrams(where, _Datagram) if protocol == "udp" else streams(where, _Stream))
    return servers


def serve(servers: list[socketserver.BaseServer]) -> None:
    """Answer until killed."""
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
