"""The parts of a picture: boxes, texts and lines, and how wide a text may become; pure."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.frozen import frozen

WIDE, NARROW = frozenset("mwMW@%"), frozenset("fijlrt.,:;'|!()[]/ 1")
HEIGHT = 1.25
"""The height of a line, in font sizes."""


@frozen
class Box:
    """A rectangle; `kind` is what it stands for, and becomes its class."""

    x: float
    y: float
    width: float
    height: float
    kind: str = ""
    title: str = ""

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height

    def moved(self, x: float, y: float) -> Box:
        """The same, further right and further down."""
        return replace(self, x=self.x + x, y=self.y + y)

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than a border."""
        return (self.x < other.right and other.x < self.right
                and self.y < other.bottom and other.y < self.bottom)


@frozen
class Text:
    """A line of text; x and y are the left end of its baseline."""

    x: float
    y: float
    text: str
    size: float = 12
    kind: str = ""

    @property
    def box(self) -> Box:
        """The most room that it takes."""
        return Box(self.x, self.y - self.size, width(self.text, self.size), self.size * HEIGHT)

    def moved(self, x: float, y: float) -> Text:
        """The same, further right and further down."""
        return replace(self, x=self.x + x, y=self.y + y)


@frozen
class Wire:
    """A line through points, with an open end or a dot at each of its ends."""

    points: tuple[tuple[float, float], ...]
    kind: str
    title: str


@frozen
class Picture:
    """Everything to draw, boxes first."""

    width: float
    height: float
    boxes: tuple[Box, ...] = ()
    texts: tuple[Text, ...] = ()
    wires: tuple[Wire, ...] = ()

    def moved(self, x: float, y: float) -> Picture:
        """The same, further right and further down."""
        wires = tuple(replace(wire, points=tuple((px + x, py + y) for px, py in wire.points))
                      for wire in self.wires)
        return replace(self, boxes=tuple(box.moved(x, y) for box in self.boxes),
                       texts=tuple(text.moved(x, y) for text in self.texts), wires=wires)


def width(text: str, size: float) -> float:
    """A text's width in the fonts that browsers use for sans-serif, in bold, slightly overestimated."""
    return size * sum(0.95 if one in WIDE else 0.4 if one in NARROW else 0.66 for one in text)
