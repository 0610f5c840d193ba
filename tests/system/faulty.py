"""Lives in the process of a vpcctl: there one of its own doings (a file, a signal, a start) goes wrong.

Nothing of this is in vpcctl: Python itself tells of what a program does to the world (sys.addaudithook).
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

OURS = ("/var/lib/vpcctl/", "/etc/netns", "/run/vpcctl", "/run/.vpcctl", "/proc/sys/net/")
FILES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link")
NETLINK = ("socket.__new__", socket.AF_NETLINK, socket.SOCK_RAW, 0)
"""Python's event for a socket by which links and routes are read."""

SIGNALS = {"kill": signal.SIGKILL, "INT": signal.SIGINT, "TERM": signal.SIGTERM,
           "HUP": signal.SIGHUP}


class Faulty:
    """Counts what this process does; at the chosen doing, does what the test asks for."""

    def __init__(self, fault: Mapping[str, str]) -> None:
        self._kind, self._at = fault["FAULT_KIND"], int(fault["FAULT_AT"])
        self._space = fault.get("FAULT_SPACE", "")
        self._told = Path(fault["FAULT_DIR"], "doings")
        self._doings: list[str] = []
        self._fsync, self._send = os.fsync, signal.pidfd_send_signal

    def arm(self) -> None:
        """From now on; it can't be taken back in this process."""
        os.fsync = self._heed_fsync
        signal.pidfd_send_signal = self._heed_signal
        sys.addaudithook(self._heed)

    def tell(self) -> None:
        """Write down what was counted."""
        self._told.write_text("".join(f"{doing}\n" for doing in self._doings))

    def _heed(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Python's audit hook: what is about to be done, before it is."""
        if event == "open" and _writes(arguments):
            self._meet(f"write {arguments[0]}", *arguments)
        elif event in FILES and str(arguments[0]).startswith(OURS):
            self._meet(f"{event[3:]} {arguments[0]}")
        elif event == "subprocess.Popen":
            self._meet(f"start {arguments[0]}")
        elif self._kind == "mute" and (event, *arguments[1:]) == NETLINK and self._is_mute():
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    def _is_mute(self) -> bool:
        """Whether this thread is in the namespace whose kernel says nothing."""
        return os.path.samefile("/proc/thread-self/ns/net", f"/run/netns/{self._space}")

    def _heed_fsync(self, fd: Any) -> None:
        """Of a file or a folder; Python does not tell of it."""
        self._meet("fsync")
        self._fsync(fd)

    def _heed_signal(self, descriptor: int, number: int, *more: Any) -> None:
        """A signal to a process, which may only be refused."""
        try:
            self._meet(f"signal {number}")
        except OSError:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM)) from None
        self._send(descriptor, number, *more)

    def _meet(self, doing: str, path: str = "", _: object = None, flags: int = 0) -> None:
        self._doings.append(doing)
        if len(self._doings) != self._at:
            return
        if self._kind in SIGNALS:
            os.kill(os.getpid(), SIGNALS[self._kind])
            return
        if self._kind == "middle":
            # The disk is full when the file is there, and empty.
            os.close(os.open(path, flags, 0o666))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self._kind == "fail":
            # Not a full disk, for which the record has its spare.
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _writes(arguments: tuple[Any, ...]) -> bool:
    path, _, flags = arguments
    return str(path).startswith(OURS) and not str(path).endswith(".log") \
        and bool(flags & (os.O_WRONLY | os.O_RDWR))
