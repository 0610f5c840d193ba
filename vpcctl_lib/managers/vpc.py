"""VPCs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing, addressing6, naming
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Topology, Vpc


def with_ipv6(topology: Topology, name: str, ipv6: IPv6Network | None) -> Topology:
    """The topology in which a VPC has that prefix; AUTO leaves one that it has."""
    vpc = find_vpc(topology, name)
    return topology if ipv6 == addressing6.AUTO and vpc.ipv6 else topology.with_vpc(replace(vpc, ipv6=ipv6))


class VpcManager(Manager):
    """Creates and deletes VPCs, and changes them."""

    def create(self, name: str, cidr: IPv4Network, allow_overlap: bool = False,
               ipv6: IPv6Network | None = None) -> Change:
        """Create a VPC of that name, CIDR and prefix of IPv6; repeating it changes nothing."""
        naming.check_name(name, "VPC")
        for warning in addressing.check_vpc(cidr):
            self.warn(warning)
        self._check_prefix(ipv6)

        def decide(topology: Topology) -> Topology:
            existing = topology.vpc(name)
            if existing is None:
                self.look_around(topology, lambda: self.host.routes)
                made = self.added(topology, name, cidr, allow_overlap)
                return with_ipv6(made, name, ipv6) if ipv6 else made
            if existing.cidr != cidr:
                raise VpcctlError(f"VPC '{name}' already exists with CIDR {existing.cidr}",
                                  f"delete it first, or give the VPC of {cidr} another name")
            if ipv6 not in (None, existing.ipv6) and not (ipv6 == addressing6.AUTO and existing.ipv6):
                raise VpcctlError(f"VPC '{name}' already exists with {existing.ipv6 or 'no'} IPv6",
                                  f"change it: vpcctl vpc set --name {name} --ipv6 PREFIX")
            return topology

        return self.change(decide)

    def _check_prefix(self, ipv6: IPv6Network | None) -> None:
        if ipv6 and ipv6 != addressing6.AUTO:
            for warning in addressing6.check_vpc(ipv6):
                self.warn(warning)

    def set(self, name: str, ipv6: IPv6Network | None) -> Change:
        """Give a VPC IPv6, or take it away: what is in it stays, and so do its connections by IPv4."""
        self._check_prefix(ipv6)
        return self.change(lambda topology: with_ipv6(topology, name, ipv6))

    def added(self, topology: Topology, name: str, cidr: IPv4Network, allow_overlap: bool,
              leaving: Collection[str] = (), how: str = "--allow-overlap") -> Topology:
        """The topology with one more VPC; VpcctlError if it conflicts with a route of the host.

        The VPCs that are `leaving` free their CIDRs in the same change; `how` to allow it is for the hint.
        """
        for other in topology.vpcs:
            if other.name not in leaving and other.cidr.overlaps(cidr):
                self.warn(f"{cidr} overlaps VPC '{other.name}' ({other.cidr}): the host has a route to the "
                          "first of them only, and the two can't be peered")
        ours = {naming.device("vpc-", one) for one in (name, *leaving, *(vpc.name for vpc in topology.vpcs))}
        route = self.host.overlap(cidr, ours)
        if route is not None and not allow_overlap:
            raise VpcctlError(f"{cidr} overlaps {route}",
                              f"choose another CIDR, or leave the host's route as it is with {how}")
        if route is not None:
            self.warn(f"{route} stays as it is, and the host gets none to "
                      f"'{name}': reach it with vpcctl exec")
        taken = self.host.taken(addressing.LINKS, ours)
        link = addressing.free_link({vpc.link for vpc in topology.vpcs}, taken)
        return topology.with_vpc(Vpc(name, cidr, link, routed=route is None))

    def delete(self, name: str) -> Change:
        """Delete the VPC and everything in it."""
        def decide(topology: Topology) -> Topology:
            if topology.vpc(name) is None and self.was_finished(lambda before: before.vpc(name) is not None):
                return topology
            find_vpc(topology, name)
            return topology.without_vpc(name)

        return self.change(decide)
