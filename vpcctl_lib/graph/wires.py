"""The lines for NAT and peerings: vertical at the boxes, along lanes in the gutters; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vpcctl_lib.frozen import frozen
from vpcctl_lib.graph.grid import AIR, COLOURS, LANE, Grid, Span, trunk, uplink_bottom
from vpcctl_lib.graph.shapes import Wire
from vpcctl_lib.graph.value import Graph

PORT, FIRST = 14.0, 22.0
"""The distance between lines at a box, and of the first from the corner."""


@dataclass
class Gutter:
    """The space between two rows: lanes, each with the spans that lines already use."""

    lanes: list[list[Span]] = field(default_factory=list)

    def lane(self, one: float, other: float) -> int:
        """The number of a lane that is free between the two x."""
        span = (min(one, other) - LANE, max(one, other) + LANE)
        for number, taken in enumerate(self.lanes):
            if all(span[1] <= start or end <= span[0] for start, end in taken):
                taken.append(span)
                return number
        self.lanes.append([span])
        return len(self.lanes) - 1

    def height(self) -> float:
        """The height of the lanes, with space on both sides."""
        return 2 * AIR + max(0, len(self.lanes) - 1) * LANE


@frozen
class Way:
    """A peering's way: where it leaves and arrives, its lane there, and perhaps one down the right margin."""

    start: int
    start_x: float
    lane: int
    end: int
    end_x: float
    end_lane: int
    margin: int | None


class Wiring:
    """Gives each line its lanes on a grid without gutters, then its points on the one with them."""

    def __init__(self, graph: Graph, grid: Grid) -> None:
        self._graph = graph
        self._grid = grid
        self._row = {vpc.name: number for number, vpc in enumerate(graph.vpcs)}
        self._gutters = [Gutter() for _ in range(max(grid.rows) + 2)]
        self._above = [0] * len(grid.boxes)
        self._below = [0] * len(grid.boxes)
        self._margins = 0
        self._trunks = {uplink: self._trunk_lanes(number, uplink)
                        for number, uplink in enumerate(graph.uplinks)}
        self._ways = [self._way(self._row[one], self._row[other]) for one, other in graph.peerings]

    def heights(self) -> list[float]:
        """The height of each gutter."""
        return [gutter.height() for gutter in self._gutters]

    def _port_above(self, number: int) -> float:
        """The x of the next free place on a box's upper side, from the left."""
        box, place = self._grid.boxes[number], self._above[number]
        self._above[number] += 1
        return box.x + FIRST + place * PORT % (box.width - 2 * FIRST)

    def _port_below(self, number: int) -> float:
        """The x of the next free place on a box's lower side, from the right."""
        box, place = self._grid.boxes[number], self._below[number]
        self._below[number] += 1
        return box.right - FIRST - place * PORT % (box.width - 2 * FIRST) + PORT / 2

    def _trunk_lanes(self, number: int, uplink: str) -> dict[int, tuple[int, list[float]]]:
        """By row, the lane and the x of the VPCs with this uplink."""
        ports: dict[int, list[float]] = {}
        for place, vpc in enumerate(self._graph.vpcs):
            if vpc.uplink == uplink:
                ports.setdefault(self._grid.rows[place], []).append(self._port_above(place))
        return {row: (self._gutters[row].lane(trunk(number), max(xs)), xs) for row, xs in ports.items()}

    def _way(self, one: int, other: int) -> Way:
        start, end = sorted((one, other))
        below = self._grid.rows[start] + 1
        x = self._port_below(start)
        level = self._grid.rows[end] == self._grid.rows[start]
        far = self._port_below(end) if level else self._port_above(end)
        if level or self._grid.rows[end] == below:
            lane = self._gutters[below].lane(x, far)
            return Way(start, x, lane, end, far, lane, None)
        self._margins += 1
        edge = self._grid.right + self._margins * LANE
        return Way(start, x, self._gutters[below].lane(x, edge), end, far,
                   self._gutters[self._grid.rows[end]].lane(far, edge), self._margins)

    def wires(self, grid: Grid) -> tuple[Wire, ...]:
        """All lines, on the grid with its gutters."""
        tops = [min(box.y for box, row in zip(grid.boxes, grid.rows, strict=True) if row == number)
                for number in range(max(grid.rows) + 1)]
        tops.append(max(box.bottom for box in grid.boxes) + self._gutters[-1].height())
        nat = [wire for number, uplink in enumerate(self._graph.uplinks)
               for wire in self._nat(number, uplink, tops)]
        peerings = [self._peering(number, way, grid, tops) for number, way in enumerate(self._ways)]
        return (*nat, *peerings)

    def _lane_y(self, gutter: int, lane: int, tops: Sequence[float]) -> float:
        return tops[gutter] - AIR - lane * LANE

    def _nat(self, number: int, uplink: str, tops: Sequence[float]) -> list[Wire]:
        x, top = trunk(number), uplink_bottom(number)
        wires = []
        for row, (lane, ports) in self._trunks[uplink].items():
            y = self._lane_y(row, lane, tops)
            wires += [Wire(((x, top), (x, y), (port, y), (port, tops[row])), "nat", f"NAT out of {uplink}")
                      for port in ports]
        return wires

    def _peering(self, number: int, way: Way, grid: Grid, tops: Sequence[float]) -> Wire:
        start, end = grid.boxes[way.start], grid.boxes[way.end]
        level = grid.rows[way.start] == grid.rows[way.end]
        y = self._lane_y(grid.rows[way.start] + 1, way.lane, tops)
        points = [(way.start_x, start.bottom), (way.start_x, y)]
        if way.margin is not None:
            edge = grid.right + way.margin * LANE
            points += [(edge, y)]
            y = self._lane_y(grid.rows[way.end], way.end_lane, tops)
            points += [(edge, y)]
        points += [(way.end_x, y), (way.end_x, end.bottom if level else end.y)]
        names = [self._graph.vpcs[place].name for place in (way.start, way.end)]
        return Wire(tuple(points), f"peering peering{number % COLOURS}", f"peering {names[0]} - {names[1]}")
