"""The lines of a router's route tables besides `main`."""

from __future__ import annotations

from collections.abc import Hashable
from ipaddress import IPv4Address, IPv4Network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.addresses import addressed
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, changed, on, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip
from vpcctl_lib.resources.otherline import line_of_route

BLACKHOLE = "blackhole"


@frozen
class Way(Resource):
    """A line of a route table; without a link, packets there are dropped."""

    namespace: str
    table: int
    destination: IPv4Network
    device: str = ""
    via: IPv4Address | None = None
    metric: int = 0

    in_place = True

    @property
    def key(self) -> Hashable:
        """The table and the destination: where it leads may change."""
        return ("way", self.namespace, self.table, self.destination, self.metric)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace, the link and its address, which lo always has."""
        address = {addressed(self.namespace, self.device)} if self.device not in ("", "lo") else set()
        return within(self.namespace, self.device) | address

    @property
    def _destination(self) -> str:
        return "default" if self.destination.prefixlen == 0 else str(self.destination)

    def _words(self) -> tuple[str, ...]:
        metric = ("metric", str(self.metric)) if self.metric else ()
        if not self.device:
            return (BLACKHOLE, self._destination, *metric, "table", str(self.table))
        target = ("via", str(self.via)) if self.via else ()
        scope = () if self.via else ("scope", "link")
        return (self._destination, *target, "dev", self.device, *scope, *metric, "table", str(self.table))

    @property
    def route_line(self) -> Hashable:
        """As `otherline` reads it."""
        return (self.namespace, self._destination.removesuffix("/32"), str(self.table), self.metric)

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
        found = [one for one in kernel.all_routes(self.namespace)
                 if line_of_route(self.namespace, one) == self.route_line]
        shall = (BLACKHOLE if not self.device else "unicast", self.device, str(self.via) if self.via else "")
        held = [(one.get("type", "unicast"), one.get("dev", ""), one.get("gateway", "")) for one in found]
        if shall in held:
            return None
        return changed(f"it leads to {' '.join(filter(None, held[0]))}") if held else MISSING

    def __str__(self) -> str:
        return f"route {' '.join(self._words())}{on(self.namespace)}"
