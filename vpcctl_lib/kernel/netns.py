"""Enter a network namespace for a moment, to open a socket there without starting a process."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.interrupts import held

SO_NETNS_COOKIE = 71
"""linux/asm-generic/socket.h, since Linux 5.14; Python has no name for it."""

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

T = TypeVar("T")
NAMES = Path("/run/netns")
"""Where `ip netns` keeps its names (ip-netns(8))."""

IPV6 = "/proc/sys/net/ipv6"

CLONE_NEWNET = 0x40000000
"""linux/sched.h"""

NS_GET_NSTYPE = 0xB703
"""linux/nsfs.h"""


class Gone(FileNotFoundError):
    """No namespace has that name; the message is that of `ip netns exec`."""

    def __init__(self, namespace: str) -> None:
        super().__init__(errno.ENOENT, f'Cannot open network namespace "{namespace}"', str(NAMES / namespace))

    def __str__(self) -> str:
        return f"{self.strerror}: No such file or directory"


def exists(namespace: str) -> bool:
    """Whether a namespace of that name exists; a plain file is not one."""
    try:
        # By the system's call: a change of 200 subnets asks 600 times.
        return os.stat(f"{NAMES}/{namespace}").st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def is_husk(namespace: str) -> bool:
    """Whether an empty file has that name, left by an unmount or a crash, and no namespace."""
    try:
        status = os.lstat(NAMES / namespace)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and not status.st_size and not exists(namespace)


def have_ipv6() -> bool:
    """Whether namespaces have IPv6: not if the kernel was started with `ipv6.disable=1`, or built without."""
    return os.path.exists(IPV6)


def names() -> frozenset[str]:
    """The names of all namespaces that `ip netns` knows; a plain file is not one."""
    device = os.stat("/proc/self/ns/net").st_dev
    try:
        with os.scandir(NAMES) as found:
            return frozenset(entry.name for entry in found if _device(entry) == device)
    except FileNotFoundError:
        return frozenset()


def _device(entry: os.DirEntry[str]) -> int:
    """The device of its file system; 0 if it is gone: others delete theirs while we look."""
    try:
        return entry.stat().st_dev
    except FileNotFoundError:
        return 0


def inode(namespace: str) -> int:
    """The number in /proc/PID/ns/net; 0 if it does not exist."""
    try:
        return (NAMES / namespace).stat().st_ino
    except FileNotFoundError:
        return 0


def number(path: str) -> int:
    """The inode number of the network namespace at that path; 0 if there is none."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        status = os.fstat(file)
        if status.st_dev != os.stat("/proc/self/ns/net").st_dev:
            return 0
        # Imported late: only what others made is looked at.
        from fcntl import ioctl

        return status.st_ino if ioctl(file, NS_GET_NSTYPE) == CLONE_NEWNET else 0
    finally:
        os.close(file)


def attach(namespace: str, path: str) -> None:
    """Give somebody else's namespace a name as well, as `ip netns attach` does; OSError if that fails."""
    from vpcctl_lib.kernel import syscalls

    target = f"{NAMES}/{namespace}"
    # Opened once: what is at the path may change. A pipe there would have us wait.
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.close(os.open(target, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
        try:
            syscalls.mount(f"/proc/self/fd/{source}", target, "none", syscalls.MountFlag.BIND, "")
        except OSError:
            os.unlink(target)
            raise
    finally:
        os.close(source)


def detach(namespace: str) -> None:
    """Take such a name away again."""
    from vpcctl_lib.kernel import syscalls

    syscalls.unmount(f"{NAMES}/{namespace}")
    os.unlink(f"{NAMES}/{namespace}")


def identity(namespace: str) -> str:
    """An identity that is unique among all namespaces of this boot; empty if the kernel does not provide it.

    Inode numbers are reused, and root in a namespace controls what is in it.
    """
    try:
        cookie = within(namespace, _cookie)
    except OSError:
        # It is gone, or this is Linux before 5.14.
        return ""
    return f"{_boot(BOOT_ID)} {cookie}"


@cache
def _boot(file: Path) -> str:
    return file.read_text().strip()


def own_identity() -> str:
    """The identity of our own namespace; if the kernel does not provide it, only that of the boot."""
    boot = BOOT_ID.read_text().strip()
    try:
        return f"{boot} {_cookie()}"
    except OSError:
        return boot


def _cookie() -> int:
    # Imported late: only what makes namespaces asks for it. `socket` takes six times as long to load.
    import _socket

    probe = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        return int.from_bytes(probe.getsockopt(_socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)
    finally:
        probe.close()


@cache
def _setns() -> Callable[[int], None]:
    # Imported late: few commands enter a namespace. os.setns came with Python 3.12, and we run on 3.10.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def setns(descriptor: int) -> None:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return setns


def within(namespace: str, task: Callable[[], T]) -> T:
    """Run the task and return its result: its sockets and programs belong to that namespace.

    Never in the main thread, which shows others where a process is: a delete ends processes in a namespace.
    """
    if threading.current_thread() is threading.main_thread():
        return aside(lambda: within(namespace, task))
    with _entered(namespace):
        return task()


def aside(task: Callable[[], T]) -> T:
    """Run the task in one thread for all the namespaces that it enters, and return its result."""
    with held():
        ended = _begun(task)
        return ended()


def apart(task: Callable[[], T]) -> T:
    """As `aside`, for a long task that only reads: a signal does not wait for its end."""
    if threading.current_thread() is not threading.main_thread():
        return task()
    with held():
        ended = _begun(task)
    return ended()


def _begun(task: Callable[[], T]) -> Callable[[], T]:
    """Start a thread for it; returns what waits for its result."""
    results: list[T] = []
    failures: list[BaseException] = []

    def take() -> None:
        try:
            results.append(task())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    # It ends with us: if a signal ended the wait for it, nobody wants its result.
    thread = threading.Thread(target=take, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise VpcctlError(f"can't enter a network namespace: {error}") from None

    def ended() -> T:
        thread.join()
        if failures:
            raise failures[0]
        return results[0]

    return ended


@contextmanager
def _entered(namespace: str) -> Iterator[None]:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            there = os.open(f"{NAMES}/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Gone(namespace) from None
        try:
            _setns()(there)
        except OSError as error:
            if error.errno == errno.EINVAL:
                # A plain file: `ip netns add` creates it a moment before the namespace.
                raise Gone(namespace) from None
            raise VpcctlError(f"can't enter network namespace {namespace}: {error.strerror}") from None
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns()(home)
    finally:
        os.close(home)
