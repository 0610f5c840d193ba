"""Elastic addresses: their pools, who has them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.kernel import host
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.managers.opening import hosts_own
from vpcctl_lib.model import elastic, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import nearest
from vpcctl_lib.model.outside import Elastic, Pool
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.reach.question import INTERNET


class EipManager(Manager):
    """Allocates elastic addresses, and gives them to machines."""

    def add_pool(self, cidr: IPv4Network, interface: str | None) -> Change:
        """Addresses that the network outside leads to this host; repeating it changes nothing."""
        def decide(topology: Topology) -> Topology:
            elastic.check_pool(topology, cidr)
            known = next((pool for pool in topology.pools if pool.cidr == cidr), None)
            found = self.interface(topology, interface) if interface or known is None else known.interface
            if known is not None and known.interface != found:
                raise VpcctlError(f"pool {cidr} already exists, on {known.interface}", "delete it first")
            return topology if known else replace(topology, pools=(*topology.pools, Pool(cidr, found)))

        return self.change(decide)

    def interface(self, topology: Topology, name: str | None) -> str:
        """The link of that name, or by default the one that leads to the internet."""
        ours = {naming.device("vpc-", vpc.name) for vpc in topology.vpcs}
        told = name or Kernel(self.runner).taken("", (str(INTERNET[Family.INET]),)).get("dev")
        if not told:
            raise BadInput("no link of the host leads to the internet",
                           "name the pool's link: --interface IF")
        return host.link(self.host.links, told, ours).name

    def delete_pool(self, cidr: IPv4Network) -> Change:
        """Take away a pool of which no address is allocated."""
        def decide(topology: Topology) -> Topology:
            if all(pool.cidr != cidr for pool in topology.pools):
                if self.was_finished(lambda before: any(pool.cidr == cidr for pool in before.pools)):
                    return topology
                raise VpcctlError(f"pool {cidr} does not exist",
                                  nearest(str(cidr), [pool.name for pool in topology.pools],
                                          f"add it: vpcctl eip pool add {cidr}"))
            used = [eip.name for eip in topology.eips if eip.address in cidr]
            if used:
                raise VpcctlError(f"pool {cidr} is in use: {', '.join(used[:3])}"
                                  f"{' and more' if len(used) > 3 else ''}",  # noqa: PLR2004  as listed
                                  f"release its addresses first: vpcctl eip release --address {used[0]}")
            return replace(topology, pools=tuple(pool for pool in topology.pools if pool.cidr != cidr))

        return self.change(decide)

    def allocate(self, address: IPv4Address | None) -> tuple[Change, IPv4Address]:
        """An address of a pool, by default the lowest free one."""
        chosen: list[IPv4Address] = []

        def decide(topology: Topology) -> Topology:
            taken = hosts_own(self.runner, self.host, topology)
            found = address or elastic.free(topology, taken)
            chosen[:] = [found]
            if elastic.allocated(topology, found):
                return topology
            if elastic.pool_of(topology, found) is None:
                pools = ", ".join(str(pool.cidr) for pool in topology.pools)
                raise VpcctlError(f"{found} is in no pool", f"the pools are {pools}" if pools else
                                  "add one: vpcctl eip pool add CIDR")
            return elastic.with_eip(topology, Elastic(found))

        return self.change(decide), chosen[0]

    def associate(self, address: IPv4Address, site: Site) -> Change:
        """Give it to a machine or NAT gateway, whoever had it; one that it had before is free."""
        def decide(topology: Topology) -> Topology:
            new, notes = elastic.associated(topology, address, site)
            for note in notes:
                self.warn(note)
            return new

        return self.change(decide)

    def dissociate(self, address: IPv4Address) -> Change:
        """Take it from its machine; it stays allocated."""
        def decide(topology: Topology) -> Topology:
            elastic.find(topology, address)
            return elastic.with_eip(topology, Elastic(address))

        return self.change(decide)

    def release(self, address: IPv4Address) -> Change:
        """Give it back to its pool; refused as long as a machine has it."""
        def decide(topology: Topology) -> Topology:
            if elastic.allocated(topology, address) is None and self.was_finished(
                    lambda before: elastic.allocated(before, address) is not None):
                return topology
            eip = elastic.find(topology, address)
            if eip.vpc:
                raise VpcctlError(f"elastic address {address} is in use: {eip.associated} has it",
                                  f"take it away first: vpcctl eip dissociate --address {address}")
            return replace(topology, eips=tuple(one for one in topology.eips if one != eip))

        return self.change(decide)
