"""NAT gateways: the way out for private subnets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change
from vpcctl_lib.managers.named import NamedManager
from vpcctl_lib.model import naming, tables
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.route_checks import find_gateway
from vpcctl_lib.model.routes import NatGateway
from vpcctl_lib.model.topology import Topology


class NatGatewayManager(NamedManager):
    """Creates and deletes NAT gateways."""

    def create(self, vpc_name: str, subnet_name: str, name: str,
               elastic_ip: IPv4Address | None = None) -> Change:
        """A NAT gateway in a public subnet, with the lowest free address; repeating it changes nothing.

        With an elastic address, the internet sees that one.
        """
        naming.check_name(name, "NAT gateway")

        def decide(topology: Topology) -> Topology:
            vpc, subnet = find_subnet(topology, vpc_name, subnet_name)
            existing = next((one for one in vpc.nat_gateways if one.name == name), None)
            if existing is None and not tables.is_public(vpc, subnet):
                raise VpcctlError(f"NAT gateway '{name}' of VPC '{vpc_name}' would have no way out: subnet "
                                  f"'{subnet.name}' is private", "choose a public subnet, or make this one "
                                  f"public: vpcctl subnet set --vpc {vpc_name} --name {subnet.name} "
                                  "--type public")
            if existing is None:
                topology = topology.with_vpc(replace(
                    vpc, nat_gateways=(*vpc.nat_gateways, NatGateway(name, subnet.name))))
            elif existing.subnet != subnet_name:
                raise VpcctlError(f"NAT gateway '{name}' already exists in VPC '{vpc_name}', in subnet "
                                  f"'{existing.subnet}'", "delete it first, or choose another name")
            return self._seen_as(topology, Site(vpc_name, subnet_name, name), elastic_ip)

        return self.change(decide)

    def _seen_as(self, topology: Topology, site: Site, address: IPv4Address | None) -> Topology:
        if address is None:
            return topology
        # Imported late: most NAT gateways have the host's address.
        from vpcctl_lib.model import elastic

        new, notes = elastic.associated(topology, address, site)
        for note in notes:
            self.warn(note)
        return new

    def delete(self, vpc_name: str, name: str) -> Change:
        """Delete a NAT gateway that no route leads to."""
        return self.deleted(vpc_name, NatGateway, name,
                            lambda topology: find_gateway(topology, vpc_name, name))
