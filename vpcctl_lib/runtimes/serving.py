"""A driver that Docker asks over a socket: one process for each request, so that none disturbs another."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import disk, run

FIRST_PASSED = 3
"""The first descriptor that systemd passes (sd_listen_fds(3))."""

BACKLOG = 128
LONGEST = 1 << 20
"""Bytes of a request."""

IDLE = 10.0
"""Seconds in which a request must arrive."""

CONTENT = "application/vnd.docker.plugins.v1.1+json"

Reply = tuple[HTTPStatus, bytes, Callable[[], None] | None]
"""The status, the document, and what is to be done after it was sent."""


def passed() -> socket.socket | None:
    """The socket that systemd has opened for us, if it has."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        return None
    return socket.socket(fileno=FIRST_PASSED)


def opened(path: Path) -> socket.socket:
    """A socket of our own at that path, for root only; VpcctlError if another driver listens there."""
    disk.make_folder(path.parent)
    listener = socket.socket(socket.AF_UNIX)
    if path.is_socket() and listener.connect_ex(str(path)) == 0:
        raise VpcctlError(f"another driver listens at {path} already",
                          "end it, or name another socket: --socket PATH")
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener.close()
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        raise VpcctlError(f"can't listen at {path}: {error.strerror}") from None
    finally:
        os.umask(before)
    listener.listen(BACKLOG)
    return listener


class Server:
    """Answers each connection's one request in a process of its own."""

    def __init__(self, listener: socket.socket, answer: Callable[[str, bytes], Reply],
                 tell: Callable[[str], None]) -> None:
        self._listener, self._answer, self._tell = listener, answer, tell

    def serve(self) -> None:
        """Until SIGTERM or SIGINT; requests that are under way go on to their end."""
        signal.signal(signal.SIGCHLD, _reap)
        with suppress(_Ended):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, _end)
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.aside(lambda: self._serve(connection))  # noqa: B023 - it runs before the next one
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def aside(self, task: Callable[[], None]) -> None:
        """Do it in a process of its own."""
        def guarded() -> int:
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._listener.close()
            try:
                task()
            except VpcctlError as error:
                self._tell(": ".join(filter(None, (error.message, error.hint))))
                return 1
            except BaseException as error:  # noqa: BLE001 - a copy of this process must end here
                self._tell(f"{type(error).__name__}: {error}")
                return 1
            return 0
        run.fork(guarded)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(IDLE)
        handler = _handler(self._answer)(connection, ("docker", 0), None)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        if handler.later is not None:
            handler.later()


class _Ended(Exception):
    pass


def _end(*_: object) -> None:
    raise _Ended


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _handler(answer: Callable[[str, bytes], Reply]) -> Any:
    class Handler(BaseHTTPRequestHandler):
        later: Callable[[], None] | None = None
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Docker only posts."""
            length = self.headers.get("Content-Length", "0")
            if not length.isdigit() or int(length) > LONGEST:
                self.send_error(HTTPStatus.BAD_REQUEST)
                return
            status, text, self.later = answer(self.path.strip("/"), self.rfile.read(int(length)))
            self.send_response(status)
            for name, value in (("Content-Type", CONTENT), ("Content-Length", str(len(text))),
                                ("Connection", "close")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what is done stands in vpcctl's log."""

    return Handler
