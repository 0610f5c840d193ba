"""Docker's network driver: each endpoint of a network of ours is a machine (libnetwork's remote protocol)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.managers.base import Context, need_root
from vpcctl_lib.managers.instance import InstanceManager
from vpcctl_lib.managers.ports import check_free
from vpcctl_lib.model import naming
from vpcctl_lib.model.groups import find_group
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.runtimes import cables, docker_messages
from vpcctl_lib.runtimes.cables import Guest
from vpcctl_lib.runtimes.docker_book import Book, Network, Plug, Shelf
from vpcctl_lib.runtimes.docker_ipam import Pools
from vpcctl_lib.runtimes.docker_messages import Document
from vpcctl_lib.runtimes.guests import address_for, check_ports, detach
from vpcctl_lib.runtimes.values import object_in

MACHINE = "docker-"
"""How a machine's name begins; the container's wish follows, or Docker's number of its endpoint."""

DIGITS = 12
"""As many of a number as Docker itself shows."""

NOTHING: Document = {}


@frozen
class Answer:
    """The answer to Docker, and what is done once it is sent."""

    document: Document
    later: Callable[[], None] | None = None


Request = Mapping[str, Any]


class Driver:
    """The driver's operations."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._shelf = Shelf(context.store.folder)
        self._operations: dict[str, Callable[[Request], Document | Answer]] = {
            "Plugin.Activate": lambda _: {"Implements": ["NetworkDriver", "IpamDriver"]},
            "NetworkDriver.GetCapabilities": lambda _: {"Scope": "local", "ConnectivityScope": "local"},
            "NetworkDriver.CreateNetwork": self._create_network,
            "NetworkDriver.DeleteNetwork": self._delete_network,
            "NetworkDriver.CreateEndpoint": self._create_endpoint,
            "NetworkDriver.EndpointOperInfo": lambda _: {"Value": {}},
            "NetworkDriver.DeleteEndpoint": self._delete_endpoint,
            "NetworkDriver.Join": self._join,
            "NetworkDriver.Leave": self._leave,
            **dict.fromkeys(("NetworkDriver.ProgramExternalConnectivity",
                             "NetworkDriver.RevokeExternalConnectivity", "NetworkDriver.DiscoverNew",
                             "NetworkDriver.DiscoverDelete"), lambda _: NOTHING),
            **Pools(context, self._shelf, self._swept).operations,
        }

    def knows(self, operation: str) -> bool:
        """Whether it has that operation."""
        return operation in self._operations

    def answer(self, operation: str, body: bytes) -> Answer:
        """Do what Docker asks for; VpcctlError if that can't be done."""
        found = self._operations[operation](object_in(body))
        return found if isinstance(found, Answer) else Answer(found)

    def take_up(self) -> list[Callable[[], None]]:
        """Forget containers that ended meanwhile; what is left to do for those that were about to join."""
        with self._shelf.locked():
            plugs = self._swept().plugs
        return [self._finishing(number) for number, plug in plugs.items()
                if plug.sandbox and not plug.attached]

    def _create_network(self, request: Request) -> Document:
        number, network = docker_messages.text(request, "NetworkID"), docker_messages.network(request)
        need_root()
        self._check(network.vpc, network.subnet, network.groups)
        _, subnet = find_subnet(self._topology(), network.vpc, network.subnet)
        docker_messages.check_pool(request, subnet.cidr)
        with self._shelf.locked():
            self._shelf.write(self._shelf.read().with_network(number, network))
        return NOTHING

    def _check(self, vpc: str, subnet: str, groups: tuple[str, ...]) -> None:
        topology = self._topology()
        find_subnet(topology, vpc, subnet)
        for group in groups:
            find_group(topology, vpc, group)

    def _topology(self) -> Topology:
        return InstanceManager(self._context).state().topology

    def _delete_network(self, request: Request) -> Document:
        with self._shelf.locked():
            book = self._swept().without_network(docker_messages.text(request, "NetworkID"))
            self._shelf.write(book)
        return NOTHING

    def _network(self, request: Request) -> Network:
        network = self._shelf.read().networks.get(docker_messages.text(request, "NetworkID"))
        if network is None:
            raise VpcctlError("vpcctl does not know this network",
                              "its state folder is another one, or was removed: create the network again")
        return network

    def _create_endpoint(self, request: Request) -> Document:
        number = docker_messages.text(request, "EndpointID")
        with self._shelf.locked():
            network = self._network(request)
            wish = docker_messages.wish(request, network)
            self._check(network.vpc, network.subnet, wish.groups)
            # First: it may free addresses.
            book = self._without(number, self._swept())
            vpc, subnet = find_subnet(self._topology(), network.vpc, network.subnet)
            taken = book.taken(vpc.name, subnet.name, wish.address)
            address = address_for(vpc, subnet, wish.address, taken)
            mac = naming.instance_mac(vpc.name, address)
            docker_messages.check_mac(request, mac)
            name = f"{MACHINE}{wish.name or number[:DIGITS]}"
            plug = Plug(vpc.name, subnet.name, name, str(address), wish.groups, ports=wish.ports)
            if subnet.machine(name) or any(other.site == plug.site for other in book.plugs.values()):
                raise VpcctlError(f"machine '{name}' already exists in {vpc.name}/{subnet.name}",
                                  "choose another name")
            self._check_ports(plug, book)
            self._shelf.write(book.with_plug(number, plug))
        return docker_messages.endpoint(address, subnet.cidr.prefixlen, mac, request)

    @staticmethod
    def _without(number: str, book: Book) -> Book:
        """Docker asks again if it missed the answer; an endpoint that has a container stays as it is."""
        plug = book.plugs.get(number)
        if plug and plug.sandbox:
            raise VpcctlError(f"the endpoint already exists: {plug.site} is its machine",
                              "disconnect its container first")
        return book.without_plug(number)

    def _check_ports(self, plug: Plug, book: Book) -> None:
        """Refuse ports that the machine can't get: once it joins, nobody hears of it."""
        promised = (port for other in book.plugs.values() for port in other.publishes)
        check_ports(plug.publishes, self._topology(), promised)
        for publish in plug.publishes:
            check_free(self._context.runner, publish)

    def _swept(self) -> Book:
        """The book without containers that ended while Docker, or the host, was down: it tells of none."""
        book = self._shelf.read()
        for number, plug in book.plugs.items():
            if plug.sandbox and cables.is_lost(_guest(plug), plug.attached, self._context.runner):
                self._unplug(number)
                self._shelf.write(self._shelf.read().without_plug(number))
        return self._shelf.read()

    def _delete_endpoint(self, request: Request) -> Document:
        number = docker_messages.text(request, "EndpointID")
        with self._shelf.locked():
            self._unplug(number)
            self._shelf.write(self._shelf.read().without_plug(number))
        return NOTHING

    def _leave(self, request: Request) -> Document:
        number = docker_messages.text(request, "EndpointID")
        with self._shelf.locked():
            self._unplug(number)
        return NOTHING

    def _unplug(self, number: str) -> None:
        """Take the container out; its address stays its own until the endpoint is deleted."""
        book = self._shelf.read()
        plug = book.plugs.get(number)
        if plug is None:
            return
        detach(self._context, plug.site)
        cables.unplug(_guest(plug), self._context.runner)
        self._shelf.write(book.with_plug(number, plug.at()))

    def _join(self, request: Request) -> Document | Answer:
        number = docker_messages.text(request, "EndpointID")
        sandbox = docker_messages.text(request, "SandboxKey")
        with self._shelf.locked():
            book = self._shelf.read()
            plug = self._plug(number, sandbox)
            guest = _guest(plug)
            if not netns.exists(plug.vpc):
                # The host was started again: a change of nothing brings back what is recorded.
                InstanceManager(self._context).change(lambda topology: topology)
            if cables.is_there(guest):
                self._attach(number, plug)
                return docker_messages.PLUGGED
            vpc, _ = find_subnet(self._topology(), plug.vpc, plug.subnet)
            cables.make_outside(guest, self._context.runner)
            self._shelf.write(book.with_plug(number, plug))
        return Answer(docker_messages.joined(vpc, guest.device), self._finishing(number))

    def _plug(self, number: str, sandbox: str) -> Plug:
        plug = self._shelf.read().plugs.get(number)
        if plug is None:
            raise VpcctlError("vpcctl does not know this endpoint", "start the container again")
        return plug.at(sandbox)

    def _attach(self, number: str, plug: Plug, interface: str = "") -> None:
        """With a cable that Docker has moved, or else one of our own."""
        guest, runner = _guest(plug), self._context.runner
        try:
            name = interface or cables.make_inside(guest, runner)
            cables.attach(guest, name, self._context, dressed=bool(interface))
        except VpcctlError:
            cables.unplug(guest, runner)
            raise
        self._shelf.write(self._shelf.read().with_plug(number, plug.at(plug.sandbox, attached=True)))

    def _finishing(self, number: str) -> Callable[[], None]:
        """Attaches a container when Docker has made its namespace, and moved our link there."""
        def finish() -> None:
            plug = self._shelf.read().plugs.get(number)
            vpc = self._topology().vpc(plug.vpc) if plug else None
            interface = cables.wait(_guest(plug), vpc, self._context.runner) if plug and vpc else ""
            with self._shelf.locked():
                plug = self._shelf.read().plugs.get(number)
                # Meanwhile it may have left again.
                if plug and interface and plug.sandbox and not plug.attached:
                    self._attach(number, plug, interface)
        return finish


def _guest(plug: Plug) -> Guest:
    return Guest(plug.site, plug.ip, plug.groups, plug.sandbox, plug.publishes)
