"""The only place that prints: results to stdout, all else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from vpcctl_lib.cli.progress import progress
from vpcctl_lib.cli.streams import Unwritten
from vpcctl_lib.errors import VpcctlError

JSON_VERSION = 1
LONG_TABLE = 1000
"""Rows from which on nobody looks at how cells are folded: rich takes a millisecond for each."""

WIDE = 10_000
"""Columns of a table that goes to a file or a pipe: whole, however long its lines."""


def result(text: str) -> None:
    """What a command found or did."""
    progress.stop()
    click.echo(text)


def raw(data: bytes) -> None:
    """What a workload wrote, as it is."""
    progress.stop()
    click.echo(data, nl=False)


def document(name: str, value: Any) -> None:
    """One JSON document with the thing under its name."""
    progress.stop()
    click.echo(json.dumps({"version": JSON_VERSION, name: value}, indent=2))


def note(text: str) -> None:
    """Something worth telling beside the result."""
    progress.stop()
    click.echo(f"vpcctl: {text}", err=True)


def command(what: object) -> None:
    """A command that is about to run (-v)."""
    click.echo(f"+ {what}", err=True)


def failure(error: VpcctlError, as_json: bool) -> None:
    """What went wrong, and what would be right."""
    progress.stop()
    if as_json and not isinstance(error, Unwritten) and _told_as_json(error):
        return
    click.echo(click.style("Error: ", fg="red") + error.message, err=True, color=_colour(sys.stderr))
    if error.hint:
        click.echo(f"Hint: {error.hint}", err=True)


def _told_as_json(error: VpcctlError) -> bool:
    """Whether the document came out; where it did not, standard error is left to tell it."""
    try:
        document("error", {"message": error.message, "hint": error.hint, "code": error.code})
    except Unwritten:
        return False
    return True


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Rows under headings; a line that says so when there are none."""
    progress.stop()
    cells = list(rows)
    if not cells:
        note(empty)
    elif len(cells) > LONG_TABLE:
        click.echo("\n".join(_aligned([columns, *cells])))
    else:
        _draw(columns, cells)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Imported late: rich takes as long as all the rest, and is needed only to draw.
    import shutil

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*map(Text, row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    # Else FORCE_COLOR would have it style what goes into a pipe.
    console = Console(file=sys.stdout, width=width, force_terminal=_colour(sys.stdout), highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    click.echo("\n".join(text.rstrip() for text in captured.get().splitlines()), color=_colour(sys.stdout))


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell, as rich has them where there is room."""
    lines = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def draws() -> bool:
    """Whether a person looks on: signs such as ✔ are for a terminal, words alone for a pipe."""
    return sys.stdout.isatty()


def paint(text: str, colour: str) -> str:
    """The text in that colour, where there are colours."""
    return click.style(text, fg=colour) if _colour(sys.stdout) else text


def _colour(stream: Any) -> bool:
    """No colour in a pipe, nor for those who set NO_COLOR (no-color.org)."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")
