"""`vpcctl dns`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import completing
from vpcctl_lib.cli.params import Parsed, changing, deleted, disabled, report, showing, vpc_option
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model import names
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.names import Addresses, Record
from vpcctl_lib.model.topology import Topology

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context


@click.group()
def dns() -> None:
    """Names for machines, and the way to everybody else's (in AWS: the Route 53 Resolver).

    \b
    Example:
      vpcctl dns enable --vpc vpc1
      vpcctl exec --vpc vpc1 --subnet public -- ping -c 1 private.vpc1.internal
    """


def _server(vpc: str, change: Change) -> dict[str, Any]:
    # Imported late, here and below: a text needs no view.
    from vpcctl_lib.views import names as views

    return views.server(change.topology, vpc) or {"vpc": vpc}


@dns.command()
@vpc_option()
@click.option("--domain", type=Parsed(names.parse_domain), metavar="DOMAIN",
              help="The end of all names in it (default: VPC.internal).")
@click.option("--forward", type=Parsed(names.parse_address), metavar="ADDRESS", multiple=True,
              help="A server that it asks for other names (default: those that the host asks); repeatable.")
@changing
def enable(context: Context, vpc: str, domain: str | None, forward: Addresses, as_json: bool) -> None:
    """Turn DNS on in a VPC, at 169.254.169.253 (in AWS: enableDnsSupport).

    Machines are called web1.public.vpc1.internal, a subnet's own machine public.vpc1.internal. For names
    elsewhere, it asks the host's servers, also for private subnets. It needs dnsmasq.

    \b
    Example:
      vpcctl dns enable --vpc vpc1
      vpcctl dns enable --vpc vpc1 --domain corp.internal --forward 1.1.1.1
    """
    change = managers.DnsManager(context).enable(vpc, domain, tuple(forward))
    found = find_vpc(change.topology, vpc)
    told = names.domain(vpc, found.dns) if found.dns else ""
    report(change, as_json, "dns", lambda change: _server(vpc, change),
           f"DNS enabled for VPC '{vpc}': names end in {told}",
           f"DNS is already enabled for VPC '{vpc}': names end in {told}")


@dns.command()
@vpc_option()
@changing
def disable(context: Context, vpc: str, as_json: bool) -> None:
    """Turn DNS off in a VPC, and forget its records (in AWS: enableDnsSupport false).

    \b
    Example:
      vpcctl dns disable --vpc vpc1
    """
    disabled(managers.DnsManager(context).disable(vpc), as_json, "dns", vpc)


@dns.command()
@vpc_option()
@click.option("--name", required=True, metavar="NAME", help="The name below the VPC's domain.")
@click.option("--address", "addresses", type=Parsed(names.parse_address), metavar="ADDRESS", multiple=True,
              help="Its address; repeatable.")
@click.option("--cname", metavar="NAME", help="The name below the same domain that it stands for.")
@changing
def add(context: Context, vpc: str, name: str, addresses: Addresses, cname: str | None,
        as_json: bool) -> None:
    """Add a record of your own: addresses, or another name in the VPC (in AWS: change-resource-record-sets).

    \b
    Example:
      vpcctl dns add --vpc vpc1 --name db --address 10.0.2.10
      vpcctl dns add --vpc vpc1 --name www --cname public
    """
    if bool(addresses) is bool(cname):
        raise BadInput("a record has addresses, or the name that it stands for",
                       "give --address or --cname")
    change = managers.DnsManager(context).add(vpc, name, tuple(addresses), cname or "")
    report(change, as_json, "record", lambda change: _record(change.topology, vpc, name),
           f"record '{name}' added to VPC '{vpc}'", f"record '{name}' already exists in VPC '{vpc}'")


def _record(topology: Topology, vpc: str, name: str) -> dict[str, Any]:
    from vpcctl_lib.views import names as views

    found = find_vpc(topology, vpc)
    below = names.parse_name(name, names.domain(vpc, found.dns)) if found.dns else name
    one = found.dns.record(below) if found.dns else None
    return views.record(found, one or Record(below))


@dns.command()
@vpc_option()
@click.option("--name", required=True, metavar="NAME", help="The record.", shell_complete=completing(Record))
@changing
def delete(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Delete a record of your own (in AWS: change-resource-record-sets).

    \b
    Example:
      vpcctl dns delete --vpc vpc1 --name db
    """
    deleted(managers.DnsManager(context).delete(vpc, name), as_json, "record", "record", vpc, name)


@dns.command("list")
@vpc_option(required=False)
@showing
def list_names(topology: Topology, vpc: str | None, as_json: bool) -> None:
    """List the names of machines, and your own records (in AWS: list-resource-record-sets).

    \b
    Example:
      vpcctl dns list --vpc vpc1
    """
    from vpcctl_lib.cli import tables
    from vpcctl_lib.views import names as views

    vpcs = [find_vpc(topology, vpc)] if vpc else topology.vpcs
    found = [view for one in vpcs for view in views.records(one)]
    if as_json:
        output.document("records", found)
    else:
        tables.records(found, "no names; turn DNS on: vpcctl dns enable --vpc vpc1")
