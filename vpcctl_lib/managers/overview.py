"""Everything about one VPC, as recorded and as it is now."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import counters
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.reader import counted
from vpcctl_lib.managers.base import Manager
from vpcctl_lib.managers.deploy import DeployManager, Running
from vpcctl_lib.managers.firewall import InForce
from vpcctl_lib.managers.group import Listed, listed
from vpcctl_lib.managers.instance import Instance, InstanceManager
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Subnet, Topology, Variant, Vpc

READERS = 4
"""Subnets whose counters are read in parallel; starting the programs takes the time."""


@frozen
class Overview:
    """A VPC with its policies and workloads; counters that can't be read are missing."""

    topology: Topology
    vpc: Vpc
    policies: tuple[InForce, ...]
    workloads: tuple[Running, ...]
    instances: tuple[Instance, ...]
    groups: tuple[Listed, ...] = ()


class OverviewManager(Manager):
    """Reads a whole VPC; needs root only for the counters, and works without."""

    def show(self, name: str) -> Overview:
        """The VPC of that name."""
        state = self.state()
        topology, vpc = state.topology, find_vpc(state.topology, name)
        guarded = [subnet for subnet in vpc.subnets if subnet.policy is not None]
        counted = each(lambda subnet: self._counters(vpc, subnet, state.iptables), guarded, READERS)
        policies = tuple(map(InForce, guarded, counted))
        return Overview(topology, vpc, policies, tuple(DeployManager(self.context).list(name)),
                        tuple(InstanceManager(self.context).list(name)), tuple(listed(topology, vpc)))

    def _counters(self, vpc: Vpc, subnet: Subnet, variant: Variant | None) -> Mapping[str, tuple[int, int]]:
        # Where groups decide, the policy has no rules.
        governed = (one for one in endpoints.in_subnet(vpc, subnet) if not one.groups)
        namespace = next((one.namespace for one in governed), "")
        if not namespace or os.geteuid() != 0 or not netns.exists(namespace):
            return {}
        try:
            self.use(variant)
            return counters(counted(self.runner, namespace))
        except VpcctlError:
            # Everything else is still shown.
            return {}
