"""`vpcctl dhcp`."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli.params import Parsed, changing, disabled, report, vpc_option
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.names import parse_lease

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context


@click.group()
def dhcp() -> None:
    """Addresses for machines that ask for theirs, such as virtual machines (in AWS: DHCP option sets).

    \b
    Example:
      vpcctl dns enable --vpc vpc1
      vpcctl dhcp enable --vpc vpc1
    """


def _view(vpc: str, change: Change) -> dict[str, Any]:
    # Imported late: a text needs no view.
    from vpcctl_lib.views import names as views

    return views.leases(change.topology, vpc) or {"vpc": vpc}


@dhcp.command()
@vpc_option()
@click.option("--ntp", type=Parsed(parse_address), metavar="ADDRESS", multiple=True,
              help="A time server that it tells machines of; repeatable.")
@click.option("--lease", type=Parsed(parse_lease), metavar="TIME",
              help="How long a lease lasts, such as 12h (default: 1h).")
@changing
def enable(context: Context, vpc: str, ntp: tuple[IPv4Address, ...], lease: int | None,
           as_json: bool) -> None:
    """Turn DHCP on in a VPC: a machine gets the address that it has, a stranger nothing (in AWS: always on).

    The VPC must have DNS, since the same server does both.

    \b
    Example:
      vpcctl dhcp enable --vpc vpc1
      vpcctl dhcp enable --vpc vpc1 --ntp 10.0.2.10 --lease 12h
    """
    change = managers.DhcpManager(context).enable(vpc, tuple(ntp), lease)
    report(change, as_json, "dhcp", lambda change: _view(vpc, change), f"DHCP enabled for VPC '{vpc}'",
           f"DHCP is already enabled for VPC '{vpc}'")


@dhcp.command()
@vpc_option()
@changing
def disable(context: Context, vpc: str, as_json: bool) -> None:
    """Turn DHCP off in a VPC; machines keep their addresses (in AWS: always on).

    \b
    Example:
      vpcctl dhcp disable --vpc vpc1
    """
    disabled(managers.DhcpManager(context).disable(vpc), as_json, "dhcp", vpc)
