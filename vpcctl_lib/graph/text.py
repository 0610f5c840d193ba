"""The graph as text: a tree for terminals, Mermaid for GitHub, DOT for Graphviz, and plain values; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vpcctl_lib.graph.value import Graph, SubnetNode, Thing, VpcNode

Branch = tuple[str, Sequence[Any]]
"""A line, and the branches under it."""

MERMAID_STYLE = (
    "classDef public fill:#e6f4ea,stroke:#2e7d32,color:#12361b",
    "classDef private fill:#e8f0fb,stroke:#1f5fa8,color:#10294a",
    "classDef internet fill:#fff3e0,stroke:#b45309,color:#4a2a05",
)
DOT_STYLE = {True: '"#e6f4ea", color="#2e7d32"', False: '"#e8f0fb", color="#1f5fa8"'}


def tree(graph: Graph) -> str:
    """VPCs with what is in them, drawn with lines."""
    branches = [*(_vpc_branch(graph, vpc) for vpc in graph.vpcs), *_leaves(graph.things)]
    return "\n".join(_branches(branches, "", top=True)) or "no VPCs"


def _leaves(things: Iterable[object]) -> list[Branch]:
    return [(str(one), ()) for one in things]


def _branches(branches: Sequence[Branch], indent: str, top: bool = False) -> Iterator[str]:
    for number, (line, under) in enumerate(branches, 1):
        last = number == len(branches)
        yield line if top else f"{indent}{'└── ' if last else '├── '}{line}"
        yield from _branches(under, "" if top else f"{indent}{'    ' if last else '│   '}")


def _vpc_branch(graph: Graph, vpc: VpcNode) -> Branch:
    width = max((len(subnet.name) for subnet in vpc.subnets), default=0)
    reach = max((len(subnet.cidr) for subnet in vpc.subnets), default=0)
    subnets = [_subnet_branch(subnet, width, reach) for subnet in vpc.subnets]
    cidrs = {other.name: other.networks for other in graph.vpcs}
    nat: list[Branch] = [(f"NAT out of {vpc.uplink}", ())] if vpc.uplink else []
    peers: list[Branch] = [(f"peering with {name} ({cidrs[name]})", ()) for name in vpc.peers]
    return f"{vpc.name}  {vpc.networks}  router {vpc.gateway} on {vpc.bridge}", [
        *subnets, *nat, *peers, *_leaves(vpc.things)]


def _subnet_branch(subnet: SubnetNode, width: int, reach: int) -> Branch:
    words = f"{subnet.name:<{width}}  {subnet.cidr:<{reach}}  {subnet.kind:<7}  {subnet.decides or 'open'}"
    if not subnet.address:
        words += "  bare"
    return words, _leaves((*subnet.things, *subnet.workloads))


def _bare(subnet: SubnetNode) -> tuple[str, ...]:
    return () if subnet.address else ("no instance of its own",)


def mermaid(graph: Graph) -> str:
    """A flowchart; numbers replace names, because Mermaid has reserved words."""
    numbers = {vpc.name: f"v{number}" for number, vpc in enumerate(graph.vpcs)}
    lines = ["flowchart TB", *(f"  {line}" for line in _mermaid_lines(graph, numbers))]
    return "\n".join(lines)


def _mermaid_lines(graph: Graph, numbers: dict[str, str]) -> Iterator[str]:
    uplinks = {uplink: f"u{number}" for number, uplink in enumerate(graph.uplinks)}
    for uplink, number in uplinks.items():
        yield f'{number}(("internet<br/>{_entities(uplink)}")):::internet'
    for vpc in graph.vpcs:
        yield from _mermaid_vpc(vpc, numbers[vpc.name])
    for vpc in graph.vpcs:
        if vpc.uplink:
            yield f"{numbers[vpc.name]} -->|NAT| {uplinks[vpc.uplink]}"
    for one, other in graph.peerings:
        yield f"{numbers[one]} <-.->|peering| {numbers[other]}"
    yield from (f'{place}["{_entities(str(thing), " ")}"]' for place, thing in _numbered("t", graph.things))
    yield from MERMAID_STYLE


def _mermaid_vpc(vpc: VpcNode, number: str) -> Iterator[str]:
    yield f'subgraph {number}["{_entities(vpc.name)} {vpc.networks}"]'
    for place, subnet in enumerate(vpc.subnets):
        lines = [f"<b>{_entities(subnet.name)}</b>", subnet.cidr, subnet.decides or "open", *_bare(subnet),
                 *(_entities(str(thing), " ") for thing in subnet.things), *map(_entities, subnet.workloads)]
        yield f'  {number}s{place}["{"<br/>".join(lines)}"]:::{subnet.kind}'
    if not vpc.subnets:
        yield f'  {number}s["no subnets"]'
    yield from (f'  {place}["{_entities(str(thing), " ")}"]'
                for place, thing in _numbered(f"{number}t", vpc.things))
    yield "end"


def _numbered(prefix: str, things: Iterable[Thing]) -> Iterator[tuple[str, Thing]]:
    return ((f"{prefix}{number}", thing) for number, thing in enumerate(things))


def _entities(text: str, plain: str = "") -> str:
    """An interface's name may contain nearly anything; Mermaid writes entities with a number sign."""
    return "".join(one if one.isalnum() or one in f"-_.{plain}" else f"#{ord(one)};" for one in text)


def dot(graph: Graph) -> str:
    """A digraph for Graphviz, a cluster for each VPC."""
    numbers = {vpc.name: number for number, vpc in enumerate(graph.vpcs)}
    lines = ["digraph vpcs {", *(f"  {line}" for line in _dot_lines(graph, numbers)), "}"]
    return "\n".join(lines)


def _dot_lines(graph: Graph, numbers: dict[str, int]) -> Iterator[str]:
    yield 'compound=true; rankdir=TB; fontname="sans-serif";'
    yield 'node [shape=box, style="rounded,filled", fontname="sans-serif"]; edge [fontname="sans-serif"];'
    uplinks = {uplink: f"uplink_{number}" for number, uplink in enumerate(graph.uplinks)}
    for uplink, name in uplinks.items():
        yield f'{name} [label={_quoted(f"internet via {uplink}")}, shape=ellipse, fillcolor="#fff3e0"];'
    for vpc in graph.vpcs:
        yield from _dot_vpc(vpc, numbers[vpc.name])
    for vpc in graph.vpcs:
        if vpc.uplink:
            number = numbers[vpc.name]
            yield f'router_{number} -> {uplinks[vpc.uplink]} [label="NAT"];'
    for one, other in graph.peerings:
        yield (f"router_{numbers[one]} -> router_{numbers[other]} "
               f'[dir=both, style=dashed, constraint=false, label="peering"];')
    yield from (f"{place} [label={_quoted(str(thing))}];"
                for place, thing in _numbered("thing_", graph.things))


def _dot_vpc(vpc: VpcNode, number: int) -> Iterator[str]:
    yield f"subgraph cluster_{number} {{"
    yield f"  label={_quoted(f'{vpc.name}  {vpc.networks}')}; style=rounded;"
    router = _quoted(f"router {vpc.gateway}", vpc.bridge)
    yield f'  router_{number} [label={router}, fillcolor="#eeeeee"];'
    for place, subnet in enumerate(vpc.subnets):
        label = _quoted(subnet.name, subnet.cidr, subnet.decides or "open", *_bare(subnet),
                        *map(str, subnet.things), *subnet.workloads)
        yield f"  subnet_{number}_{place} [label={label}, fillcolor={DOT_STYLE[subnet.public]}];"
        yield f"  router_{number} -> subnet_{number}_{place} [dir=none];"
    yield from (f"  {place} [label={_quoted(str(thing))}];"
                for place, thing in _numbered(f"thing_{number}_", vpc.things))
    yield "}"


def _quoted(*lines: str) -> str:
    escaped = (line.replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'


def plain(graph: Graph) -> dict[str, Any]:
    """Nodes and edges, for programs."""
    return {"nodes": list(_nodes(graph)), "edges": list(_edges(graph))}


def _nodes(graph: Graph) -> Iterator[dict[str, Any]]:
    for uplink in graph.uplinks:
        yield {"id": f"internet:{uplink}", "kind": "internet", "name": uplink, "parent": None}
    for vpc in graph.vpcs:
        yield {"id": vpc.name, "kind": "vpc", "name": vpc.name, "parent": None, "cidr": vpc.cidr,
               "cidrs": list(vpc.cidrs), "gateway": vpc.gateway, "bridge": vpc.bridge}
        for subnet in vpc.subnets:
            place = f"{vpc.name}/{subnet.name}"
            yield {"id": place, "kind": "subnet", "name": subnet.name, "parent": vpc.name,
                   "cidr": subnet.cidr, "type": subnet.kind, "address": subnet.address or None,
                   "firewall": bool(subnet.policy), "groups": list(subnet.groups), "acl": subnet.acl or None}
            yield from _thing_nodes(subnet.things, place)
            for workload in subnet.workloads:
                yield {"id": f"{place}/{workload}", "kind": "workload", "name": workload, "parent": place}
        yield from _thing_nodes(vpc.things, vpc.name)
    yield from _thing_nodes(graph.things, None)


def _thing_nodes(things: Iterable[Thing], parent: str | None) -> Iterator[dict[str, Any]]:
    for one in things:
        # With its kind: a workload may have the same name.
        name = f"{one.kind}:{one.name}"
        yield {"id": f"{parent}/{name}" if parent else name, "kind": one.kind, "name": one.name,
               "parent": parent, "facts": list(one.facts)}


def _edges(graph: Graph) -> Iterator[dict[str, str]]:
    for vpc in graph.vpcs:
        if vpc.uplink:
            yield {"kind": "nat", "source": vpc.name, "target": f"internet:{vpc.uplink}"}
    for one, other in graph.peerings:
        yield {"kind": "peering", "source": one, "target": other}
