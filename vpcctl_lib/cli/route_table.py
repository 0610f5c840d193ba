"""`vpcctl route-table`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import complete_route_table, complete_target
from vpcctl_lib.cli.params import changing, deleted, report, showing, subnet_option, vpc_option
from vpcctl_lib.model.addressing import Network
from vpcctl_lib.model.lookup import find_subnet, find_vpc
from vpcctl_lib.model.route_checks import find_table, parse_destination
from vpcctl_lib.model.topology import Topology

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The route table.")
name_option = click.option("--name", required=True, metavar="NAME", help="The route table.",
                           shell_complete=complete_route_table)


def _parse_to(_: click.Context, __: click.Parameter, value: str) -> Network:
    return parse_destination(value)


to_option = click.option("--to", "destination", required=True, callback=_parse_to, metavar="CIDR",
                         help="Where the packets go, such as 0.0.0.0/0 or ::/0.")


@click.group("route-table")
def route_table() -> None:
    """Route tables: where a subnet's packets go (in AWS: route tables).

    Each VPC has `main`, which private subnets have, and `public`. The longest prefix wins, and the VPC's
    own CIDR is always local.

    \b
    Example:
      vpcctl nat-gateway create --vpc vpc1 --subnet public --name nat1
      vpcctl route-table create --vpc vpc1 --name app
      vpcctl route-table add-route --vpc vpc1 --name app --to 0.0.0.0/0 --via nat:nat1
      vpcctl route-table associate --vpc vpc1 --subnet private --name app
    """


def _view(vpc: str, name: str, change: Change) -> dict[str, Any]:
    # Imported late, here and below: a text needs no view.
    from vpcctl_lib.views import routed

    return routed.table(change.topology, find_vpc(change.topology, vpc), name)


def _subnet(vpc: str, subnet: str, change: Change) -> dict[str, Any]:
    from vpcctl_lib.views import plain

    return plain.subnet(*find_subnet(change.topology, vpc, subnet))


@route_table.command()
@vpc_option()
@new_name_option
@changing
def create(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Create a route table with no route but the VPC's own (in AWS: create-route-table).

    \b
    Example:
      vpcctl route-table create --vpc vpc1 --name app
    """
    change = managers.RouteTableManager(context).create(vpc, name)
    report(change, as_json, "route_table", lambda change: _view(vpc, name, change),
           f"route table '{name}' created in VPC '{vpc}'",
           f"route table '{name}' already exists in VPC '{vpc}'")


@route_table.command("list")
@vpc_option(required=False)
@showing
def list_tables(topology: Topology, vpc: str | None, as_json: bool) -> None:
    """List the route tables with their routes, all or those of one VPC (in AWS: describe-route-tables).

    A route whose target is not there is a blackhole.

    \b
    Example:
      vpcctl route-table list --vpc vpc1
    """
    from vpcctl_lib.views import routed

    vpcs = [find_vpc(topology, vpc)] if vpc else topology.vpcs
    found = [view for one in vpcs for view in routed.all_tables(topology, one)]
    if as_json:
        output.document("route_tables", found)
    else:
        tables.route_tables(found, "no VPCs; create one: vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16")


@route_table.command()
@vpc_option()
@name_option
@showing
def show(topology: Topology, vpc: str, name: str, as_json: bool) -> None:
    """Show one route table (in AWS: describe-route-tables --route-table-ids).

    \b
    Example:
      vpcctl route-table show --vpc vpc1 --name app
    """
    from vpcctl_lib.views import routed

    found, _ = find_table(topology, vpc, name)
    view = routed.table(topology, found, name)
    if as_json:
        output.document("route_table", view)
    else:
        tables.route_table(view)


@route_table.command()
@vpc_option()
@name_option
@changing
def delete(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Delete a route table that no subnet has (in AWS: delete-route-table).

    \b
    Example:
      vpcctl route-table delete --vpc vpc1 --name app
    """
    change = managers.RouteTableManager(context).delete(vpc, name)
    deleted(change, as_json, "route_table", "route table", vpc, name)


@route_table.command()
@vpc_option()
@subnet_option
@name_option
@changing
def associate(context: Context, vpc: str, subnet: str, name: str, as_json: bool) -> None:
    """Give a subnet a route table, in place (in AWS: associate-route-table).

    Its type follows: public is a subnet whose table has a route to the internet. Addresses, policy,
    workloads and open connections inside the VPC stay.

    \b
    Example:
      vpcctl route-table associate --vpc vpc1 --subnet private --name app
    """
    change = managers.RouteTableManager(context).associate(vpc, subnet, name)
    report(change, as_json, "subnet", lambda change: _subnet(vpc, subnet, change),
           f"subnet '{subnet}' of VPC '{vpc}' has route table '{name}'",
           f"subnet '{subnet}' of VPC '{vpc}' already has route table '{name}'")


@route_table.command()
@vpc_option()
@subnet_option
@click.option("--name", metavar="NAME", help="Only if it has this route table.",
              shell_complete=complete_route_table)
@changing
def dissociate(context: Context, vpc: str, subnet: str, name: str | None, as_json: bool) -> None:
    """Give a subnet the main route table again, which makes it private (in AWS: disassociate-route-table).

    \b
    Example:
      vpcctl route-table dissociate --vpc vpc1 --subnet private
    """
    change = managers.RouteTableManager(context).dissociate(vpc, subnet, name)
    report(change, as_json, "subnet", lambda change: _subnet(vpc, subnet, change),
           f"subnet '{subnet}' of VPC '{vpc}' has the main route table",
           f"subnet '{subnet}' of VPC '{vpc}' already has the main route table")


@route_table.command("add-route")
@vpc_option()
@name_option
@to_option
@click.option("--via", "target", required=True, metavar="TARGET", shell_complete=complete_target,
              help="internet, egress-only, nat:NAME, peer:VPC, instance:SUBNET/NAME or blackhole.")
@changing
def add_route(context: Context, vpc: str, name: str, destination: Network, target: str,
              as_json: bool) -> None:
    """Add a route (in AWS: create-route).

    A machine must have been added with --forwards. It sees what its subnets send, and what comes back.
    For IPv6, egress-only lets nothing in but answers; a NAT gateway is for IPv4.

    \b
    Example:
      vpcctl route-table add-route --vpc vpc1 --name app --to 0.0.0.0/0 --via nat:nat1
      vpcctl route-table add-route --vpc vpc1 --name app --to ::/0 --via egress-only
    """
    change = managers.RouteTableManager(context).add_route(vpc, name, destination, target)
    report(change, as_json, "route_table", lambda change: _view(vpc, name, change),
           f"route table '{name}' of VPC '{vpc}' leads {destination} to {target}",
           f"route table '{name}' of VPC '{vpc}' already leads {destination} to {target}")


@route_table.command("delete-route")
@vpc_option()
@name_option
@to_option
@changing
def delete_route(context: Context, vpc: str, name: str, destination: Network, as_json: bool) -> None:
    """Delete a route (in AWS: delete-route).

    \b
    Example:
      vpcctl route-table delete-route --vpc vpc1 --name app --to 0.0.0.0/0
    """
    change = managers.RouteTableManager(context).delete_route(vpc, name, destination)
    report(change, as_json, "route_table", lambda change: _view(vpc, name, change),
           f"the route to {destination} is deleted from route table '{name}' of VPC '{vpc}'",
           f"route table '{name}' of VPC '{vpc}' is unchanged")
