"""The lines of `ip rule` that lead packets to a router's route tables."""

from __future__ import annotations

from collections.abc import Hashable

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.addressing import Family, Network
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, Resource, on, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip, Ip6
from vpcctl_lib.resources.otherline import line_of_rule


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

    source: Network | None = None
    destination: Network | None = None
    family: Family = Family.INET

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
        return (self._ip("add"),)

    def unmake(self, facts: Facts) -> Operations:
        """Removes exactly this rule."""
        return (self._ip("del"),)

    def _ip(self, verb: str) -> Ip:
        # Without a source or a destination, no word says of which family it is.
        step = Ip if self.family is Family.INET else Ip6
        return step(self.namespace, ("rule", verb, *self._words()))

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There must be such a rule."""
        held = (line_of_rule(self.namespace, one, self.family)
                for one in kernel.route_rules(self.namespace, self.family))
        return None if self.route_line in held else MISSING

    @property
    def route_line(self) -> Hashable:
        """As `otherline` reads it."""
        mark, _, mask = self.mark.partition("/")
        return (self.family, self.namespace, self.priority, _ends(self.source), _ends(self.destination),
                self.incoming, mark or None, mask or None, self.name, frozenset())

    def __str__(self) -> str:
        return f"{self.family.ip} rule {' '.join(self._words())}{on(self.namespace)}"


def _ends(network: Network | None) -> str:
    return "all" if network is None or network.prefixlen == 0 else str(network)
