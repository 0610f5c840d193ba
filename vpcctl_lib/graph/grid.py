"""The grid of the VPCs, with gutters for the lines above each row and under the last; pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import log

from vpcctl_lib.frozen import frozen
from vpcctl_lib.graph.shapes import Box, Picture

MARGIN, LANE, AIR = 20.0, 12.0, 16.0
UPLINK_HEIGHT, TRUNK = 34.0, 20.0
COLOURS = 6
"""The number of colours that distinguish the lines of peerings."""

RATIO = 1.5
"""Width to height, as on most screens."""

Span = tuple[float, float]


@frozen
class Grid:
    """The VPCs' boxes, each with its row, and the room above each row (and under the last) for lines."""

    boxes: tuple[Box, ...]
    rows: tuple[int, ...]
    right: float


def columns(blocks: Sequence[Picture]) -> int:
    """The number of columns that brings the whole nearest to the shape of a screen."""
    def away(wide: int) -> float:
        tried = grid(blocks, wide, 0, 0, [2 * AIR] * (len(blocks) + 1))
        return abs(log(tried.right / max(box.bottom for box in tried.boxes) / RATIO))

    return min(range(1, len(blocks) + 1), key=away)


def grid(blocks: Sequence[Picture], columns: int, left: float, top: float, gutters: Sequence[float]) -> Grid:
    """The boxes in this many columns, from that corner on, with gutters of these heights."""
    rows = [blocks[start:start + columns] for start in range(0, len(blocks), columns)]
    widths = [max(one.width for one in blocks[column::columns]) for column in range(columns)]
    heights = [max(one.height for one in row) for row in rows]
    lefts = [left, *accumulate((one + 2 * AIR for one in widths), initial=left)][1:]
    boxes, y = [], top
    for number, row in enumerate(rows):
        y += gutters[number]
        boxes += [Box(lefts[column], y, widths[column], heights[number], "vpc") for column in range(len(row))]
        y += heights[number]
    return Grid(tuple(boxes), tuple(number // columns for number in range(len(blocks))),
                max(box.right for box in boxes))


def trunk(number: int) -> float:
    """The x of the line that leads to an uplink."""
    return MARGIN + TRUNK * number + TRUNK / 2 - 4


def uplink_bottom(number: int) -> float:
    """The y at which an uplink's line begins."""
    return MARGIN + (UPLINK_HEIGHT + 8) * number + UPLINK_HEIGHT
