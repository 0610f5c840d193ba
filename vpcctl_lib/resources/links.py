"""Namespaces and what `ip` makes in them: veth pairs, bridges, ports, addresses and routes."""

from __future__ import annotations

import socket
from collections.abc import Hashable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from vpcctl_lib import netns
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import Kernel
from vpcctl_lib.naming import MARK
from vpcctl_lib.operations import HOST, Ip, Sysctl
from vpcctl_lib.resources.base import (
    EMPTY,
    MISSING,
    Condition,
    Facts,
    Fault,
    Operations,
    Place,
    Resource,
    changed,
    within,
)

DEFAULT_MTU = 1500
LOOPBACK = "lo"


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

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There, and ours: something in it bears our mark."""
        if self.name not in kernel.namespaces:
            return MISSING
        links = kernel.links(self.name)
        if any(link.get("ifalias", "").startswith(MARK) for link in links):
            return None
        return EMPTY if len(links) == 1 else Fault(Condition.FOREIGN, "it does not bear vpcctl's mark")

    def __str__(self) -> str:
        return f"namespace {self.name}"


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

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Both ends in their places."""
        near = kernel.link(self.namespace, self.device)
        if near is None:
            return self._halved(kernel)
        if kernel.link(self.peer_namespace, self.peer_device) is not None:
            return None
        if not near.get("ifalias", "").startswith(MARK):
            return Fault(Condition.FOREIGN, "it does not bear vpcctl's mark")
        return changed(f"its other end, {self.peer_device}, is gone")

    def _halved(self, kernel: Kernel) -> Fault:
        """The near end renamed or moved, or its namespace deleted and the far end about to follow."""
        if kernel.link(self.peer_namespace, self.peer_device) is None:
            return MISSING
        away = Ip(self.peer_namespace, ("link", "del", self.peer_device))
        return Fault(Condition.CHANGED, f"its end {self.device} is gone", (away,))

    def __str__(self) -> str:
        return f"cable {self.device}{_in(self.namespace)} to {self.peer_device}{_in(self.peer_namespace)}"


def _in(namespace: str) -> str:
    return f" in {namespace}" if namespace else " on the host"


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

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """A bridge with that MAC."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        return None if link.get("address") == self.mac else changed(f"its MAC is {link.get('address')}")

    def __str__(self) -> str:
        return f"bridge {self.device}{_in(self.namespace)}"


@dataclass(frozen=True)
class Port(Resource):
    """How a link that is there is set: marked, up, without IPv6 addresses, perhaps plugged into a bridge."""

    namespace: str
    device: str
    owner: str
    master: str = ""
    mtu: int = 1500

    in_place = True

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
        size = () if self.mtu == DEFAULT_MTU else ("mtu", str(self.mtu))
        return self._set(() if self.device == LOOPBACK else ("addrgenmode", "none", *size))

    def _set(self, words: tuple[str, ...]) -> Operations:
        master = ("master", self.master) if self.master else ()
        return (Ip(self.namespace, ("link", "set", self.device, "alias", self.owner)),
                Ip(self.namespace, ("link", "set", self.device, *words, *master, "up")))

    def change(self, old: Resource) -> Operations:
        """Everything again; only the MTU of a link of ours ever changes by itself."""
        return self._set(() if self.device == LOOPBACK else ("addrgenmode", "none", "mtu", str(self.mtu)))

    def unmake(self, facts: Facts) -> Operations:
        """Nothing: it goes with the link."""
        return ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Marked, up, plugged in, of the right size."""
        link = kernel.link(self.namespace, self.device)
        if link is None:
            return MISSING
        found = {"alias": link.get("ifalias", ""), "master": link.get("master", ""), "mtu": link["mtu"],
                 "state": "up" if "UP" in link["flags"] else "down"}
        shall = {"alias": self.owner, "master": self.master,
                 "mtu": link["mtu"] if self.device == LOOPBACK else self.mtu, "state": "up"}
        wrong = [f"its {what} is {found[what] or 'none'}, not {shall[what] or 'none'}"
                 for what in shall if found[what] != shall[what]]
        return changed("; ".join(wrong)) if wrong else None

    def __str__(self) -> str:
        return f"link {self.device}{_in(self.namespace)}"


@dataclass(frozen=True)
class Altname(Resource):
    """The full name of a link whose kernel name had to be cut."""

    namespace: str
    device: str
    name: str

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    def _words(self, verb: str) -> Operations:
        return (Ip(self.namespace, ("link", "property", verb, "dev", self.device, "altname", self.name)),)

    def make(self) -> Operations:
        """Beside the kernel name: every ip command takes either."""
        return self._words("add")

    def unmake(self, facts: Facts) -> Operations:
        """The kernel name stays."""
        return self._words("del")

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The link has it."""
        link = kernel.link(self.namespace, self.device)
        return None if link and self.name in link.get("altnames", ()) else MISSING

    def __str__(self) -> str:
        return f"name {self.name} of {self.device}{_in(self.namespace)}"


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

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """On its link, with its prefix and peer."""
        link = kernel.link(self.namespace, self.device) or {}
        peer = str(self.peer) if self.peer else None
        shall = (str(self.address.ip), 32 if peer else self.address.network.prefixlen, peer)
        held = [(one.get("local"), one.get("prefixlen"), one.get("address"))
                for one in link.get("addr_info", ()) if one.get("family") == "inet"]
        return None if shall in held else MISSING

    def __str__(self) -> str:
        return f"address {' '.join(self._words()[:-2])} on {self.device}{_in(self.namespace)}"


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

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """In the main table, over its link."""
        destination = self._words()[0].removesuffix("/32")
        via = str(self.via) if self.via else None
        shall = (destination, via, self.device)
        held = [(one["dst"], one.get("gateway"), one.get("dev")) for one in kernel.routes(self.namespace)
                if one.get("protocol") != "kernel"]
        return None if shall in held else MISSING

    def __str__(self) -> str:
        return f"route {' '.join(self._words())}{_in(self.namespace)}"


@dataclass(frozen=True)
class Settings(Resource):
    """Kernel settings of one of our own namespaces, which nobody shares."""

    namespace: str
    values: tuple[tuple[str, str], ...]

    in_place = True

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

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Each as it was set; what this kernel lacks can't be wrong."""
        if self.namespace not in kernel.namespaces:
            return MISSING
        held = {key: kernel.setting(self.namespace, key) for key, _ in self.values}
        wrong = [f"{key} is {held[key]}, not {value}" for key, value in self.values
                 if held[key] not in (None, value)]
        return changed("; ".join(wrong)) if wrong else None

    def __str__(self) -> str:
        return f"settings of {self.namespace}"
