"""Namespaces and what `ip` makes in them: veth pairs, bridges, ports, addresses and routes."""

from __future__ import annotations

import socket
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vpcctl_lib import netns
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.operations import HOST, Ip, Sysctl
from vpcctl_lib.resources.base import Facts, Operations, Place, Resource, within


@dataclass(frozen=True)
class Namespace(Resource):
    """A named network namespace."""

    name: str
    owner: str

    def survey(self) -> dict[str, str]:
        """Refuses a name that somebody else's namespace has."""
        if netns.exists(self.name):
            raise VpcctlError(f"a network namespace '{self.name}' exists, and vpcctl did not make it",
                              "choose another name, or remove it: ip netns del " + self.name)
        return {}

    @property
    def places(self) -> frozenset[Place]:
        """All that is in it goes with it."""
        return frozenset({(self.name, "")})

    def make(self) -> Operations:
        """From the host: in a batch of another namespace it would be lost in a private mount namespace."""
        return (Ip(HOST, ("netns", "add", self.name)),)

    def unmake(self, facts: Facts) -> Operations:
        """After its processes: one that lives on would keep the links when the name is gone."""
        return (Ip(HOST, ("netns", "del", self.name)),)


@dataclass(frozen=True)
class Veth(Resource):
    """A cable between two namespaces; it goes with either of its ends."""

    namespace: str
    device: str
    peer_namespace: str
    peer_device: str

    def survey(self) -> dict[str, str]:
        """Refuses a name that somebody else's link on the host has."""
        if self.namespace == HOST and self.device in {name for _, name in socket.if_nameindex()}:
            raise VpcctlError(f"a link '{self.device}' exists, and vpcctl did not make it",
                              "choose another name, or rename the link")
        return {}

    @property
    def places(self) -> frozenset[Place]:
        """Addresses and routes at its ends go with it."""
        return frozenset({(self.namespace, self.device), (self.peer_namespace, self.peer_device)})

    def make(self) -> Operations:
        """Both ends appear in their places at once."""
        peer = ("peer", "name", self.peer_device, "netns", self.peer_namespace)
        return (Ip(self.namespace, ("link", "add", self.device, "type", "veth", *peer)),)

    def unmake(self, facts: Facts) -> Operations:
        """Explicitly, as a namespace's own end takes its cables down only some time later."""
        return (Ip(self.namespace, ("link", "del", self.device)),)


@dataclass(frozen=True)
class Bridge(Resource):
    """A switch with a fixed address: without one it takes its lowest port's, and changes with the ports."""

    namespace: str
    device: str
    mac: str

    @property
    def homes(self) -> frozenset[Place]:
        """The VPC's namespace."""
        return within(self.namespace)

    @property
    def places(self) -> frozenset[Place]:
        """Its addresses go with it."""
        return frozenset({(self.namespace, self.device)})

    def make(self) -> Operations:
        """Down at first; its `Port` brings it up."""
        return (Ip(self.namespace, ("link", "add", self.device, "address", self.mac, "type", "bridge")),)

    def unmake(self, facts: Facts) -> Operations:
        """Its ports fall off by themselves."""
        return (Ip(self.namespace, ("link", "del", self.device)),)


@dataclass(frozen=True)
class Port(Resource):
    """How a link that is there is set: marked, up, without IPv6 addresses, perhaps plugged into a bridge."""

    namespace: str
    device: str
    owner: str
    master: str = ""
    altname: str = ""
    mtu: int = 1500

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("port", self.namespace, self.device)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    def make(self) -> Operations:
        """The mark first, so that a link that is ours says so as early as it can."""
        steps: list[tuple[str, ...]] = [("link", "set", self.device, "alias", self.owner)]
        if self.altname:
            steps.append(("link", "property", "add", "dev", self.device, "altname", self.altname))
        return (*(Ip(self.namespace, words) for words in steps), *self._settings())

    def _settings(self) -> Operations:
        loopback = self.device == "lo"
        quiet = () if loopback else ("addrgenmode", "none")
        size = () if self.mtu == 1500 or loopback else ("mtu", str(self.mtu))
        master = ("master", self.master) if self.master else ()
        return (Ip(self.namespace, ("link", "set", self.device, *quiet, *size, *master, "up")),)

    def change(self, old: Resource) -> Operations:
        """Only the MTU of a link of ours ever changes."""
        return (Ip(self.namespace, ("link", "set", self.device, "mtu", str(self.mtu))),)

    def unmake(self, facts: Facts) -> Operations:
        """Nothing: it goes with the link."""
        return ()


@dataclass(frozen=True)
class Address(Resource):
    """An address on a link; with a `peer` the link is point-to-point."""

    namespace: str
    device: str
    address: IPv4Interface
    peer: IPv4Address | None = None

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    def _words(self) -> tuple[str, ...]:
        if self.peer is not None:
            return (str(self.address.ip), "peer", f"{self.peer}/32", "dev", self.device)
        return (str(self.address), "dev", self.device)

    def make(self) -> Operations:
        """Fails if the address is there."""
        return (Ip(self.namespace, ("addr", "add", *self._words())),)

    def unmake(self, facts: Facts) -> Operations:
        """Its routes go with it."""
        return (Ip(self.namespace, ("addr", "del", *self._words())),)


@dataclass(frozen=True)
class Route(Resource):
    """A line of a route table: to a gateway, or (without `via`) straight onto a link."""

    namespace: str
    destination: IPv4Network
    device: str
    via: IPv4Address | None = None

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    def _words(self) -> tuple[str, ...]:
        destination = "default" if self.destination.prefixlen == 0 else str(self.destination)
        target = ("via", str(self.via)) if self.via else ()
        scope = () if self.via else ("scope", "link")
        return (destination, *target, "dev", self.device, *scope)

    def make(self) -> Operations:
        """Fails if there is such a route, whoever made it."""
        return (Ip(self.namespace, ("route", "add", *self._words())),)

    def unmake(self, facts: Facts) -> Operations:
        """Exactly this route: another to the same place stays."""
        return (Ip(self.namespace, ("route", "del", *self._words())),)


@dataclass(frozen=True)
class Settings(Resource):
    """Kernel settings of one of our own namespaces, which nobody shares."""

    namespace: str
    values: tuple[tuple[str, str], ...]

    @property
    def key(self) -> Hashable:
        """The namespace."""
        return ("settings", self.namespace)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    def make(self) -> Operations:
        """All of them in one go."""
        return tuple(Sysctl(self.namespace, key, value) for key, value in self.values)

    def unmake(self, facts: Facts) -> Operations:
        """Nothing: settings that are too strict harm nobody, and go with the namespace."""
        return ()
