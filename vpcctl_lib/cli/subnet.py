"""`vpcctl subnet`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import complete_subnet
from vpcctl_lib.cli.params import (
    changing,
    cidr_option,
    deleted,
    ipv6_option,
    report,
    showing,
    vpc_option,
)
from vpcctl_lib.model.lookup import find_subnet, find_vpc
from vpcctl_lib.model.topology import SubnetType, Topology
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The subnet.")
name_option = click.option("--name", required=True, metavar="NAME", help="The subnet.",
                           shell_complete=complete_subnet)


@click.group()
def subnet() -> None:
    """Subnets: parts of a VPC, each with a machine, which is a namespace (in AWS: aws ec2 create-subnet).

    \b
    Example:
      vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public
    """


@subnet.command()
@vpc_option()
@new_name_option
@cidr_option
@click.option("--type", "kind", type=click.Choice([kind.value for kind in SubnetType]), default="private",
              show_default=True, help="NAT serves public subnets.")
@click.option("--bare", is_flag=True, help="Only the range: no machine of its own.")
@ipv6_option(64, "Its /64 of a VPC with IPv6 (default: auto, the lowest free one).")
@changing
def add(context: Context, vpc: str, name: str, cidr: IPv4Network, kind: str, bare: bool,
        ipv6: IPv6Network | None, as_json: bool) -> None:
    """Add a subnet to a VPC (in AWS: create-subnet).

    \b
    Example:
      vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public
    """
    change = managers.SubnetManager(context).add(vpc, name, cidr, SubnetType(kind), bare, ipv6)
    _, added = find_subnet(change.topology, vpc, name)
    held = f"{kind}, {cidr}" + (f", {added.ipv6}" if added.ipv6 else "")
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, vpc, name)),
           f"subnet '{name}' added to VPC '{vpc}' ({held})", f"subnet '{name}' already exists ({held})")


@subnet.command("set")
@vpc_option()
@name_option
@click.option("--type", "kind", type=click.Choice([kind.value for kind in SubnetType]), required=True,
              help="NAT serves public subnets.")
@changing
def set_type(context: Context, vpc: str, name: str, kind: str, as_json: bool) -> None:
    """Change a subnet's type in place (in AWS: associate-route-table).

    Address, policy and workloads stay, and so do open connections inside the VPC. A subnet that becomes
    private loses its connections to the internet.

    \b
    Example:
      vpcctl subnet set --vpc vpc1 --name private --type public
    """
    change = managers.SubnetManager(context).set(vpc, name, SubnetType(kind))
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, vpc, name)),
           f"subnet '{name}' of VPC '{vpc}' is now {kind}",
           f"subnet '{name}' of VPC '{vpc}' is already {kind}")


@subnet.command("list")
@vpc_option(required=False)
@showing
def list_subnets(topology: Topology, vpc: str | None, as_json: bool) -> None:
    """List the subnets, all or those of one VPC (in AWS: describe-subnets).

    \b
    Example:
      vpcctl subnet list --vpc vpc1
    """
    vpcs = [find_vpc(topology, vpc)] if vpc else topology.vpcs
    found = [plain.subnet(one, subnet) for one in vpcs for subnet in one.subnets]
    if as_json:
        output.document("subnets", found)
        return
    crowded = any(one["instances"] for one in found)
    rows = [(one["vpc"], one["name"], one["cidr"], one["type"], one["namespace"] or "-",
             ", ".join(filter(None, (one["address"], one["address6"]))) or "-",
             "policy" if one["firewall"] else "open",
             *([str(len(one["instances"]))] if crowded else [])) for one in found]
    heads = ("VPC", "NAME", "CIDR", "TYPE", "NAMESPACE", "ADDRESS", "FIREWALL", "INSTANCES")
    output.table(*tables.limited(found, heads if crowded else heads[:-1], rows),
                 "no subnets; add one: vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24")


@subnet.command()
@vpc_option()
@name_option
@changing
def delete(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Delete a subnet and everything in it (in AWS: delete-subnet).

    \b
    Example:
      vpcctl subnet delete --vpc vpc1 --name public
    """
    deleted(managers.SubnetManager(context).delete(vpc, name), as_json, "subnet", "subnet", vpc, name)
