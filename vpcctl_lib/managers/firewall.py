"""Firewall policies of subnets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import counters
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import NOT_OF_IPTABLES, Kernel
from vpcctl_lib.kernel.variants import counted
from vpcctl_lib.managers.base import Change, need_root, standing
from vpcctl_lib.managers.hindered import PolicyManager
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_machine, find_subnet
from vpcctl_lib.model.policies import Group, Policy
from vpcctl_lib.model.topology import Subnet, Topology


@frozen
class InForce:
    """A subnet's policy, and the packet and byte counters of each rule (`ingress[0]`)."""

    subnet: Subnet
    counters: Mapping[str, tuple[int, int]]
    machine: str = ""
    """The machine whose counters these are."""

    doubt: str = ""
    """Why it might not be in force, whatever is recorded."""

    groups: tuple[Group, ...] = ()
    """Those that the machine is in: they decide, and the policy does not."""

    def of(self, group: Group) -> Mapping[str, tuple[int, int]]:
        """The counters of a group's rules."""
        return {tag.partition(":")[2]: value for tag, value in self.counters.items()
                if tag.startswith(f"{group.name}:")}


class FirewallManager(PolicyManager):
    """Applies, shows and clears policies."""

    def apply(self, vpc_name: str, subnet_name: str, file: Path) -> Change:
        """The policy of the file instead of the one in force; a wrong file changes nothing."""
        # Imported late: only this verb reads a file.
        from vpcctl_lib.files import policy

        def decide(topology: Topology) -> Topology:
            _, subnet = find_subnet(topology, vpc_name, subnet_name)
            new = policy.load(file, subnet.cidr)
            self._check_followed(topology, vpc_name, subnet_name)
            return _with_policy(topology, vpc_name, subnet_name, new)

        return self.change(decide)

    def add(self, vpc_name: str, subnet_name: str, options: Mapping[str, object]) -> Change:
        """One ingress rule more at the end of the subnet's policy; repeating it changes nothing."""
        # Imported late, as above.
        from vpcctl_lib.files import policy
        from vpcctl_lib.firewall.additions import with_rule

        rule = policy.rule(options)

        def decide(topology: Topology) -> Topology:
            _, subnet = find_subnet(topology, vpc_name, subnet_name)
            new, note = with_rule(subnet.policy, rule)
            if note:
                self.warn(note)
            self._check_followed(topology, vpc_name, subnet_name)
            return _with_policy(topology, vpc_name, subnet_name, new)

        return self.change(decide)

    def clear(self, vpc_name: str, subnet_name: str) -> Change:
        """Remove the policy: the subnet is open again."""
        return self.change(lambda topology: _with_policy(topology, vpc_name, subnet_name, None))

    def _check_followed(self, topology: Topology, vpc_name: str, subnet_name: str) -> None:
        """Warn if groups decide about all machines there, so that the policy changes nothing."""
        vpc, subnet = find_subnet(topology, vpc_name, subnet_name)
        if endpoints.in_subnet(vpc, subnet) and not endpoints.following(vpc, subnet):
            self.warn(f"all machines of {vpc_name}/{subnet_name} are in groups, which decide about them: "
                      "the policy is for machines in none")

    def show(self, site: Site) -> InForce:
        """The policy in force, with the kernel's counters at a machine."""
        state = self.state()
        vpc, subnet = find_subnet(state.topology, site.vpc, site.subnet)
        where = endpoints.endpoint(vpc, subnet, find_machine(subnet, site)) \
            if site.machine or subnet.machine() else None
        found = tuple(group for group in vpc.groups if where and group.name in where.groups)
        if where is None or not (subnet.policy or found):
            return InForce(subnet, {}, site.machine)
        need_root()
        self.use(state.iptables)
        namespace = where.namespace
        try:
            table = where.stand.table
            saved = [counted(self.runner, namespace, family, table) for family in where.families]
        except VpcctlError:
            standing(namespace)
            raise
        what, kernel = f"the table {table} of {namespace}", Kernel(self.runner)
        doubt = ""
        if any(table in held.unreadable for held in saved):
            doubt = f"{what} can't be read: {NOT_OF_IPTABLES}: see vpcctl status"
        elif any(kernel.is_asleep(namespace, table, family) for family in where.families):
            doubt = f"{what} is put to sleep (dormant): packets meet none of its rules: see vpcctl status"
        return InForce(subnet, counters(*saved), site.machine, doubt, found)


def _with_policy(topology: Topology, vpc_name: str, subnet_name: str, new: Policy | None) -> Topology:
    vpc, subnet = find_subnet(topology, vpc_name, subnet_name)
    return topology.with_vpc(vpc.with_subnet(replace(subnet, policy=new)))
