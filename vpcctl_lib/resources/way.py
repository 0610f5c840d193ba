"""The lines of a router's route tables besides `main`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Address, Family, Network
from vpcctl_lib.resources.addresses import KERNELS_METRIC, needed
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, on, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip
from vpcctl_lib.resources.otherline import line_of_route

BLACKHOLE, THROW, UNREACHABLE = "blackhole", "throw", "unreachable"
"""Kinds of routes without a link: packets are dropped, routed by the next rule, or refused (ip-route(8))."""


@frozen
class Way(Resource):
    """A line of a route table; without a link, it is of a kind of its own."""

    namespace: str
    table: int
    destination: Network
    device: str = ""
    via: Address | None = None
    metric: int = 0
    dead_end: str = BLACKHOLE
    """What becomes of packets without a link."""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The table and the destination: where it leads may change."""
        return ("way", self.namespace, self.table, self.destination, self.metric)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace, the link and its address, which lo always has."""
        address = {needed(self.namespace, self.device, self.destination.network_address)} \
            if self.device not in ("", "lo") else set()
        return within(self.namespace, self.device) | address

    @property
    def _family(self) -> Family:
        return Family.INET if self.destination.version == 4 else Family.INET6

    @property
    def _destination(self) -> str:
        # `default` without a gateway is of IPv4.
        is_default = self.destination.prefixlen == 0 and self._family is Family.INET
        return "default" if is_default else str(self.destination)

    @property
    def _listed(self) -> str:
        """The destination as `ip -j` lists it."""
        if self.destination.prefixlen == 0:
            return "default"
        return str(self.destination).removesuffix(f"/{self.destination.max_prefixlen}")

    def _words(self) -> tuple[str, ...]:
        metric = ("metric", str(self.metric)) if self.metric else ()
        if not self.device:
            return (self.dead_end, self._destination, *metric, "table", str(self.table))
        target = ("via", str(self.via)) if self.via else ()
        scope = () if self.via or self._family is Family.INET6 else ("scope", "link")
        return (self._destination, *target, "dev", self.device, *scope, *metric, "table", str(self.table))

    @property
    def route_line(self) -> Hashable:
        """As `otherline` reads it."""
        default = 0 if self._family is Family.INET else KERNELS_METRIC
        return (self._family, self.namespace, self._listed, str(self.table), self.metric or default)

    def make(self) -> Operations:
        """Fails if such a route exists, whatever made it."""
        return (Ip(self.namespace, ("route", "add", *self._words())),)

    def unmake(self, facts: Facts) -> Operations:
        """Removes exactly this route."""
        return (Ip(self.namespace, ("route", "del", *self._words())),)

    def change(self, old: Resource) -> Operations:
        """There is no moment without a route there."""
        return (Ip(self.namespace, ("route", "replace", *self._words())),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The route must be in its table, over its link."""
        found = [one for one in kernel.all_routes(self.namespace, self._family)
                 if line_of_route(self.namespace, one, self._family) == self.route_line]
        shall = ("unicast" if self.device else self.dead_end, self.device, str(self.via) if self.via else "")
        held = [(one.get("type", "unicast"), _device(one), one.get("gateway", "")) for one in found]
        if shall in held:
            return None
        return changed(f"it leads to {' '.join(filter(None, held[0]))}") if held else MISSING

    def __str__(self) -> str:
        return f"route {' '.join(self._words())}{on(self.namespace)}"


def _device(one: Mapping[str, Any]) -> str:
    """The link that a route was read with; routes of IPv6 that lead nowhere have `lo`."""
    return str(one.get("dev", "")) if one.get("type", "unicast") == "unicast" else ""
