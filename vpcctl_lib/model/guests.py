"""Rules about what is attached: the names of links and containers, the paths of namespaces; pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.model import endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Attachment, Machine, Subnet, Topology, Vpc

_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,14}", re.ASCII)
"""Fewer than the kernel allows: the name is in commands, rules and the names of settings."""

RUNTIMES = ("docker", "podman", "nerdctl", "crictl")
"""The container runtimes that can be asked for a container."""

CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
"""What Docker and Podman allow; no longer than the alias of a link has room for, and never an option."""

_PATH = re.compile(r"/[A-Za-z0-9_./:@+-]{1,127}", re.ASCII)
"""No longer than the alias of a link has room for, and one word in every command."""


BROUGHT = ("cni-", "docker-", "podman-")
"""How the names of machines begin that a container runtime brings, and takes away by itself."""


def is_brought(machine: Machine) -> bool:
    """Whether a container runtime has brought it."""
    return bool(machine.attached.path) and machine.name.startswith(BROUGHT)


def with_brought(vpc: Vpc, before: Vpc) -> Vpc:
    """The VPC of a file with what runtimes have brought to its subnets, as far as there is room for it.

    It is theirs to take away: a file does not know it.
    """
    known = {group.name for group in vpc.groups}
    return replace(vpc, subnets=tuple(_with_brought(subnet, before, known) for subnet in vpc.subnets))


def _with_brought(subnet: Subnet, before: Vpc, groups: set[str]) -> Subnet:
    was = before.subnet(subnet.name)
    names = {machine.name for machine in subnet.machines}
    taken = {one for machine in subnet.machines for one in machine.addresses}
    stay = tuple(machine for machine in (was.machines if was else ()) if is_brought(machine)
                 and machine.name not in names and groups.issuperset(machine.groups)
                 and all(one in subnet.cidr and one not in taken for one in machine.addresses))
    return replace(subnet, machines=(*subnet.machines, *stay)) if stay else subnet


def without_brought(topology: Topology) -> Topology:
    """The topology as a file has it: without what runtimes have brought."""
    return replace(topology, vpcs=tuple(
        replace(vpc, subnets=tuple(replace(subnet, machines=tuple(
            one for one in subnet.machines if not is_brought(one))) for subnet in vpc.subnets))
        if any(is_brought(one) for subnet in vpc.subnets for one in subnet.machines) else vpc
        for vpc in topology.vpcs))


def check_interface(text: str) -> str:
    """The name of a link, or BadInput."""
    if not _INTERFACE.fullmatch(text) or text in ("lo", "all", "default"):
        raise BadInput(f"{quoted(repr(text))} can't be the name of the machine's link",
                       "use up to 15 of A-Z, a-z, 0-9, _ and -, beginning with a letter, as in eth0 or vpc0")
    return text


def check_tap(text: str) -> str:
    """The name of a tap, or BadInput."""
    if text == naming.INSTANCE:
        raise BadInput(f"'{text}' can't be the name of a tap",
                       "it is the machine's link to the bridge: choose another name, such as vm0")
    if not _INTERFACE.fullmatch(text) or text in ("lo", "all", "default"):
        raise BadInput(f"{quoted(repr(text))} can't be the name of a tap",
                       "use up to 15 of A-Z, a-z, 0-9, _ and -, beginning with a letter, as in vm0")
    return text


def check_container(text: str) -> str:
    """A container's name, perhaps with its runtime in front (docker:web), or BadInput."""
    runtime, colon, name = text.rpartition(":")
    if colon and runtime not in RUNTIMES:
        raise BadInput(f"{quoted(repr(runtime))} is not a container runtime that vpcctl asks",
                       f"use one of: {', '.join(RUNTIMES)}")
    if not CONTAINER.fullmatch(name):
        raise BadInput(f"{quoted(repr(name))} can't be a container's name",
                       "use its name or ID, as in web or docker:web")
    return text


def check_path(text: str) -> str:
    """The absolute path of a namespace, or BadInput."""
    if not _PATH.fullmatch(text):
        raise BadInput(f"{quoted(repr(text))} can't be the path of a network namespace",
                       "use an absolute path of up to 128 letters, digits and /._:@+-, as in /run/netns/web")
    return text


def path_of(pid: int) -> str:
    """The path of a process's namespace."""
    return f"/proc/{pid}/ns/net"


def pid_in(path: str) -> str:
    """The process that a path goes by, as that of its namespace or of a thread's; empty for another path."""
    found = re.match(r"/proc/([1-9][0-9]*)/.", posixpath.normpath(f"/{path.lstrip('/')}"))
    return found[1] if found else ""


def marked(text: str) -> Attachment:
    """The attachment in what is behind a port's mark (`naming.guest_mark`), as it stands there."""
    interface, _, source = text.partition("~")
    container, path = ("", source) if source.startswith("/") else (source, "")
    return Attachment(container, path, interface)


def tapped(text: str) -> str:
    """The tap in what is behind a port's mark, with its tilde; empty if it says something else."""
    name = text.removeprefix(naming.TAP_MARK)
    return name if name != text and _INTERFACE.fullmatch(name) else ""


def unplugged(before: Topology, after: Topology, has_gone: Callable[[Endpoint], bool]) -> Iterator[str]:
    """What is no longer attached, for whoever deletes it."""
    stay = {(one.site, one.attached, one.tap) for one in endpoints.everywhere(after)}
    for one in endpoints.everywhere(before):
        if (one.site, one.attached, one.tap) in stay:
            continue
        if one.attached:
            what = f"container {one.attached.container}" if one.attached.container else one.attached.path
            yield f"{one.site} is unplugged: {what} " + (
                "had gone before" if has_gone(one) else f"goes on without {one.interface}")
        elif one.tap:
            yield f"{one.site} is unplugged: tap {one.tap} goes with it"
