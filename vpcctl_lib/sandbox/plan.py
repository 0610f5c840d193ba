"""What a sandbox consists of, as data: its mounts, links and environment; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vpcctl_lib.syscalls import MountFlag

INTERNET = ("8.8.8.8", "1.1.1.1")
"""The addresses at which the simulated internet answers."""

RESOLVER = INTERNET[0]
GATEWAY = "203.0.113.1"
ADDRESS = "203.0.113.2"
HOSTNAME = "sandbox"
STATE = "/var/lib/vpcctl"

_SCRATCH = "/run"
_TAME = MountFlag.NOSUID | MountFlag.NODEV
_SAFE = _TAME | MountFlag.NOEXEC
_HOSTS = f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n"


@dataclass(frozen=True)
class Folder:
    """A folder everybody may read, whatever the umask."""

    path: str


@dataclass(frozen=True)
class File:
    """A file everybody may read, whatever the umask."""

    path: str
    text: str


@dataclass(frozen=True)
class Copy:
    """As much of a folder as we may read, put into another."""

    source: str
    target: str


@dataclass(frozen=True)
class Mirror:
    """Every entry of a folder, mounted under the same name into another."""

    source: str
    target: str


@dataclass(frozen=True)
class Mount:
    """A file system that goes over a folder, and what to do where the kernel refuses it."""

    kind: str
    target: str
    flags: MountFlag = MountFlag.NONE
    options: str = ""
    source: str = "vpcctl"
    instead: tuple[Step, ...] = ()


Step = Folder | File | Copy | Mirror | Mount


def filesystem(has_state: bool, has_netns: bool) -> tuple[Step, ...]:
    """The steps that give a mount namespace its own /proc, /sys, /run, /etc and /var/lib/vpcctl.

    `has_state`: the host has /var/lib/vpcctl; `has_netns`: it has /etc/netns.
    """
    return (
        Mount("", "/", MountFlag.PRIVATE | MountFlag.RECURSIVE),
        Mount("proc", "/proc", _SAFE),
        Mount("sysfs", "/sys", _SAFE),
        _tmpfs(_SCRATCH),
        *_etc(),
        *([_tmpfs("/etc/netns")] if has_netns else []),
        *_var_lib(),
        *([] if has_state else [Folder(STATE)]),
        _tmpfs(STATE),
        # Over the scratch space: /run starts empty, and nobody meddles with what lies under the overlay.
        _tmpfs("/run"),
    )


def _etc() -> tuple[Step, ...]:
    """An /etc that can be written to and leaves the host's alone."""
    upper, work = f"{_SCRATCH}/etc", f"{_SCRATCH}/etc.work"
    ours = (File(f"{upper}/resolv.conf", f"nameserver {RESOLVER}\n"), File(f"{upper}/hosts", _HOSTS))
    # Refused over two overlays, and to plain users where something is mounted below /etc (containers do).
    copied = (Copy("/etc", upper), *ours, Mount("", "/etc", MountFlag.BIND, source=upper))
    options = f"lowerdir=/etc,upperdir={upper},workdir={work}"
    return Folder(upper), Folder(work), *ours, Mount("overlay", "/etc", _TAME, options, instead=copied)


def _var_lib() -> tuple[Step, ...]:
    """A /var/lib of its own; all that is in the host's shows through, since a workplace may be there."""
    outside = f"{_SCRATCH}/lib"
    bind = Mount("", outside, MountFlag.BIND | MountFlag.RECURSIVE, source="/var/lib")
    return Folder(outside), bind, _tmpfs("/var/lib"), Mirror(outside, "/var/lib")


def _tmpfs(target: str) -> Mount:
    return Mount("tmpfs", target, _TAME, "mode=755")


def internet_links(sandbox_pid: int, ipv6: bool) -> str:
    """An `ip -batch` for the internet's namespace, which also plugs eth0 into the sandbox."""
    addresses = [f"addr add {address}/32 dev lo" for address in INTERNET]
    return "\n".join([
        "link set lo up",
        *addresses,
        # With the same number at both ends, the kernel may take a second to report that they are up.
        f"link add sandbox index 8 type veth peer name eth0 netns {sandbox_pid}",
        *(["link set sandbox addrgenmode none"] if ipv6 else []),
        f"addr add {GATEWAY}/24 dev sandbox",
        # No route but that of the cable: a source that nobody translated gets no answer.
        "link set sandbox up",
    ]) + "\n"


def host_links() -> str:
    """An `ip -batch` that brings the sandbox's own network up."""
    return "\n".join([
        "link set lo up",
        f"addr add {ADDRESS}/24 dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
    ]) + "\n"


def environment(outside: Mapping[str, str], search_path: str, launcher: str | None) -> dict[str, str]:
    """What the program sees: the caller's environment, `vpcctl` on PATH, the default state folder."""
    path = f"{launcher}:{search_path}" if launcher else search_path
    kept = {name: value for name, value in outside.items() if name != "VPCCTL_STATE_DIR"}
    return {**kept, "PATH": path, "VPCCTL_SANDBOX": "1"}
