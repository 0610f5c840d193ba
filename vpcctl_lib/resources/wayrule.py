"""The lines of `ip rule` that lead packets to a router's route tables."""

from __future__ import annotations

from ipaddress import IPv4Network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, on, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip


@frozen
class WayRule(Resource):
    """A line of `ip rule`: whose packets are routed by which table."""

    namespace: str
    priority: int
    incoming: str
    table: int = 0
    """0 is the main table."""

    mark: str = ""
    """As `ip rule` has it, with its mask."""

    source: IPv4Network | None = None
    destination: IPv4Network | None = None

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace: it stays when its link goes."""
        return within(self.namespace)

    @property
    def name(self) -> str:
        """What `ip` calls its table."""
        return str(self.table) if self.table else "main"

    def _words(self) -> tuple[str, ...]:
        source = ("from", str(self.source)) if self.source else ()
        destination = ("to", str(self.destination)) if self.destination else ()
        marked = ("fwmark", self.mark) if self.mark else ()
        return ("pref", str(self.priority), *source, *destination, "iif", self.incoming, *marked,
                "lookup", self.name)

    def make(self) -> Operations:
        """Fails if such a rule exists, whatever made it."""
        return (Ip(self.namespace, ("rule", "add", *self._words())),)

    def unmake(self, facts: Facts) -> Operations:
        """Removes exactly this rule."""
        return (Ip(self.namespace, ("rule", "del", *self._words())),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There must be such a rule."""
        mark, _, mask = self.mark.partition("/")
        shall = {"priority": self.priority, "src": _ends(self.source), "dst": _ends(self.destination),
                 "iif": self.incoming, "fwmark": mark or None, "fwmask": mask or None, "table": self.name}
        held = ({"priority": one.get("priority"), "src": _held(one, "src"), "dst": _held(one, "dst"),
                 "iif": one.get("iif"), "fwmark": one.get("fwmark"), "fwmask": one.get("fwmask"),
                 "table": str(one.get("table"))} for one in kernel.route_rules(self.namespace))
        return None if shall in held else MISSING

    def __str__(self) -> str:
        return f"ip rule {' '.join(self._words())}{on(self.namespace)}"


def _ends(network: IPv4Network | None) -> str:
    return "all" if network is None or network.prefixlen == 0 else str(network)


def _held(one: dict[str, object], key: str) -> str:
    found = one.get(key, "all")
    return "all" if found == "all" else f"{found}/{one.get(f'{key}len', 32)}"
