"""The simulated internet: a namespace without a name, with a web server and a name server.

Its web server tells who asks, and at /knock/ADDRESS:PORT tries to connect, as anybody outside might.
"""

from __future__ import annotations

import os
import socket
import socketserver
import threading
from collections.abc import Callable
from ipaddress import ip_address

from vpcctl_lib.kernel import netns, syscalls
from vpcctl_lib.kernel.syscalls import Namespace
from vpcctl_lib.sandbox.dns import answer
from vpcctl_lib.sandbox.links import configure
from vpcctl_lib.sandbox.plan import INTERNET, internet_links

_PATIENCE_SECONDS = 10.0
_KNOCK = "/knock/"
_KNOCK_SECONDS = 3.0
_PORTS = range(1, 65536)


def serve(ready: Callable[[], None]) -> int:
    """Be the internet: plug a cable into the namespace of pid 1, answer until killed."""
    _leave_terminal()
    syscalls.unshare(Namespace.NET)
    configure(internet_links(sandbox_pid=1, ipv6=netns.have_ipv6()))
    more = [_WebServer6(("::", 80), _Web)] if netns.have_ipv6() else []
    names = (_NameServer((address, 53), _Name) for address in INTERNET)
    servers = [_WebServer(("", 80), _Web), *more, *names]
    ready()
    threads = [threading.Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0


def _leave_terminal() -> None:
    """Release the caller's terminal and pipes: a reader of the program's output must see its end."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)


class _WebServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


class _WebServer6(_WebServer):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        """For IPv6 alone: the other one has the same port."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


class _NameServer(socketserver.ThreadingUDPServer):
    daemon_threads = True


class _Web(socketserver.StreamRequestHandler):
    """Answers any request with the address it came from, which makes NAT visible."""

    timeout = _PATIENCE_SECONDS

    def handle(self) -> None:
        """Read one request's head and answer it."""
        try:
            method, path, *_ = [*self.rfile.readline(8192).decode("latin-1").split(), "", ""]
            while self.rfile.readline(8192).strip():
                pass
            self.wfile.write(page(self._said(path), with_body=method != "HEAD"))
        except (OSError, TimeoutError):
            return

    def _said(self, path: str) -> str:
        if path.startswith(_KNOCK):
            return f"{knock(path.removeprefix(_KNOCK))}\n"
        return f"the simulated internet\nyour address: {self.client_address[0]}\n"


def knock(target: str) -> str:
    """Connect to an address and port from out here, and say what became of it."""
    host, _, port = target.rpartition(":")
    try:
        address = str(ip_address(host.strip("[]")))
        if int(port) not in _PORTS:
            raise ValueError(port)
        socket.create_connection((address, int(port)), _KNOCK_SECONDS).close()
    except ValueError:
        return f"write {_KNOCK}ADDRESS:PORT"
    except ConnectionRefusedError:
        return f"{target}: refused there"
    except OSError as error:
        return f"{target}: {'no answer' if isinstance(error, TimeoutError) else 'rejected on the way'}"
    return f"{target}: answered"


def page(body: str, with_body: bool) -> bytes:
    """The web server's whole answer."""
    head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    return (head + body if with_body else head).encode()


class _Name(socketserver.BaseRequestHandler):
    """Answers one DNS query."""

    def handle(self) -> None:
        """Answer a query, and ignore anything else."""
        query, socket = self.request
        reply = answer(query)
        if reply is not None:
            socket.sendto(reply, self.client_address)
