"""The graph: all of a topology in every format, and a picture in which no text lies over another."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Network
from itertools import combinations
from xml.etree import ElementTree

import pytest

from vpcctl_lib.graph import Format, draw, graph
from vpcctl_lib.graph.layout import picture
from vpcctl_lib.graph.shapes import Box, Picture
from vpcctl_lib.graph.text import plain
from vpcctl_lib.graph.value import brief
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

POLICY = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)),))
LONG = "m" * 31


def subnets(vpc: int, count: int) -> tuple[Subnet, ...]:
    names = ["public", "private", LONG, *(f"tier-{number}" for number in range(3, count))][:count]
    return tuple(Subnet(
        name, IPv4Network(f"10.{vpc}.{number}.0/24"),
        SubnetType.PRIVATE if number % 3 else SubnetType.PUBLIC, None if number % 2 else POLICY,
        (Machine(workloads=tuple(Workload(f"webserver-{8080 + one}", port=8080 + one)
                                 for one in range(number % 9))),),
    ) for number, name in enumerate(names))


def vpc(number: int, count: int, uplink: str = "") -> Vpc:
    nat = Nat(uplink) if uplink else None
    return Vpc(f"vpc{number}", IPv4Network(f"10.{number}.0.0/16"), number, nat=nat,
               subnets=subnets(number, count))


def ring(count: int, step: int) -> tuple[Peering, ...]:
    names = [f"vpc{number}" for number in range(count)]
    pairs = (Peering.between(names[one], names[(one + step) % count]) for one in range(count))
    return tuple(dict.fromkeys(pairs))


def crowded(count: int) -> Topology:
    """A VPC whose subnets have that many machines more, some with many addresses."""
    def machines(subnet: Subnet) -> tuple[Machine, ...]:
        first = subnet.cidr.network_address
        return tuple(Machine(LONG[number:], tuple(first + 4 + 9 * number + one for one in range(number % 9)))
                     for number in range(1, count))

    whole = vpc(0, 4, "eth0")
    return Topology((replace(whole, subnets=tuple(
        replace(one, machines=(*one.machines, *machines(one))) for one in whole.subnets)),))


TOPOLOGIES = {
    "nothing": Topology(),
    "an empty VPC": Topology((vpc(0, 0),)),
    "2 subnets": Topology((vpc(0, 2, "eth0"),)),
    "8 subnets": Topology((vpc(0, 3, "eth0"), vpc(1, 3, "eth1"), vpc(2, 2)), ring(3, 1)),
    "30 subnets": Topology((vpc(0, 30, "eth0"),)),
    "30 subnets in 4 VPCs": Topology((vpc(0, 12, "eth0"), vpc(1, 9, "eth0"), vpc(2, 5), vpc(3, 4)),
                                     ring(4, 1)),
    "30 VPCs": Topology(tuple(vpc(number, 1, "eth0" if number % 3 else "wlan0") for number in range(30)),
                        ring(30, 7)),
    "machines": crowded(3),
    "many machines": crowded(20),
    "one with 29 peers": Topology(tuple(vpc(number, 1) for number in range(30)),
                                  tuple(Peering.between("vpc0", f"vpc{number}") for number in range(1, 30))),
}
each_topology = pytest.mark.parametrize("topology", TOPOLOGIES.values(), ids=TOPOLOGIES)


@cache
def drawn(topology: Topology) -> Picture:
    return picture(graph(topology))


@each_topology
def test_no_text_lies_over_another(topology: Topology) -> None:
    boxes = [(text.text, text.box) for text in drawn(topology).texts]
    assert not [(one, other) for (one, box), (other, next_box) in combinations(boxes, 2)
                if box.overlaps(next_box)]


@each_topology
def test_no_text_leaves_its_box(topology: Topology) -> None:
    made = drawn(topology)
    cells = [box for box in made.boxes if box.kind in ("vpc", "public", "private", "internet") and box.title]
    for text, own in ((text.text, text.box) for text in made.texts):
        around = [box for box in cells if box.overlaps(own)]
        assert all(inside(own, box) for box in around), text
        assert inside(own, Box(0, 0, made.width, made.height)), text


def inside(small: Box, large: Box) -> bool:
    return (large.x <= small.x and small.right <= large.right
            and large.y <= small.y and small.bottom <= large.bottom)


@each_topology
def test_subnets_lie_in_their_vpc_and_not_over_each_other(topology: Topology) -> None:
    boxes = [box for box in drawn(topology).boxes if box.title]
    vpcs = [box for box in boxes if box.kind == "vpc"]
    cells = [box for box in boxes if box.kind in ("public", "private")]
    assert len(cells) == sum(len(vpc.subnets) for vpc in topology.vpcs)
    assert all(sum(inside(cell, vpc) for vpc in vpcs) == 1 for cell in cells)
    assert not [pair for kind in (vpcs, cells) for pair in combinations(kind, 2) if pair[0].overlaps(pair[1])]


@each_topology
def test_no_line_runs_through_a_text_or_a_box(topology: Topology) -> None:
    made = drawn(topology)
    solid = [box for box in made.boxes if box.kind == "vpc"] + [text.box for text in made.texts]
    for wire in made.wires:
        for (x1, y1), (x2, y2) in zip(wire.points, wire.points[1:], strict=False):
            line = Box(min(x1, x2) - 0.5, min(y1, y2) + 0.1, abs(x1 - x2) + 1, abs(y1 - y2) - 0.2)
            if y1 == y2:
                line = replace(line, y=y1 - 0.5, height=1)
            assert not [box for box in solid if box.overlaps(line)], wire.title
            assert inside(line, Box(0, 0, made.width, made.height))


@each_topology
def test_lines_of_two_peerings_never_run_on_each_other(topology: Topology) -> None:
    level: list[tuple[str, float, float, float]] = []
    for wire in drawn(topology).wires:
        if wire.kind != "nat":
            level += [(wire.title, y1, min(x1, x2), max(x1, x2))
                      for (x1, y1), (x2, y2) in zip(wire.points, wire.points[1:], strict=False) if y1 == y2]
    clashes = [(one, other) for one, other in combinations(level, 2)
               if one[0] != other[0] and one[1] == other[1] and one[2] < other[3] and other[2] < one[3]]
    assert not clashes


@each_topology
def test_every_nat_and_every_peering_is_a_line(topology: Topology) -> None:
    titles = [wire.title for wire in drawn(topology).wires]
    with_nat = [one for one in topology.vpcs if one.nat]
    assert sum(title.startswith("NAT out of") for title in titles) == len(with_nat)
    assert sum(title.startswith("peering vpc") for title in titles) == len(topology.peerings)


@each_topology
def test_the_svg_is_well_formed_and_knows_the_dark(topology: Topology) -> None:
    text = draw(graph(topology), Format.SVG)
    # Our own text, not a stranger's.
    document = ElementTree.fromstring(text)  # noqa: S314
    assert document.tag.endswith("svg")
    assert "prefers-color-scheme:dark" in text
    shown = {element.text for element in document.iter() if element.tag.endswith("}text")}
    assert {vpc.name for vpc in topology.vpcs} <= shown
    assert {subnet.name for vpc in topology.vpcs for subnet in vpc.subnets} <= shown


@each_topology
@pytest.mark.parametrize("form", [Format.TREE, Format.MERMAID, Format.DOT])
def test_each_text_names_everything(topology: Topology, form: Format) -> None:
    text = draw(graph(topology), form, whole=True)
    for vpc in topology.vpcs:
        assert vpc.name in text
        assert all(subnet.name in text and str(subnet.cidr) in text for subnet in vpc.subnets)
        assert all(workload.name in text for one in endpoints.in_vpc(vpc) for workload in one.workloads)


def test_the_tree() -> None:
    one = replace(vpc(0, 2, "eth0"), name="vpc1")
    other = replace(vpc(1, 0), name="vpc2")
    assert draw(graph(Topology((one, other), (Peering("vpc1", "vpc2"),))), Format.TREE) == """\
vpc1  10.0.0.0/16  router 10.0.0.1 on br-vpc1
├── public   10.0.0.0/24  public   policy: 1 in, out open
├── private  10.0.1.0/24  private  open
│   └── webserver-8080
├── NAT out of eth0
└── peering with vpc2 (10.1.0.0/16)
vpc2  10.1.0.0/16  router 10.1.0.1 on br-vpc2
└── peering with vpc1 (10.0.0.0/16)"""


def test_mermaid_has_no_name_where_it_has_words_of_its_own() -> None:
    odd = Vpc("end", IPv4Network("10.0.0.0/16"), nat=Nat('we"ird<&#;'), subnets=(
        Subnet("graph", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC),))
    text = draw(graph(Topology((odd,))), Format.MERMAID)
    assert 'subgraph v0["end 10.0.0.0/16"]' in text
    assert 'u0(("internet<br/>we#34;ird#60;#38;#35;#59;")):::internet' in text
    for line in text.splitlines():
        assert not re.match(r"\s*graph\b", line)


@each_topology
def test_graphviz_takes_the_dot(topology: Topology) -> None:
    text = draw(graph(topology), Format.DOT)
    done = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True)
    assert not done.stderr


def test_dot_quotes_what_an_interface_may_be_called() -> None:
    odd = Vpc("a", IPv4Network("10.0.0.0/16"), nat=Nat('we"ird\\'))
    assert r'label="internet via we\"ird\\"' in draw(graph(Topology((odd,))), Format.DOT)


def test_nodes_and_edges() -> None:
    found = plain(graph(TOPOLOGIES["8 subnets"]))
    names = {node["id"] for node in found["nodes"]}
    assert {"internet:eth0", "vpc0", "vpc0/public", "vpc0/private/webserver-8080"} <= names
    assert all(node["parent"] is None or node["parent"] in names for node in found["nodes"])
    assert all({edge["source"], edge["target"]} <= names for edge in found["edges"])
    assert [edge["kind"] for edge in found["edges"]] == ["nat", "nat", "peering", "peering", "peering"]


def test_a_machine_is_a_node_and_a_box_names_some_and_counts_the_rest() -> None:
    found = graph(TOPOLOGIES["many machines"])
    nodes = [node for node in plain(found)["nodes"] if node["kind"] == "machine"]
    assert len(nodes) == 4 * 19
    assert nodes[0] == {"id": f"vpc0/public/machine:{LONG[1:]}", "kind": "machine", "name": LONG[1:],
                        "parent": "vpc0/public", "facts": ["10.0.0.13"]}
    shown = [text.text for text in picture(brief(found)).texts]
    assert shown.count("and 13 more") == 4
    assert shown.count(f"machine {LONG[6:]} {', '.join(f'10.0.0.{58 + one}' for one in range(6))}") == 1


@pytest.mark.parametrize("form", [Format.TREE, Format.MERMAID, Format.DOT])
def test_a_text_counts_what_is_too_much_unless_all_is_wanted(form: Format) -> None:
    found = graph(TOPOLOGIES["many machines"])
    few, every = draw(found, form), draw(found, form, whole=True)
    assert (few.count("and 13 more"), few.count("machine ")) == (4, 4 * 6)
    assert ("more" in every, every.count("machine ")) == (False, 4 * 19)
