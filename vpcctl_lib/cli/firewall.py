"""`vpcctl firewall`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.params import FileName, changing, reading, report, subnet_option, vpc_option
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context


@click.group()
def firewall() -> None:
    """Firewall policies of subnets (in AWS: security groups).

    \b
    Example:
      vpcctl firewall apply --vpc vpc1 --subnet public --policy policy.json
    """


@firewall.command()
@vpc_option()
@subnet_option
@click.option("--policy", required=True, type=FileName(path_type=Path), metavar="FILE",
              help="A policy in JSON or YAML.")
@changing
def apply(context: Context, vpc: str, subnet: str, policy: Path, as_json: bool) -> None:
    """Put a policy in force instead of the one before (in AWS: authorize-security-group-ingress).

    \b
    Example:
      vpcctl firewall apply --vpc vpc1 --subnet public --policy policy.json
    """
    change = managers.FirewallManager(context).apply(vpc, subnet, policy)
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, vpc, subnet)),
           f"policy {policy} is in force in {vpc}/{subnet}", f"policy {policy} is in force in {vpc}/{subnet}")


@firewall.command()
@vpc_option()
@subnet_option
@reading
def show(context: Context, vpc: str, subnet: str, as_json: bool) -> None:
    """Show the policy in force, with each rule's packets and bytes (in AWS: describe-security-group-rules).

    \b
    Example:
      vpcctl firewall show --vpc vpc1 --subnet public
    """
    force = managers.FirewallManager(context).show(vpc, subnet)
    view = plain.firewall(vpc, force)
    if force.doubt:
        output.note(force.doubt)
    if as_json:
        output.document("firewall", view)
    elif view["policy"] is None:
        output.result(f"{vpc}/{subnet} has no policy: all traffic is open")
    else:
        tables.policy(view)


@firewall.command()
@vpc_option()
@subnet_option
@changing
def clear(context: Context, vpc: str, subnet: str, as_json: bool) -> None:
    """Take the policy away: the subnet is open again (in AWS: revoke all rules, allow all).

    \b
    Example:
      vpcctl firewall clear --vpc vpc1 --subnet public
    """
    change = managers.FirewallManager(context).clear(vpc, subnet)
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, vpc, subnet)),
           f"{vpc}/{subnet} has no policy any more", f"{vpc}/{subnet} has no policy")
