"""How things of a kind are found again after the record is lost, for kinds that nothing else here finds.

`rebuild` finds VPCs, NAT and peerings, and `found_subnets` what is in a subnet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from vpcctl_lib.engine import (
    found_acls,
    found_elastic,
    found_flows,
    found_groups,
    found_mirrors,
    found_names,
    found_publishes,
)
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.kinds import Names, inside
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns
from vpcctl_lib.model.outside import Elastic, Pool, Publish
from vpcctl_lib.model.policies import Acl, Group

Finder = Callable[[Kernel, Any, Names, list[str]], Iterable[Any]]
"""Given the kernel, a home with its names, and the notes on what can't be known: the things in that home."""

FINDERS: dict[type, Finder] = {
    Dns: found_names.dns, Dhcp: found_names.dhcp,
    FlowLog: found_flows.flow_logs,
    Group: found_groups.groups, Acl: found_acls.acls, Publish: found_publishes.publishes,
    Mirror: found_mirrors.mirrors, Pool: found_elastic.pools, Elastic: found_elastic.eips}
"""By the class of what is found."""

T = TypeVar("T")


def with_found(kernel: Kernel, home: T, notes: list[str], names: Names = ()) -> T:
    """The home with all that the finders find in it."""
    for kind in inside(type(home)):
        find = FINDERS.get(kind.model)
        if find is not None:
            home = kind.put(home, find(kernel, home, names, notes))
        home = kind.put(home, [with_found(kernel, one, notes, (*names, kind.named(one)))
                               for one in kind.things(home)])
    return home
