"""`vpcctl nat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli.params import changing, report, vpc_option
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context


@click.group()
def nat() -> None:
    """NAT: the way of public subnets to the internet (in AWS: internet and NAT gateways).

    \b
    Example:
      vpcctl nat enable --vpc vpc1 --interface eth0
    """


def _report(change: Change, vpc: str, as_json: bool, done: str, unchanged: str) -> None:
    report(change, as_json, "vpc", lambda change: plain.vpc(change.topology, find_vpc(change.topology, vpc)),
           done, unchanged)


@nat.command()
@vpc_option()
@click.option("--interface", metavar="IF",
              help="The uplink; default: the link that packets leave by; auto: follow it.")
@changing
def enable(context: Context, vpc: str, interface: str | None, as_json: bool) -> None:
    """Let a VPC's public subnets out (in AWS: attach an internet gateway).

    \b
    Example:
      vpcctl nat enable --vpc vpc1
    """
    change = managers.NatManager(context).enable(vpc, interface)
    enabled = find_vpc(change.topology, vpc).nat
    uplink = enabled.interface if enabled else ""
    _report(change, vpc, as_json, f"NAT enabled for VPC '{vpc}' out of {uplink}",
            f"NAT is enabled for VPC '{vpc}' out of {uplink}")


@nat.command()
@vpc_option()
@changing
def disable(context: Context, vpc: str, as_json: bool) -> None:
    """Shut a VPC's way out (in AWS: detach the internet gateway).

    \b
    Example:
      vpcctl nat disable --vpc vpc1
    """
    change = managers.NatManager(context).disable(vpc)
    _report(change, vpc, as_json, f"NAT disabled for VPC '{vpc}'", f"VPC '{vpc}' has no NAT")
