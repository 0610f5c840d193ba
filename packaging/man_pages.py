#!/usr/bin/env python3
"""Writes the man pages out of the commands' own help: vpcctl.1, and one for each command and group.

    .venv/bin/python packaging/man_pages.py FOLDER [DATE]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vpcctl_lib import __version__  # noqa: E402
from vpcctl_lib.cli import root  # noqa: E402
from vpcctl_lib.cli.docker import docker  # noqa: E402

PROGRAM = "vpcctl"
NO_REWRAP = "\b"
"""Begins a paragraph whose lines click keeps as they are."""

END = """\
.SH FILES
.TP
.I /var/lib/vpcctl/state.json
What you asked for, and each thing made for it.
.TP
.I /var/lib/vpcctl/vpcctl.log
Who ran what, and each command that it ran, with exit status and time.
.TP
.I /usr/share/vpcctl/cleanup.sh
For emergencies: removes everything that bears the mark of vpcctl, without Python and without a record.
.SH ENVIRONMENT
.TP
.B VPCCTL_STATE_DIR
The folder of these files, if it is another one.
.TP
.B NO_COLOR
No colours.
.SH EXIT STATUS
.TP
.B 0
Done, or it was so already.
.TP
.B 1
It failed, and the host is as it was, or the message says what is not.
.B status\\fR: something is not in sync, or packets are lost.
.B reach\\fR: the packet does not arrive, or that is not known.
.B lesson check\\fR: not solved yet.
.TP
.B 2
Bad input or usage; nothing was touched.
.TP
.B 127
.BR exec ", " sandbox :
there is no such command.
.TP
.B 128+n
Ended by signal n.
"""


def escaped(text: str) -> str:
    """Text as roff prints it: hyphens that can be copied, and no line that is taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...").replace("→", "\\(->")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def paragraphs(help_text: str) -> Iterator[str]:
    """The help as roff paragraphs; those that keep their lines stand as an example does."""
    for paragraph in re.split(r"\n\s*\n", help_text.strip()):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if lines[0].strip() == NO_REWRAP:
            yield ".PP\n.nf\n" + "\n".join(escaped(line) for line in lines[1:]) + "\n.fi"
        else:
            yield ".PP\n" + escaped(" ".join(line.strip() for line in lines))


def help_of(command: click.Command) -> str:
    """What stands in the docstring, without its indentation."""
    return re.sub(r"^ {4}", "", (command.help or "").replace("\f", ""), flags=re.MULTILINE)


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    """The options, each with its help."""
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record:
            yield f".TP\n.B {escaped(record[0])}\n{escaped(record[1])}"


def synopsis(command: click.Command, context: click.Context) -> str:
    """The first line of the help."""
    pieces = " ".join(command.collect_usage_pieces(context))
    return f".B {escaped(context.command_path)}\n{escaped(pieces)}"


Child = tuple[str, click.Command, click.Context]


def children(command: click.Command, context: click.Context) -> Iterator[Child]:
    """The commands of a group, with their names and contexts."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None  # noqa: S101 - it has just listed that name
            yield name, child, click.Context(child, info_name=name, parent=context)


def inside(command: click.Command, context: click.Context) -> Iterator[Child]:
    """All commands of a group, also those of groups in it."""
    for name, child, below in children(command, context):
        if isinstance(child, click.Group):
            yield from inside(child, below)
        else:
            yield name, child, below


def heading(name: str, summary: str, date: str) -> str:
    """What every page begins with."""
    return (f'.TH {name.upper()} 1 "{date}" "vpcctl {__version__}" "User Commands"\n'
            f".SH NAME\n{escaped(name)} \\- {escaped(summary)}")


def summary(command: click.Command) -> str:
    """One line without what it is in AWS and without the full stop."""
    first = re.split(r"\n\s*\n", help_of(command).strip())[0]
    return re.sub(r" \(in AWS: .*?\)", "", " ".join(first.split())).rstrip(".")


def page(name: str, command: click.Command, context: click.Context, date: str) -> str:
    """The page of a command, or of a group with its commands."""
    parts = [heading(f"{PROGRAM}-{name}", summary(command), date), ".SH SYNOPSIS", synopsis(command, context)]
    leaves = list(inside(command, context))
    parts += [f".br\n{synopsis(child, below)}" for _, child, below in leaves]
    parts += [".SH DESCRIPTION", *paragraphs(help_of(command)), ".SH OPTIONS", *options(command, context)]
    for _, child, below in leaves:
        parts += [f'.SH "{escaped(below.command_path.upper())}"', synopsis(child, below),
                  *paragraphs(help_of(child)), *options(child, below)]
    return "\n".join([*parts, ".SH SEE ALSO", ".BR vpcctl (1)"]) + "\n"


def overview(context: click.Context, date: str) -> str:
    """The page of the program: every command in a line, files, exit codes."""
    parts = [heading(PROGRAM, summary(root).partition(":")[0], date), ".SH SYNOPSIS", synopsis(root, context),
             ".SH DESCRIPTION", *paragraphs(help_of(root)), ".SH OPTIONS", *options(root, context),
             ".SH COMMANDS"]
    for _, command, below in children(root, context):
        for _, leaf, place in list(inside(command, below)) or [("", command, below)]:
            parts.append(f".TP\n.B {escaped(place.command_path)}\n{escaped(summary(leaf))}.")
    others = [f".BR vpcctl\\-{name} (1)" for name in root.list_commands(context)]
    tools = [f".BR {name} (8)" for name in ("ip", "iptables", "nft")]
    return "\n".join([*parts, END + ".SH SEE ALSO", ",\n".join([*others, *tools])]) + "\n"


CNI = """\
.SH SYNOPSIS
.B CNI_COMMAND=ADD|DEL|CHECK|GC|STATUS|VERSION vpcctl\\-cni
< configuration
.SH DESCRIPTION
.PP
A plugin of the Container Network Interface (CNI), which container runtimes start: containers join subnets as
attached machines. A network's configuration has the keys
.BR vpc ", " subnet " and " address .
The page "containers" of the documentation describes it, with an example.
.SH ENVIRONMENT
.TP
.B CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS
As the specification of CNI says.
.TP
.B VPCCTL_STATE_DIR
The folder of vpcctl's files, if it is another one.
.SH EXIT STATUS
.TP
.B 0
Done, or it was so already.
.TP
.B 1
It failed. The answer has an error code of the specification.
.SH SEE ALSO
.BR vpcctl\\-instance (1)
"""


NETAVARK = """\
.SH SYNOPSIS
.B vpcctl\\-netavark create|setup|teardown|info
[NETNS] < configuration
.SH DESCRIPTION
.PP
A plugin of netavark, which Podman 5 uses: containers join subnets as attached machines. Link it as
.I vpcctl
into a folder of netavark_plugin_dirs in containers.conf (5), so that networks of the driver
.B vpcctl
can be created. The page "containers" of the documentation describes it, with an example.
.SH ENVIRONMENT
.TP
.B VPCCTL_STATE_DIR
The folder of vpcctl's files, if it is another one.
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
It failed. The answer has the error.
.SH SEE ALSO
.BR vpcctl\\-instance (1)
"""
DOCKER = """\
.SH FILES
.TP
.I /run/docker/plugins/vpcctl.sock
Where Docker asks.
.TP
.I /var/lib/vpcctl/docker.json
The networks and endpoints that Docker knows by number only.
.SH ENVIRONMENT
.TP
.B VPCCTL_STATE_DIR
The folder of vpcctl's files, if it is another one.
.SH SEE ALSO
.BR vpcctl\\-instance (1),
.BR docker\\-network\\-create (1)
"""


def driver(date: str) -> str:
    """The page of Docker's driver, by its help."""
    context = click.Context(docker, info_name=f"{PROGRAM}-docker", **docker.context_settings)
    parts = [heading(f"{PROGRAM}-docker", summary(docker).partition(":")[0], date), ".SH SYNOPSIS",
             synopsis(docker, context), ".SH DESCRIPTION", *paragraphs(help_of(docker)), ".SH OPTIONS",
             *options(docker, context)]
    return "\n".join(parts) + f"\n{DOCKER}"


def pages(date: str) -> dict[str, str]:
    """All pages by file name."""
    context = click.Context(root, info_name=PROGRAM, **root.context_settings)
    found = {f"{PROGRAM}.1": overview(context, date)}
    for name, command, below in children(root, context):
        found[f"{PROGRAM}-{name}.1"] = page(name, command, below, date)
    found[f"{PROGRAM}-cni.1"] = f"{heading(f'{PROGRAM}-cni', 'lets containers join subnets', date)}\n{CNI}"
    found[f"{PROGRAM}-docker.1"] = driver(date)
    head = heading(f"{PROGRAM}-netavark", "lets Podman's containers join subnets", date)
    found[f"{PROGRAM}-netavark.1"] = f"{head}\n{NETAVARK}"
    return found


def main(folder: str, date: str = "") -> None:
    """Write them."""
    for name, text in pages(date).items():
        (Path(folder) / name).write_text(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
