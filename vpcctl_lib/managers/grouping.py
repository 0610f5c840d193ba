"""What every change of a network with groups is checked for."""

from __future__ import annotations

from vpcctl_lib.blueprint.groups import Groups
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.group_rules import check
from vpcctl_lib.model import endpoints, groups
from vpcctl_lib.model.topology import Topology


def check_groups(before: Topology, topology: Topology) -> list[str]:
    """Refuse what can't be made; returns a warning for each rule that from now on matches nobody."""
    uses = list(groups.uses(topology))
    if uses and not topology.guarded:
        by, place, of = uses[0]
        raise VpcctlError(f"group '{by.name}' of VPC '{by.vpc}' can't name group '{of.seen_from(by.vpc)}' "
                          f"({place}): ports are not guarded here, so that any machine could take a member's "
                          "address", "install nftables, or write CIDRs in place of groups")
    if uses:
        _check_numbers(topology)
    known = set(groups.stale(before))
    return [f"{use.place} of group '{use.by.name}' of VPC '{use.by.vpc}' matches nobody now: group "
            f"'{use.of}' does not exist, or its VPC is not peered"
            for use in groups.stale(topology) if use not in known]


def _check_numbers(topology: Topology) -> None:
    found = Groups(topology, {})
    for vpc in topology.vpcs:
        for names in {one.groups: one for one in endpoints.in_vpc(vpc) if one.groups}.items():
            for direction in found.directions(vpc, names[0]):
                if direction:
                    check(direction, names[1].site)
