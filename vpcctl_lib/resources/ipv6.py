"""IPv6 on a link: off by default in our namespaces, and on where a VPC has it."""

from __future__ import annotations

from collections.abc import Hashable

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns, sysctls
from vpcctl_lib.kernel.proc import visit
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.naming import UPLINK
from vpcctl_lib.resources.addresses import dual
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
from vpcctl_lib.resources.links import DEFAULT_MTU
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Ip, Set
from vpcctl_lib.resources.settings import differing, old

NO_MORE = "the link has no IPv6: an MTU below 1280 takes it away"
"""With all its settings (addrconf_notify() of net/ipv6/addrconf.c). With a larger MTU, they have defaults."""


@frozen
class Ipv6(Resource):
    """A link's switch for IPv6, and what it must not do by itself: choose an address or a router."""

    namespace: str
    device: str
    with_lo: bool = False
    """Whether the namespace is ours, so that `lo` has it as well."""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("ipv6", self.namespace, self.device)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    @property
    def places(self) -> frozenset[Place]:
        """All addresses and routes of IPv6 on the link go with it."""
        return frozenset({dual(self.namespace, self.device)})

    @property
    def takes(self) -> frozenset[Place]:
        """Nothing on the host, where its link keeps it until it goes."""
        return self.places if self.namespace else frozenset()

    def make(self) -> Operations:
        """All of them at once, and on last."""
        return (Set(self.namespace, sysctls.dual(self.device, self.with_lo)),)

    def survey(self, runner: Runner) -> dict[str, str]:
        """The old values of a link that exists with others: a change that fails leaves it as it was."""
        if self.namespace != HOST and not netns.exists(self.namespace):
            return {}
        return visit(self.namespace, lambda: differing(dict(sysctls.dual(self.device, self.with_lo))))

    def unmake(self, facts: Facts) -> Operations:
        """Off again, and back to the old values; the host's own link has its address taken away."""
        off = (*sysctls.off(self.device), *(sysctls.off("lo") if self.with_lo else ()))
        before = old(facts)
        switched = {key for key, _ in before}
        pairs = (*(pair for pair in off if self.namespace != HOST and pair[0] not in switched), *before)
        return (Set(self.namespace, pairs, gone_is_fine=True),) if pairs else ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Each must be as it was set."""
        if kernel.link(self.namespace, self.device) is None:
            return MISSING
        shall = sysctls.dual(self.device, self.with_lo)
        held = kernel.settings(self.namespace, [key for key, _ in shall])
        if f"net.ipv6.conf.{self.device}.disable_ipv6" not in held:
            return Fault(Condition.CHANGED, NO_MORE, self._widened())
        told = [f"{key} is {held[key]}, not {value}" for key, value in shall if held.get(key, value) != value]
        return changed("; ".join(told)) if told else None

    def _widened(self) -> Operations:
        """A larger MTU: that of each of our links but the cable to the host, which has its own before."""
        is_cable = self.namespace == HOST or self.device == UPLINK
        return () if is_cable else (
            Ip(self.namespace, ("link", "set", self.device, "mtu", str(DEFAULT_MTU))),)

    def __str__(self) -> str:
        return f"IPv6 on {self.device}{on(self.namespace)}"
