"""`vpcctl vpc`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_cidr, complete_vpc
from vpcctl_lib.cli.params import Parsed, changing, cidr_option, ipv6_option, reading, report, showing
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model.addressing import parse_network
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


def _held(name: str, change: Change) -> str:
    """Its CIDRs, and its prefix if it has one."""
    vpc = find_vpc(change.topology, name)
    return ", ".join(map(str, (*vpc.networks, *((vpc.ipv6,) if vpc.ipv6 else ()))))


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
    held = _held(name, change)
    report(change, as_json, "vpc", lambda change: _view(name, change),
           f"VPC '{name}' created ({held})", f"VPC '{name}' already exists ({held})")


@vpc.command("set")
@name_option
@click.option("--add-cidr", "add", type=Parsed(parse_network), multiple=True, metavar="CIDR",
              help="One more, such as 10.1.0.0/16. Repeatable.")
@click.option("--remove-cidr", "remove", type=Parsed(parse_network), multiple=True, metavar="CIDR",
              shell_complete=complete_cidr, help="A secondary one without subnets. Repeatable.")
@ipv6_option(56, PREFIX)
@click.option("--no-ipv6", is_flag=True, help="Take its IPv6 away.")
@changing
def set_vpc(context: Context, name: str, add: tuple[IPv4Network, ...], remove: tuple[IPv4Network, ...],
            ipv6: IPv6Network | None, no_ipv6: bool, as_json: bool) -> None:
    """Give a VPC secondary CIDRs or IPv6, or take them away (in AWS: associate-vpc-cidr-block).

    What is in the VPC stays, and so do its connections. Its subnets may lie in any of its CIDRs. With IPv6,
    each subnet and each machine gets an address of it, too.

    \b
    Example:
      vpcctl vpc set --name vpc1 --add-cidr 10.1.0.0/16
      vpcctl vpc set --name vpc1 --ipv6 auto
    """
    if ipv6 and no_ipv6:
        raise BadInput("--ipv6 and --no-ipv6 exclude each other", "use one of the two")
    if not (add or remove or ipv6 or no_ipv6):
        raise BadInput("there is nothing to set", "use --add-cidr, --remove-cidr, --ipv6 or --no-ipv6")
    change = managers.VpcManager(context).set(name, add, remove, ipv6, no_ipv6)
    held = _held(name, change)
    report(change, as_json, "vpc", lambda change: _view(name, change),
           f"VPC '{name}' now has {held}", f"VPC '{name}' has {held}")


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
    rows = [(one["name"], ", ".join((one["cidr"], *one["cidrs"])), one["gateway"], one["bridge"],
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
