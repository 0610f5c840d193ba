"""`vpcctl sandbox`."""

from __future__ import annotations

import click

from vpcctl_lib.cli import output


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD...]")
def sandbox(command: tuple[str, ...]) -> int:
    """A private host to try things on, gone when CMD (or a shell) ends (in AWS: a throw-away account).

    It needs no root where the kernel lets users make namespaces. It has its own network, firewall, /etc and
    /var/lib/vpcctl, an eth0, and behind that a small simulated internet: 8.8.8.8 answers ping, HTTP and DNS,
    to the host and to whatever the host translates (NAT). It is a playground and no jail: root's programs
    are root, and the other files are your own.

    \b
    Example:
      vpcctl sandbox
      vpcctl sandbox -- sh -c 'vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16 && vpcctl vpc list'

    Returns CMD's exit code; 127 if there is no such program.
    """
    # Imported late: it brings ctypes, which no other command needs.
    from vpcctl_lib.sandbox import CannotRun, enter

    try:
        return enter(command)
    except CannotRun as error:
        output.failure(error, as_json=False)
        return error.status
