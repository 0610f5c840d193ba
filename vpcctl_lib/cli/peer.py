"""`vpcctl peer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_vpc
from vpcctl_lib.cli.params import changing, report, showing
from vpcctl_lib.model.topology import Peering, Topology
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context

F = TypeVar("F", bound=Callable[..., Any])


def both_options(function: F) -> F:
    """--vpc1 and --vpc2."""
    for option in ("--vpc2", "--vpc1"):
        function = click.option(option, required=True, metavar="NAME", help="One of the two VPCs.",
                                shell_complete=complete_vpc)(function)
    return function


@click.group()
def peer() -> None:
    """Peerings: routes between two VPCs, never through a third (in AWS: VPC peering connections).

    \b
    Example:
      vpcctl peer create --vpc1 vpc1 --vpc2 vpc2
    """


@peer.command()
@both_options
@changing
def create(context: Context, vpc1: str, vpc2: str, as_json: bool) -> None:
    """Peer two VPCs; their order does not matter (in AWS: create-vpc-peering-connection).

    \b
    Example:
      vpcctl peer create --vpc1 vpc1 --vpc2 vpc2
    """
    change = managers.PeerManager(context).create(vpc1, vpc2)
    report(change, as_json, "peering",
           lambda change: plain.peering(change.topology, Peering.between(vpc1, vpc2)),
           f"VPCs '{vpc1}' and '{vpc2}' are peered", f"VPCs '{vpc1}' and '{vpc2}' are peered")


@peer.command()
@both_options
@changing
def delete(context: Context, vpc1: str, vpc2: str, as_json: bool) -> None:
    """End a peering at once, open connections included (in AWS: delete-vpc-peering-connection).

    \b
    Example:
      vpcctl peer delete --vpc1 vpc1 --vpc2 vpc2
    """
    change = managers.PeerManager(context).delete(vpc1, vpc2)
    report(change, as_json, "peering", lambda _: {"vpc1": min(vpc1, vpc2), "vpc2": max(vpc1, vpc2)},
           f"VPCs '{vpc1}' and '{vpc2}' are no longer peered", "not peered")


@peer.command("list")
@showing
def list_peerings(topology: Topology, as_json: bool) -> None:
    """List the peerings (in AWS: describe-vpc-peering-connections).

    \b
    Example:
      vpcctl peer list
    """
    found = [plain.peering(topology, one) for one in topology.peerings]
    if as_json:
        output.document("peerings", found)
        return
    output.table(("VPC1", "CIDR1", "VPC2", "CIDR2"),
                 [(one["vpc1"], ", ".join((one["cidr1"], *one["cidrs1"])),
                   one["vpc2"], ", ".join((one["cidr2"], *one["cidrs2"]))) for one in found],
                 "no peerings; create one: vpcctl peer create --vpc1 vpc1 --vpc2 vpc2")
