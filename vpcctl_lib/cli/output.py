"""The only place that prints: results to stdout, everything else to stderr.

Printed text may come from strangers: a link's alias, a workload's log. `visible` makes it harmless here;
our own colours are added afterwards.
"""

from __future__ import annotations

import codecs
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

import click

from vpcctl_lib.cli import layout
from vpcctl_lib.cli.progress import progress
from vpcctl_lib.cli.streams import Unwritten
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.visible import visible

JSON_VERSION = 1
FOLLOW_SECONDS = 0.1
"""Between two reads of a log; to a person it looks instant."""

LONG_TABLE = 1000
"""From this many rows on, cells are not folded: rich takes a millisecond for each row."""

WIDE = 10_000
"""The width of a table for a file or a pipe: wide enough for any line."""


@frozen
class Painted:
    """A text in a colour: kept apart until printed, since a text that contains codes could be forged."""

    text: str
    colour: str


def result(text: str | Painted) -> None:
    """Print what a command found or did."""
    progress.stop()
    click.echo(_coloured(text) if isinstance(text, Painted) else visible(text))


class Log:
    """A workload's output, printed as it comes; a character may come in two parts."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def part(self, data: bytes, final: bool = False) -> None:
        """Print the next bytes."""
        progress.stop()
        click.echo(visible(self._decoder.decode(data, final)), nl=False)


def follow(parts: Iterable[bytes]) -> None:
    """Print a log's parts as they come; where none has come, wait a little for the next."""
    progress.stop()
    log = Log()
    for part in parts:
        if part:
            log.part(part)
        else:
            time.sleep(FOLLOW_SECONDS)
    log.part(b"", final=True)


def document(name: str, value: Any) -> None:
    """Print one JSON document with the thing under its name."""
    progress.stop()
    click.echo(json.dumps({"version": JSON_VERSION, name: value}, indent=2))


def note(text: str) -> None:
    """Print a note beside the result."""
    progress.stop()
    click.echo(f"vpcctl: {visible(text, keep='')}", err=True)


def remark(text: str) -> None:
    """Print text unchanged, line by line."""
    progress.stop()
    click.echo(visible(text), err=True)


def command(what: object) -> None:
    """Print a command that is about to run (-v)."""
    click.echo(f"+ {visible(str(what))}", err=True)


def failure(error: VpcctlError, as_json: bool) -> None:
    """Print what went wrong, and what would be right."""
    progress.stop()
    if as_json and not isinstance(error, Unwritten) and _told_as_json(error):
        return
    line = click.style("Error: ", fg="red") + visible(error.message)
    click.echo(line, err=True, color=_colour(sys.stderr))
    if error.hint:
        click.echo(f"Hint: {visible(error.hint)}", err=True)


def unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of an exception that only a bug of ours can raise."""
    # Imported late: it is hardly ever needed.
    import traceback

    click.echo(visible("".join(traceback.format_exception(kind, error, trace)).rstrip("\n")), err=True)


def _told_as_json(error: VpcctlError) -> bool:
    """Whether the document was printed; if not, standard error gets the message."""
    try:
        document("error", {"message": error.message, "hint": error.hint, "code": error.code})
    except Unwritten:
        return False
    return True


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str, below: str = "",
          keys: int = 1) -> None:
    """Print rows under headings, or a line that says that there are none.

    On a terminal that is too narrow, the column `below`, which has commands, follows line by line, each
    with the name of its row: the row's first cells (`keys`).
    """
    progress.stop()
    cells = [tuple(visible(cell, keep="") for cell in row) for row in rows]
    if not cells:
        note(empty)
    elif len(cells) > LONG_TABLE:
        click.echo("\n".join(_aligned([columns, *cells])))
    else:
        _draw([columns, *cells], below, keys)


def width() -> int:
    """Columns of the terminal; without one, lines are never folded."""
    # Imported late: a pipe does not need it.
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def _draw(rows: layout.Cells, below: str, keys: int) -> None:
    # Imported late: rich takes as long as everything else, and is needed only to draw.
    from rich.cells import cell_len

    wide = width()
    moved: list[tuple[str, str]] = []
    if below and layout.natural(rows, cell_len) > wide:
        rows, moved = layout.without(rows, below, keys)
    found = layout.widths(rows, wide, cell_len)
    lines = _drawn(rows, found) if found else "\n".join(layout.records(rows, wide, cell_len))
    click.echo(lines, color=_colour(sys.stdout))
    if moved:
        click.echo(f"\n{below}")
    for name, command in moved:
        click.echo(f"{name}:\n  {command}")


def _drawn(rows: layout.Cells, widths: Sequence[int]) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # Padding only after a cell: with both sides padded, versions of rich differ in the first column.
    drawn = Table(box=None, pad_edge=False, padding=(0, layout.GAP, 0, 0), header_style="bold")
    for column, wide in zip(rows[0], widths, strict=True):
        drawn.add_column(column, overflow="fold", width=wide)
    for row in rows[1:]:
        drawn.add_row(*map(Text, row))
    # Else FORCE_COLOR would add styles in a pipe.
    console = Console(file=sys.stdout, width=WIDE, force_terminal=_colour(sys.stdout), highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(text.rstrip() for text in captured.get().splitlines())


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell, as rich makes them if there is room."""
    lines = [[" ".join(cell.split()) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def draws() -> bool:
    """Whether the output is a terminal, which gets signs such as ✔; a pipe gets only words."""
    return sys.stdout.isatty()


def _coloured(text: Painted) -> str:
    """The text in its colour, if colours are on."""
    shown = visible(text.text)
    return click.style(shown, fg=text.colour) if _colour(sys.stdout) else shown


def _colour(stream: Any) -> bool:
    """No colour in a pipe, or with NO_COLOR set (no-color.org)."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")
