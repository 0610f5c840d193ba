"""What the kernel shows as files: settings, links and sockets, as a namespace sees them; read-only."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TypeVar

from vpcctl_lib.kernel import netns
from vpcctl_lib.model.addressing import Family

SYSCTLS = Path("/proc/sys")
_PROTOCOL = re.compile(f"{SYSCTLS}/net/[^/]+(?=/)")
NETWORK = Path("/proc/thread-self/net")
"""Of the namespace that the thread is in (proc_pid_net(5))."""

DESCRIPTIONS = Path("/sys/class/net")
"""The host's links as files: /sys shows those of the namespace in which it was mounted."""

T = TypeVar("T")


def visit(namespace: str, task: Callable[[], T]) -> T:
    """Do it where a namespace's files are seen; the host's are, without a namespace."""
    return netns.within(namespace, task) if namespace else task()


def _file(key: str) -> str:
    """The file of a setting; sysctl(8): with slashes as separators, dots belong to a name such as eth0.10."""
    return f"{SYSCTLS}/{key if '/' in key else key.replace('.', '/')}"


def settings(keys: Iterable[str]) -> dict[str, str]:
    """Settings where the calling thread is, as far as this kernel has them.

    From folders that are opened once: /proc/sys/net/ipv4 is a name that all namespaces share, and among a
    thousand the kernel looks for the right one at each path (proc_sys_compare in fs/proc/proc_sysctl.c).
    """
    found: dict[str, str] = {}
    with ExitStack() as opened:
        folders = cache(lambda folder: _folder(folder, opened))
        for key in keys:
            folder, name = _parted(_file(key))
            text = _read(name, folders(folder)) if folders(folder) >= 0 else None
            if text is not None:
                found[key] = " ".join(text.split())
    return found


def _parted(path: str) -> tuple[str, str]:
    """The folder of a protocol such as /proc/sys/net/ipv4, and the path in it; else the file's own folder."""
    protocol = _PROTOCOL.match(path)
    folder = protocol[0] if protocol else os.path.dirname(path)
    return folder, path[len(folder) + 1:]


def _folder(path: str, opened: ExitStack) -> int:
    """A descriptor of the folder, closed with the others; negative if there is none."""
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    opened.callback(os.close, folder)
    return folder


def setting(key: str, namespace: str = "") -> str | None:
    """A setting of a namespace now; None if this kernel, or this host now, does not have it."""
    return _text_in(namespace, _file(key))


def _text_in(namespace: str, path: str) -> str | None:
    try:
        text = visit(namespace, lambda: _read(path))
    except (netns.Gone, PermissionError):
        return None
    return None if text is None else text.strip()


def legacy_tables(namespace: str = "", family: Family = Family.INET) -> str:
    """The tables of iptables-legacy in use; asked first, because iptables-legacy-save may load them."""
    # Without the module there are none; root of a user namespace can't look, and has only its own.
    return _text_in(namespace, _tables_names(family)) or ""


def _tables_names(family: Family) -> str:
    return f"{NETWORK}/{family.nft}_tables_names"


def may_have_legacy(namespace: str, family: Family = Family.INET) -> bool:
    """Whether iptables-legacy has tables there, or we may not look."""
    try:
        return bool(visit(namespace, lambda: _read(_tables_names(family))))
    except netns.Gone:
        return False
    except PermissionError:
        return True


def linked() -> list[str]:
    """The links that have settings where the calling thread is, and `all` and `default`."""
    return sorted(os.listdir(SYSCTLS / "net/ipv4/conf"))


def names_of_links() -> list[str]:
    """The host's links. Not by `socket.if_nameindex`: every change would wait for `socket` to load."""
    lines = (NETWORK / "dev").read_text(errors="surrogateescape").splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def described(device: str) -> str:
    """A description of a link on the host, from its kind and alias; empty if it has neither."""
    folder = DESCRIPTIONS / device
    try:
        alias = (folder / "ifalias").read_text().strip()
        kind = re.search(r"^DEVTYPE=(.+)$", (folder / "uevent").read_text(), re.MULTILINE)
    except OSError:
        return ""
    words = (f"a {kind[1]}" if kind else "", f"with the alias '{alias}'" if alias else "")
    return " ".join(filter(None, words))


def sockets(protocol: str) -> list[str]:
    """The lines of the sockets of `tcp` or `udp` where the calling thread is, IPv6's after IPv4's."""
    # Without IPv6 there is no second file.
    files = [file for file in (NETWORK / protocol, NETWORK / f"{protocol}6") if file.exists()]
    return [line for file in files for line in file.read_text().splitlines()[1:]]


def _read(path: str, folder: int | None = None) -> str | None:
    """A file below /proc; None if there is none. With plain system calls: `status` reads thousands."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
        try:
            return os.read(file, 4096).decode()
        finally:
            os.close(file)
    except FileNotFoundError:
        # A link's settings vanish with it, even from an open file (grab_header in fs/proc/proc_sysctl.c).
        return None
