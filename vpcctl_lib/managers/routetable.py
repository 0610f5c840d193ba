"""Route tables: their routes, and the subnets that have them."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change
from vpcctl_lib.managers.named import NamedManager
from vpcctl_lib.model import naming, route_checks, tables
from vpcctl_lib.model.addressing import Family, Network
from vpcctl_lib.model.lookup import find_subnet, find_vpc
from vpcctl_lib.model.route_checks import find_table
from vpcctl_lib.model.routes import BUILT_IN, MAIN, RouteTable, Via, VpcRoute
from vpcctl_lib.model.topology import SubnetType, Topology, Vpc


class RouteTableManager(NamedManager):
    """Creates route tables, changes their routes and subnets, and deletes them."""

    def create(self, vpc_name: str, name: str) -> Change:
        """A table without routes: its subnets reach their VPC and nothing else; repeating changes nothing."""
        naming.check_name(name, "route table")

        def decide(topology: Topology) -> Topology:
            vpc = find_vpc(topology, vpc_name)
            if name in BUILT_IN or tables.own(vpc, name):
                return topology
            return topology.with_vpc(_with_table(vpc, RouteTable(name)))

        return self.change(decide)

    def delete(self, vpc_name: str, name: str) -> Change:
        """Delete a table that no subnet has."""
        def check(topology: Topology) -> None:
            vpc, _ = find_table(topology, vpc_name, name)
            if name in BUILT_IN:
                raise VpcctlError(f"route table '{name}' is built in, and can't be deleted",
                                  "delete the routes that were added to it: vpcctl route-table delete-route "
                                  f"--vpc {vpc_name} --name {name} --to …")
            users = [subnet.name for subnet in tables.subnets(vpc, name)]
            if users:
                raise VpcctlError(f"route table '{name}' of VPC '{vpc_name}' is in use: by subnet "
                                  f"{', '.join(users)}", "give it another one: vpcctl route-table dissociate "
                                  f"--vpc {vpc_name} --subnet {users[0]}")

        return self.deleted(vpc_name, RouteTable, name, check)

    def associate(self, vpc_name: str, subnet_name: str, name: str) -> Change:
        """Give a subnet that table; its addresses, policy and workloads stay."""
        def decide(topology: Topology) -> Topology:
            find_table(topology, vpc_name, name)
            vpc, subnet = find_subnet(topology, vpc_name, subnet_name)
            return topology.with_vpc(vpc.with_subnet(replace(subnet, route_table=name)))

        return self.change(decide)

    def dissociate(self, vpc_name: str, subnet_name: str, name: str | None = None) -> Change:
        """Give a subnet the main table again; with a name, only if it has the table of that name."""
        def decide(topology: Topology) -> Topology:
            if name is not None:
                find_table(topology, vpc_name, name)
            vpc, subnet = find_subnet(topology, vpc_name, subnet_name)
            has = subnet.table
            if name not in (None, has):
                raise VpcctlError(f"subnet '{subnet_name}' of VPC '{vpc_name}' has route table '{has}', not "
                                  f"'{name}'", "leave out --name, or name that one")
            if has == MAIN:
                return topology
            return topology.with_vpc(vpc.with_subnet(
                replace(subnet, route_table="", type=SubnetType.PRIVATE)))

        return self.change(decide)

    def add_route(self, vpc_name: str, name: str, destination: Network, target: str) -> Change:
        """One route more; repeating it changes nothing."""
        route = VpcRoute(destination, *route_checks.parse_target(target))

        def decide(topology: Topology) -> Topology:
            vpc, table = find_table(topology, vpc_name, name)
            same = next((one for one in table.routes if one.destination == destination), None)
            if same == route:
                return topology
            if same:
                raise VpcctlError(f"route table '{name}' of VPC '{vpc_name}' already leads {destination} to "
                                  f"{same.target}", "delete that route first: vpcctl route-table "
                                  f"delete-route --vpc {vpc_name} --name {name} --to {destination}")
            route_checks.check_new(vpc, destination)
            route_checks.check_target(topology, vpc, route)
            wider = replace(table, routes=tables.in_order((*table.routes, route)))
            return topology.with_vpc(_with_table(vpc, wider))

        return self.change(decide)

    def delete_route(self, vpc_name: str, name: str, destination: Network) -> Change:
        """One route less: a packet for it takes a less specific one, or is refused."""
        def decide(topology: Topology) -> Topology:
            vpc, table = find_table(topology, vpc_name, name)
            kept = tuple(one for one in table.routes if one.destination != destination)
            if kept == table.routes and self.was_finished(
                    lambda before: _leads(before, vpc_name, name, destination)):
                return topology
            if kept == table.routes:
                raise _no_route(topology, vpc, name, destination)
            return topology.with_vpc(_with_table(vpc, replace(table, routes=kept)))

        return self.change(decide)


def _no_route(topology: Topology, vpc: Vpc, name: str, destination: Network) -> VpcctlError:
    found = next((one for family in Family
                  for one in tables.routes(vpc, topology.peers_of(vpc.name), name, family)
                  if one.destination == destination), None)
    told = f"route table '{name}' of VPC '{vpc.name}'"
    if destination in (*vpc.networks, vpc.ipv6):
        return VpcctlError(f"the route to {destination} is local, and stays", "leave it")
    if found is None:
        return VpcctlError(f"{told} has no route to {destination}",
                           f"see: vpcctl route-table show --vpc {vpc.name} --name {name}")
    otherwise = f"vpcctl peer delete --vpc1 {vpc.name} --vpc2 {found.hop}" if found.via is Via.PEER else \
        "make the subnet private, or give it a table of your own: vpcctl route-table associate"
    return VpcctlError(f"{told} has the route to {destination} by itself", otherwise)


def _with_table(vpc: Vpc, table: RouteTable) -> Vpc:
    kept = [table if old.name == table.name else old for old in vpc.route_tables]
    return replace(vpc, route_tables=tuple(kept if table in kept else [*kept, table]))


def _leads(topology: Topology, vpc_name: str, name: str, destination: Network) -> bool:
    vpc = topology.vpc(vpc_name)
    table = tables.own(vpc, name) if vpc else None
    return table is not None and any(route.destination == destination for route in table.routes)
