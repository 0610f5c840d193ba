"""`vpcctl instance`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import complete_instance, complete_subnet, completing
from vpcctl_lib.cli.params import Parsed, changing, reading, report, subnet_option, vpc_option
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model import naming
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.topology import Group
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The machine.")
name_option = click.option("--name", required=True, metavar="NAME", help="The machine.",
                           shell_complete=complete_instance)


@click.group()
def instance() -> None:
    """Machines in subnets, besides a subnet's own (in AWS: aws ec2 run-instances).

    \b
    Example:
      vpcctl instance add --vpc vpc1 --subnet public --name web1
    """


def _site(vpc: str, subnet: str, name: str) -> Site:
    # Without a name, it would be the subnet's own machine.
    return Site(vpc, subnet, naming.check_name(name, "machine"))


@instance.command()
@vpc_option()
@subnet_option
@new_name_option
@click.option("--address", "addresses", type=Parsed(parse_address), multiple=True, metavar="ADDRESS",
              help="Its address (default: the lowest free one, .4 or higher); more by repeating it.")
@click.option("--forwards", is_flag=True,
              help="It may send and get packets of others (in AWS: no source/destination check).")
@click.option("--group", "groups", multiple=True, metavar="NAME", shell_complete=completing(Group),
              help="A group that it is in from the start; more by repeating it.")
@changing
def add(context: Context, vpc: str, subnet: str, name: str, addresses: tuple[IPv4Address, ...],
        forwards: bool, groups: tuple[str, ...], as_json: bool) -> None:
    """Add a machine to a subnet (in AWS: run-instances).

    \b
    Example:
      vpcctl instance add --vpc vpc1 --subnet public --name web1
      vpcctl instance add --vpc vpc1 --subnet public --name web2 --address 10.0.1.20
      vpcctl instance add --vpc vpc1 --subnet public --name web3 --group web
    """
    site = _site(vpc, subnet, name)
    change = managers.InstanceManager(context).add(site, addresses, forwards, groups)
    where = find_endpoint(change.topology, site)
    told = f"({_listed(where)})"
    report(change, as_json, "instance", lambda change: _view(context, site),
           f"machine '{name}' added to {vpc}/{subnet} {told}", f"machine '{name}' already exists {told}")


def _listed(where: Endpoint) -> str:
    return ", ".join(map(str, where.ipv4))


def _view(context: Context, site: Site) -> dict[str, Any]:
    return plain.instance(managers.InstanceManager(context).show(site))


@instance.command("list")
@vpc_option(required=False)
@click.option("--subnet", metavar="NAME", help="The subnet; needs --vpc.", shell_complete=complete_subnet)
@reading
def list_instances(context: Context, vpc: str | None, subnet: str | None, as_json: bool) -> None:
    """List the machines, all or those of one VPC or subnet (in AWS: describe-instances).

    \b
    Example:
      vpcctl instance list --vpc vpc1
    """
    if subnet is not None and vpc is None:
        raise BadInput("--subnet needs --vpc", "several VPCs may have a subnet of that name")
    found = [plain.instance(one) for one in managers.InstanceManager(context).list(vpc, subnet)]
    if as_json:
        output.document("instances", found)
        return
    tables.instances(found, "no machines besides the subnets' own; add one: "
                            "vpcctl instance add --vpc vpc1 --subnet public --name web1")


@instance.command()
@vpc_option()
@subnet_option
@name_option
@reading
def show(context: Context, vpc: str, subnet: str, name: str, as_json: bool) -> None:
    """Show everything about one machine (in AWS: describe-instances, describe-network-interfaces).

    Beside each part is the plain command that shows the same.

    \b
    Example:
      vpcctl instance show --vpc vpc1 --subnet public --name web1
    """
    view = plain.instance_shown(managers.InstanceManager(context).show(_site(vpc, subnet, name)))
    if as_json:
        output.document("instance", view)
    else:
        tables.instance(view)


@instance.command()
@vpc_option()
@subnet_option
@name_option
@changing
def delete(context: Context, vpc: str, subnet: str, name: str, as_json: bool) -> None:
    """Delete a machine and everything in it (in AWS: terminate-instances).

    \b
    Example:
      vpcctl instance delete --vpc vpc1 --subnet public --name web1
    """
    change = managers.InstanceManager(context).delete(_site(vpc, subnet, name))
    report(change, as_json, "instance", lambda _: {"vpc": vpc, "subnet": subnet, "name": name},
           f"machine '{name}' deleted from {vpc}/{subnet}",
           f"machine '{name}' does not exist in {vpc}/{subnet}")
