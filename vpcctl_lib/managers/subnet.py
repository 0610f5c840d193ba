"""Subnets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing, endpoints, naming
from vpcctl_lib.model.lookup import find_subnet, find_vpc, has_subnet
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import OWN, Subnet, SubnetType, Topology, Vpc


def setting(vpc: str, name: str, kind: SubnetType) -> str:
    """The command that changes a subnet's type."""
    return f"vpcctl subnet set --vpc {vpc} --name {name} --type {kind.value}"


def dual(vpc: str) -> str:
    """The command that gives a VPC IPv6."""
    return f"vpcctl vpc set --name {vpc} --ipv6 auto"


def _check_same(vpc: str, existing: Subnet, cidr: IPv4Network, kind: SubnetType, bare: bool) -> None:
    """Refuse to add a subnet that already exists with another CIDR or type, or with or without a machine."""
    was_bare = existing.machine() is None
    if (existing.cidr, existing.type, was_bare) == (cidr, kind, bare):
        return
    only_type = (existing.cidr, was_bare) == (cidr, bare)
    told = f"{existing.type.value} {existing.cidr}"
    if was_bare != bare:
        told += f", {'without' if was_bare else 'with'} a machine of its own"
    raise VpcctlError(f"subnet '{existing.name}' already exists in VPC '{vpc}' as {told}",
                      f"change its type: {setting(vpc, existing.name, kind)}" if only_type else
                      "delete it first, or choose another name")


def _given(ipv6: IPv6Network) -> IPv6Network | None:
    """The prefix; None for one that is still to be chosen."""
    # Imported late, here and below: most networks have no IPv6.
    from vpcctl_lib.model.addressing6 import AUTO

    return None if ipv6 == AUTO else ipv6


def _prefix(vpc: Vpc, ipv6: IPv6Network) -> IPv6Network | None:
    """The prefix, if a new subnet can have it."""
    from vpcctl_lib.model.addressing6 import check_subnet

    if vpc.ipv6 is None:
        raise VpcctlError(f"VPC '{vpc.name}' has no IPv6", f"give it a prefix first: {dual(vpc.name)}")
    found = _given(ipv6)
    if found:
        check_subnet(found, vpc.ipv6, ((one.name, one.ipv6) for one in vpc.subnets if one.ipv6))
    return found


class SubnetManager(Manager):
    """Adds subnets to VPCs and deletes them."""

    def add(self, vpc_name: str, name: str, cidr: IPv4Network, kind: SubnetType,
            bare: bool = False, ipv6: IPv6Network | None = None) -> Change:
        """Add a subnet of that name, CIDR and type; repeating it changes nothing.

        A bare one has no machine of its own. In a VPC with IPv6 it gets a prefix, by default a free one.
        """
        naming.check_name(name, "subnet")

        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, vpc_name)
            existing = vpc.subnet(name)
            if existing is None:
                addressing.check_subnet(cidr, vpc.networks,
                                        ((other.name, other.cidr) for other in vpc.subnets))
                own = _prefix(vpc, ipv6) if ipv6 else None
                wider = vpc.with_subnet(Subnet(name, cidr, kind, machines=() if bare else (OWN,),
                                               ipv6=own))
                endpoints.check_room(vpc_name, wider.subnets)
                self._look_around(topology, vpc, cidr)
                return topology.with_vpc(wider)
            _check_same(vpc_name, existing, cidr, kind, bare)
            if ipv6 and (existing.ipv6 is None or _given(ipv6) not in (None, existing.ipv6)):
                raise VpcctlError(f"subnet '{name}' already exists in VPC '{vpc_name}' with "
                                  f"{existing.ipv6 or 'no'} IPv6", "delete it first, or choose another name")
            return topology

        return self.change(decide)

    def set(self, vpc_name: str, name: str, kind: SubnetType) -> Change:
        """Change a subnet's type in place: its address, policy, workloads and connections inside stay."""
        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, vpc_name, name)
            return topology.with_vpc(vpc.with_subnet(replace(
                subnet, type=kind, route_table="")))

        return self.change(decide)

    def _look_around(self, topology: Topology, vpc: Vpc, cidr: IPv4Network) -> None:
        """Warn of routes on the host that conflict since the VPC was made."""
        ours = {naming.device("vpc-", one.name) for one in topology.vpcs}
        route = self.host.overlap(cidr, ours) if routed(topology, vpc) else None
        around = addressing.within(vpc.networks, cidr)
        if route is not None and around and route.network.prefixlen >= around.prefixlen:
            self.warn(f"{cidr} overlaps {route}: the host, and answers by NAT, might not reach the subnet")

    def delete(self, vpc_name: str, name: str) -> Change:
        """Delete the subnet and everything in it."""
        def decide(topology: Topology) -> Topology:
            if not has_subnet(topology, vpc_name, name) and self.was_finished(
                    lambda before: has_subnet(before, vpc_name, name)):
                return topology
            vpc, subnet = find_subnet(topology, vpc_name, name)
            inside = [*(f"machine '{one.name}'" for one in subnet.machines if one.name),
                      *(f"NAT gateway '{one.name}'" for one in vpc.nat_gateways if one.subnet == name)]
            if inside:
                self.warn(f"deleted with subnet '{name}': {', '.join(inside)}")
            return topology.with_vpc(vpc.without_subnet(name))

        return self.change(decide)
