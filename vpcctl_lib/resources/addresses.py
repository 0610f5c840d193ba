"""Addresses of links, and the routes over them."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Family
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

KERNELS_METRIC = 1024
"""IP6_RT_PRIO_USER of linux/ipv6_route.h: that of a route of IPv6 without one."""


def addressed(namespace: str, device: str) -> Place:
    """The place of things that exist as long as the link has its address."""
    return (namespace, f"{device} address")


def dual(namespace: str, device: str) -> Place:
    """The place of things that exist as long as the link has IPv6."""
    return (namespace, f"{device} ipv6")


def needed(namespace: str, device: str, address: IPv4Address | IPv6Address) -> Place:
    """The place that something for such an address on a link needs."""
    return addressed(namespace, device) if address.version == 4 else dual(namespace, device)


@frozen
class Address(Resource):
    """An address on a link; with a `peer` the link is point-to-point.

    If it is not `routed`, the other addresses of its network are not reached directly over the link.
    """

    namespace: str
    device: str
    address: IPv4Interface | IPv6Interface
    peer: IPv4Address | None = None
    routed: bool = True

    in_place = True

    @property
    def key(self) -> Hashable:
        """Everything except whether it is routed."""
        return ("address", self.namespace, self.device, self.address, self.peer)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link, for IPv6 only as long as it has that."""
        more = {dual(self.namespace, self.device)} if self._is_ipv6 else set()
        return within(self.namespace, self.device) | more

    @property
    def _is_ipv6(self) -> bool:
        return self.address.version == 6

    @property
    def lends(self) -> str:
        """Itself, if a machine has it: those of routers and of the host stay theirs."""
        return "" if self.routed else str(self.address.ip)

    @property
    def places(self) -> frozenset[Place]:
        """The kernel removes a link's routes with its last address (fib_disable_ip in net/ipv4).

        Those of IPv6 stay.
        """
        return frozenset(() if self._is_ipv6 else {addressed(self.namespace, self.device)})

    @property
    def takes(self) -> frozenset[Place]:
        """Nothing: the kernel keeps the routes if the link has another address (after a failed undo)."""
        return frozenset()

    def _words(self) -> tuple[str, ...]:
        if self.peer is not None:
            return (str(self.address.ip), "peer", f"{self.peer}/32", "dev", self.device)
        return (str(self.address), "dev", self.device)

    @property
    def _beyond(self) -> str:
        """The destination of the kernel's own route for it."""
        return str(self.peer or self.address.network)

    def make(self) -> Operations:
        """Fails if the address exists."""
        # All addresses are known, so none has to be looked for in vain (nodad).
        flags = (*(("nodad",) if self._is_ipv6 else ()), *(() if self.routed else ("noprefixroute",)))
        return (Ip(self.namespace, ("addr", "add", *self._words(), *flags)),)

    def unmake(self, facts: Facts) -> Operations:
        """Its routes go with it."""
        return (Ip(self.namespace, ("addr", "del", *self._words())),)

    def change(self, old: Resource) -> Operations:
        """Add or remove the kernel's route; the address stays, and with it everything that uses the link."""
        route = ("route", "replace", self._beyond, "dev", self.device, "proto", "kernel", "scope", "link",
                 "src", str(self.address.ip))
        if self.routed:
            return (Ip(self.namespace, route),)
        # Replaced first, because it may be missing.
        return (Ip(self.namespace, route), Ip(self.namespace, ("route", "del", *route[2:])))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The address must be on its link, with its prefix and peer, with or without the kernel's route."""
        link = kernel.link(self.namespace, self.device) or {}
        peer = str(self.peer) if self.peer else None
        shall = (str(self.address.ip), 32 if peer else self.address.network.prefixlen, peer)
        held = [(one.get("local"), one.get("prefixlen"), one.get("address"))
                for one in link.get("addr_info", ()) if one.get("family") == self._family]
        if shall not in held:
            return MISSING
        # A link that is down has no routes; they come back with it.
        if "UP" not in link.get("flags", ()) or self._is_routed(kernel) is self.routed:
            return None
        how = "gone" if self.routed else "straight onto the link"
        return changed(f"the route to {self._beyond} is {how}")

    @property
    def _family(self) -> str:
        return "inet6" if self._is_ipv6 else "inet"

    @property
    def reaches(self) -> tuple[str, IPv4Network] | None:
        """Its own network."""
        network = self.address.network
        return (self.namespace, network) if isinstance(network, IPv4Network) else None

    def owner_found(self, kernel: Kernel) -> Owner:
        """The owner of an address is unknown."""
        return "", f"{owners.ip(self.namespace)} addr del {self.address} dev {self.device}"

    def _is_routed(self, kernel: Kernel) -> bool:
        # Another route of ours may lead there by a gateway.
        routes = kernel.routes6 if self._is_ipv6 else kernel.routes
        return any(one["dst"] == self._beyond and one.get("dev") == self.device and "gateway" not in one
                   for one in routes(self.namespace))

    def __str__(self) -> str:
        return f"address {' '.join(self._words()[:-2])} on {self.device}{on(self.namespace)}"


@frozen
class Route(Resource):
    """A line of a route table: to a gateway, or (without `via`) straight onto a link."""

    namespace: str
    destination: IPv4Network | IPv6Network
    device: str
    via: IPv4Address | IPv6Address | None = None
    metric: int = 0
    """Of routes to one destination the kernel uses the one with the lowest metric."""

    addressed: bool = True
    """Whether it is to go with the link's last address, or the link has none."""

    source: IPv6Address | None = None
    """The address of packets that have none yet, if the kernel could choose another one."""

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace, the link and its address, which lo always has."""
        near = needed(self.namespace, self.device, self.destination.network_address)
        stands = self.addressed and self.device != "lo"
        return within(self.namespace, self.device) | ({near} if stands else set())

    @property
    def _is_ipv6(self) -> bool:
        return self.destination.version == 6

    def _words(self) -> tuple[str, ...]:
        # `default` without a gateway is of IPv4.
        is_default = self.destination.prefixlen == 0 and not self._is_ipv6
        destination = "default" if is_default else str(self.destination)
        target = ("via", str(self.via)) if self.via else ()
        scope = () if self.via or self._is_ipv6 else ("scope", "link")
        metric = ("metric", str(self.metric)) if self.metric else ()
        source = ("src", str(self.source)) if self.source else ()
        return (destination, *target, "dev", self.device, *scope, *metric, *source)

    @property
    def route_line(self) -> Hashable:
        """As `otherline` reads it."""
        family = Family.INET6 if self._is_ipv6 else Family.INET
        return (family, self.namespace, self._listed, "main", self._metric)

    def make(self) -> Operations:
        """Fails if such a route exists, whatever made it."""
        return (Ip(self.namespace, ("route", "add", *self._words())),)

    def unmake(self, facts: Facts) -> Operations:
        """Removes exactly this route: another to the same destination stays."""
        return (Ip(self.namespace, ("route", "del", *self._words())),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The route must be in the main table, over its link."""
        destination = self._listed
        via = str(self.via) if self.via else None
        metric = self._metric
        # Others' routes may have any source: only one that we chose has to be there.
        source = str(self.source) if self.source else None
        shall = (destination, via, self.device, metric, source)
        held = kernel.routes6 if self._is_ipv6 else kernel.routes
        routes = [one for one in held(self.namespace) if one["dst"] == destination]
        if shall in [(one["dst"], one.get("gateway"), one.get("dev"), one.get("metric", 0),
                      one.get("prefsrc") if source else None) for one in routes
                     if one.get("protocol") != "kernel"]:
            return None
        # The kernel adds one for an address, which root inside may have added.
        others = [one for one in routes if one.get("metric", 0) == metric]
        # On the host it belongs to somebody else, and stays.
        return self._replaced(others[0]) if others and self.namespace != HOST else MISSING

    @property
    def _metric(self) -> int:
        """As the kernel has it."""
        return self.metric or (KERNELS_METRIC if self._is_ipv6 else 0)

    @property
    def _listed(self) -> str:
        """The destination as `ip -j` lists it."""
        if self.destination.prefixlen == 0:
            return "default"
        return str(self.destination).removesuffix(f"/{self.destination.max_prefixlen}")

    @property
    def reaches(self) -> tuple[str, IPv4Network] | None:
        """Where it leads."""
        network = self.destination
        return (self.namespace, network) if isinstance(network, IPv4Network) else None

    def owner_found(self, kernel: Kernel) -> Owner:
        """The route that leads there with its metric."""
        held = kernel.routes6(self.namespace) if self._is_ipv6 else kernel.routes(self.namespace)
        return owners.of_route(self.namespace, self._words()[0], self.metric, held)

    def _replaced(self, other: dict[str, Any]) -> Fault:
        """Somebody added another to the same destination in our namespace; the kernel uses one at a time."""
        leads = other.get("type") or other.get("gateway") or other.get("dev")
        metric = ("metric", str(self.metric)) if self.metric else ()
        away = Ip(self.namespace, ("route", "del", self._words()[0], *metric))
        return Fault(Condition.CHANGED, f"it leads to {leads}", (away,))

    def __str__(self) -> str:
        return f"route {' '.join(self._words())}{on(self.namespace)}"
