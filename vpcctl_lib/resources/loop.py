"""A cable with both ends in one namespace: what goes out at one comes in at the other."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, changed
from vpcctl_lib.resources.links import Single
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import Ip


@frozen
class Loop(Single):
    """One of them."""

    end: str
    """The other end."""

    @property
    def places(self) -> frozenset[Place]:
        """What is at either end goes with it."""
        return frozenset({(self.namespace, self.device), (self.namespace, self.end)})

    def make(self) -> Operations:
        """Down at first; their `Port`s bring both ends up."""
        return (Ip(self.namespace, ("link", "add", self.device, "type", "veth", "peer", "name", self.end)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The ends must belong to each other."""
        near, far = (kernel.link(self.namespace, name) for name in (self.device, self.end))
        if near is None and far is None:
            return MISSING
        if near and far and (near.get("link"), far.get("link")) == (self.end, self.device):
            return None
        away = () if near else (Ip(self.namespace, ("link", "del", self.end)),)
        return Fault(changed("").condition, "its ends do not belong to each other", away)

    def __str__(self) -> str:
        return f"cable {self.device} to {self.end} in {self.namespace}"
