"""`vpcctl sandbox`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import script
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model.naming import NAME

if TYPE_CHECKING:
    from vpcctl_lib.sandbox import Sandbox


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--keep", multiple=True, metavar="DIR", help="Keep what is written to DIR; may be repeated.",
              type=click.Path(exists=True, file_okay=False, resolve_path=True))
@click.option("--name", default="sandbox", show_default=True, metavar="NAME",
              help="The name of the private host.")
@click.option("--join", is_flag=False, flag_value="", metavar="[PID|NAME]",
              help="Enter a running sandbox from another terminal, by its PID or name if there are several.")
@click.option("--list", "is_list", is_flag=True, help="List the running sandboxes.")
@click.option("--json", "as_json", is_flag=True, help="With --list: print one JSON document.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD...]")
@click.pass_context
def sandbox(ctx: click.Context, keep: tuple[str, ...], name: str, join: str | None, is_list: bool,
            as_json: bool, command: tuple[str, ...]) -> int:
    """A private host to try things on, gone when CMD (or a shell) ends (in AWS: a throw-away account).

    It needs no root if the kernel lets users make namespaces. It has its own network, firewall, /etc, /tmp
    and /var/lib/vpcctl, an eth0, and behind that a small simulated internet: 8.8.8.8 answers ping, HTTP and
    DNS, to the host and to whatever the host translates (NAT). Its page
    /knock/ADDRESS:PORT tries a port of yours from out there. Your home, the current folder and all others are
    visible, and what is written to them is thrown away, except those named by --keep. It is a playground and
    not a jail: root's programs are root.

    Without root, other users (nobody, postgres) exist in it if /etc/subuid has a range for you and
    newuidmap is installed (apt-get install uidmap).

    \b
    Example:
      vpcctl sandbox --keep .
      vpcctl sandbox -- sh -c 'vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16 && vpcctl vpc list'
      vpcctl sandbox --join

    Returns CMD's exit code; 127 if there is no such program.
    """
    # Imported late: it brings ctypes, which no other command needs.
    from vpcctl_lib import sandbox as sandboxes

    if is_list:
        _show(sandboxes.running(), as_json)
        return 0
    if not NAME.fullmatch(name):
        raise BadInput(f"'{name}' can't be a host name",
                       "use up to 31 of a-z, 0-9 and -, beginning with a letter")
    if join is not None and keep:
        raise BadInput("--keep is for a new sandbox", "leave it out, or leave out --join")
    wish = sandboxes.Wish(command, keep, name, partial(script, ctx), output.remark)
    try:
        return sandboxes.enter(wish) if join is None else sandboxes.join(wish, join)
    except sandboxes.CannotRun as error:
        output.failure(error, as_json=False)
        return error.status


def _show(found: list[Sandbox], as_json: bool) -> None:
    if as_json:
        output.document("sandboxes", [asdict(one) for one in found])
        return
    output.table(("PID", "NAME", "FOLDER"), [(str(one.pid), one.name, one.folder) for one in found],
                 "no sandbox of yours is running")
