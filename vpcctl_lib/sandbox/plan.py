"""What a sandbox consists of, as data: its mounts, links and environment; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vpcctl_lib.sandbox.kernel import MountFlag

INTERNET = ("8.8.8.8", "1.1.1.1")
"""The addresses at which the simulated internet answers."""

RESOLVER = INTERNET[0]
GATEWAY = "203.0.113.1"
ADDRESS = "203.0.113.2"
HOSTNAME = "sandbox"
STATE = "/var/lib/vpcctl"

_SCRATCH = "/run"
_SAFE = MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
_HOSTS = f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n"


@dataclass(frozen=True)
class Mount:
    """A file system that goes over a folder."""

    kind: str
    target: str
    flags: MountFlag = MountFlag.NONE
    options: str = ""
    source: str = "vpcctl"


@dataclass(frozen=True)
class Folder:
    """A folder everybody may read, whatever the umask."""

    path: str


@dataclass(frozen=True)
class File:
    """A file everybody may read, whatever the umask."""

    path: str
    text: str


Step = Mount | Folder | File


def filesystem(has_state: bool, has_netns: bool) -> tuple[Step, ...]:
    """The steps that give a mount namespace its own /proc, /sys, /run, /etc and /var/lib/vpcctl.

    `has_state`: the host has /var/lib/vpcctl; `has_netns`: it has /etc/netns.
    """
    private = Mount("", "/", MountFlag.PRIVATE | MountFlag.RECURSIVE)
    return (
        private,
        Mount("proc", "/proc", _SAFE),
        Mount("sysfs", "/sys", _SAFE),
        _tmpfs(_SCRATCH),
        *_etc(has_netns),
        *([] if has_state else [*_overlay("/var/lib", "lib"), Folder(STATE)]),
        _tmpfs(STATE),
        # Over the scratch space: /run starts empty, and nobody meddles with what lies under the overlays.
        _tmpfs("/run"),
    )


def _etc(has_netns: bool) -> tuple[Step, ...]:
    *folders, overlay = _overlay("/etc", "etc")
    resolver = File(f"{_SCRATCH}/etc/resolv.conf", f"nameserver {RESOLVER}\n")
    hosts = File(f"{_SCRATCH}/etc/hosts", _HOSTS)
    return (*folders, resolver, hosts, overlay, *([_tmpfs("/etc/netns")] if has_netns else []))


def _tmpfs(target: str) -> Mount:
    return Mount("tmpfs", target, MountFlag.NOSUID | MountFlag.NODEV, "mode=755")


def _overlay(target: str, name: str) -> tuple[Step, ...]:
    """What is written to `target` from here on stays in the scratch space."""
    upper, work = f"{_SCRATCH}/{name}", f"{_SCRATCH}/{name}.work"
    options = f"lowerdir={target},upperdir={upper},workdir={work}"
    return Folder(upper), Folder(work), Mount("overlay", target, MountFlag.NOSUID | MountFlag.NODEV, options)


def internet_links(sandbox_pid: int) -> str:
    """An `ip -batch` for the internet's namespace, which also plugs eth0 into the sandbox."""
    addresses = [f"addr add {address}/32 dev lo" for address in INTERNET]
    return "\n".join([
        "link set lo up",
        *addresses,
        f"link add sandbox type veth peer name eth0 netns {sandbox_pid}",
        "link set sandbox addrgenmode none",
        f"addr add {GATEWAY}/24 dev sandbox",
        # No route but that of the cable: what was not translated to its addresses gets no answer.
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
