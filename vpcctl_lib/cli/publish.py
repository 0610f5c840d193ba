"""`vpcctl publish`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_instance, complete_subnet
from vpcctl_lib.cli.params import Parsed, at_machine, changing, report, showing, vpc_option
from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.model import naming, publishing
from vpcctl_lib.model.addressing import Address
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.kinds import REGISTERED, Placed
from vpcctl_lib.model.lookup import find_subnet, find_vpc
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.views import things

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context


class Pair(NamedTuple):
    """The host's port, and that of the machine if it was given."""

    host: int
    machine: int | None

    def publish(self, protocol: str, listen: Address | None) -> Publish:
        """The host's port, and by default the same port of the machine; BadInput for what is no port."""
        to = self.host if self.machine is None else self.machine
        return publishing.checked(Publish(self.host, to, Transport(protocol), listen))


_PAIR = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?", re.ASCII)


def _pair(text: str) -> Pair:
    found = _PAIR.fullmatch(text)
    if found is None:
        raise BadInput(f"{quoted(repr(text))} is not a pair of ports",
                       "write the host's port and the machine's, for example 8080:80")
    return Pair(int(found[1]), int(found[2]) if found[2] else None)


port_option = click.option("--port", required=True, type=Parsed(_pair), metavar="HOST[:PORT]",
                           help="The host's port, and the machine's (default: the same).")
protocol_option = click.option("--protocol", type=click.Choice([Transport.TCP.value, Transport.UDP.value]),
                               default=Transport.TCP.value, show_default=True, help="Its protocol.")
listen_option = click.option("--listen", type=Parsed(publishing.parse_listen), metavar="ADDRESS",
                             help="Only this address of the host (default: all of them, of both families).")


@click.group()
def publish() -> None:
    """Ports of the host that lead to machines, as docker run -p (in AWS: a load balancer's listener).

    \b
    Example:
      vpcctl publish add --vpc vpc1 --subnet public --instance web1 --port 8080:80
    """


@publish.command()
@at_machine
@port_option
@protocol_option
@listen_option
@changing
def add(context: Context, site: Site, port: Pair, protocol: str, listen: Address | None,
        as_json: bool) -> None:
    """Lead a port of the host to a machine, which sees the client's address (in AWS: create-listener).

    The machine's policy decides as for anyone. Private subnets' machines can have ports, too.

    \b
    Example:
      vpcctl publish add --vpc vpc1 --subnet public --port 8080:80
      vpcctl publish add --vpc vpc1 --subnet public --instance dns --port 5353:53 --protocol udp
    """
    wanted = port.publish(protocol, listen)
    change = managers.PublishManager(context).add(site, wanted)
    told = f"port {wanted.name} of the host leads to port {wanted.to} of {site}"
    report(change, as_json, "publish", lambda change: _view(change.topology, site, wanted), told, told)


@publish.command("list")
@vpc_option(required=False)
@click.option("--subnet", metavar="NAME", help="The subnet; needs --vpc.", shell_complete=complete_subnet)
@showing
def list_ports(topology: Topology, vpc: str | None, subnet: str | None, as_json: bool) -> None:
    """List the ports of the host that lead to machines (in AWS: describe-listeners).

    \b
    Example:
      vpcctl publish list --vpc vpc1
    """
    if subnet is not None and vpc is None:
        raise BadInput("--subnet needs --vpc", "several VPCs may have a subnet of that name")
    _check(topology, vpc, subnet)
    found = [one for one in things.listed(topology, REGISTERED[Publish], vpc or "")
             if subnet in (None, one["subnet"])]
    if as_json:
        output.document("publishes", found)
        return
    output.table(("LISTEN", "PORT", "PROTOCOL", "MACHINE", "ADDRESS", "TO"), map(_row, found),
                 "no ports of the host lead to machines; lead one: "
                 "vpcctl publish add --vpc vpc1 --subnet public --port 8080:80")


def _check(topology: Topology, vpc: str | None, subnet: str | None) -> None:
    """Refuse what does not exist."""
    if vpc and subnet:
        find_subnet(topology, vpc, subnet)
    elif vpc:
        find_vpc(topology, vpc)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    site = Site(one["vpc"], one["subnet"], one["instance"] or "")
    return (one["listen"] or "*", str(one["port"]), one["protocol"], str(site), ", ".join(one["addresses"]),
            str(one["to"]))


@publish.command()
@vpc_option(required=False)
@click.option("--subnet", metavar="NAME", help="The subnet; needs --vpc.", shell_complete=complete_subnet)
@click.option("--instance", metavar="NAME", help="A machine of the subnet (default: its own).",
              shell_complete=complete_instance)
@port_option
@protocol_option
@listen_option
@changing
def delete(context: Context, vpc: str | None, subnet: str | None, instance: str | None, port: Pair,
           protocol: str, listen: Address | None, as_json: bool) -> None:
    """Take a port back; what is connected by it loses its connection (in AWS: delete-listener).

    The port is enough; where it leads need not be said.

    \b
    Example:
      vpcctl publish delete --port 8080
      vpcctl publish delete --vpc vpc1 --subnet public --instance dns --port 5353:53 --protocol udp
    """
    site = _site(vpc, subnet, instance)
    wanted = port.publish(protocol, listen)
    change = managers.PublishManager(context).delete(wanted, port.machine is not None, site)
    view = {"name": wanted.name, "port": wanted.port, "protocol": protocol,
            "listen": str(listen) if listen else None}
    report(change, as_json, "publish", lambda _: view, f"port {wanted.name} of the host leads nowhere now",
           f"port {wanted.name} of the host leads nowhere")


def _site(vpc: str | None, subnet: str | None, instance: str | None) -> Site | None:
    if vpc is None and subnet is None and instance is None:
        return None
    if vpc is None or subnet is None:
        raise BadInput("a machine is named by --vpc and --subnet together",
                       "name both, or neither: the port is enough")
    return Site(vpc, subnet, naming.check_name(instance, "machine") if instance is not None else "")


def _view(topology: Topology, site: Site, one: Publish) -> dict[str, Any]:
    return things.thing(topology, Placed(REGISTERED[Publish], (*site, one.name), one))
