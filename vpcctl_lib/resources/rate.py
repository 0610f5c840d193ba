"""How many bits a second a link sends: a token bucket (tc-tbf(8)), in which what is too early waits."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.queueing import check_able
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.quantities import rate_spelt
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, changed, on, within
from vpcctl_lib.resources.links import Link
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.traffic import Tc

KIND = "tbf"
LEAST_BURST = 16 << 10
"""Bytes: some packets of the usual size, also at the lowest rates."""

AT_ONCE, WAITING = 100, 20
"""The parts of a second whose bytes may go at once, and may wait: 10 ms, and 50 ms."""


@frozen
class Rate(Link):
    """That of one link."""

    rate: int
    """In bits a second."""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("rate", self.namespace, self.device)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    @property
    def burst(self) -> int:
        """The bytes that may go at once; a packet that is larger is cut into those that a real link has."""
        return max(LEAST_BURST, self.rate // 8 // AT_ONCE)

    @property
    def limit(self) -> int:
        """The most bytes that wait."""
        return self.burst + max(LEAST_BURST, self.rate // 8 // WAITING)

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses where the kernel has none."""
        check_able(runner, "sch_tbf", "tc", "qdisc", "add", "dev", "lo", "root", KIND, "rate", "1mbit",
                   "burst", "2kb", "limit", "2kb")
        return {}

    def make(self) -> Operations:
        """Instead of what there is; from another rate nothing that waits is lost."""
        return (Tc(self.namespace, ("qdisc", "replace", "dev", self.device, "root", KIND,
                                    "rate", rate_spelt(self.rate), "burst", str(self.burst),
                                    "limit", str(self.limit))),)

    def unmake(self, facts: Facts) -> Operations:
        """As fast as it goes."""
        return (Tc(self.namespace, ("qdisc", "del", "dev", self.device, "root")),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The link must have that rate, and let as much wait."""
        root = _root(kernel, self.namespace, self.device)
        if root is None:
            return MISSING
        rate = 8 * root["options"]["rate"]
        if rate != self.rate // 8 * 8:
            return changed(f"it is {rate_spelt(rate)}, not {rate_spelt(self.rate)}")
        return None if root["limit"] == self.limit else changed("what may wait there is another amount")

    def __str__(self) -> str:
        return f"bandwidth of {self.device}{on(self.namespace)}"


def _root(kernel: Kernel, namespace: str, device: str) -> dict[str, Any] | None:
    queues = kernel.queues(namespace).get(device, ())
    return next((one for one in queues if one["kind"] == KIND and "root" in one), None)


def rate_of(kernel: Kernel, namespace: str, device: str) -> int | None:
    """The bits a second that a link sends at most; None if there is no limit of this kind."""
    root = _root(kernel, namespace, device)
    return None if root is None else 8 * root["options"]["rate"]
