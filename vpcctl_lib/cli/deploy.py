"""`vpcctl deploy`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.completion import complete_workload
from vpcctl_lib.cli.params import PORT, Parsed, at_machine, changing, reading, report, vpc_option
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.quantities import parse_bytes, parse_log_size
from vpcctl_lib.model.workloads import MOST_PROCESSES, Restart, Upkeep, Workload
from vpcctl_lib.views import plain
from vpcctl_lib.workloads.upkeep import (
    check_workdir,
    environment,
    parse_seconds,
    parse_signal,
    parse_variable,
)

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context

F = TypeVar("F", bound=Callable[..., Any])
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


def _report(manager: managers.DeployManager, change: Change, site: Site, name: str, as_json: bool) -> None:
    where = f"'{name}' runs in {site}"
    if change.commands is None and not as_json:
        urls = manager.find(site, name).urls
        where += f": {' and '.join(urls)}" if urls else ""
    report(change, as_json, "workload", lambda _: plain.workload(manager.find(site, name)),
           where, where)


def care(function: F) -> F:
    """The options for limits and upkeep of any workload; passes on a Workload without name and program."""
    @click.option("--memory", type=Parsed(parse_bytes), metavar="SIZE",
                  help="The most memory, such as 64M.")
    @click.option("--pids", type=click.IntRange(1, MOST_PROCESSES), metavar="N",
                  help="The most processes (default: 2048).")
    @click.option("--restart", type=click.Choice([kind.value for kind in Restart]), default=Restart.NO.value,
                  show_default=True, help="When to start it again after it ends.")
    @click.option("--stop-timeout", type=Parsed(parse_seconds), metavar="T",
                  help="How long it may take to stop before it is killed, such as 30s or 2m (default: 10s).")
    @click.option("--log-max", type=Parsed(parse_log_size), metavar="SIZE",
                  help="The size at which a new log begins; the previous one is kept (default: 10M).")
    @functools.wraps(function)
    def command(*args: Any, memory: int | None, pids: int | None, restart: str, stop_timeout: int | None,
                log_max: int | None, **kwargs: Any) -> Any:
        upkeep = Upkeep(stop_timeout=stop_timeout, restart=Restart(restart), log_max=log_max)
        return function(*args, workload=Workload("", pids=pids, memory=memory, upkeep=upkeep), **kwargs)

    return command  # type: ignore[return-value]


@deploy.command()
@at_machine
@click.option("--port", type=PORT, default=8080, show_default=True, help="The TCP port.")
@care
@changing
def webserver(context: Context, site: Site, port: int, workload: Workload, as_json: bool) -> None:
    """Start a small web server that says where it runs, and wait until it answers (in AWS: run-instances).

    \b
    Example:
      vpcctl deploy webserver --vpc vpc1 --subnet public --port 8080
    """
    manager = managers.DeployManager(context)
    workload = replace(workload, name=f"webserver-{port}", port=port)
    _report(manager, manager.webserver(site, workload), site, workload.name, as_json)


def _variables(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    return environment(dict(map(parse_variable, given)))


def _workdir(_: click.Context, __: click.Parameter, given: str) -> str:
    check_workdir(given)
    return given


@deploy.command(context_settings={"ignore_unknown_options": True})
@at_machine
@new_name_option
@click.option("--user", default="", metavar="USER",
              help="A user of this host, by name or number (default: a user of the VPC's own).")
@click.option("--env", multiple=True, callback=_variables, metavar="K=V",
              help="An environment variable; may be repeated.")
@click.option("--workdir", default="", callback=_workdir, metavar="DIR",
              help="The folder it starts in (default: /).")
@click.option("--stop-signal", type=Parsed(parse_signal), metavar="SIG",
              help="The signal that asks it to stop (default: TERM).")
@care
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@changing
def run(context: Context, site: Site, name: str, user: str, env: tuple[str, ...], workdir: str,
        stop_signal: str | None, workload: Workload, command: tuple[str, ...], as_json: bool) -> None:
    """Start any long-running program, as an unprivileged user (in AWS: run-instances).

    It sees only its own processes, and has its own /tmp, /run and /dev. Everything ends with its first
    process, unless --restart starts it again.

    \b
    Example:
      vpcctl deploy run --vpc vpc1 --subnet public --name worker -- sleep infinity
    """
    manager = managers.DeployManager(context)
    upkeep = replace(workload.upkeep, env=env, workdir=workdir, stop_signal=stop_signal or "")
    change = manager.run(site, replace(workload, name=name, argv=command, user=user, upkeep=upkeep))
    _report(manager, change, site, name, as_json)


@deploy.command("list")
@vpc_option(required=False)
@reading
def list_workloads(context: Context, vpc: str | None, as_json: bool) -> None:
    """List the workloads, and whether they run (in AWS: describe-instances).

    \b
    Example:
      vpcctl deploy list
    """
    found = [plain.workload(one) for one in managers.DeployManager(context).list(vpc)]
    if as_json:
        output.document("workloads", found)
        return
    tables.workloads(found, "no workloads; start one: vpcctl deploy webserver --vpc vpc1 --subnet public")


@deploy.command()
@at_machine
@name_option
@click.option("-f", "--follow", is_flag=True, help="Print new lines until the workload ends, or Ctrl-C.")
@reading
def logs(context: Context, site: Site, name: str, follow: bool, as_json: bool) -> None:
    """Print what a workload wrote (in AWS: get-console-output).

    \b
    Example:
      vpcctl deploy logs --vpc vpc1 --subnet public --name webserver-8080
    """
    manager = managers.DeployManager(context)
    if follow:
        if as_json:
            raise click.UsageError("--follow and --json exclude each other")
        output.follow(manager.follow(site, name))
        return
    text = manager.logs(site, name)
    if as_json:
        output.document("log", {**plain.place(site), "name": name, "lines": text.splitlines()})
    elif text:
        output.result(text.rstrip("\n"))


@deploy.command()
@at_machine
@name_option
@changing
def stop(context: Context, site: Site, name: str, as_json: bool) -> None:
    """Stop a workload and everything that it started (in AWS: terminate-instances).

    \b
    Example:
      vpcctl deploy stop --vpc vpc1 --subnet public --name webserver-8080
    """
    change = managers.DeployManager(context).stop(site, name)
    report(change, as_json, "workload", lambda _: {**plain.place(site), "name": name},
           f"'{name}' stopped in {site}", f"workload '{name}' does not exist in {site}")
