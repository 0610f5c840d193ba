"""Addresses of links, and the routes that go over them."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources import owners
from vpcctl_lib.resources.base import (
    MISSING,
    Condition,
    Fault,
    Operations,
    Place,
    Resource,
    changed,
    on,
    within,
)
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Ip
from vpcctl_lib.resources.owners import Owner


def addressed(namespace: str, device: str) -> Place:
    """The place of what lives as long as the link has its address."""
    return (namespace, f"{device} address")


@frozen
class Address(Resource):
    """An address on a link; with a `peer` the link is point-to-point.

    Where it is not `routed`, the others of its network are not reached over the link without a gateway.
    """

    namespace: str
    device: str
    address: IPv4Interface
    peer: IPv4Address | None = None
    routed: bool = True

    in_place = True

    @property
    def key(self) -> Hashable:
        """All but whether it is routed."""
        return ("address", self.namespace, self.device, self.address, self.peer)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    @property
    def places(self) -> frozenset[Place]:
        """With a link's last address the kernel takes its routes (fib_disable_ip in net/ipv4)."""
        return frozenset({addressed(self.namespace, self.device)})

    @property
    def takes(self) -> frozenset[Place]:
        """Nothing: the kernel leaves the routes of a link that has another (after a failed undo)."""
        return frozenset()

    def _words(self) -> tuple[str, ...]:
        if self.peer is not None:
            return (str(self.address.ip), "peer", f"{self.peer}/32", "dev", self.device)
        return (str(self.address), "dev", self.device)

    @property
    def _beyond(self) -> str:
        """Where the kernel's own route for it leads."""
        return str(self.peer or self.address.network)

    def make(self) -> Operations:
        """Fails if the address is there."""
        flags = () if self.routed else ("noprefixroute",)
        return (Ip(self.namespace, ("addr", "add", *self._words(), *flags)),)

    def unmake(self, facts: Facts) -> Operations:
        """Its routes go with it."""
        return (Ip(self.namespace, ("addr", "del", *self._words())),)

    def change(self, old: Resource) -> Operations:
        """The kernel's route comes or goes; the address stays, and with it all that goes over the link."""
        route = ("route", "replace", self._beyond, "dev", self.device, "proto", "kernel", "scope", "link",
                 "src", str(self.address.ip))
        if self.routed:
            return (Ip(self.namespace, route),)
        # Replaced first, as it may be gone.
        return (Ip(self.namespace, route), Ip(self.namespace, ("route", "del", *route[2:])))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """On its link, with its prefix and peer, with the kernel's route for it or without."""
        link = kernel.link(self.namespace, self.device) or {}
        peer = str(self.peer) if self.peer else None
        shall = (str(self.address.ip), 32 if peer else self.address.network.prefixlen, peer)
        held = [(one.get("local"), one.get("prefixlen"), one.get("address"))
                for one in link.get("addr_info", ()) if one.get("family") == "inet"]
        if shall not in held:
            return MISSING
        # A link that is down has no routes; they come back with it.
        if "UP" not in link.get("flags", ()) or self._is_routed(kernel) is self.routed:
            return None
        how = "gone" if self.routed else "straight onto the link"
        return changed(f"the route to {self._beyond} is {how}")

    @property
    def reaches(self) -> tuple[str, IPv4Network]:
        """Its own network."""
        return self.namespace, self.address.network

    def owner_found(self, kernel: Kernel) -> Owner:
        """Nobody tells whose an address is."""
        return "", f"{owners.ip(self.namespace)} addr del {self.address} dev {self.device}"

    def _is_routed(self, kernel: Kernel) -> bool:
        # Another of ours may lead there by a gateway.
        return any(one["dst"] == self._beyond and one.get("dev") == self.device and "gateway" not in one
                   for one in kernel.routes(self.namespace))

    def __str__(self) -> str:
        return f"address {' '.join(self._words()[:-2])} on {self.device}{on(self.namespace)}"


@frozen
class Route(Resource):
    """A line of a route table: to a gateway, or (without `via`) straight onto a link."""

    namespace: str
    destination: IPv4Network
    device: str
    via: IPv4Address | None = None
    metric: int = 0
    """Of routes to one place the kernel takes that with the lowest."""

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace, the link and its address, which lo has by itself."""
        address = set() if self.device == "lo" else {addressed(self.namespace, self.device)}
        return within(self.namespace, self.device) | address

    def _words(self) -> tuple[str, ...]:
        destination = "default" if self.destination.prefixlen == 0 else str(self.destination)
        target = ("via", str(self.via)) if self.via else ()
        scope = () if self.via else ("scope", "link")
        metric = ("metric", str(self.metric)) if self.metric else ()
        return (destination, *target, "dev", self.device, *scope, *metric)

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
        shall = (destination, via, self.device, self.metric)
        routes = [one for one in kernel.routes(self.namespace) if one["dst"] == destination]
        if shall in [(one["dst"], one.get("gateway"), one.get("dev"), one.get("metric", 0)) for one in routes
                     if one.get("protocol") != "kernel"]:
            return None
        # The kernel makes one for an address, which root inside may have added.
        others = [one for one in routes if one.get("metric", 0) == self.metric]
        # On the host it is another's, and stays.
        return self._replaced(others[0]) if others and self.namespace != HOST else MISSING

    @property
    def reaches(self) -> tuple[str, IPv4Network]:
        """Where it leads."""
        return self.namespace, self.destination

    def owner_found(self, kernel: Kernel) -> Owner:
        """Whatever route leads there with its metric."""
        return owners.of_route(self.namespace, self._words()[0], self.metric, kernel)

    def _replaced(self, other: dict[str, Any]) -> Fault:
        """Somebody put another to the same place in a namespace of ours; the kernel takes one at a time."""
        leads = other.get("type") or other.get("gateway") or other.get("dev")
        metric = ("metric", str(self.metric)) if self.metric else ()
        away = Ip(self.namespace, ("route", "del", self._words()[0], *metric))
        return Fault(Condition.CHANGED, f"it leads to {leads}", (away,))

    def __str__(self) -> str:
        return f"route {' '.join(self._words())}{on(self.namespace)}"
