"""The topology as a picture: a graph value, and its rendering in each format; pure.

Rooms: value; text (tree, Mermaid, DOT, plain values); shapes, blocks (a VPC), grid, wires, layout, svg.
"""

from __future__ import annotations

from enum import Enum

from vpcctl_lib.graph.value import Graph, brief, graph

__all__ = ["Format", "Graph", "draw", "graph"]


class Format(Enum):
    """The formats of a graph, apart from JSON."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def draw(drawn: Graph, form: Format, whole: bool = False) -> str:
    """The graph in that format; unless all of it is wanted, with a count of what is too much to be read."""
    drawn = drawn if whole else brief(drawn)
    # Imported late: a tree needs no layout.
    if form is Format.SVG:
        from vpcctl_lib.graph.svg import svg

        return svg(drawn)
    from vpcctl_lib.graph import text

    return {Format.TREE: text.tree, Format.MERMAID: text.mermaid, Format.DOT: text.dot}[form](drawn)
