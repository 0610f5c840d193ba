"""`vpcctl acl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import completing
from vpcctl_lib.cli.params import FileName, changing, deleted, reading, report, subnet_option, vpc_option
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.policies import Acl

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The network ACL.")
name_option = click.option("--name", required=True, metavar="NAME", help="The network ACL.",
                           shell_complete=completing(Acl))


@click.group()
def acl() -> None:
    """Network ACLs: numbered rules at the edge of subnets, packet by packet (in AWS: network ACLs).

    They are asked besides policies and groups, and never inside a subnet. They know no connections: the
    answers, too, need a rule.

    \b
    Example:
      vpcctl acl create --vpc vpc1 --name web
      vpcctl acl apply --vpc vpc1 --name web --rules web.json
      vpcctl acl associate --vpc vpc1 --subnet public --name web
    """


def _view(change: Change, vpc: str, name: str) -> dict[str, Any]:
    # Imported late, here and below: a text needs no view.
    from vpcctl_lib.managers.acl import listed
    from vpcctl_lib.views import acls

    return acls.acl(listed(change.topology, vpc, name))


@acl.command()
@vpc_option()
@new_name_option
@changing
def create(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Create a network ACL without rules: it denies everything (in AWS: create-network-acl).

    \b
    Example:
      vpcctl acl create --vpc vpc1 --name web
    """
    change = managers.AclManager(context).create(vpc, name)
    report(change, as_json, "acl", lambda change: _view(change, vpc, name),
           f"network ACL '{name}' created in VPC '{vpc}'",
           f"network ACL '{name}' already exists in VPC '{vpc}'")


@acl.command("list")
@vpc_option(required=False)
@reading
def list_acls(context: Context, vpc: str | None, as_json: bool) -> None:
    """List the network ACLs, all or those of one VPC (in AWS: describe-network-acls).

    \b
    Example:
      vpcctl acl list --vpc vpc1
    """
    from vpcctl_lib.views import acls

    found = [acls.acl(one) for one in managers.AclManager(context).list(vpc)]
    if as_json:
        output.document("acls", found)
    else:
        tables.acls(found, "no network ACLs; create one: vpcctl acl create --vpc vpc1 --name web")


@acl.command()
@vpc_option()
@name_option
@reading
def show(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Show a network ACL: its subnets, rules, and the packets of each (in AWS: describe-network-acls).

    \b
    Example:
      vpcctl acl show --vpc vpc1 --name web
    """
    from vpcctl_lib.views import acls

    view = acls.shown(managers.AclManager(context).show(vpc, name))
    if as_json:
        output.document("acl", view)
    else:
        tables.acl(view)


@acl.command()
@vpc_option()
@name_option
@changing
def delete(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Delete a network ACL that no subnet has (in AWS: delete-network-acl).

    \b
    Example:
      vpcctl acl delete --vpc vpc1 --name web
    """
    deleted(managers.AclManager(context).delete(vpc, name), as_json, "acl", "network ACL", vpc, name)


@acl.command()
@vpc_option()
@name_option
@click.option("--rules", required=True, type=FileName(path_type=Path), metavar="FILE",
              help="Its rules in JSON or YAML.")
@changing
def apply(context: Context, vpc: str, name: str, rules: Path, as_json: bool) -> None:
    """Put a network ACL's rules in force; they replace the previous ones (in AWS: replace-network-acl-entry).

    The rule with the lowest number that matches a packet decides; what none matches is denied.

    \b
    Example:
      vpcctl acl apply --vpc vpc1 --name web --rules web.json
    """
    change = managers.AclManager(context).apply(vpc, name, rules)
    told = f"rules {rules} are in force in network ACL '{name}' of VPC '{vpc}'"
    report(change, as_json, "acl", lambda change: _view(change, vpc, name), told, told)


@acl.command()
@vpc_option()
@subnet_option
@name_option
@changing
def associate(context: Context, vpc: str, subnet: str, name: str, as_json: bool) -> None:
    """Put a network ACL at the edge of a subnet (in AWS: replace-network-acl-association).

    A subnet has one: it takes the place of the one before.

    \b
    Example:
      vpcctl acl associate --vpc vpc1 --subnet public --name web
    """
    change = managers.AclManager(context).associate(vpc, subnet, name)
    told = f"subnet '{vpc}/{subnet}' has network ACL '{name}'"
    report(change, as_json, "association", lambda change: _edge(change, vpc, subnet), told, told)


@acl.command()
@vpc_option()
@subnet_option
@click.option("--name", metavar="NAME", help="The network ACL that it has now, to be sure.",
              shell_complete=completing(Acl))
@changing
def dissociate(context: Context, vpc: str, subnet: str, name: str | None, as_json: bool) -> None:
    """Take the network ACL away from a subnet: everything passes (in AWS: the default network ACL).

    \b
    Example:
      vpcctl acl dissociate --vpc vpc1 --subnet public
    """
    change = managers.AclManager(context).dissociate(vpc, subnet, name)
    told = f"subnet '{vpc}/{subnet}' has no network ACL"
    report(change, as_json, "association", lambda change: _edge(change, vpc, subnet), told, told)


def _edge(change: Change, vpc: str, subnet: str) -> dict[str, Any]:
    from vpcctl_lib.views import acls

    return acls.edge(vpc, find_subnet(change.topology, vpc, subnet)[1])
