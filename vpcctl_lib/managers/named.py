"""What all managers of named things in a VPC do alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import kinds, naming
from vpcctl_lib.model.kinds import Kind
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Topology


class NamedManager(Manager):
    """Creates things by a name in a VPC, and deletes them."""

    def created(self, vpc_name: str, new: Any) -> Change:
        """A thing of that name; repeating it changes nothing, whatever it has become."""
        kind = kinds.REGISTERED[type(new)]
        name = kind.named(new)
        naming.check_name(name, kind.title or kind.word)

        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, vpc_name)
            if _has(topology, vpc_name, kind, name):
                return topology
            return topology.with_vpc(kind.put(vpc, (*kind.things(vpc), new)))

        return self.change(decide)

    def deleted(self, vpc_name: str, model: type, name: str, check: Callable[[Topology], object]) -> Change:
        """Without it; the check refuses what does not exist, or is in use."""
        kind = kinds.REGISTERED[model]

        def decide(topology: Topology) -> Topology:
            if not _has(topology, vpc_name, kind, name) and \
                    self.was_finished(lambda before: _has(before, vpc_name, kind, name)):
                return topology
            check(topology)
            vpc = find_vpc(topology, vpc_name)
            return topology.with_vpc(kind.put(vpc, (one for one in kind.things(vpc)
                                                    if kind.named(one) != name)))

        return self.change(decide)


def _has(topology: Topology, vpc_name: str, kind: Kind, name: str) -> bool:
    vpc = topology.vpc(vpc_name)
    return vpc is not None and any(kind.named(one) == name for one in kind.things(vpc))
