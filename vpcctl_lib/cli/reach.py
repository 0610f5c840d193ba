"""`vpcctl reach`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_place
from vpcctl_lib.cli.params import PORT, reading
from vpcctl_lib.errors import ExitCode
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Protocol

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context
    from vpcctl_lib.reach.verdict import Report

PROTOCOLS = [protocol.value for protocol in (Protocol.TCP, Protocol.UDP, Protocol.ICMP)]


@click.command()
@click.option("--from", "start", metavar="SENDER", shell_complete=complete_place,
              help="A machine (VPC/SUBNET or VPC/SUBNET/NAME), host or internet (default: every machine).")
@click.option("--to", required=True, metavar="TARGET", shell_complete=complete_place,
              help="A machine, a VPC's router (VPC), an address, a name of a VPC's DNS, host or internet.")
@click.option("--port", type=PORT, help="The port, for tcp and udp.")
@click.option("--protocol", type=click.Choice(PROTOCOLS),
              help="The protocol (default: tcp with --port, else icmp).")
@click.option("-4", "--ipv4", "family", flag_value=Family.INET.value, help="By IPv4, which is the default.")
@click.option("-6", "--ipv6", "family", flag_value=Family.INET6.value,
              help="By IPv6; an address of IPv6 needs no option.")
@click.option("--probe", is_flag=True, help="Also send one real packet, and say whether it agrees.")
@reading
def reach(context: Context, start: str | None, to: str, port: int | None, protocol: str | None,
          family: str | None, probe: bool, as_json: bool) -> int:
    """Say whether a packet gets there, and how to open what stops it (in AWS: Reachability Analyzer).

    Hop by hop, it reads the live kernel (routes, cables, rules, settings); it sends nothing, unless --probe
    is given. Exit code 0 if it gets there and its answer back; 1 if not, or if that is unknown.

    \b
    Example:
      vpcctl reach --from vpc1/public --to vpc1/private --port 8080
      vpcctl reach --from vpc1/public --to internet -6
    """
    # Imported late: completion does not need it.
    from vpcctl_lib.managers.reach import ReachManager

    chosen = Protocol(protocol) if protocol else None
    by = Family(family) if family else None
    manager = ReachManager(context)
    if start is not None:
        return _tell(manager.one(start, to, chosen, port, probe, by), as_json)
    return _tell_all(manager.all(to, chosen, port, probe, by), as_json)


def _tell(report: Report, as_json: bool) -> int:
    from vpcctl_lib.cli import reach_views
    from vpcctl_lib.views import reach as views

    if as_json:
        output.document("reach", views.report(report))
    else:
        for line in reach_views.lines(report, output.draws(), output.width()):
            output.result(line)
    return _code([report])


def _tell_all(reports: Sequence[Report], as_json: bool) -> int:
    from vpcctl_lib.cli import reach_views
    from vpcctl_lib.views import reach as views

    if as_json:
        output.document("reach", [views.report(report) for report in reports])
    else:
        rows = [reach_views.row(report, output.draws()) for report in reports]
        output.table(("FROM", "VERDICT", "CODE", "WHERE", "FIX"), rows, "there is no other subnet",
                     below="FIX")
    return _code(reports)


def _code(reports: Sequence[Report]) -> int:
    reached = all(report.verdict.value == "reachable" for report in reports)
    return ExitCode.DONE if reached else ExitCode.FAILED
