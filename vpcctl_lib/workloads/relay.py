"""A relay for DNS: it takes queries in a VPC's router, and asks them with sockets of the host's network.

Run as `python3 -I -c SOURCE PORT [SERVER…]`. Without servers it asks those in /etc/resolv.conf, whatever it
is then.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

HERE = "127.0.0.1"
DNS = 53
FILE = "/etc/resolv.conf"
TRY_SECONDS, ONLY_SECONDS = 1.5, 5.0
"""How long one of several servers may take, and an only one."""

TCP_SECONDS = 10.0
LOOK_SECONDS = 0.2
LARGEST = 65535
SHORTEST = 12
"""The size of a header (RFC 1035, section 4.1.1)."""

MOST = 64
"""The most packets to take at once, before answers get their turn."""

_UNSPECIFIED = b"\0" * 28
"""A struct sockaddr of the family AF_UNSPEC (connect(2))."""

_libc = ctypes.CDLL(None, use_errno=True)


class Servers:
    """Those that are asked, in order; the last one that answered first."""

    def __init__(self, fixed: Sequence[str]) -> None:
        self._fixed = [str(ip_address(one)) for one in fixed]
        self._seen: object = None
        self._looked = 0.0
        self._named = self._fixed
        self._first = 0

    def now(self) -> list[str]:
        """All of them, as they are now."""
        if not self._fixed and time.monotonic() - self._looked > LOOK_SECONDS:
            self._look()
        first = self._first % len(self._named)
        return [*self._named[first:], *self._named[:first]]

    def answered(self, server: str) -> None:
        """Begin with that one from now on."""
        if server in self._named:
            self._first = self._named.index(server)

    def _look(self) -> None:
        self._looked = time.monotonic()
        try:
            held = os.stat(FILE)
            seen = (held.st_ino, held.st_mtime_ns, held.st_size)
            if seen != self._seen:
                with open(FILE, errors="replace") as file:
                    self._named, self._first = list(_named(file)) or [HERE], 0
                self._seen = seen
                _say("asks", *self._named)
        except OSError as error:
            # While the file is being replaced, those from before stay.
            self._named = self._named or [HERE]
            if self._seen != error.errno:
                _say(f"{FILE}: {error.strerror}; asks", *self._named)
            self._seen = error.errno


def _say(*words: str) -> None:
    sys.stdout.write(f"{' '.join(words)}\n")
    sys.stdout.flush()


def _named(lines: Iterable[str]) -> Iterator[str]:
    """The servers in a file (resolv.conf(5)): the first three count."""
    found = [words[1] for words in map(str.split, lines) if words[:1] == ["nameserver"] and len(words) > 1]
    for one in found[:3]:
        try:
            ip_address(one)
        except ValueError:
            continue
        yield one


def _dissolve(sock: socket.socket) -> None:
    """Give the socket's port back: the next question goes out by another one, which nobody can know."""
    _libc.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED))


def _connect(sock: socket.socket, server: str) -> None:
    address = ip_address(server.partition("%")[0])
    if sock.family == socket.AF_INET6 and address.version == 4:
        server = f"::ffff:{address}"
    elif sock.family == socket.AF_INET and address.version == 6:
        raise OSError("this host has no IPv6")
    place = socket.getaddrinfo(server, DNS, sock.family, sock.type, flags=socket.AI_NUMERICHOST)[0][4]
    sock.connect(place)


def _failure(query: bytes) -> bytes:
    """The answer that the servers do not answer (RFC 1035, section 4.1.1: RCODE 2)."""
    return query[:2] + bytes([query[2] | 0x80, 0x82]) + query[4:]


class Asked:
    """A query on its way."""

    def __init__(self, query: bytes, client: Any, servers: list[str]) -> None:
        self.query = query
        self.client = client
        self.left = servers
        self.server = ""
        self.deadline = 0.0


class Relay:
    """Passes queries on by UDP: each by a socket, and so a port, of its own."""

    def __init__(self, listener: socket.socket, idle: Sequence[socket.socket], servers: Servers) -> None:
        self._listener = listener
        self._idle = deque(idle)
        self._servers = servers
        self._asked: dict[socket.socket, Asked] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        for sock in idle:
            sock.setblocking(False)
            _dissolve(sock)
            self._selector.register(sock, selectors.EVENT_READ)

    def run(self) -> None:
        """For ever."""
        while True:
            first = min((one.deadline for one in self._asked.values()), default=None)
            patience = None if first is None else max(0.0, first - time.monotonic())
            for key, _ in self._selector.select(patience):
                if key.fileobj is self._listener:
                    self._take()
                elif isinstance(key.fileobj, socket.socket):
                    self._hear(key.fileobj)
            self._give_up(time.monotonic())

    def _take(self) -> None:
        for _ in range(MOST):
            try:
                query, client = self._listener.recvfrom(LARGEST)
            except OSError:
                return
            if len(query) < SHORTEST or query[2] & 0x80:
                continue
            if not self._idle:
                self._answer(_failure(query), client)
                continue
            self._ask(self._idle.popleft(), Asked(query, client, self._servers.now()))

    def _ask(self, sock: socket.socket, asked: Asked) -> None:
        """Ask the next server; if none is left, say so."""
        while asked.left:
            asked.server = asked.left.pop(0)
            asked.deadline = time.monotonic() + (TRY_SECONDS if asked.left else ONLY_SECONDS)
            _dissolve(sock)
            try:
                _connect(sock, asked.server)
                sock.send(asked.query)
            except OSError:
                continue
            self._asked[sock] = asked
            return
        self._answer(_failure(asked.query), asked.client)
        self._asked.pop(sock, None)
        _dissolve(sock)
        self._idle.append(sock)

    def _hear(self, sock: socket.socket) -> None:
        """What came: an answer, or that nobody listens there. Anything else may be forged, and is ignored."""
        asked = self._asked.get(sock)
        try:
            answer = sock.recv(LARGEST)
        except BlockingIOError:
            return
        except OSError:
            if asked:
                self._ask(sock, asked)
            return
        if asked is None or answer[:2] != asked.query[:2] or len(answer) < SHORTEST or not answer[2] & 0x80:
            return
        self._servers.answered(asked.server)
        self._answer(answer, asked.client)
        del self._asked[sock]
        _dissolve(sock)
        self._idle.append(sock)

    def _give_up(self, now: float) -> None:
        for sock, asked in [*self._asked.items()]:
            if asked.deadline <= now:
                self._ask(sock, asked)

    def _answer(self, answer: bytes, client: Any) -> None:
        try:
            self._listener.sendto(answer, client)
        except OSError:
            # It no longer waits.
            return


class Streams:
    """Passes TCP connections on, each in a thread."""

    def __init__(self, idle: Sequence[socket.socket], servers: Servers) -> None:
        self._idle = deque(idle)
        self._servers = servers

    def run(self, listener: socket.socket) -> None:
        """For ever."""
        while True:
            client, _ = listener.accept()
            try:
                sock = self._idle.popleft()
            except IndexError:
                client.close()
                continue
            threading.Thread(target=self._serve, args=(client, sock), daemon=True).start()

    def _serve(self, client: socket.socket, sock: socket.socket) -> None:
        try:
            with client:
                if self._reach(sock):
                    _join(client, sock)
        except OSError:
            # One of the two has gone: the other one notices it.
            return
        finally:
            _dissolve(sock)
            self._idle.append(sock)

    def _reach(self, sock: socket.socket) -> bool:
        for server in self._servers.now():
            _dissolve(sock)
            sock.settimeout(ONLY_SECONDS)
            try:
                _connect(sock, server)
                return True
            except OSError:
                continue
        return False


def _join(one: socket.socket, other: socket.socket) -> None:
    """Copy in both directions, until one of the two ends or both are silent."""
    ways = {one: other, other: one}
    with selectors.DefaultSelector() as selector:
        for sock in ways:
            sock.settimeout(TCP_SECONDS)
            selector.register(sock, selectors.EVENT_READ)
        while True:
            ready = selector.select(TCP_SECONDS)
            if not ready:
                return
            for key, _ in ready:
                source = one if key.fileobj is one else other
                data = source.recv(LARGEST)
                if not data:
                    return
                ways[source].sendall(data)


def main(port: str, *servers: str) -> None:
    """Until it is stopped."""
    numbers = map(int, os.environ["VPCCTL_OUTSIDE"].split(","))
    outside = [socket.socket(fileno=number) for number in numbers]
    by_udp = [one for one in outside if one.type == socket.SOCK_DGRAM]
    by_tcp = [one for one in outside if one.type == socket.SOCK_STREAM]
    known = Servers(servers)
    stream = socket.create_server((HERE, int(port)), backlog=64)
    threading.Thread(target=Streams(by_tcp, known).run, args=(stream,), daemon=True).start()
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((HERE, int(port)))
    listener.setblocking(False)
    Relay(listener, by_udp, known).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
