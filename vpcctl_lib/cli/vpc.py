"""`vpcctl vpc`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_vpc
from vpcctl_lib.cli.params import changing, cidr_option, ipv6_option, reading, report, showing
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

PREFIX = "Its IPv6 prefix, a /56; auto: one of its own that only this host knows (RFC 4193)."
new_name_option = click.option("--name", required=True, metavar="NAME", help="The VPC.")
name_option = click.option("--name", required=True, metavar="NAME", help="The VPC.",
                           shell_complete=complete_vpc)


@click.group()
def vpc() -> None:
    """VPCs: isolated networks (in AWS: aws ec2 create-vpc).

    \b
    Example:
      vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
    """


def _view(name: str, change: Change) -> dict[str, Any]:
    return plain.vpc(change.topology, find_vpc(change.topology, name))


@vpc.command()
@new_name_option
@cidr_option
@click.option("--allow-overlap", is_flag=True,
              help="Allow a CIDR that overlaps a route of the host, which then keeps it.")
@ipv6_option(56, PREFIX)
@changing
def create(context: Context, name: str, cidr: IPv4Network, allow_overlap: bool, ipv6: IPv6Network | None,
           as_json: bool) -> None:
    """Create a VPC: a router of its own with a bridge (in AWS: create-vpc).

    \b
    Example:
      vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
    """
    change = managers.VpcManager(context).create(name, cidr, allow_overlap, ipv6)
    report(change, as_json, "vpc", lambda change: _view(name, change),
           f"VPC '{name}' created ({cidr})", f"VPC '{name}' already exists ({cidr})")


@vpc.command("set")
@name_option
@ipv6_option(56, PREFIX)
@click.option("--no-ipv6", is_flag=True, help="Take its IPv6 away.")
@changing
def set_vpc(context: Context, name: str, ipv6: IPv6Network | None, no_ipv6: bool, as_json: bool) -> None:
    """Change a VPC in place (in AWS: associate-vpc-cidr-block).

    What is in the VPC stays, and so do its connections by IPv4. Each subnet and machine gets an address of
    IPv6, or loses it.

    \b
    Example:
      vpcctl vpc set --name vpc1 --ipv6 auto
    """
    if (ipv6 is not None) == no_ipv6:
        told = "there is nothing to set" if ipv6 is None else "--ipv6 and --no-ipv6 exclude each other"
        raise BadInput(told, "use --ipv6 auto, --ipv6 PREFIX or --no-ipv6")
    change = managers.VpcManager(context).set(name, ipv6)
    held = find_vpc(change.topology, name).ipv6
    has = f"the IPv6 prefix {held}" if held else "no IPv6"
    report(change, as_json, "vpc", lambda change: _view(name, change),
           f"VPC '{name}' now has {has}", f"VPC '{name}' has {has}")


@vpc.command("list")
@showing
def list_vpcs(topology: Topology, as_json: bool) -> None:
    """List the VPCs (in AWS: describe-vpcs).

    \b
    Example:
      vpcctl vpc list --json
    """
    found = [plain.vpc(topology, one) for one in topology.vpcs]
    if as_json:
        output.document("vpcs", found)
        return
    rows = [(one["name"], one["cidr"], one["gateway"], one["bridge"],
             ", ".join(subnet["name"] for subnet in one["subnets"]) or "-",
             one["nat"]["interface"] if one["nat"] else "-", ", ".join(one["peers"]) or "-") for one in found]
    output.table(("NAME", "CIDR", "GATEWAY", "BRIDGE", "SUBNETS", "NAT", "PEERS"), rows,
                 "no VPCs; create one: vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16")


@vpc.command()
@name_option
@reading
def show(context: Context, name: str, as_json: bool) -> None:
    """Show everything about one VPC, with its route table (in AWS: describe-vpcs, describe-route-tables).

    Beside each part is the plain command that shows the same.

    \b
    Example:
      vpcctl vpc show --name vpc1
    """
    view = plain.overview(managers.OverviewManager(context).show(name))
    if as_json:
        output.document("vpc", view)
    else:
        # Imported late: the other commands here print no such table.
        from vpcctl_lib.cli import tables

        tables.overview(view)


@vpc.command()
@name_option
@changing
def delete(context: Context, name: str, as_json: bool) -> None:
    """Delete a VPC and everything in it (in AWS: delete-vpc).

    \b
    Example:
      vpcctl vpc delete --name vpc1
    """
    change = managers.VpcManager(context).delete(name)
    report(change, as_json, "vpc", lambda _: {"name": name},
           f"VPC '{name}' deleted", f"VPC '{name}' does not exist")
