"""`vpcctl flow-log`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_instance, complete_subnet
from vpcctl_lib.cli.params import Settings, changing, reading, report, showing, vpc_option
from vpcctl_lib.model import flowlogs, naming
from vpcctl_lib.model.flowlogs import FlowLog, Form, Traffic
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.topology import Topology

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

F = TypeVar("F", bound=Callable[..., Any])


def _named(what: str) -> Callable[..., str]:
    def check(_: click.Context, __: click.Parameter, value: str | None) -> str:
        # An empty name, perhaps of an unset variable, is not all of them.
        return "" if value is None else naming.check_name(value, what)

    return check


def of_what(function: F) -> F:
    """A command about one log: adds --vpc, --subnet and --instance, passes what it is of."""
    @vpc_option()
    @click.option("--subnet", metavar="NAME", callback=_named("subnet"), shell_complete=complete_subnet,
                  help="Only this subnet (default: all of the VPC).")
    @click.option("--instance", metavar="NAME", callback=_named("machine"), shell_complete=complete_instance,
                  help="Only this machine of the subnet (default: all of it).")
    @functools.wraps(function)
    def command(*args: Any, subnet: str, instance: str, **kwargs: Any) -> Any:
        if instance and not subnet:
            raise click.UsageError("--instance needs --subnet: a machine is in a subnet")
        return function(*args, log=FlowLog(subnet, instance), **kwargs)

    return command  # type: ignore[return-value]


@click.group("flow-log")
def flow_log() -> None:
    """Records of the packets of machines, accepted and rejected (in AWS: VPC flow logs).

    \b
    Example:
      vpcctl flow-log create --vpc vpc1 --interval 10
      vpcctl flow-log show --vpc vpc1 -f
    """


def _view(vpc: str, log: FlowLog, change: Change) -> dict[str, Any]:
    # Imported late, here and below: a text needs no view.
    from vpcctl_lib.managers.flowlog import find_flow_log
    from vpcctl_lib.views import flows

    return flows.flow_log(*find_flow_log(change.topology, vpc, log))


@flow_log.command()
@of_what
@click.option("--traffic", type=click.Choice([one.value for one in Traffic]), default=Traffic.ALL.value,
              show_default=True, help="Which packets it has records of.")
@click.option("--interval", type=click.IntRange(flowlogs.SHORTEST, flowlogs.LONGEST), metavar="SECONDS",
              default=flowlogs.USUAL, show_default=True, help="How often a flow gets a record: 1 to 600.")
@click.option("--format", "form", type=click.Choice([one.value for one in Form]), default=Form.V2.value,
              show_default=True, help="AWS's version 2, or one JSON document a line.")
@changing
def create(context: Context, vpc: str, log: FlowLog, traffic: str, interval: int, form: str,
           as_json: bool) -> None:
    """Write a record for each flow and interval, of a VPC, a subnet or a machine (in AWS: create-flow-logs).

    \b
    Example:
      vpcctl flow-log create --vpc vpc1
      vpcctl flow-log create --vpc vpc1 --subnet public --traffic reject --interval 10 --format json
    """
    wanted = FlowLog(log.subnet, log.instance, Traffic(traffic), interval, Form(form))
    change = managers.FlowLogManager(context).create(vpc, wanted)
    what = flowlogs.path(vpc, log)
    report(change, as_json, "flow_log", lambda change: _view(vpc, log, change),
           f"flow log of {what} created: {traffic}, every {interval} s, as {form}",
           f"the flow log of {what} already exists")


@flow_log.command("list")
@vpc_option(required=False)
@click.pass_obj
@showing
def list_flow_logs(topology: Topology, settings: Settings, vpc: str | None, as_json: bool) -> None:
    """List the flow logs, and the interfaces of their machines (in AWS: describe-flow-logs).

    \b
    Example:
      vpcctl flow-log list --vpc vpc1
    """
    from vpcctl_lib.cli import tables
    from vpcctl_lib.managers.collecting import hindered
    from vpcctl_lib.views import flows

    vpcs = [find_vpc(topology, vpc)] if vpc else topology.vpcs
    found = [view for one in vpcs for view in flows.flow_logs(one)]
    if as_json:
        output.document("flow_logs", found)
    else:
        tables.flow_logs(found, "no flow logs; create one: vpcctl flow-log create --vpc vpc1")
        tables.interfaces(found)
    warning = hindered(settings.folder, topology)
    if warning:
        output.note(warning)


@flow_log.command()
@of_what
@changing
def delete(context: Context, vpc: str, log: FlowLog, as_json: bool) -> None:
    """Delete a flow log, with its records (in AWS: delete-flow-logs).

    \b
    Example:
      vpcctl flow-log delete --vpc vpc1
    """
    change = managers.FlowLogManager(context).delete(vpc, log)
    what = flowlogs.path(vpc, log)
    report(change, as_json, "flow_log",
           lambda _: {"vpc": vpc, "subnet": log.subnet or None, "instance": log.instance or None},
           f"flow log of {what} deleted", f"{what} has no flow log")


@flow_log.command()
@of_what
@click.option("-f", "--follow", is_flag=True, help="Print new records until Ctrl-C, or the log is deleted.")
@reading
def show(context: Context, vpc: str, log: FlowLog, follow: bool, as_json: bool) -> None:
    """Print the records of a flow log (in AWS: get-log-events of its log group).

    \b
    Example:
      vpcctl flow-log show --vpc vpc1
      vpcctl flow-log show --vpc vpc1 --subnet public -f
    """
    manager = managers.FlowLogManager(context)
    if follow:
        if as_json:
            raise click.UsageError("--follow and --json exclude each other")
        output.follow(manager.follow(vpc, log))
        return
    text = manager.text(vpc, log)
    if as_json:
        output.document("flow_records", {"vpc": vpc, "subnet": log.subnet or None,
                                         "instance": log.instance or None, "lines": text.splitlines()})
    elif text:
        output.result(text.rstrip("\n"))
