"""Where hosts come from: a process that has loaded all of vpcctl, and of which each host is a copy.

To start two interpreters and to load everything into both takes longer than what most tests do on their host.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import IO

CHECKOUT = Path(__file__).resolve().parents[2]
LONGEST = 1 << 20


class Nursling:
    """A sandbox with a server in it, seen from the test: the part of Popen that a host needs."""

    def __init__(self, process: int, stdin: IO[str], stdout: IO[str]) -> None:
        self._process = process
        self.stdin, self.stdout = stdin, stdout

    def wait(self, seconds: float | None = None) -> None:
        """Until it has ended; subprocess.TimeoutExpired if it takes longer."""
        if not select.select([self._process], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired("sandbox", seconds or 0)
        os.close(self._process)
        self.stdout.close()

    def kill(self) -> None:
        """At once, with all that is in it."""
        signal.pidfd_send_signal(self._process, signal.SIGKILL)


class Nursery:
    """The process, seen from the tests."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())],
                                             pass_fds=[theirs.fileno()], cwd="/")

    def sandbox(self, kept: Path, errors: Path) -> Nursling:
        """What `vpcctl sandbox --keep KEPT` starts, with the server as its program."""
        order = json.dumps({"kept": str(kept), "environment": dict(os.environ)}).encode()
        (given, stdin), (stdout, told) = os.pipe(), os.pipe()
        with errors.open("wb") as file:
            socket.send_fds(self._socket, [order], [given, told, file.fileno()])
        os.close(given)
        os.close(told)
        _, (process,), _, _ = socket.recv_fds(self._socket, 1, 1)
        return Nursling(process, os.fdopen(stdin, "w"), os.fdopen(stdout))


@cache
def nursery() -> Nursery:
    """That of this process; it ends when this one does, as nobody is left to ask for hosts."""
    return Nursery()


def main(orders: socket.socket) -> None:
    """Make hosts until nobody asks any more."""
    sys.path.insert(0, str(CHECKOUT))
    import host_server

    host_server.load_all()
    # Nobody waits for them here.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        order, files, _, _ = socket.recv_fds(orders, LONGEST, 3)
        if not order:
            return
        pid = os.fork()
        if pid == 0:
            orders.close()
            be_sandbox(files, **json.loads(order))
        process = os.pidfd_open(pid)
        socket.send_fds(orders, [b"."], [process])
        for file in (*files, process):
            os.close(file)


def be_sandbox(files: list[int], kept: str, environment: dict[str, str]) -> None:
    """Be the `vpcctl sandbox` of a test; its program is another copy of this process."""
    from host_server import command_line

    from vpcctl_lib.sandbox import inside

    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.environ.clear()
        os.environ.update(environment)
        inside.start = be_server
        sys.argv = [str(CHECKOUT / "vpcctl"), "sandbox", "--keep", kept, "--", "server"]
        command_line()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    except BaseException:  # noqa: BLE001 - the test that asked for it shows it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(70)


def be_server(_: object, environment: dict[str, str]) -> int:
    """In place of a program's start, in process 1 of a sandbox: its pid."""
    import host_server

    pid = os.fork()
    if pid == 0:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.environ.clear()
            os.environ.update(environment)
            host_server.be_it()
        except BaseException:  # noqa: BLE001 - as above
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    return pid


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
