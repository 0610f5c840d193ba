"""`vpcctl firewall`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.params import (
    F,
    FileName,
    at_machine,
    changing,
    reading,
    report,
    subnet_option,
    vpc_option,
)
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.policies import Action, Protocol
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
    """Put a policy in force; it replaces the previous one (in AWS: modify-security-group-rules).

    \b
    Example:
      vpcctl firewall apply --vpc vpc1 --subnet public --policy policy.json
    """
    change = managers.FirewallManager(context).apply(vpc, subnet, policy)
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, vpc, subnet)),
           f"policy {policy} is in force in {vpc}/{subnet}", f"policy {policy} is in force in {vpc}/{subnet}")


def rule_options(function: F) -> F:
    """The options of a rule."""
    for option in reversed((
            click.option("--protocol", required=True, type=click.Choice([kind.value for kind in Protocol]),
                         help="What the rule matches."),
            click.option("--port", metavar="N|A-B", help="A port or a range of ports. All if missing."),
            click.option("--source", metavar="CIDR", help="A CIDR or an address. Anywhere if missing."))):
        function = option(function)
    return function


@firewall.command()
@vpc_option()
@subnet_option
@rule_options
@changing
def allow(context: Context, vpc: str, subnet: str, as_json: bool, **rule: str | None) -> None:
    """Allow what comes in, by a rule at the end of the policy (in AWS: authorize-security-group-ingress).

    A subnet without a policy is open: its first rule that allows something denies everything else.

    \b
    Example:
      vpcctl firewall allow --vpc vpc1 --subnet public --protocol tcp --port 80
      vpcctl firewall allow --vpc vpc1 --subnet public --protocol tcp --port 22 --source 10.0.2.0/24
    """
    _add(context, (vpc, subnet), Action.ALLOW, rule, as_json)


@firewall.command()
@vpc_option()
@subnet_option
@rule_options
@changing
def deny(context: Context, vpc: str, subnet: str, as_json: bool, **rule: str | None) -> None:
    """Deny what comes in, by a rule at the end of the policy (in AWS: a rule of a network ACL).

    Rules before it decide first. In a subnet without a policy, everything else stays open. So do open
    connections, until they end.

    \b
    Example:
      vpcctl firewall deny --vpc vpc1 --subnet public --protocol tcp --port 8000-8100
    """
    _add(context, (vpc, subnet), Action.DENY, rule, as_json)


def _add(context: Context, place: tuple[str, str], action: Action, rule: dict[str, str | None],
         as_json: bool) -> None:
    given: dict[str, object] = {name: value for name, value in rule.items() if value is not None}
    port, source = rule["port"], f" from {rule['source']}" if rule["source"] else ""
    words = f"{rule['protocol']}{f' {port}' if port else ''}{source}"
    if port is not None and port.isascii() and port.isdigit():
        given["port"] = int(port)
    change = managers.FirewallManager(context).add(*place, {**given, "action": action.value})
    where, verb = "/".join(place), "allows" if action is Action.ALLOW else "denies"
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, *place)),
           f"the policy of {where} now {verb} {words}", f"the policy of {where} {verb} {words}")


@firewall.command()
@at_machine
@reading
def show(context: Context, site: Site, as_json: bool) -> None:
    """Show the policy in force, with each rule's packets and bytes (in AWS: describe-security-group-rules).

    A machine in groups has their rules instead.

    \b
    Example:
      vpcctl firewall show --vpc vpc1 --subnet public
    """
    force = managers.FirewallManager(context).show(site)
    view = plain.firewall(site.vpc, force)
    if force.doubt:
        output.note(force.doubt)
    if as_json:
        output.document("firewall", view)
    elif view["groups"]:
        tables.groups_of(view)
    elif view["policy"] is None:
        output.result(f"{site} has no policy: all traffic is open")
    else:
        tables.policy(view)


@firewall.command()
@vpc_option()
@subnet_option
@changing
def clear(context: Context, vpc: str, subnet: str, as_json: bool) -> None:
    """Remove the policy: the subnet is open again (in AWS: revoke all rules, allow all).

    \b
    Example:
      vpcctl firewall clear --vpc vpc1 --subnet public
    """
    change = managers.FirewallManager(context).clear(vpc, subnet)
    report(change, as_json, "subnet", lambda change: plain.subnet(*find_subnet(change.topology, vpc, subnet)),
           f"{vpc}/{subnet} no longer has a policy", f"{vpc}/{subnet} has no policy")
