"""The picture as SVG, light or dark to match the reader's system; pure."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from vpcctl_lib.graph.layout import picture
from vpcctl_lib.graph.shapes import Box, Text, Wire
from vpcctl_lib.graph.value import Graph

LIGHT = {
    ".page": "fill:#ffffff", ".vpc": "fill:#f6f7f9;stroke:#6b7280", ".public": "fill:#e3f4e6;stroke:#2e7d32",
    ".private": "fill:#e4edfa;stroke:#1f5fa8", ".internet": "fill:#fff1db;stroke:#b45309",
    ".shield": "fill:#b91c1c;stroke:#b91c1c", ".noshield": "fill:none;stroke:#9ca3af",
    ".process": "fill:#7c3aed;stroke:#7c3aed", "text": "fill:#111827", ".fact": "fill:#4b5563",
    ".kind": "fill:#4b5563", ".open": "fill:#6b7280", ".nat": "stroke:#b45309",
    ".peering0": "stroke:#6d28d9", ".peering1": "stroke:#be185d", ".peering2": "stroke:#0f766e",
    ".peering3": "stroke:#1d4ed8", ".peering4": "stroke:#4d7c0f", ".peering5": "stroke:#374151",
}
DARK = {
    ".page": "fill:#0d1117", ".vpc": "fill:#161b22;stroke:#8b949e", ".public": "fill:#12301a;stroke:#56b366",
    ".private": "fill:#12263f;stroke:#6ba6f0", ".internet": "fill:#3a2506;stroke:#e3a04a",
    ".shield": "fill:#f87171;stroke:#f87171", ".noshield": "fill:none;stroke:#6e7681",
    ".process": "fill:#b794f6;stroke:#b794f6", "text": "fill:#f0f3f6", ".fact": "fill:#b1bac4",
    ".kind": "fill:#b1bac4", ".open": "fill:#9198a1", ".nat": "stroke:#e3a04a",
    ".peering0": "stroke:#b794f6", ".peering1": "stroke:#f472b6", ".peering2": "stroke:#2dd4bf",
    ".peering3": "stroke:#60a5fa", ".peering4": "stroke:#a3e635", ".peering5": "stroke:#d1d5db",
}
SHAPE = """text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.title,.name,.kind,.uplink{font-weight:600}
.nat,.peering{fill:none;stroke-width:1.8;stroke-linejoin:round}
.peering{stroke-dasharray:6 3}"""
ROUND = {"vpc": 10, "public": 6, "private": 6, "internet": 17}


def svg(graph: Graph) -> str:
    """The whole document."""
    drawn = picture(graph)
    size = f'width="{drawn.width:.0f}" height="{drawn.height:.0f}"'
    view = f'viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} role="img">',
        f"<title>{escape(_told(graph))}</title>", f"<style>{_style()}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        *map(_box, drawn.boxes), *map(_wire, drawn.wires), *map(_text, drawn.texts), "</svg>",
    ]
    return "\n".join(lines)


def _told(graph: Graph) -> str:
    subnets = sum(len(vpc.subnets) for vpc in graph.vpcs)
    return f"{len(graph.vpcs)} VPCs, {subnets} subnets, {len(graph.peerings)} peerings"


def _style() -> str:
    dark = "".join(_rules(DARK))
    return f"\n{''.join(_rules(LIGHT))}{SHAPE}\n@media (prefers-color-scheme:dark){{\n{dark}}}\n"


def _rules(colours: dict[str, str]) -> Iterator[str]:
    return (f"{selector}{{{values}}}\n" for selector, values in colours.items())


def _box(box: Box) -> str:
    place = f'x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
    title = f"<title>{escape(box.title)}</title>" if box.title else ""
    return f'<rect class="{box.kind}" {place} rx="{ROUND.get(box.kind, 2)}">{title}</rect>'


def _text(text: Text) -> str:
    return (f'<text class="{text.kind}" x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size}">'
            f"{escape(text.text)}</text>")


def _wire(wire: Wire) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in wire.points)
    return f'<polyline class="{wire.kind}" points="{points}"><title>{escape(wire.title)}</title></polyline>'
