"""`vpcctl instance`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import complete_instance, complete_subnet, completing
from vpcctl_lib.cli.params import (
    Parsed,
    changing,
    parse_instance,
    reading,
    report,
    subnet_option,
    vpc_option,
)
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model import naming
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.guests import check_container, check_interface, check_path, check_tap, path_of
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.policies import Group
from vpcctl_lib.model.quantities import parse_rate
from vpcctl_lib.model.topology import Attachment
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The machine.")
name_option = click.option("--name", required=True, metavar="NAME", help="The machine.",
                           shell_complete=complete_instance)

addresses_option = click.option(
    "--address", "addresses", type=Parsed(parse_address), multiple=True, metavar="ADDRESS",
    help="Its address (default: the lowest free one, .4 or higher); more by repeating it.")
groups_option = click.option(
    "--group", "groups", multiple=True, metavar="NAME", shell_complete=completing(Group),
    help="A group that it is in from the start; more by repeating it.")


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
@addresses_option
@click.option("--forwards", is_flag=True,
              help="It may send and get packets of others (in AWS: no source/destination check).")
@groups_option
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


_NETNS, _PID, _CONTAINER, _TAP = "--netns", "--pid", "--container", "--tap"


@instance.command()
@vpc_option()
@subnet_option
@new_name_option
@click.option(_NETNS, type=Parsed(check_path), metavar="PATH", help="The path of a network namespace.")
@click.option(_PID, type=click.IntRange(1), metavar="PID", help="A process in the network namespace.")
@click.option(_CONTAINER, type=Parsed(check_container), metavar="CONTAINER",
              help="A container of Docker, Podman, nerdctl or crictl; as in docker:web if several have one.")
@click.option(_TAP, type=Parsed(check_tap), metavar="NAME",
              help="A tap that is made for a virtual machine, in a namespace of vpcctl's own; as in vm0.")
@click.option("--interface", default=naming.INSTANCE, show_default=True, type=Parsed(check_interface),
              metavar="NAME", help="What our link is called in there.")
@addresses_option
@groups_option
@changing
def attach(context: Context, vpc: str, subnet: str, name: str, netns: str | None, pid: int | None,
           container: str | None, tap: str | None, interface: str, addresses: tuple[IPv4Address, ...],
           groups: tuple[str, ...], as_json: bool) -> None:
    """Attach a container, a virtual machine or a network namespace (in AWS: attach-network-interface).

    Our link, its routes and the subnet's policy are added to what is in the namespace, and nothing of it is
    changed. `instance detach` takes them away again. A virtual machine gets a tap in a new namespace.

    \b
    Example:
      docker run -d --name web --network none nginx
      vpcctl instance attach --vpc vpc1 --subnet public --name web --container web
      vpcctl instance attach --vpc vpc1 --subnet public --name lab --netns /run/netns/lab
      vpcctl instance attach --vpc vpc1 --subnet public --name vm1 --tap vm0
    """
    site, manager = _site(vpc, subnet, name), managers.InstanceManager(context)
    path = _path(netns, pid, container, tap)
    if tap is None:
        change = manager.attach(site, Attachment(container or "", path, interface), addresses, groups)
    elif interface != naming.INSTANCE:
        raise BadInput(f"{_TAP} has no other link: --interface is for namespaces of others",
                       "leave --interface out")
    else:
        change = manager.plug(site, tap, addresses, groups)
    where = find_endpoint(change.topology, site)
    source = f"tap {where.tap}" if where.tap else f"{where.interface} of {where.attached.source}"
    told = f"({_listed(where)}, {source})"
    report(change, as_json, "instance", lambda change: _view(context, site),
           f"machine '{name}' attached to {vpc}/{subnet} {told}",
           f"machine '{name}' is already attached {told}")


def _path(netns: str | None, pid: int | None, container: str | None, tap: str | None) -> str:
    if sum(one is not None for one in (netns, pid, container, tap)) != 1:
        raise BadInput(f"exactly one of {_NETNS}, {_PID}, {_CONTAINER} and {_TAP} says what is attached",
                       f"write for example {_CONTAINER} web")
    return path_of(pid) if pid is not None else netns or ""


def _listed(where: Endpoint) -> str:
    return ", ".join(map(str, where.ipv4))


def _view(context: Context, site: Site) -> dict[str, Any]:
    return plain.instance(managers.InstanceManager(context).show(site))


NONE = "none"
"""Instead of a bandwidth: as much as there is."""


def _bandwidth(text: str) -> str:
    return NONE if text == NONE else parse_rate(text)


@instance.command("set")
@vpc_option()
@subnet_option
@click.option("--name", "--instance", callback=parse_instance, metavar="NAME",
              shell_complete=complete_instance, help="A machine of the subnet (default: its own).")
@click.option("--bandwidth", required=True, metavar="RATE|none", type=Parsed(_bandwidth),
              help="The most that it sends and the most that it gets in a second, such as 100mbit.")
@changing
def set_limits(context: Context, vpc: str, subnet: str, name: str, bandwidth: str, as_json: bool) -> None:
    """Limit how fast a machine sends and gets (in AWS: by its instance type).

    The limit is outside the machine, at its port of the VPC's bridge. Open connections stay.

    \b
    Example:
      vpcctl instance set --vpc vpc1 --subnet public --name web1 --bandwidth 100mbit
      vpcctl instance set --vpc vpc1 --subnet public --name web1 --bandwidth none
    """
    site = Site(vpc, subnet, name)
    limit = "" if bandwidth == NONE else bandwidth
    change = managers.InstanceManager(context).set(site, limit)
    report(change, as_json, "instance", lambda change: _view(context, site),
           f"machine {site} is now limited to {limit} each way" if limit else
           f"machine {site} is no longer limited",
           f"machine {site} is already limited to {limit} each way" if limit else
           f"machine {site} is not limited")


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
    site = _site(vpc, subnet, name)
    _report_gone(managers.InstanceManager(context).delete(site), site, as_json, "deleted")


def _report_gone(change: Change, site: Site, as_json: bool, how: str) -> None:
    report(change, as_json, "instance",
           lambda _: {"vpc": site.vpc, "subnet": site.subnet, "name": site.machine},
           f"machine '{site.machine}' {how} from {site.vpc}/{site.subnet}",
           f"machine '{site.machine}' does not exist in {site.vpc}/{site.subnet}")


@instance.command()
@vpc_option()
@subnet_option
@name_option
@changing
def detach(context: Context, vpc: str, subnet: str, name: str, as_json: bool) -> None:
    """Detach an attached machine: its namespace and its programs stay (in AWS: detach-network-interface).

    A tap goes, and so does its namespace with the programs in it, such as QEMU.

    \b
    Example:
      vpcctl instance detach --vpc vpc1 --subnet public --name web
    """
    site = _site(vpc, subnet, name)
    _report_gone(managers.InstanceManager(context).detach(site), site, as_json, "detached")
