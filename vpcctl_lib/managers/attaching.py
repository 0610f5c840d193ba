"""What others made and a person attaches: which it is, and what they should know about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from vpcctl_lib.blueprint.taps import needs
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.containers import find
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.base import need_root
from vpcctl_lib.model import tables
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.guests import pid_in
from vpcctl_lib.model.names import RESOLVER
from vpcctl_lib.model.topology import Attachment, Subnet, Vpc
from vpcctl_lib.resources.attached import check_is_free, default_route, locate


def is_same(wanted: Attachment, held: Attachment) -> bool:
    """Whether a person means what is attached; they need not say a container's runtime."""
    return replace(wanted, container="") == replace(held, container="") and (
        wanted.container in (held.container, held.container.rpartition(":")[2]))


def settled(runner: Runner, wanted: Attachment, held: Attachment) -> Attachment:
    """The attachment with the container's runtime and own name, without a question if it is the one held."""
    if not wanted.container or is_same(wanted, held):
        return held if is_same(wanted, held) else wanted
    return replace(wanted, container=find(runner, wanted.container).name)


def check(runner: Runner, attached: Attachment, site: Site) -> str:
    """Refuse what can't be attached as that machine; the path of the namespace."""
    # Others can't see where another user's process is.
    need_root()
    path = locate(runner, attached.container, attached.path).path
    if not netns.number(path) and (pid := pid_in(attached.path)) and not os.path.exists(f"/proc/{pid}"):
        raise VpcctlError(f"process {pid} does not exist", "name one that runs")
    check_is_free(Kernel(runner), path, attached.interface, site.owner)
    return path


def guest(where: Endpoint) -> str:
    """What a virtual machine has to know."""
    space = where.namespace
    return (f"start it in {space}, with address {', '.join(map(str, needs(where)))}: "
            f"ip netns exec {space} qemu-system-x86_64 … -netdev "
            f"tap,id=n,ifname={where.tap},script=no,downscript=no -device virtio-net-pci,netdev=n,"
            f"mac={where.mac}")


def _servers(vpc: Vpc, subnet: Subnet) -> str:
    """The name servers that machines of a subnet ask; empty if they have none."""
    if vpc.dns:
        return str(RESOLVER)
    known = vpc.nat.resolvers if vpc.nat and tables.gets_out(vpc, subnet) else ()
    return " ".join(map(str, known))


def notes(runner: Runner, vpc: Vpc, subnet: Subnet, attached: Attachment, path: str) -> Iterator[str]:
    """What stays the owner's."""
    route = default_route(runner, path)
    if route:
        yield (f"its own default route stays ({route}): by {attached.interface} it reaches the VPC and its "
               "peers only")
    servers = _servers(vpc, subnet)
    if servers:
        how = "start the container with --dns" if attached.container else "write them there"
        yield f"its resolv.conf stays its owner's; the name servers here are {servers}: {how}"
    if pid_in(attached.path):
        yield ("a process that ends can't be followed: if it is started again, detach the machine and attach "
               "the new process")
