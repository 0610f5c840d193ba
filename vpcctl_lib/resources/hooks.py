"""Where filters of packets hang at a link: the queueing discipline clsact, which queues nothing."""

from __future__ import annotations

from collections.abc import Hashable

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.queueing import check_able
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.base import MISSING, Fault, Operations, Place, on, within
from vpcctl_lib.resources.links import Link
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.traffic import Tc, clsact


@frozen
class Hooks(Link):
    """Those of one link."""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The link."""
        return ("hooks", self.namespace, self.device)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link."""
        return within(self.namespace, self.device)

    @property
    def places(self) -> frozenset[Place]:
        """All filters of the link go with it."""
        return frozenset({(self.namespace, hooks_of(self.device))})

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses where the kernel has none."""
        check_able(runner, "sch_ingress", "tc", "qdisc", "add", "dev", "lo", "clsact")
        return {}

    def make(self) -> Operations:
        """Filters that are there already stay."""
        return (Tc(self.namespace, ("qdisc", "replace", "dev", self.device, "clsact")),)

    def unmake(self, facts: Facts) -> Operations:
        """With all filters."""
        return (Tc(self.namespace, ("qdisc", "del", "dev", self.device, "clsact")),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must be there."""
        held = kernel.queues(self.namespace).get(self.device, [])
        return MISSING if clsact(held) is None else None

    def __str__(self) -> str:
        return f"hooks of {self.device}{on(self.namespace)}"


def hooks_of(device: str) -> str:
    """The place of a link's filters; no link has such a name."""
    return f"{device} hooks"
