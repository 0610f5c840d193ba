"""`vpcctl exec`."""

from __future__ import annotations

import click

from vpcctl_lib import managers
from vpcctl_lib.cli.params import Settings, at_machine
from vpcctl_lib.model.endpoints import Site


@click.command("exec", context_settings={"allow_interspersed_args": False})
@at_machine
@click.option("-i", "--interactive", is_flag=True, expose_value=False,
              help="For users of docker: pass on standard input (always done).")
@click.option("-t", "--tty", is_flag=True, expose_value=False,
              help="For users of docker: give CMD the terminal (always done if there is one).")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.pass_obj
def exec_command(settings: Settings, site: Site, command: tuple[str, ...]) -> int:
    """Run a command in a subnet's machine, with this terminal and its exit code (in AWS: ssh to an instance).

    \b
    Example:
      vpcctl exec --vpc vpc1 --subnet public -- ping -c 3 10.0.2.2
    """
    return managers.ExecManager(settings.context()).run(site, command)
