"""What a sandbox consists of, as data: its mounts, links and environment; pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.syscalls import MountFlag

INTERNET = ("8.8.8.8", "1.1.1.1")
"""The addresses at which the simulated internet answers."""

INTERNET6 = ("2001:4860:4860::8888", "2606:4700:4700::1111")
"""The same by IPv6."""

RESOLVER = INTERNET[0]
GATEWAY, GATEWAY6 = "203.0.113.1", "2001:db8::1"
ADDRESS, ADDRESS6 = "203.0.113.2", "2001:db8::2"
LINK_LOCAL = "fe80::1"
"""Of the internet's end: without one, a link asks for no neighbour with the address of another link
(ndisc_solicit of net/ipv6/ndisc.c)."""

POOL = "198.51.100.0/24"
"""Addresses that the simulated internet leads to the sandbox, for `vpcctl eip pool add` (RFC 5737)."""

HOSTNAME = "sandbox"
STATE = "/var/lib/vpcctl"

APART = frozenset({"/proc", "/sys", "/dev", "/run", "/etc"})
"""Folders that are handled apart, or are the kernel's."""

SPLIT = frozenset({"/", "/var", "/var/lib"})
"""Folders that are covered part by part: the first can't be covered whole, the last gets a folder of ours."""

MANY = 100
"""With more entries, a folder with mounts below is left alone: it is a store of containers."""

_SCRATCH = "/run"
_TAME = MountFlag.NOSUID | MountFlag.NODEV
_SAFE = _TAME | MountFlag.NOEXEC


@frozen
class Folder:
    """A folder everybody may read, whatever the umask."""

    path: str


@frozen
class File:
    """A file everybody may read, whatever the umask."""

    path: str
    text: str


@frozen
class Copy:
    """As much of a folder as we may read, copied into another."""

    source: str
    target: str


@frozen
class Mirror:
    """Every entry of a folder, mounted under the same name into another."""

    source: str
    target: str


@frozen
class Mount:
    """A file system that covers a folder, and what to do if the kernel refuses it."""

    kind: str
    target: str
    flags: MountFlag = MountFlag.NONE
    options: str = ""
    source: str = "vpcctl"
    instead: tuple[Step, ...] = ()


@frozen
class Cover:
    """A folder whose changes stay in memory and are thrown away, if the kernel can do that."""

    path: str
    scratch: str
    options: str


Step = Folder | File | Copy | Mirror | Mount | Cover
FoldersIn = Callable[[str], Sequence[str]]


def covered(mounted: Collection[str], folders_in: FoldersIn) -> Iterator[str]:
    """The largest folders without a mount below: a plain user can't cover one that has some.

    `mounted` are the places where something is mounted; `folders_in` lists a folder's own folders by path.
    """
    parents = {parent for place in mounted for parent in _above(place)}
    return _covered("/", parents | SPLIT, folders_in)


def _covered(folder: str, split: Collection[str], folders_in: FoldersIn) -> Iterator[str]:
    found = folders_in(folder)
    for path in found if folder in SPLIT or len(found) < MANY else ():
        if path in split:
            yield from _covered(path, split, folders_in)
        elif path not in APART:
            yield path


def _above(path: str) -> Iterator[str]:
    """The folders above a place, except those that are handled apart."""
    if not any(path == apart or path.startswith(f"{apart}/") for apart in APART):
        while path != "/":
            path = os.path.dirname(path)
            yield path


def covers(folders: Sequence[str], is_whole: bool) -> tuple[Step, ...]:
    """The steps that cover them; `is_whole`: all users of the host exist here."""
    # Root of a user namespace can't write trusted.* attributes, with which overlayfs marks what is deleted.
    more = "" if is_whole else ",userxattr"
    return tuple(Cover(path, f"{_SCRATCH}/{number}", f"lowerdir={_escaped(path)},"
                       f"upperdir={_SCRATCH}/{number}/upper,workdir={_SCRATCH}/{number}/work{more}")
                 for number, path in enumerate(folders))


def _escaped(path: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\:," else letter for letter in path)


def filesystem(has_state: bool, has_netns: bool, covers: Sequence[Step] = (), more: Sequence[Step] = (),
               hostname: str = HOSTNAME) -> tuple[Step, ...]:
    """The steps that give a mount namespace its own /proc, /sys, /run, /etc and /var/lib/vpcctl, and put
    everything else under layers that are thrown away.

    `has_state`: the host has /var/lib/vpcctl; `has_netns`: it has /etc/netns; `more`: steps that fill /etc.
    """
    return (
        Mount("", "/", MountFlag.PRIVATE | MountFlag.RECURSIVE),
        Mount("proc", "/proc", _SAFE),
        Mount("sysfs", "/sys", _SAFE),
        _tmpfs(_SCRATCH),
        *covers,
        *_etc(hostname),
        *more,
        *([_tmpfs("/etc/netns")] if has_netns else []),
        *_var_lib(),
        *([] if has_state else [Folder(STATE)]),
        _tmpfs(STATE),
        # Over the scratch space: /run starts empty, and nobody can reach what lies under the overlay.
        _tmpfs("/run"),
    )


def _etc(hostname: str) -> tuple[Step, ...]:
    """A writable /etc that leaves the host's alone."""
    upper, work = f"{_SCRATCH}/etc", f"{_SCRATCH}/etc.work"
    ours = (File(f"{upper}/resolv.conf", f"nameserver {RESOLVER}\n"),
            File(f"{upper}/hosts", f"127.0.0.1 localhost {hostname}\n::1 localhost\n"),
            File(f"{upper}/hostname", f"{hostname}\n"))
    # Refused over two overlays, and to plain users if something is mounted below /etc (as in containers).
    copied = (Copy("/etc", upper), *ours, Mount("", "/etc", MountFlag.BIND, source=upper))
    options = f"lowerdir=/etc,upperdir={upper},workdir={work}"
    return Folder(upper), Folder(work), *ours, Mount("overlay", "/etc", _TAME, options, instead=copied)


def _var_lib() -> tuple[Step, ...]:
    """A /var/lib of its own; everything in the host's shows through, since a working folder may be there."""
    outside = f"{_SCRATCH}/lib"
    bind = Mount("", outside, MountFlag.BIND | MountFlag.RECURSIVE, source="/var/lib")
    return Folder(outside), bind, _tmpfs("/var/lib"), Mirror(outside, "/var/lib")


def _tmpfs(target: str) -> Mount:
    return Mount("tmpfs", target, _TAME, "mode=755")


def internet_links(sandbox_pid: int, ipv6: bool) -> str:
    """An `ip -batch` for the internet's namespace, which also plugs eth0 into the sandbox."""
    addresses = [f"addr add {address}/32 dev lo" for address in INTERNET]
    if ipv6:
        addresses += [f"addr add {address}/128 dev lo" for address in INTERNET6]
    return "\n".join([
        "link set lo up",
        *addresses,
        # With the same number at both ends, the kernel may take a second to report that they are up.
        f"link add sandbox index 8 type veth peer name eth0 netns {sandbox_pid}",
        *(["link set sandbox addrgenmode none", f"addr add {GATEWAY6}/64 dev sandbox nodad",
           f"addr add {LINK_LOCAL}/64 dev sandbox nodad"] if ipv6 else []),
        f"addr add {GATEWAY}/24 dev sandbox",
        "link set sandbox up",
        # No other route: an untranslated source gets no answer.
        f"route add {POOL} dev sandbox",
    ]) + "\n"


def host_links(ipv6: bool) -> str:
    """An `ip -batch` that brings the sandbox's own network up."""
    return "\n".join([
        "link set lo up",
        f"addr add {ADDRESS}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
        *([f"addr add {ADDRESS6}/64 dev eth0 nodad", f"route add ::/0 via {GATEWAY6}"] if ipv6 else []),
    ]) + "\n"


def environment(outside: Mapping[str, str], search_path: str, launcher: str | None) -> dict[str, str]:
    """What the program sees: the caller's environment, `vpcctl` on PATH, the default state folder."""
    path = f"{launcher}:{search_path}" if launcher else search_path
    kept = {name: value for name, value in outside.items() if name != "VPCCTL_STATE_DIR"}
    return {**kept, "PATH": path, "VPCCTL_SANDBOX": "1"}
