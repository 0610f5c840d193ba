"""`vpcctl group`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import completing
from vpcctl_lib.cli.params import FileName, at_machine, changing, deleted, reading, report, vpc_option
from vpcctl_lib.model import groups
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.policies import Group

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

new_name_option = click.option("--name", required=True, metavar="NAME", help="The group.")
name_option = click.option("--name", required=True, metavar="NAME", help="The group.",
                           shell_complete=completing(Group))


@click.group()
def group() -> None:
    """Security groups: rules for the machines that are in them (in AWS: security groups).

    A machine in groups gets what any of them allows, and nothing else. Its subnet's policy decides only
    as long as it is in none.

    \b
    Example:
      vpcctl group create --vpc vpc1 --name data
      vpcctl group apply --vpc vpc1 --name data --policy data.json
      vpcctl group join --vpc vpc1 --subnet private --instance db --name data
    """


def _view(change: Change, vpc: str, name: str) -> dict[str, Any]:
    # Imported late, here and below: a text needs no view.
    from vpcctl_lib.managers.group import listed
    from vpcctl_lib.views import grouped

    found, _ = groups.find_group(change.topology, vpc, name)
    return grouped.group(next(one for one in listed(change.topology, found) if one.group.name == name))


@group.command()
@vpc_option()
@new_name_option
@changing
def create(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Create a group without rules: it lets nothing in, and everything out (in AWS: create-security-group).

    \b
    Example:
      vpcctl group create --vpc vpc1 --name web
    """
    change = managers.GroupManager(context).create(vpc, name)
    report(change, as_json, "group", lambda change: _view(change, vpc, name),
           f"group '{name}' created in VPC '{vpc}'", f"group '{name}' already exists in VPC '{vpc}'")


@group.command("list")
@vpc_option(required=False)
@reading
def list_groups(context: Context, vpc: str | None, as_json: bool) -> None:
    """List the groups, all or those of one VPC (in AWS: describe-security-groups).

    \b
    Example:
      vpcctl group list --vpc vpc1
    """
    from vpcctl_lib.views import grouped

    found = [grouped.group(one) for one in managers.GroupManager(context).list(vpc)]
    if as_json:
        output.document("groups", found)
    else:
        tables.groups(found, "no groups; create one: vpcctl group create --vpc vpc1 --name web")


@group.command()
@vpc_option()
@name_option
@reading
def show(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Show a group: members, rules, and packets of all members (in AWS: describe-security-group-rules).

    \b
    Example:
      vpcctl group show --vpc vpc1 --name web
    """
    from vpcctl_lib.views import grouped

    found = managers.GroupManager(context).show(vpc, name)
    for doubt in found.doubts:
        output.note(doubt)
    view = grouped.shown(found)
    if as_json:
        output.document("group", view)
    else:
        tables.group(view)


@group.command()
@vpc_option()
@name_option
@changing
def delete(context: Context, vpc: str, name: str, as_json: bool) -> None:
    """Delete a group that has no members and that no other group names (in AWS: delete-security-group).

    \b
    Example:
      vpcctl group delete --vpc vpc1 --name web
    """
    deleted(managers.GroupManager(context).delete(vpc, name), as_json, "group", "group", vpc, name)


@group.command()
@vpc_option()
@name_option
@click.option("--policy", required=True, type=FileName(path_type=Path), metavar="FILE",
              help="Its rules in JSON or YAML.")
@changing
def apply(context: Context, vpc: str, name: str, policy: Path, as_json: bool) -> None:
    """Put a group's rules in force; they replace the previous ones (in AWS: modify-security-group-rules).

    The file is like that of `firewall apply`, but has no rules that deny. A source or destination may also
    be group:NAME: the members of that group, or of a peered VPC's, group:VPC/NAME.

    \b
    Example:
      vpcctl group apply --vpc vpc1 --name data --policy data.json
    """
    change = managers.GroupManager(context).apply(vpc, name, policy)
    told = f"policy {policy} is in force in group '{name}' of VPC '{vpc}'"
    report(change, as_json, "group", lambda change: _view(change, vpc, name), told, told)


@group.command()
@at_machine
@name_option
@changing
def join(context: Context, site: Site, name: str, as_json: bool) -> None:
    """Put a machine into a group (in AWS: modify-instance-attribute --groups).

    \b
    Example:
      vpcctl group join --vpc vpc1 --subnet public --instance web1 --name web
    """
    change = managers.GroupManager(context).join(site, name)
    report(change, as_json, "member", lambda change: _member(change, site),
           f"{site} is in group '{name}'", f"{site} is in group '{name}'")


@group.command()
@at_machine
@name_option
@changing
def leave(context: Context, site: Site, name: str, as_json: bool) -> None:
    """Take a machine out of a group (in AWS: modify-instance-attribute --groups).

    \b
    Example:
      vpcctl group leave --vpc vpc1 --subnet public --instance web1 --name web
    """
    change = managers.GroupManager(context).leave(site, name)
    report(change, as_json, "member", lambda change: _member(change, site),
           f"{site} is no longer in group '{name}'", f"{site} is not in group '{name}'")


def _member(change: Change, site: Site) -> dict[str, Any]:
    from vpcctl_lib.views import grouped

    _, subnet = find_subnet(change.topology, site.vpc, site.subnet)
    machine = subnet.machine(site.machine)
    return grouped.member(site, machine.groups if machine else ())
