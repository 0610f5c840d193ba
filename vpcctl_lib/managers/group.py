"""Security groups: their rules and their members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import counters
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.variants import counted
from vpcctl_lib.managers.base import Change, need_root
from vpcctl_lib.managers.hindered import PolicyManager
from vpcctl_lib.managers.named import NamedManager
from vpcctl_lib.model import groups
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.groups import Called, find_group
from vpcctl_lib.model.lookup import find_endpoint, find_machine, find_subnet, find_vpc
from vpcctl_lib.model.policies import Group, Policy
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc

READERS = 4
"""Members whose counters are read in parallel; starting the programs takes the time."""

OPEN_ONES = "connections that are open now stay open until they end, also those that are no longer allowed"


@frozen
class Listed:
    """A group with its members, and the rules of it that match nobody."""

    vpc: str
    group: Group
    members: tuple[Site, ...]
    stale: tuple[str, ...] = ()
    """Such as `ingress[0]`: the group that it names does not exist, or is in no peer."""


@frozen
class Counted:
    """A group, and the packets and bytes of each rule (`ingress[0]`), summed over its members."""

    listed: Listed
    counters: Mapping[str, tuple[int, int]]
    doubts: tuple[str, ...] = ()
    """Why some members' counters are not in the sums."""


class GroupManager(NamedManager, PolicyManager):
    """Creates groups, changes their rules and members, lists and deletes them."""

    def create(self, vpc_name: str, name: str) -> Change:
        """A group that lets nothing in and everything out; repeating it changes nothing."""
        return self.created(vpc_name, Group(name))

    def apply(self, vpc_name: str, name: str, file: Path) -> Change:
        """The rules of the file instead of those in force; a wrong file changes nothing."""
        # Imported late: only this verb reads a file.
        from vpcctl_lib.files import policy

        def decide(topology: Topology) -> Topology:
            vpc, old = find_group(topology, vpc_name, name)
            new = policy.load_group(file, name)
            groups.check_reached(topology, vpc, new.policy)
            if _narrower(old.policy, new.policy) and groups.sites(vpc, name):
                self.warn(OPEN_ONES)
            return topology.with_vpc(vpc.with_group(new))

        return self.change(decide)

    def delete(self, vpc_name: str, name: str) -> Change:
        """Delete a group that nobody is in, and that no other group's rules name."""
        return self.deleted(vpc_name, Group, name, lambda topology: groups.check_unused(
            topology, Called(vpc_name, name)))

    def join(self, site: Site, name: str) -> Change:
        """A machine in one group more; from its first on, its groups decide about it."""
        def new(machine: Machine, subnet: Subnet) -> Machine:
            if not machine.groups:
                before = "the policy of its subnet no longer decides" if subnet.policy else "it was open"
                self.warn(f"{site} is now in a group, and gets only what its groups allow: {before}")
            return groups.joined(machine, [name])

        return self._move(site, name, new)

    def leave(self, site: Site, name: str) -> Change:
        """A machine in one group less; out of all, its subnet's policy decides about it again."""
        def new(machine: Machine, subnet: Subnet) -> Machine:
            found = groups.left(machine, name)
            if machine.groups and not found.groups:
                self.warn(f"{site} is now in no group: " + (
                    "the policy of its subnet decides" if subnet.policy else "it is open"))
            if found != machine and (found.groups or subnet.policy):
                self.warn(OPEN_ONES)
            return found

        return self._move(site, name, new)

    def _move(self, site: Site, name: str, new: Callable[[Machine, Subnet], Machine]) -> Change:
        def decide(topology: Topology) -> Topology:
            find_group(topology, site.vpc, name)
            vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
            machine = new(find_machine(subnet, site), subnet)
            return topology.with_vpc(vpc.with_subnet(subnet.with_machine(machine)))

        return self.change(decide)

    def list(self, vpc_name: str | None = None) -> list[Listed]:
        """All groups, or those of one VPC."""
        topology = self.state().topology
        vpcs = [find_vpc(topology, vpc_name)] if vpc_name else topology.vpcs
        return [one for vpc in vpcs for one in listed(topology, vpc)]

    def show(self, vpc_name: str, name: str) -> Counted:
        """A group, with the kernel's counters at all its members."""
        state = self.state()
        vpc, _ = find_group(state.topology, vpc_name, name)
        found = next(one for one in listed(state.topology, vpc) if one.group.name == name)
        if not found.members:
            return Counted(found, {tag: (0, 0) for tag, _ in groups.rules_of(found.group.policy)})
        need_root()
        self.use(state.iptables)
        members = [find_endpoint(state.topology, site) for site in found.members]
        parts = each(lambda one: self._counters(one, name), members, READERS)
        sums: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for part in parts:
            for tag, (packets, size) in part.items() if isinstance(part, dict) else ():
                sums[tag] += packets
                sizes[tag] += size
        return Counted(found, {tag: (sums[tag], sizes[tag]) for tag in sums},
                       tuple(part for part in parts if isinstance(part, str)))

    def _counters(self, one: Endpoint, name: str) -> dict[str, tuple[int, int]] | str:
        """The counters of a group's rules in a member's namespace, or why they can't be read."""
        if not netns.exists(one.namespace):
            return f"namespace {one.namespace} is recorded, but missing: its counters are not in the sums"
        try:
            held = counters(*(counted(self.runner, one.namespace, family, one.stand.table)
                              for family in one.families))
        except VpcctlError as error:
            return error.message
        return {tag.partition(":")[2]: value for tag, value in held.items() if tag.startswith(f"{name}:")}


def listed(topology: Topology, vpc: Vpc) -> Iterator[Listed]:
    """The groups of a VPC."""
    stale = [use for use in groups.stale(topology) if use.by.vpc == vpc.name]
    for group in vpc.groups:
        yield Listed(vpc.name, group, tuple(groups.sites(vpc, group.name)),
                     tuple(use.place for use in stale if use.by.name == group.name))


def _narrower(old: Policy, new: Policy) -> bool:
    """Whether something that was allowed may no longer be."""
    def lost(before: tuple[object, ...] | None, after: tuple[object, ...] | None) -> bool:
        return after is not None and (before is None or any(rule not in after for rule in before))

    return lost(old.ingress, new.ingress) or lost(old.egress, new.egress)
