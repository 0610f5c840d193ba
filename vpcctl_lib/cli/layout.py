"""The widths of columns, chosen so that no address, name or command is broken; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

GAP = 2
"""Spaces between two columns of a table."""

Cells = Sequence[Sequence[str]]
Measure = Callable[[str], int]


def natural(rows: Cells, measure: Measure = len) -> int:
    """The width of a table in which no cell folds."""
    columns = list(zip(*rows, strict=True))
    return sum(max(map(measure, column)) for column in columns) + GAP * (len(columns) - 1)


def widths(rows: Cells, width: int, measure: Measure = len) -> list[int] | None:
    """The width of each column if rows fit with cells folded between words; None if they do not."""
    columns = list(zip(*rows, strict=True))
    whole = [max(map(measure, column)) for column in columns]
    least = [max(measure(word) for cell in column for word in (cell.split() or [""])) for column in columns]
    room = width - GAP * (len(columns) - 1)
    if sum(whole) <= room:
        return whole
    spare = room - sum(least)
    if spare < 0:
        return None
    # The narrow ones get their full width first: most of them then need not fold.
    found = list(least)
    for number in sorted(range(len(columns)), key=lambda one: whole[one] - least[one]):
        more = min(spare, whole[number] - least[number])
        found[number] += more
        spare -= more
    return found


def folded(text: str, width: int, measure: Measure = len) -> Iterator[str]:
    """Lines of whole words; a word that is too wide has a line of its own."""
    line = ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and measure(longer) > width:
            yield line
            longer = word
        line = longer
    yield line


def records(rows: Cells, width: int, measure: Measure = len) -> Iterator[str]:
    """A table that is too wide, row by row: each cell after its heading, on one or more lines."""
    heads = rows[0]
    label = max(map(measure, heads)) + 2
    longest = max(measure(word) for row in rows[1:] for cell in row for word in (cell.split() or [""]))
    beside = label + longest <= width
    for number, row in enumerate(rows[1:]):
        if number:
            yield ""
        for head, cell in zip(heads, row, strict=True):
            first, *rest = folded(cell, width - (label if beside else GAP), measure)
            if beside:
                yield f"{head + ':':<{label}}{first}".rstrip()
            else:
                rest, label = [first, *rest], GAP
                yield f"{head}:"
            yield from (f"{'':<{label}}{line}" for line in rest)


def without(rows: Cells, column: str, keys: int = 1) -> tuple[Cells, list[tuple[str, str]]]:
    """The rows without that column, and its cells, each with the name of its row (the row's first cells)."""
    place = rows[0].index(column)
    kept = [[*row[:place], *row[place + 1:]] for row in rows]
    return kept, [("/".join(row[:keys]), row[place]) for row in rows[1:] if row[place] not in ("", "-")]
