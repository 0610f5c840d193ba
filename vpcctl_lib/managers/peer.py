"""Peerings between VPCs."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import addressing
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Peering, Topology


class PeerManager(Manager):
    """Creates and deletes peerings."""

    def create(self, one: str, other: str) -> Change:
        """Peer the two, in any order; repeating it changes nothing."""
        return self.change(lambda topology: self.joined(topology, one, other))

    def joined(self, topology: Topology, one: str, other: str) -> Topology:
        """The topology with the two peered; VpcctlError if they can't be."""
        first, second = find_vpc(topology, one), find_vpc(topology, other)
        if one == other:
            raise BadInput(f"VPC '{one}' can't be peered with itself", "name two VPCs")
        met = addressing.shared(first.networks, second.networks)
        if met:
            raise VpcctlError(f"'{one}' ({met[0]}) and '{other}' ({met[1]}) overlap: "
                              "they can't be peered", "peered VPCs must have distinct CIDRs")
        self._check_ways(topology, one, other)
        self._check_ways(topology, other, one)
        peering = Peering.between(one, other)
        kept = topology.peerings if peering in topology.peerings else (*topology.peerings, peering)
        return replace(topology, peerings=kept)

    def _check_ways(self, topology: Topology, name: str, new: str) -> None:
        """A route table has one way to an address, so no two peers of a VPC may overlap."""
        cidrs = find_vpc(topology, new).networks
        for peer in topology.peers_of(name):
            met = addressing.shared(peer.networks, cidrs) if peer.name != new else None
            if met:
                raise VpcctlError(f"'{name}' is peered with '{peer.name}' ({met[0]}), which overlaps "
                                  f"'{new}' ({met[1]})", "its route table can have only one of the two")

    def delete(self, one: str, other: str) -> Change:
        """Delete the peering of the two at once."""
        def decide(topology: Topology) -> Topology:
            find_vpc(topology, one)
            find_vpc(topology, other)
            peering = Peering.between(one, other)
            if peering not in topology.peerings and self.was_finished(
                    lambda before: peering in before.peerings):
                return topology
            if peering not in topology.peerings:
                raise VpcctlError(f"'{one}' and '{other}' are not peered", "see: vpcctl peer list")
            return replace(topology, peerings=tuple(kept for kept in topology.peerings if kept != peering))

        return self.change(decide)
