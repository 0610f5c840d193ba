"""`vpcctl eip`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import completing
from vpcctl_lib.cli.params import Parsed, at_machine, changing, report, showing
from vpcctl_lib.model import elastic
from vpcctl_lib.model.addressing import parse_address, parse_network
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.kinds import REGISTERED, Placed
from vpcctl_lib.model.outside import Elastic, Pool
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.views import things

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context

address_option = click.option("--address", required=True, type=Parsed(parse_address), metavar="ADDRESS",
                              help="The elastic address.", shell_complete=completing(Elastic))


@click.group()
def eip() -> None:
    """Elastic addresses: each is one address of the outside for one machine (in AWS: elastic IP addresses).

    \b
    Example:
      vpcctl eip pool add 198.51.100.0/28
      vpcctl eip allocate
      vpcctl eip associate --address 198.51.100.0 --vpc vpc1 --subnet public --instance web1
    """


@eip.group()
def pool() -> None:
    """Pools: the addresses that the network outside leads to this host (in AWS: public IPv4 pools).

    \b
    Example:
      vpcctl eip pool add 198.51.100.0/28
    """


@pool.command("add")
@click.argument("cidr", type=Parsed(parse_network), metavar="CIDR")
@click.option("--interface", metavar="IF", help="The link of the host that leads to who uses them "
                                                "(default: the one that leads to the internet).")
@changing
def add_pool(context: Context, cidr: IPv4Network, interface: str | None, as_json: bool) -> None:
    """Add a pool of addresses that machines may get (in AWS: provision-public-ipv4-pool-cidr).

    The network outside must lead them to this host: it answers ARP for those that machines have.

    \b
    Example:
      vpcctl eip pool add 198.51.100.0/28
      vpcctl eip pool add 203.0.113.64/28 --interface eth1
    """
    change = managers.EipManager(context).add_pool(cidr, interface)
    found = next(one for one in change.topology.pools if one.cidr == cidr)
    report(change, as_json, "pool", lambda change: _view(change.topology, found),
           f"pool {cidr} added on {found.interface}", f"pool {cidr} already exists on {found.interface}")


@pool.command("delete")
@click.argument("cidr", type=Parsed(parse_network), metavar="CIDR", shell_complete=completing(Pool))
@changing
def delete_pool(context: Context, cidr: IPv4Network, as_json: bool) -> None:
    """Delete a pool of which no address is allocated (in AWS: delete-public-ipv4-pool).

    \b
    Example:
      vpcctl eip pool delete 198.51.100.0/28
    """
    change = managers.EipManager(context).delete_pool(cidr)
    report(change, as_json, "pool", lambda _: {"name": str(cidr), "cidr": str(cidr)},
           f"pool {cidr} deleted", f"pool {cidr} does not exist")


@pool.command("list")
@showing
def list_pools(topology: Topology, as_json: bool) -> None:
    """List the pools (in AWS: describe-public-ipv4-pools).

    \b
    Example:
      vpcctl eip pool list
    """
    found = things.listed(topology, REGISTERED[Pool])
    if as_json:
        output.document("pools", found)
    else:
        output.table(("CIDR", "INTERFACE", "ALLOCATED"),
                     [(one["cidr"], one["interface"], str(one["allocated"])) for one in found],
                     "no pools; add one: vpcctl eip pool add CIDR")


@eip.command()
@click.option("--address", type=Parsed(parse_address), metavar="ADDRESS",
              help="This one of a pool (default: the lowest free one).")
@changing
def allocate(context: Context, address: IPv4Address | None, as_json: bool) -> None:
    """Allocate an elastic address of a pool (in AWS: allocate-address).

    \b
    Example:
      vpcctl eip allocate
    """
    change, found = managers.EipManager(context).allocate(address)
    report(change, as_json, "eip", lambda change: _eip(change.topology, found),
           f"elastic address {found} allocated", f"elastic address {found} is already allocated")


@eip.command()
@address_option
@at_machine
@changing
def associate(context: Context, address: IPv4Address, site: Site, as_json: bool) -> None:
    """Give an elastic address to a machine, whoever had it (in AWS: associate-address).

    From then on the machine is reached by it from outside, and seen by it outside.

    \b
    Example:
      vpcctl eip associate --address 198.51.100.0 --vpc vpc1 --subnet public --instance web1
    """
    change = managers.EipManager(context).associate(address, site)
    report(change, as_json, "eip", lambda change: _eip(change.topology, address),
           f"{site} has elastic address {address}", f"{site} already has elastic address {address}")


@eip.command()
@address_option
@changing
def dissociate(context: Context, address: IPv4Address, as_json: bool) -> None:
    """Take an elastic address from its machine; it stays allocated (in AWS: disassociate-address).

    \b
    Example:
      vpcctl eip dissociate --address 198.51.100.0
    """
    change = managers.EipManager(context).dissociate(address)
    report(change, as_json, "eip", lambda change: _eip(change.topology, address),
           f"elastic address {address} is free", f"elastic address {address} is free")


@eip.command()
@address_option
@changing
def release(context: Context, address: IPv4Address, as_json: bool) -> None:
    """Give an elastic address back to its pool (in AWS: release-address).

    \b
    Example:
      vpcctl eip release --address 198.51.100.0
    """
    change = managers.EipManager(context).release(address)
    report(change, as_json, "eip", lambda _: {"address": str(address)},
           f"elastic address {address} released", f"elastic address {address} is not allocated")


@eip.command("list")
@showing
def list_eips(topology: Topology, as_json: bool) -> None:
    """List the elastic addresses, and who has them (in AWS: describe-addresses).

    \b
    Example:
      vpcctl eip list
    """
    found = things.listed(topology, REGISTERED[Elastic])
    if as_json:
        output.document("eips", found)
        return
    columns = ("address", "associated", "private", "pool", "interface")
    output.table(("ADDRESS", "ASSOCIATED", "PRIVATE ADDRESS", "POOL", "INTERFACE", "STATE"),
                 [(*(one[key] or "-" for key in columns), _state(one)) for one in found],
                 "no elastic addresses; allocate one: vpcctl eip allocate")
    for one in found:
        if one["idle"]:
            output.note(f"{one['address']} does not work for {one['associated']}: {one['idle']}")


def _state(one: dict[str, Any]) -> str:
    return "works" if one["works"] else "idle" if one["associated"] else "free"


def _eip(topology: Topology, address: IPv4Address) -> dict[str, Any]:
    return _view(topology, elastic.allocated(topology, address) or Elastic(address))


def _view(topology: Topology, one: Pool | Elastic) -> dict[str, Any]:
    return things.thing(topology, Placed(REGISTERED[type(one)], (one.name,), one))
