"""`vpcctl status` and `vpcctl restore`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.params import changing, reading, report
from vpcctl_lib.errors import ExitCode

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context


@click.command()
@reading
def status(context: Context, as_json: bool) -> int:
    """Compare what is recorded with what the kernel has (in AWS: AWS Config, drift detection).

    Exit code 0 and "in sync", or 1 and each thing that is missing, changed, half-made, or marked as
    vpcctl's but not recorded.

    \b
    Example:
      vpcctl status
    """
    found = managers.HostManager(context).status()
    if as_json:
        output.document("status", {"in_sync": not found, "findings": [asdict(one) for one in found]})
    elif found:
        rows = [(one.condition, one.what, one.detail) for one in found]
        output.table(("CONDITION", "WHAT", "DETAIL"), rows, "")
        output.note("to make it as recorded again: vpcctl restore")
    else:
        output.result("in sync")
    return ExitCode.FAILED if found else ExitCode.DONE


@click.command()
@changing
def restore(context: Context, as_json: bool) -> None:
    """Make the kernel match the record again (in AWS: nothing; the cloud does it for you).

    After a reboot, a firewall flush or reload, a crash, a deleted link or namespace.

    \b
    Example:
      vpcctl restore
    """
    change = managers.HostManager(context).restore()
    report(change, as_json, "restore", lambda _: {}, "everything is as recorded again",
           "everything is as recorded")
