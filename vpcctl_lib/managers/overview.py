"""Everything about one VPC, as recorded and as it is now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import counters
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.variants import counted
from vpcctl_lib.managers import acl
from vpcctl_lib.managers.base import Manager
from vpcctl_lib.managers.deploy import DeployManager, Running
from vpcctl_lib.managers.firewall import InForce
from vpcctl_lib.managers.group import Listed, listed
from vpcctl_lib.managers.instance import Instance, InstanceManager
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Topology, Vpc

Counters = Mapping[str, tuple[int, int]]

READERS = 4
"""Machines whose counters are read in parallel; starting the programs takes the time."""


@frozen
class Overview:
    """A VPC with its policies and workloads; counters that can't be read are missing."""

    topology: Topology
    vpc: Vpc
    policies: tuple[InForce, ...]
    workloads: tuple[Running, ...]
    instances: tuple[Instance, ...]
    groups: tuple[Listed, ...] = ()
    acls: tuple[acl.Listed, ...] = ()


class OverviewManager(Manager):
    """Reads a whole VPC; needs root only for the counters, and works without."""

    def show(self, name: str) -> Overview:
        """The VPC of that name."""
        state = self.state()
        topology, vpc = state.topology, find_vpc(state.topology, name)
        guarded = [subnet for subnet in vpc.subnets if subnet.policy is not None]
        machines = [one for subnet in guarded for one in endpoints.following(vpc, subnet)]
        if machines and os.geteuid() == 0:
            self.use(state.iptables)
        held = list(zip(machines, each(self._counters, machines, READERS), strict=True))
        policies = tuple(InForce(subnet, _sum(found for one, found in held if one.site.subnet == subnet.name))
                         for subnet in guarded)
        return Overview(topology, vpc, policies, tuple(DeployManager(self.context).list(name)),
                        tuple(InstanceManager(self.context).list(name)), tuple(listed(topology, vpc)),
                        tuple(acl.listed(topology, name, one.name) for one in vpc.acls))

    def _counters(self, machine: Endpoint) -> Counters:
        if os.geteuid() != 0 or not netns.exists(machine.namespace):
            return {}
        try:
            return counters(counted(self.runner, machine.namespace, table=machine.stand.table))
        except VpcctlError:
            # Everything else is still shown.
            return {}


def _sum(found: Iterable[Counters]) -> Counters:
    """The packets and bytes of each rule at all machines."""
    total: dict[str, tuple[int, int]] = {}
    for one in found:
        for rule, (packets, size) in one.items():
            before = total.get(rule, (0, 0))
            total[rule] = before[0] + packets, before[1] + size
    return total
