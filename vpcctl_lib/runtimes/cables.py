"""Cables to containers that a runtime starts: down until the machine is attached, with policy and guard."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.blueprint import routers
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.base import Context
from vpcctl_lib.managers.instance import InstanceManager
from vpcctl_lib.model import addressing, endpoints, groups, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.topology import Attachment, Machine, Topology, Vpc
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Address, Neighbour, Operation, Port, Resource, Route
from vpcctl_lib.resources.attached import UP
from vpcctl_lib.resources.operation import Desk
from vpcctl_lib.resources.operations import HOST, Ip
from vpcctl_lib.runtimes.guests import short

PATIENCE, BETWEEN = 60.0, 0.005
"""Seconds in which a runtime makes the namespace and moves the link there; seconds between two looks."""


@frozen
class Guest:
    """A container that becomes a machine."""

    site: Site
    address: IPv4Address
    groups: tuple[str, ...]
    sandbox: str
    """The path of its namespace."""

    publishes: tuple[Publish, ...] = ()

    @property
    def port(self) -> str:
        """Our end of its cable."""
        return naming.port(self.site.subnet, self.site.machine)

    @property
    def device(self) -> str:
        """The other end, on the host until the runtime moves it."""
        # Not as a VPC's own cable is called: nothing of the host may take it for one.
        return f"vpcd{short(str(self.site), 10)}"

    def endpoint(self, topology: Topology, interface: str) -> Endpoint:
        """The machine that it becomes."""
        vpc, subnet = find_subnet(topology, self.site.vpc, self.site.subnet)
        attached = Attachment(path=self.sandbox, interface=interface)
        machine = groups.joined(Machine(self.site.machine, (self.address,), attached), self.groups)
        return endpoints.endpoint(vpc, subnet, machine)


class PluggedManager(InstanceManager):
    """Attaches a container whose cable is there already."""

    def __init__(self, context: Context, standing: Sequence[Resource]) -> None:
        super().__init__(context)
        self._standing = standing

    def held(self, state: State) -> Sequence[Entry]:
        """Also the cable, and what the runtime has set on it."""
        return (*state.ledger, *map(Entry, self._standing))


def is_there(guest: Guest) -> bool:
    """Whether the runtime has made the container's namespace."""
    return bool(netns.number(guest.sandbox))


def is_lost(guest: Guest, attached: bool, runner: Runner) -> bool:
    """Whether the container is gone, or, if it was still to be attached, its cable."""
    return not (is_there(guest) if attached else _port(guest, runner))


def make_outside(guest: Guest, runner: Runner) -> None:
    """A cable with one end on the host, which the runtime moves into the container."""
    words = ("link", "add", guest.port, "netns", guest.site.vpc, "type", "veth", "peer", "name", guest.device)
    _do(runner, (Ip(HOST, words),))


def make_inside(guest: Guest, runner: Runner) -> str:
    """A cable that leads into the container; the name of its end there."""
    links = _links(Kernel(runner), f"{UP}{guest.sandbox}")
    names = {link["ifname"] for link in links}
    # Docker before version 25 counts its own links, and would want the name of ours for its next one.
    prefix = "eth" if names <= {"lo"} else "vpc"
    name = next(f"{prefix}{number}" for number in range(len(names) + 1) if f"{prefix}{number}" not in names)
    words = ("link", "add", guest.port, "netns", guest.site.vpc, "type", "veth",
             "peer", "name", name, "netns", guest.sandbox)
    _do(runner, (Ip(HOST, words),))
    return name


def wait(guest: Guest, vpc: Vpc, runner: Runner) -> str:
    """The name of the link in the container, once the runtime has set it up; empty if it never does."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        near = _port(guest, runner)
        if near is None:
            return ""
        name = _set_up(guest, vpc, near, runner) if is_there(guest) else ""
        if name:
            return name
        time.sleep(BETWEEN)
    return ""


def _set_up(guest: Guest, vpc: Vpc, near: dict[str, Any], runner: Runner) -> str:
    """The name of the cable's other end in the container, if it has its routes to the VPC; else empty."""
    try:
        links, routes = Kernel(runner).read(f"{UP}{guest.sandbox}", Reading.LINKS, Reading.MAIN_ROUTES)
    except VpcctlError:
        return ""
    far = _find(links, ifindex=near.get("link_index"), link_index=near.get("ifindex"))
    name = str(far["ifname"]) if far else ""
    # The runtime sets address and routes in order; these are the last that collide with ours.
    led = {one["dst"] for one in routes if one.get("dev") == name and "gateway" in one}
    return name if led.issuperset(map(str, vpc.networks)) else ""


def attach(guest: Guest, interface: str, context: Context, dressed: bool) -> None:
    """Make it a machine; packets pass when all of it stands. `dressed`: the runtime has set up the link."""
    topology = InstanceManager(context).state().topology
    one = guest.endpoint(topology, interface)
    vpc, _ = find_subnet(topology, guest.site.vpc, guest.site.subnet)
    cable, end = routers.cable(vpc, one)
    _do(context.runner, end.prepared(dressed))
    router = Neighbour(one.namespace, one.interface, addressing.gateway(vpc.cidr), naming.mac(vpc.name))
    standing = [cable, end, router, *(_dress(vpc, one) if dressed else ())]
    PluggedManager(context, standing).attach(
        guest.site, one.attached, (guest.address,), guest.groups, guest.publishes)
    if dressed and _limits_sending(vpc, one):
        # What was sent before the policy stood still waits for a neighbour.
        _do(context.runner, (Ip(one.namespace, ("neigh", "flush", "dev", one.interface)),))
    _do(context.runner, end.opened(dressed))
    # Last: packets that wait for the router are sent now, and earlier they would be lost.
    desk = Desk(context.runner, context.store.folder)
    for operation in router.make():
        desk.carry_out(operation)


def _dress(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """What the runtime has set on our behalf: all but our mark, and with a route straight to the subnet."""
    router = addressing.gateway(vpc.cidr)
    # So its MAC is not set again: with its neighbours, the kernel would drop packets that wait for them.
    yield Port(one.namespace, one.interface, "", mac=one.mac)
    address = addressing.interface(one.address, one.addresses[0].network.prefixlen)
    yield Address(one.namespace, one.interface, address)
    yield Route(one.namespace, addressing.single(router), one.interface)
    for network in vpc.networks:
        yield Route(one.namespace, network, one.interface, router)


def _limits_sending(vpc: Vpc, one: Endpoint) -> bool:
    """Whether its groups, or else its subnet's policy, allow it only some packets."""
    held = [group.policy for group in vpc.groups if group.name in one.groups] if one.groups else [one.policy]
    return any(policy is not None and policy.egress is not None for policy in held)


def unplug(guest: Guest, runner: Runner) -> None:
    """Take the cable away, if it is there."""
    if _port(guest, runner):
        _do(runner, (Ip(guest.site.vpc, ("link", "del", guest.port)),))


def _port(guest: Guest, runner: Runner) -> dict[str, Any] | None:
    """Our end of the cable; None if it is missing."""
    if not netns.exists(guest.site.vpc):
        return None
    return _find(_links(Kernel(runner), guest.site.vpc), ifname=guest.port)


def _links(kernel: Kernel, namespace: str) -> list[dict[str, Any]]:
    (links,) = kernel.read(namespace, Reading.LINKS)
    return links


def _find(links: Sequence[dict[str, Any]], **values: object) -> dict[str, Any] | None:
    return next((one for one in links if all(one.get(key) == value for key, value in values.items())), None)


def _do(runner: Runner, operations: Sequence[Operation]) -> None:
    """Do them by one command."""
    batch = operations[0].batch(operations)
    outcome = runner.change(batch.command()) if batch else None
    if outcome and outcome.status:
        raise VpcctlError(f"{outcome.command.argv[0]} failed: {outcome.reason()}")
