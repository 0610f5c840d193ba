"""A VPC's box with its subnets in it, laid out on its own at 0, 0; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from math import ceil, sqrt

from vpcctl_lib.graph.shapes import HEIGHT, Box, Picture, Text, width
from vpcctl_lib.graph.value import SubnetNode, VpcNode

PAD, GAP, LINE = 14.0, 10.0, 17.0
NAME, SMALL, TITLE = 13.0, 11.5, 16.0
ICON = 14.0
"""The space left of a workload's name for its mark."""

NARROWEST = 230.0


def block(vpc: VpcNode) -> Picture:
    """The VPC: its head, then the public and the private subnets, each kind under its heading."""
    body, y = _body(vpc)
    inner = max([NARROWEST, *(box.right for box in body.boxes), _head_width(vpc)])
    head = list(_head(vpc, inner))
    top = head[-1].y + PAD
    moved = body.moved(PAD, top)
    size = Box(0, 0, inner + 2 * PAD, top + y + PAD, "vpc", f"VPC {vpc.name}")
    return Picture(size.width, size.height, (size, *moved.boxes), (*head, *moved.texts))


def _head_width(vpc: VpcNode) -> float:
    return max(width(vpc.name, TITLE), *(width(line, SMALL) for line in _facts(vpc)))


def _facts(vpc: VpcNode) -> list[str]:
    nat = f"NAT out of {vpc.uplink}" if vpc.uplink else "no way to the internet"
    return [vpc.cidr, *vpc.cidrs, f"router {vpc.gateway} on {vpc.bridge}", nat, *map(str, vpc.things)]


def _head(vpc: VpcNode, inner: float) -> Iterator[Text]:
    y = PAD + TITLE
    yield Text(PAD, y, vpc.name, TITLE, "title")
    peers = wrapped("peers: " + ", ".join(vpc.peers), inner) if vpc.peers else []
    for line in (*_facts(vpc), *peers):
        y += LINE
        yield Text(PAD, y, line, SMALL, "fact")


def wrapped(text: str, room: float) -> list[str]:
    """The text in lines that fit, broken at spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and width(longer, SMALL) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _body(vpc: VpcNode) -> tuple[Picture, float]:
    """The subnets, and the y of their lower end."""
    if not vpc.subnets:
        return Picture(0, 0, (), (Text(0, SMALL, "no subnets yet", SMALL, "fact"),)), SMALL
    cell = max(_cell_width(subnet) for subnet in vpc.subnets)
    columns = max(1, ceil(sqrt(len(vpc.subnets) * 0.8)))
    boxes: list[Box] = []
    texts: list[Text] = []
    y = 0.0
    for public in (True, False):
        kind = [subnet for subnet in vpc.subnets if subnet.public is public]
        if not kind:
            continue
        y += GAP if y else 0.0
        texts.append(Text(0, y + SMALL, f"{kind[0].kind} subnets", SMALL, "kind"))
        y += SMALL * HEIGHT + 5
        for row in _rows(kind, columns):
            height = max(_cell_height(subnet) for subnet in row)
            for number, subnet in enumerate(row):
                box = Box(number * (cell + GAP), y, cell, height, subnet.kind, f"subnet {subnet.name}")
                boxes.append(box)
                boxes += _marks(subnet, box)
                texts += _cell(subnet, box)
            y += height + GAP
        y -= GAP
    return Picture(0, 0, tuple(boxes), tuple(texts)), y


def _rows(subnets: Sequence[SubnetNode], columns: int) -> Iterable[list[SubnetNode]]:
    parts = [iter(subnets)] * columns
    return ([one for one in row if one is not None] for row in zip_longest(*parts))


def _lines(subnet: SubnetNode) -> list[str]:
    own = f"instance {subnet.address}" if subnet.address else "no instance of its own"
    return [subnet.cidr, own, subnet.decides or "open: no policy", *map(str, subnet.things)]


def _cell_width(subnet: SubnetNode) -> float:
    texts = [width(subnet.name, NAME), *(width(line, SMALL) for line in _lines(subnet)),
             *(ICON + width(line, SMALL) for line in subnet.workloads)]
    return ICON + max(texts) + 2 * GAP


def _cell_height(subnet: SubnetNode) -> float:
    return NAME + LINE * (len(_lines(subnet)) + len(subnet.workloads)) + 2 * GAP


def _cell(subnet: SubnetNode, box: Box) -> Iterator[Text]:
    y = box.y + GAP + NAME
    yield Text(box.x + GAP, y, subnet.name, NAME, "name")
    for number, line in enumerate(_lines(subnet), 1):
        marked = number == 3
        kind = ("policy" if subnet.decides else "open") if marked else "fact"
        yield Text(box.x + GAP + (ICON if marked else 0), y + number * LINE, line, SMALL, kind)
    for number, line in enumerate(subnet.workloads, len(_lines(subnet)) + 1):
        yield Text(box.x + GAP + ICON, y + number * LINE, line, SMALL, "workload")


def _marks(subnet: SubnetNode, box: Box) -> Iterator[Box]:
    """A small mark before the policy, and before each workload."""
    top = box.y + GAP + NAME - 9
    state = "shield" if subnet.decides else "noshield"
    yield Box(box.x + GAP, top + 3 * LINE, 9, 9, state)
    first = len(_lines(subnet)) + 1
    for number in range(first, first + len(subnet.workloads)):
        yield Box(box.x + GAP, top + number * LINE, 9, 9, "process")
