"""`vpcctl status` and `vpcctl restore`."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output, tables
from vpcctl_lib.cli.params import changing, reading, report
from vpcctl_lib.errors import BadInput, ExitCode
from vpcctl_lib.views import plain

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Change, Context
    from vpcctl_lib.managers.host import Status


@click.command()
@reading
def status(context: Context, as_json: bool) -> int:
    """Compare the record with the kernel (in AWS: AWS Config, drift detection).

    Exit code 0 and "in sync", or 1 and each thing that is missing, changed, half-made, or marked as
    vpcctl's but not recorded, each namespace that can't be read, and each VPC whose packets are lost,
    with the reason. It asks the kernel whether packets leave. It also lists processes that others started
    in subnets; they do not change the exit code.

    \b
    Example:
      vpcctl status
    """
    found = managers.HostManager(context).status()
    if as_json:
        output.document("status", {
            "in_sync": found.in_sync, "findings": [asdict(one) for one in found.findings],
            "processes": [asdict(one) for one in found.strangers], "notes": list(found.notes),
            "packets": [plain.passage(one) for one in found.packets],
            "stopped": [plain.ending(one) for one in found.stopped]})
    else:
        _tell(found)
    return ExitCode.DONE if found.in_sync else ExitCode.FAILED


def _tell(found: Status) -> None:
    # Imported late: completion needs only this module's help.
    from vpcctl_lib.uplink.packets import State

    for note in found.notes:
        output.note(note)
    for one in found.strangers:
        output.note(f"{one.program} (pid {one.pid}) runs in {one.namespace}; vpcctl did not start it, "
                    "and a delete will stop it")
    leaving: dict[str, list[str]] = {}
    for passage in found.packets:
        if passage.state is State.LEAVE:
            leaving.setdefault(passage.interface, []).append(passage.vpc)
    for interface, vpcs in leaving.items():
        output.note(f"packets leave by {interface}: {', '.join(vpcs)}")
    if found.findings:
        ends = {f"workload {one.site}/{one.workload.name}": tables.end(view)
                for one in found.stopped if (view := plain.ending(one))["ended"]}
        rows = [(one.condition, one.what, _with_end(one.detail, ends.get(one.what)))
                for one in found.findings]
        output.table(("CONDITION", "WHAT", "DETAIL"), rows, "")
        output.note("to put it back as recorded: vpcctl restore")
    if any(one.causes for one in found.packets):
        output.table(("PACKETS OF", "ARE", "WHY", "FIX"),
                     [(one.vpc, one.state.value, cause.why, cause.help or "-")
                      for one in found.packets for cause in one.causes], "", below="FIX")
    elif not found.findings:
        output.result("in sync")


def _with_end(detail: str, end: str | None) -> str:
    return f"{detail}: {end}" if end else detail


@click.command()
@click.option("--from-kernel", is_flag=True, help="Rebuild a lost or damaged record from the marks first.")
@click.option("--install-unit", is_flag=True, help="Write the systemd unit that restores at boot.")
@click.option("--remove-unit", is_flag=True, help="Remove that unit.")
@click.option("--unit-dir", type=click.Path(path_type=Path, file_okay=False), default="/etc/systemd/system",
              show_default=True, metavar="DIR", help="The folder of that unit.")
@changing
def restore(context: Context, from_kernel: bool, install_unit: bool, remove_unit: bool, unit_dir: Path,
            as_json: bool) -> None:
    """Make the kernel match the record again (in AWS: nothing; the cloud does it for you).

    Run it after a reboot, a firewall flush or reload, a crash, a deleted link or namespace.

    \b
    Example:
      vpcctl restore
    """
    manager = managers.HostManager(context)
    if from_kernel + install_unit + remove_unit > 1:
        raise BadInput("--from-kernel, --install-unit and --remove-unit exclude each other", "choose one")
    if install_unit:
        _report(manager.install_unit(os.path.abspath(sys.argv[0]), unit_dir), as_json, "the unit is written")
    elif remove_unit:
        _report(manager.remove_unit(unit_dir), as_json, "the unit is removed")
    elif from_kernel:
        _report(manager.from_kernel(), as_json, "the record is rebuilt, and everything is as recorded")
    else:
        _report(manager.restore(), as_json, "everything is as recorded again")


def _report(change: Change, as_json: bool, done: str) -> None:
    report(change, as_json, "restore", lambda _: {}, done, "everything is as recorded")
