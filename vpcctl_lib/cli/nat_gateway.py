"""`vpcctl nat-gateway`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import completing
from vpcctl_lib.cli.params import Parsed, changing, deleted, report, showing, subnet_option, vpc_option
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.outside import Elastic
from vpcctl_lib.model.route_checks import find_gateway
from vpcctl_lib.model.routes import NatGateway
from vpcctl_lib.model.topology import Topology

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The NAT gateway.")
name_option = click.option("--name", required=True, metavar="NAME", help="The NAT gateway.",
                           shell_complete=completing(NatGateway))


@click.group("nat-gateway")
def nat_gateway() -> None:
    """NAT gateways: private subnets get out by a route to one, and nothing gets in (in AWS: NAT gateways).

    \b
    Example:
      vpcctl nat-gateway create --vpc vpc1 --subnet public --name nat1
      vpcctl route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via nat:nat1
    """


def _view(vpc: str, name: str, change: Change) -> dict[str, Any]:
    # Imported late, here and below: a text needs no view.
    from vpcctl_lib.views import routed

    return routed.gateway(change.topology, *find_gateway(change.topology, vpc, name))


@nat_gateway.command()
@vpc_option()
@subnet_option
@new_name_option
@click.option("--elastic-ip", type=Parsed(parse_address), metavar="ADDRESS",
              shell_complete=completing(Elastic),
              help="The allocated elastic address with which the internet sees it (default: the host's).")
@changing
def create(context: Context, vpc: str, subnet: str, name: str, elastic_ip: IPv4Address | None,
           as_json: bool) -> None:
    """Create a NAT gateway in a public subnet, with an address of its own (in AWS: create-nat-gateway).

    It needs the internet itself: vpcctl nat enable. Route tables lead subnets to it.

    \b
    Example:
      vpcctl nat-gateway create --vpc vpc1 --subnet public --name nat1
      vpcctl nat-gateway create --vpc vpc1 --subnet public --name nat1 --elastic-ip 198.51.100.0
    """
    change = managers.NatGatewayManager(context).create(vpc, subnet, name, elastic_ip)
    report(change, as_json, "nat_gateway", lambda change: _view(vpc, name, change),
           f"NAT gateway '{name}' created in {vpc}/{subnet}",
           f"NAT gateway '{name}' already exists in {vpc}/{subnet}")


@nat_gateway.command("list")
@vpc_option(required=False)
@showing
def list_gateways(topology: Topology, vpc: str | None, as_json: bool) -> None:
    """List the NAT gateways, all or those of one VPC (in AWS: describe-nat-gateways).

    \b
    Example:
      vpcctl nat-gateway list --vpc vpc1
    """
    from vpcctl_lib.cli import tables
    from vpcctl_lib.views import routed

    vpcs = [find_vpc(topology, vpc)] if vpc else topology.vpcs
    found = [routed.gateway(topology, one, gateway) for one in vpcs for gateway in one.nat_gateways]
    if as_json:
        output.document("nat_gateways", found)
    else:
        tables.nat_gateways(found, "no NAT gateways; create one: vpcctl nat-gateway create --vpc vpc1 "
                            "--subnet public --name nat1")


@nat_gateway.command()
@vpc_option()
@name_option
@changing
def delete(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Delete a NAT gateway that no route leads to (in AWS: delete-nat-gateway).

    \b
    Example:
      vpcctl nat-gateway delete --vpc vpc1 --name nat1
    """
    change = managers.NatGatewayManager(context).delete(vpc, name)
    deleted(change, as_json, "nat_gateway", "NAT gateway", vpc, name)
