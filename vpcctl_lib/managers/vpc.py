"""VPCs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network, IPv6Network

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.lookup import find_vpc, nearest
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Topology, Vpc


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
                return _with_ipv6(made, name, ipv6) if ipv6 else made
            if existing.cidr != cidr:
                raise VpcctlError(f"VPC '{name}' already exists with CIDR {existing.cidr}",
                                  f"delete it first, or give the VPC of {cidr} another name")
            if ipv6 and _with_ipv6(topology, name, ipv6) != topology:
                raise _other_ipv6(existing, ipv6)
            return topology

        return self.change(decide)

    def _check_prefix(self, ipv6: IPv6Network | None) -> None:
        if ipv6:
            # Imported late, here and below: most networks have no IPv6.
            from vpcctl_lib.model import addressing6

            for warning in addressing6.check_vpc(ipv6) if ipv6 != addressing6.AUTO else ():
                self.warn(warning)

    def added(self, topology: Topology, name: str, cidr: IPv4Network, allow_overlap: bool,
              leaving: Collection[str] = (), how: str = "--allow-overlap") -> Topology:
        """The topology with one more VPC; VpcctlError if it conflicts with a route of the host.

        The VPCs that are `leaving` free their CIDRs in the same change; `how` to allow it is for the hint.
        """
        self._tell_of_others(topology, name, cidr, leaving)
        ours = _cables(topology, name, *leaving)
        is_free = self._is_free(cidr, ours, name, allow_overlap, how)
        taken = self.host.taken(addressing.LINKS, ours)
        link = addressing.free_link({vpc.link for vpc in topology.vpcs}, taken)
        return topology.with_vpc(Vpc(name, cidr, link, routed=is_free))

    def _tell_of_others(self, topology: Topology, name: str, cidr: IPv4Network,
                        leaving: Collection[str] = ()) -> None:
        for other in topology.vpcs:
            met = addressing.shared(other.networks, (cidr,)) if other.name not in (name, *leaving) else None
            if met:
                self.warn(f"{cidr} overlaps VPC '{other.name}' ({met[0]}): the host has a route to the "
                          "first of them only, and the two can't be peered")

    def _is_free(self, cidr: IPv4Network, ours: Collection[str], name: str, allow_overlap: bool,
                 how: str) -> bool:
        """Whether the host has no route there other than over those cables; it must not, unless allowed."""
        route = self.host.overlap(cidr, ours)
        if route is not None and not allow_overlap:
            raise VpcctlError(f"{cidr} overlaps {route}",
                              f"choose another CIDR, or leave the host's route as it is with {how}")
        if route is not None:
            self.warn(f"{route} stays as it is, and the host gets none to "
                      f"'{name}': reach it with vpcctl exec")
        return route is None

    def begun(self, topology: Topology, vpc: Vpc, cidrs: Collection[IPv4Network], allow_overlap: bool,
              leaving: Collection[str], how: str) -> Topology:
        """The topology in which a new VPC has these secondary CIDRs, too."""
        ours, are_free = _cables(topology, *leaving), [vpc.routed]
        for cidr in cidrs:
            self._tell_of_others(topology, vpc.name, cidr, leaving)
            are_free.append(self._is_free(cidr, ours, vpc.name, allow_overlap, how))
        return topology.with_vpc(replace(vpc, cidrs=tuple(sorted(cidrs)), routed=all(are_free)))

    def set(self, name: str, add: Collection[IPv4Network] = (),
            remove: Collection[IPv4Network] = (), ipv6: IPv6Network | None = None,
            no_ipv6: bool = False) -> Change:
        """Give a VPC more CIDRs or IPv6, and take others away; its subnets, machines and connections stay."""
        # Imported late: only this verb asks routes and peers.
        from vpcctl_lib.managers.peer import PeerManager
        from vpcctl_lib.model.route_checks import check_local

        self._check_prefix(ipv6)
        for cidr in add:
            if cidr in remove:
                raise BadInput(f"{cidr} can't be added and removed at once", "name it once")
            for warning in addressing.check_vpc(cidr):
                self.warn(warning)

        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, name)
            for cidr in remove:
                if cidr in vpc.networks or not self.was_finished(partial(_has, name=name, cidr=cidr)):
                    _check_unused(vpc, cidr)
            kept = {cidr for cidr in vpc.cidrs if cidr not in remove}
            for cidr in add:
                check_local(vpc, cidr)
            wider = self.extended(topology, vpc, sorted(kept.union(add) - {vpc.cidr}))
            for peer in topology.peers_of(name):
                PeerManager(self.context, self).joined(wider, name, peer.name)
            return _with_ipv6(wider, name, ipv6) if ipv6 or no_ipv6 else wider

        return self.change(decide)

    def extended(self, topology: Topology, vpc: Vpc, cidrs: Sequence[IPv4Network]) -> Topology:
        """The topology in which an existing VPC has these secondary CIDRs, and no others.

        VpcctlError if one of them conflicts with a route of the host, or takes the host's routes from a VPC.
        """
        addressing.check_secondary(cidrs, vpc.cidr)
        for cidr in cidrs:
            if cidr not in vpc.cidrs:
                self._check_host(topology, vpc, cidr)
                _check_routed(topology, vpc, cidr)
                self._tell_of_others(topology, vpc.name, cidr)
        return topology.with_vpc(replace(vpc, cidrs=tuple(cidrs)))

    def _check_host(self, topology: Topology, vpc: Vpc, cidr: IPv4Network) -> None:
        route = self.host.overlap(cidr, _cables(topology)) if vpc.routed else None
        if route is not None:
            # Without a route there, the VPC would lose those that it has, and its connections.
            raise VpcctlError(f"{cidr} overlaps {route}", "choose another CIDR; only a VPC that was created "
                                                          "with --allow-overlap can have this one")

    def delete(self, name: str) -> Change:
        """Delete the VPC and everything in it."""
        def decide(topology: Topology) -> Topology:
            if topology.vpc(name) is None and self.was_finished(lambda before: before.vpc(name) is not None):
                return topology
            find_vpc(topology, name)
            return topology.without_vpc(name)

        return self.change(decide)


def _cables(topology: Topology, *names: str) -> set[str]:
    """The host's ends of the cables to all VPCs, and to those of further names."""
    return {naming.device("vpc-", name) for name in (*names, *(vpc.name for vpc in topology.vpcs))}


def _has(topology: Topology, name: str, cidr: IPv4Network) -> bool:
    vpc = topology.vpc(name)
    return vpc is not None and cidr in vpc.cidrs


def _check_unused(vpc: Vpc, cidr: IPv4Network) -> None:
    """Refuse to remove what is no secondary CIDR of a VPC, or has a subnet."""
    if cidr == vpc.cidr:
        raise VpcctlError(f"{cidr} is the first CIDR of VPC '{vpc.name}', and can't be removed",
                          f"delete the VPC: vpcctl vpc delete --name {vpc.name}")
    if cidr not in vpc.cidrs:
        raise VpcctlError(f"VPC '{vpc.name}' has no CIDR {cidr}", nearest(
            str(cidr), [str(one) for one in vpc.cidrs], "it has only its first one"))
    users = [subnet.name for subnet in vpc.subnets if subnet.cidr.subnet_of(cidr)]
    if users:
        raise VpcctlError(f"{cidr} of VPC '{vpc.name}' is in use: by subnet {', '.join(users)}",
                          f"delete it first: vpcctl subnet delete --vpc {vpc.name} --name {users[0]}")


def _check_routed(topology: Topology, vpc: Vpc, cidr: IPv4Network) -> None:
    """Refuse a CIDR with which a VPC would lose the host's routes to it: its connections would end."""
    after = topology.with_vpc(replace(vpc, cidrs=(*vpc.cidrs, cidr)))
    if all(routed(after, one) for one, was in zip(after.vpcs, topology.vpcs, strict=True)
           if routed(topology, was)):
        return
    name, met = next((other.name, met) for other in topology.vpcs if other.routed and other.name != vpc.name
                     and (met := addressing.shared(other.networks, (cidr,))))
    raise VpcctlError(f"{cidr} overlaps VPC '{name}' ({met[0]}), and the host has a route to each of the two",
                      "choose another CIDR")


def _with_ipv6(topology: Topology, name: str, ipv6: IPv6Network | None) -> Topology:
    """The topology in which a VPC has that prefix; AUTO leaves one that it has."""
    from vpcctl_lib.model import addressing6

    vpc = find_vpc(topology, name)
    return topology if ipv6 == addressing6.AUTO and vpc.ipv6 else topology.with_vpc(replace(vpc, ipv6=ipv6))


def _other_ipv6(vpc: Vpc, asked: IPv6Network) -> VpcctlError:
    from vpcctl_lib.model import addressing6

    prefix = "auto" if asked == addressing6.AUTO else asked
    return VpcctlError(f"VPC '{vpc.name}' already exists with {vpc.ipv6 or 'no IPv6'}",
                       f"change it: vpcctl vpc set --name {vpc.name} --ipv6 {prefix}")
