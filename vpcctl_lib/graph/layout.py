"""Where everything is: VPCs in a grid, lines between them, ways out, the legend; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vpcctl_lib.graph.blocks import LINE, PAD, SMALL, block
from vpcctl_lib.graph.grid import MARGIN, TRUNK, UPLINK_HEIGHT, Grid, columns, grid, trunk, uplink_bottom
from vpcctl_lib.graph.shapes import Box, Picture, Text, Wire, width
from vpcctl_lib.graph.value import Graph
from vpcctl_lib.graph.wires import Wiring

LEGEND = (("public", "public subnet"), ("private", "private subnet"), ("shield", "policy in force"),
          ("noshield", "no policy"), ("process", "workload"))


def picture(graph: Graph) -> Picture:
    """The whole topology."""
    blocks = [block(vpc) for vpc in graph.vpcs]
    if not blocks:
        lines = _listed(("no VPCs", *map(str, graph.things)), MARGIN, MARGIN)
        return Picture(max(one.box.right for one in lines) + MARGIN, lines[-1].box.bottom + MARGIN, (), lines)
    wide = columns(blocks)
    left = MARGIN + TRUNK * len(graph.uplinks)
    top = MARGIN + (UPLINK_HEIGHT + 8) * len(graph.uplinks)
    wiring = Wiring(graph, grid(blocks, wide, left, top, [0.0] * (len(blocks) + 1)))
    final = grid(blocks, wide, left, top, wiring.heights())
    return _drawn(graph, blocks, final, wiring.wires(final))


def _drawn(graph: Graph, blocks: Sequence[Picture], places: Grid, wires: tuple[Wire, ...]) -> Picture:
    boxes: list[Box] = []
    texts: list[Text] = []
    for made, place in zip(blocks, places.boxes, strict=True):
        moved = made.moved(place.x, place.y)
        # Boxes of a row have the same height, boxes of a column the same width: that of the largest.
        boxes += [replace(place, title=made.boxes[0].title), *moved.boxes[1:]]
        texts += moved.texts
    for number, uplink in enumerate(graph.uplinks):
        box, text = _uplink(number, uplink)
        boxes.append(box)
        texts.append(text)
    left, lowest = MARGIN + TRUNK * len(graph.uplinks), _lowest(boxes, wires)
    others = _listed(map(str, graph.things), left, lowest + PAD)
    legend = _legend(left, max([lowest, *(text.box.bottom for text in others)]) + PAD)
    reach = [point[0] for wire in wires for point in wire.points]
    below = (*others, *legend.texts)
    right = max([*(box.right for box in boxes), *(text.box.right for text in below), *reach])
    return Picture(right + MARGIN, legend.height, (*boxes, *legend.boxes), (*texts, *below),
                   (*wires, *legend.wires))


def _listed(lines: Iterable[str], x: float, y: float) -> tuple[Text, ...]:
    """Lines below each other, the first at that place."""
    return tuple(Text(x, y + SMALL + number * LINE, line, SMALL, "fact") for number, line in enumerate(lines))


def _lowest(boxes: Sequence[Box], wires: Sequence[Wire]) -> float:
    return max([*(box.bottom for box in boxes), *(point[1] for wire in wires for point in wire.points)])


def _uplink(number: int, name: str) -> tuple[Box, Text]:
    words = f"internet via {name}"
    box = Box(trunk(number) - 10, uplink_bottom(number) - UPLINK_HEIGHT, width(words, SMALL) + 2 * PAD,
              UPLINK_HEIGHT, "internet", words)
    return box, Text(box.x + PAD, box.y + 21, words, SMALL, "uplink")


def _legend(x: float, y: float) -> Picture:
    """What the marks mean."""
    boxes, texts = [], []
    for kind, words in LEGEND:
        boxes.append(Box(x, y + 2, 11, 11, kind))
        texts.append(Text(x + 17, y + 12, words, SMALL, "fact"))
        x += 17 + width(words, SMALL) + PAD
    wires = []
    for kind, words in (("nat", "NAT"), ("peering peering0", "peering")):
        wires.append(Wire(((x, y + 8), (x + 24, y + 8)), kind, words))
        texts.append(Text(x + 32, y + 12, words, SMALL, "fact"))
        x += 32 + width(words, SMALL) + PAD
    return Picture(x, y + 13 + MARGIN, tuple(boxes), tuple(texts), tuple(wires))
