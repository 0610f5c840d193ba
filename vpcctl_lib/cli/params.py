"""Types of parameters, and the options that several commands share, each defined once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import complete_instance, complete_subnet, complete_vpc
from vpcctl_lib.cli.progress import progress
from vpcctl_lib.cli.streams import Unwritten
from vpcctl_lib.model import naming
from vpcctl_lib.model.addressing import parse_network
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.record import document
from vpcctl_lib.record.trust import check_folder

if TYPE_CHECKING:
    from vpcctl_lib.kernel.audit import Audit
    from vpcctl_lib.managers.base import Change, Context

F = TypeVar("F", bound=Callable[..., Any])
PORT = click.IntRange(1, 65535)


class FileName(click.Path):
    """A file's name; an empty one would name the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name, as click.Path returns it."""
        if value == "":
            self.fail("the file's name is empty", param, ctx)
        return super().convert(value, param, ctx)


class Parsed(click.ParamType):  # type: ignore[type-arg]
    """The value that one of our own parsers reads from the text; its errors are printed unchanged."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a default is already one."""
        return self._parse(value) if isinstance(value, str) else value


def _parse_cidr(_: click.Context, __: click.Parameter, value: str) -> IPv4Network:
    return parse_network(value)


@dataclass
class Settings:
    """The root command's options, for all commands."""

    folder: Path = document.DEFAULT_FOLDER
    audit: Audit | None = None

    def context(self, verbose: bool = False, dry_run: bool = False) -> Context:
        """What a manager needs."""
        # Imported late, with everything that changes the host: read-only commands start three times faster.
        from vpcctl_lib.kernel.audit import Audit
        from vpcctl_lib.kernel.run import Runner
        from vpcctl_lib.managers.base import Context
        from vpcctl_lib.record.store import Store

        check_folder(self.folder)
        store = Store(self.folder)
        self.audit = self.audit or Audit(store.log)
        runner = Runner(output.command if verbose else progress.step, self.audit.record,
                        self.audit.record_own)
        return Context(store, runner, dry_run)


def vpc_option(required: bool = True) -> Callable[[F], F]:
    """--vpc."""
    return click.option("--vpc", required=required, metavar="NAME", help="The VPC.",
                        shell_complete=complete_vpc)


subnet_option = click.option("--subnet", required=True, metavar="NAME", help="The subnet.",
                             shell_complete=complete_subnet)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
cidr_option = click.option("--cidr", required=True, callback=_parse_cidr, metavar="CIDR",
                           help="Such as 10.0.0.0/16.")

def ipv6_option(length: int, what: str) -> Callable[[F], F]:
    """--ipv6."""
    def parsed(text: str) -> IPv6Network:
        # Imported late: most commands know no prefix.
        from vpcctl_lib.model import addressing6

        return addressing6.AUTO if text == "auto" else addressing6.parse(text, length)

    return click.option("--ipv6", type=Parsed(parsed), metavar="auto|PREFIX", help=what)


def at_machine(function: F) -> F:
    """A command at a machine: adds --vpc, --subnet and --instance, passes its site."""
    @vpc_option()
    @subnet_option
    @click.option("--instance", callback=parse_instance, metavar="NAME", shell_complete=complete_instance,
                  help="A machine of the subnet (default: its own).")
    @functools.wraps(function)
    def command(*args: Any, vpc: str, subnet: str, instance: str, **kwargs: Any) -> Any:
        return function(*args, site=Site(vpc, subnet, instance), **kwargs)

    return command  # type: ignore[return-value]


def parse_instance(_: click.Context, __: click.Parameter, value: str | None) -> str:
    """The name of a machine; empty if none is given, for the subnet's own."""
    # An empty name, perhaps of an unset variable, is not the subnet's own machine.
    return "" if value is None else naming.check_name(value, "machine")


def options_for(site: Site) -> str:
    """The options that name a machine."""
    instance = f" --instance {site.machine}" if site.machine else ""
    return f"--vpc {site.vpc} --subnet {site.subnet}{instance}"


def showing(function: F) -> F:
    """A command that only shows the record: adds --json, passes the topology."""
    @json_option
    @click.pass_obj
    @functools.wraps(function)
    def command(settings: Settings, /, *args: Any, **kwargs: Any) -> Any:
        check_folder(settings.folder)
        return function(document.topology(settings.folder), *args, **kwargs)

    return command  # type: ignore[return-value]


def reading(function: F) -> F:
    """A command that also reads the host: adds --json, passes the context."""
    @json_option
    @click.pass_obj
    @functools.wraps(function)
    def command(settings: Settings, /, *args: Any, **kwargs: Any) -> Any:
        progress.start()
        return function(settings.context(), *args, **kwargs)

    return command  # type: ignore[return-value]


def changing(function: F) -> F:
    """A command that changes something: adds --json, --dry-run and -v, passes the context."""
    @json_option
    @click.option("--dry-run", is_flag=True, help="Print the commands that would run; change nothing.")
    @click.option("-v", "--verbose", is_flag=True, help="Show each command as it runs.")
    @click.pass_obj
    @functools.wraps(function)
    def command(settings: Settings, /, *args: Any, dry_run: bool, verbose: bool, **kwargs: Any) -> Any:
        if not verbose:
            progress.start()
        return function(settings.context(verbose, dry_run), *args, **kwargs)

    return command  # type: ignore[return-value]


def report(change: Change, as_json: bool, name: str, view: Callable[[Change], Any], done: str,
           unchanged: str) -> None:
    """Print the result of a change: the thing itself as JSON, or one line."""
    try:
        _report(change, as_json, name, view, done if change.changed else f"unchanged: {unchanged}")
    except Unwritten as error:
        if not change.changed or change.commands is not None:
            raise
        raise Unwritten(f"{error.message}; the command itself is done") from None


def _report(change: Change, as_json: bool, name: str, view: Callable[[Change], Any], line: str) -> None:
    for note in change.notes:
        output.note(note)
    if change.commands is not None:
        _report_commands(change.commands, as_json)
    elif as_json:
        output.document(name, {**view(change), "changed": change.changed})
    else:
        output.result(line)


def _report_commands(commands: tuple[str, ...], as_json: bool) -> None:
    if as_json:
        output.document("commands", list(commands))
    else:
        for command in commands:
            output.result(command)


def deleted(change: Change, as_json: bool, key: str, what: str, vpc: str, name: str) -> None:
    """Report that a thing of that name in a VPC is deleted; JSON calls it by the key."""
    report(change, as_json, key, lambda _: {"vpc": vpc, "name": name},
           f"{what} '{name}' deleted from VPC '{vpc}'", f"{what} '{name}' does not exist in VPC '{vpc}'")


def disabled(change: Change, as_json: bool, key: str, vpc: str) -> None:
    """Report that a service of a VPC is off, which the key names."""
    report(change, as_json, key, lambda _: {"vpc": vpc}, f"{key.upper()} disabled for VPC '{vpc}'",
           f"{key.upper()} is not enabled for VPC '{vpc}'")
