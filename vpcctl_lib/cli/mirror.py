"""`vpcctl mirror`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_subnet, complete_target_machine, completing
from vpcctl_lib.cli.params import Parsed, at_machine, changing, report, showing, vpc_option
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model import mirroring
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.kinds import REGISTERED, Placed
from vpcctl_lib.model.lookup import find_subnet, find_vpc
from vpcctl_lib.model.mirrors import LAST_VNI, Mirror
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.views import things

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context


@click.group()
def mirror() -> None:
    """Copies of a machine's packets for another machine (in AWS: traffic mirroring).

    \b
    Example:
      vpcctl mirror create --vpc vpc1 --subnet public --instance web1 --to tools/sniffer
    """


@mirror.command()
@at_machine
@click.option("--to", required=True, metavar="SUBNET/NAME", type=Parsed(mirroring.parse_target),
              shell_complete=complete_target_machine,
              help="The machine of the same VPC that gets the copies.")
@click.option("--vni", type=click.IntRange(1, LAST_VNI), metavar="NUMBER",
              help="The number of the VXLAN (default: the lowest free one of the VPC).")
@click.option("--plain", is_flag=True, help="Copy the frames as they are, for a MAC that nobody has.")
@changing
def create(context: Context, site: Site, to: str, vni: int | None, plain: bool, as_json: bool) -> None:
    """Copy all that a machine sends and gets to another one (in AWS: create-traffic-mirror-session).

    As in AWS, each copy comes inside of a UDP packet for port 4789 (VXLAN), from the VPC's router. The policy
    or groups of the machine that gets them must let that in, unless a tool captures them at the link.

    \b
    Example:
      vpcctl mirror create --vpc vpc1 --subnet public --instance web1 --to tools/sniffer
      vpcctl mirror create --vpc vpc1 --subnet public --to tools --vni 77
    """
    change = managers.MirrorManager(context).create(site, to, vni or 0, plain)
    how = _found(change.topology, site, to).how
    report(change, as_json, "mirror", lambda change: _view(change, site, to),
           f"{site.vpc}/{to} gets a copy of the packets of {site} ({how})",
           f"{site.vpc}/{to} already gets a copy of the packets of {site} ({how})")


def _found(topology: Topology, site: Site, to: str) -> Mirror:
    return next(one for one in mirroring.mirrors_of(find_vpc(topology, site.vpc), site) if one.to == to)


def _view(change: Change, site: Site, to: str) -> dict[str, Any]:
    one = _found(change.topology, site, to)
    return things.thing(change.topology, Placed(REGISTERED[Mirror], (*site, to), one))


@mirror.command("list")
@vpc_option(required=False)
@click.option("--subnet", metavar="NAME", help="The subnet; needs --vpc.", shell_complete=complete_subnet)
@showing
def list_mirrors(topology: Topology, vpc: str | None, subnet: str | None, as_json: bool) -> None:
    """List the mirrors, all or those of one VPC or subnet (in AWS: describe-traffic-mirror-sessions).

    \b
    Example:
      vpcctl mirror list --vpc vpc1
    """
    if subnet is not None and vpc is None:
        raise BadInput("--subnet needs --vpc", "several VPCs may have a subnet of that name")
    if vpc and subnet:
        find_subnet(topology, vpc, subnet)
    elif vpc:
        find_vpc(topology, vpc)
    found = [one for one in things.listed(topology, REGISTERED[Mirror], vpc or "")
             if subnet in (None, one["subnet"])]
    if as_json:
        output.document("mirrors", found)
        return
    output.table(("MACHINE", "TO", "ADDRESS", "VNI", "PLAIN"), map(_row, found),
                 "no mirrors; create one: vpcctl mirror create --vpc vpc1 --subnet public --to tools/sniffer")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    site = Site(one["vpc"], one["subnet"], one["instance"] or "")
    return (str(site), f"{one['vpc']}/{one['to']}", one["address"], str(one["vni"]),
            "yes" if one["plain"] else "-")


@mirror.command()
@at_machine
@click.option("--to", metavar="SUBNET/NAME", type=Parsed(mirroring.parse_target),
              shell_complete=completing(Mirror),
              help="The machine that gets the copies (default: the only one).")
@changing
def delete(context: Context, site: Site, to: str | None, as_json: bool) -> None:
    """Copy a machine's packets no more (in AWS: delete-traffic-mirror-session).

    \b
    Example:
      vpcctl mirror delete --vpc vpc1 --subnet public --instance web1
      vpcctl mirror delete --vpc vpc1 --subnet public --instance web1 --to tools/sniffer
    """
    change = managers.MirrorManager(context).delete(site, to)
    view = {"vpc": site.vpc, "subnet": site.subnet, "instance": site.machine or None, "to": to}
    where = f" to {site.vpc}/{to}" if to else ""
    report(change, as_json, "mirror", lambda _: view, f"the packets of {site} are no longer copied{where}",
           f"the packets of {site} are not copied{where}")
