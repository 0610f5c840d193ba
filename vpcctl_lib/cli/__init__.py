"""The command line: one file for each group, one place that catches errors, one that exits."""

from __future__ import annotations

import atexit
import gc
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vpcctl_lib import __version__
from vpcctl_lib.cli import output, streams, typed
from vpcctl_lib.cli.lazy import Commands
from vpcctl_lib.cli.params import Settings
from vpcctl_lib.cli.progress import progress
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.record.document import DEFAULT_FOLDER

COMMANDS = Commands({
    "acl": "acl.acl",
    "apply": "topology.apply",
    "capture": "capture.capture",
    "completion": "completion.completion",
    "deploy": "deploy.deploy",
    "dhcp": "dhcp.dhcp",
    "dns": "dns.dns",
    "eip": "eip.eip",
    "exec": "exec.exec_command",
    "export": "topology.export",
    "firewall": "firewall.firewall",
    "flow-log": "flow_log.flow_log",
    "graph": "graph.graph_command",
    "group": "group.group",
    "instance": "instance.instance",
    "lesson": "lesson.lesson",
    "metrics": "metrics.metrics",
    "mirror": "mirror.mirror",
    "nat": "nat.nat",
    "nat-gateway": "nat_gateway.nat_gateway",
    "peer": "peer.peer",
    "publish": "publish.publish",
    "reach": "reach.reach",
    "restore": "host.restore",
    "route-table": "route_table.route_table",
    "sandbox": "sandbox.sandbox",
    "status": "host.status",
    "subnet": "subnet.subnet",
    "vpc": "vpc.vpc",
})
"""Each command's module and its name there."""

INTERRUPTED = 130
NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())
"""New in click 8.2; Debian 12 has 8.1."""


class Root(click.Group):
    """The root group: it reports the error of any command, and sets the exit code."""

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None,  # type: ignore[override]
             **extra: Any) -> None:
        """Run a command and exit."""
        words = list(sys.argv[1:] if args is None else args)
        settings = Settings()
        code = self._run(words, settings, prog_name or "vpcctl", extra)
        sys.exit(code)

    def _run(self, words: list[str], settings: Settings, name: str, extra: dict[str, Any]) -> int:
        try:
            return self._outcome(words, settings, name, extra)
        except BrokenPipeError:
            # The reader (head, less) has closed the pipe: nothing more can be printed, or needs to be.
            return 1
        finally:
            progress.stop()

    def _outcome(self, words: list[str], settings: Settings, name: str, extra: dict[str, Any]) -> int:
        extra.pop("standalone_mode", None)
        try:
            code = super().main(typed.straightened(words, self), name, standalone_mode=False, obj=settings,
                                **extra)
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except VpcctlError as error:
            return _fail(error, words, settings)
        except NO_ARGUMENTS as error:
            click.echo(error.format_message(), err=True)
            return int(error.exit_code)
        except click.ClickException as error:
            return _fail(_advised(error, words), words, settings)
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED


def _advised(error: click.ClickException, words: list[str]) -> BadInput:
    message = error.format_message().replace("\n", " ").rstrip(".")
    ctx = getattr(error, "ctx", None)
    if ctx is None:
        return BadInput(message, f"see: {typed.command_path(words, root)} --help")
    unknown = re.match(r"No such command '(.+?)'(\.|$)", message)
    if unknown and isinstance(ctx.command, click.Group):
        return BadInput(*typed.unknown_command(unknown[1], ctx, words))
    hint = f"see: {ctx.command_path} --help"
    if isinstance(error, click.MissingParameter) or message.startswith("Got unexpected extra"):
        return BadInput(*typed.misplaced(ctx, words) or (message, f"{typed.incomplete(ctx, words)}; {hint}"))
    return BadInput(message, hint)


def _fail(error: VpcctlError, words: list[str], settings: Settings) -> int:
    output.failure(error, "--json" in words[:words.index("--")] if "--" in words else "--json" in words)
    if settings.audit is not None:
        settings.audit.record_end(error.code, error.discreet())
    return error.code


@click.group(cls=Root, commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="vpcctl")
@click.option("--state-dir", envvar="VPCCTL_STATE_DIR", type=click.Path(path_type=Path, file_okay=False),
              default=DEFAULT_FOLDER, show_default=True, metavar="DIR",
              help="The folder of state.json, lock and vpcctl.log.")
@click.pass_obj
def root(settings: Settings, state_dir: Path) -> None:
    """Real VPCs on one Linux host: isolated networks with subnets, NAT, peering and firewalls.

    \b
    Example, in a private host that is gone when you leave it:
      vpcctl sandbox
      vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
      vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public
      vpcctl nat enable --vpc vpc1
      vpcctl exec --vpc vpc1 --subnet public -- ping -c 3 8.8.8.8
    """
    settings.folder = state_dir


def main() -> None:
    """The entry point of the installed program."""
    # A command runs briefly and makes hardly any cyclic garbage; collecting it takes a fifth of the time.
    gc.disable()
    atexit.register(gc.freeze)  # nor when Python ends
    streams.set_up()
    sys.excepthook = output.unforeseen
    root.main()
