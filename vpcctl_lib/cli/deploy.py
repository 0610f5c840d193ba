"""`vpcctl deploy`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables, views
from vpcctl_lib.cli.completion import complete_workload
from vpcctl_lib.cli.params import PORT, Memory, changing, reading, report, subnet_option, vpc_option
from vpcctl_lib.cli.progress import progress
from vpcctl_lib.model import MOST_PROCESSES, Workload

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

FOLLOW_SECONDS = 0.1
"""Between two looks at a log; a person takes it for at once."""

new_name_option = click.option("--name", required=True, metavar="NAME", help="The workload.")
name_option = click.option("--name", required=True, metavar="NAME", help="The workload.",
                           shell_complete=complete_workload)


@click.group()
def deploy() -> None:
    """Programs that run in subnets (in AWS: instances).

    \b
    Example:
      vpcctl deploy webserver --vpc vpc1 --subnet public --port 8080
    """


def _report(manager: managers.DeployManager, change: Change, vpc: str, subnet: str, name: str,
            as_json: bool) -> None:
    where = f"'{name}' runs in {vpc}/{subnet}"
    if change.commands is None and not as_json:
        url = manager.find(vpc, subnet, name).url
        where += f": {url}" if url else ""
    report(change, as_json, "workload", lambda _: views.workload(manager.find(vpc, subnet, name)),
           where, where)


@deploy.command()
@vpc_option()
@subnet_option
@click.option("--port", type=PORT, default=8080, show_default=True, help="The TCP port.")
@changing
def webserver(context: Context, vpc: str, subnet: str, port: int, as_json: bool) -> None:
    """Start a small web server that says where it runs, and wait until it answers (in AWS: run-instances).

    \b
    Example:
      vpcctl deploy webserver --vpc vpc1 --subnet public --port 8080
    """
    manager = managers.DeployManager(context)
    change = manager.webserver(vpc, subnet, port)
    _report(manager, change, vpc, subnet, f"webserver-{port}", as_json)


@deploy.command(context_settings={"ignore_unknown_options": True})
@vpc_option()
@subnet_option
@new_name_option
@click.option("--user", default="", metavar="USER", help="A user of this host, not one of the VPC's own.")
@click.option("--memory", type=Memory(), metavar="SIZE", help="As much memory at most, such as 64M.")
@click.option("--pids", type=click.IntRange(1, MOST_PROCESSES), metavar="N",
              help="As many processes at most (2048 if you don't say).")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@changing
def run(context: Context, vpc: str, subnet: str, name: str, user: str, memory: int | None, pids: int | None,
        command: tuple[str, ...], as_json: bool) -> None:
    """Start any long-running program, as an unprivileged user (in AWS: run-instances).

    It sees no process but its own, and has its own /tmp, /run and /dev. All ends with its first process.

    \b
    Example:
      vpcctl deploy run --vpc vpc1 --subnet public --name worker -- sleep infinity
    """
    manager = managers.DeployManager(context)
    change = manager.run(vpc, subnet, Workload(name, command, None, user, pids, memory))
    _report(manager, change, vpc, subnet, name, as_json)


@deploy.command("list")
@vpc_option(required=False)
@reading
def list_workloads(context: Context, vpc: str | None, as_json: bool) -> None:
    """List the workloads, and whether they run (in AWS: describe-instances).

    \b
    Example:
      vpcctl deploy list
    """
    found = [views.workload(one) for one in managers.DeployManager(context).list(vpc)]
    if as_json:
        output.document("workloads", found)
        return
    tables.workloads(found, "no workloads; start one: vpcctl deploy webserver --vpc vpc1 --subnet public")


@deploy.command()
@vpc_option()
@subnet_option
@name_option
@click.option("-f", "--follow", is_flag=True, help="Go on until the workload ends, or Ctrl-C.")
@reading
def logs(context: Context, vpc: str, subnet: str, name: str, follow: bool, as_json: bool) -> None:
    """Print what a workload wrote (in AWS: get-console-output).

    \b
    Example:
      vpcctl deploy logs --vpc vpc1 --subnet public --name webserver-8080
    """
    manager = managers.DeployManager(context)
    if follow:
        if as_json:
            raise click.UsageError("--follow has no end, so there is no JSON document of it")
        _follow(manager.follow(vpc, subnet, name))
        return
    text = manager.logs(vpc, subnet, name)
    if as_json:
        output.document("log", {"vpc": vpc, "subnet": subnet, "name": name, "lines": text.splitlines()})
    elif text:
        output.result(text.rstrip("\n"))


def _follow(parts: Iterator[bytes]) -> None:
    progress.stop()
    log = output.Log()
    for part in parts:
        if part:
            log.part(part)
        else:
            time.sleep(FOLLOW_SECONDS)
    log.part(b"", final=True)


@deploy.command()
@vpc_option()
@subnet_option
@name_option
@changing
def stop(context: Context, vpc: str, subnet: str, name: str, as_json: bool) -> None:
    """Stop a workload with all that it started (in AWS: terminate-instances).

    \b
    Example:
      vpcctl deploy stop --vpc vpc1 --subnet public --name webserver-8080
    """
    change = managers.DeployManager(context).stop(vpc, subnet, name)
    report(change, as_json, "workload", lambda _: {"vpc": vpc, "subnet": subnet, "name": name},
           f"'{name}' stopped in {vpc}/{subnet}", f"'{name}' is gone")
