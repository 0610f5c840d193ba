"""All of one VPC, as it is recorded and as it is now."""

from __future__ import annotations

import os
from collections.abc import Mapping

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import counters
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.managers.base import Manager
from vpcctl_lib.managers.deploy import DeployManager, Running
from vpcctl_lib.managers.firewall import InForce
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Subnet, Topology, Variant, Vpc

READERS = 4
"""Subnets whose counters are read side by side; the time goes into starting the programs."""


@frozen
class Overview:
    """A VPC with its policies and workloads; counters that can't be read are missing."""

    topology: Topology
    vpc: Vpc
    policies: tuple[InForce, ...]
    workloads: tuple[Running, ...]


class OverviewManager(Manager):
    """Looks at a whole VPC; needs root for the counters only, and does without."""

    def show(self, name: str) -> Overview:
        """The VPC of that name."""
        state = self.state()
        topology, vpc = state.topology, find_vpc(state.topology, name)
        guarded = [subnet for subnet in vpc.subnets if subnet.policy is not None]
        counted = each(lambda subnet: self._counters(vpc, subnet, state.iptables), guarded, READERS)
        policies = tuple(map(InForce, guarded, counted))
        return Overview(topology, vpc, policies, tuple(DeployManager(self.context).list(name)))

    def _counters(self, vpc: Vpc, subnet: Subnet, variant: Variant | None) -> Mapping[str, tuple[int, int]]:
        where = endpoints.own(vpc, subnet)
        namespace = where.namespace if where else ""
        if not namespace or os.geteuid() != 0 or not netns.exists(namespace):
            return {}
        try:
            self.use(variant)
            outcome = self.runner.ask(("iptables-save", "-c", "-t", "filter"), namespace)
        except VpcctlError:
            # Without the tool there is all the rest to tell.
            return {}
        return counters(outcome.stdout) if outcome.status == 0 else {}
