"""What comes in at a link goes through another one first, and waits there for its turn."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, changed, on, within
from vpcctl_lib.resources.hooks import hooks_of
from vpcctl_lib.resources.links import Link
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.traffic import Filter, Tc, clsact, led

PREF = 50
"""After the filters that copy packets: what goes on here meets no further one."""


@frozen
class Redirect(Link):
    """From one link to another, from which the packets come back."""

    through: str

    @property
    def homes(self) -> frozenset[Place]:
        """The link."""
        return within(self.namespace, self.device)

    @property
    def stands_in(self) -> frozenset[Place]:
        """What it hangs at, and the other link: the kernel has its number in it."""
        return self.homes | within(self.namespace, self.through) | {(self.namespace, hooks_of(self.device))}

    @property
    def _filter(self) -> Filter:
        return Filter("ingress", PREF, deeds=led(self.through))

    def make(self) -> Operations:
        """From then on packets wait."""
        return (Tc(self.namespace, self._filter.added(self.device)),)

    def unmake(self, facts: Facts) -> Operations:
        """They come in at once again."""
        return (Tc(self.namespace, self._filter.deleted(self.device)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Exactly this one must be there in its place."""
        held = clsact(kernel.queues(self.namespace).get(self.device, [])) or {}
        found = [Filter.of(one) for one in held.get("filters", ())
                 if (one["direction"], one["pref"]) == ("ingress", PREF)]
        if not found:
            return MISSING
        return None if found == [self._filter] else changed("it leads elsewhere")

    def __str__(self) -> str:
        return f"way through {self.through} for what comes in at {self.device}{on(self.namespace)}"
