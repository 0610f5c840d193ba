"""`vpcctl exec`."""

from __future__ import annotations

import click

from vpcctl_lib import managers
from vpcctl_lib.cli.params import Settings, subnet_option, vpc_option
from vpcctl_lib.model.endpoints import Site


@click.command("exec", context_settings={"allow_interspersed_args": False})
@vpc_option()
@subnet_option
@click.option("-i", "--interactive", is_flag=True, expose_value=False,
              help="As docker has it: standard input is passed on. It always is.")
@click.option("-t", "--tty", is_flag=True, expose_value=False,
              help="As docker has it: CMD gets the terminal. It does wherever there is one.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- CMD...")
@click.pass_obj
def exec_command(settings: Settings, vpc: str, subnet: str, command: tuple[str, ...]) -> int:
    """Run a command in a subnet, with this terminal and its exit code (in AWS: ssh to an instance).

    \b
    Example:
      vpcctl exec --vpc vpc1 --subnet public -- ping -c 3 10.0.2.2
    """
    return managers.ExecManager(settings.context()).run(Site(vpc, subnet), command)
