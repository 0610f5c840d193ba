"""AWS's pages on route tables, network ACLs and groups, real packets, and `reach` say the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aws_layout
import pytest
from aws_paper import INTERNET, Layout, Place, verdict
from host import Host
from test_reach import Pair, ask, send

LONG = bool(os.environ.get("VPCCTL_LONG"))
FIRST = int(os.environ.get("VPCCTL_SEED", "1"))
WORLDS = int(os.environ.get("VPCCTL_WORLDS", 80 if LONG else 3))
PAIRS = 150
WAYS = (("icmp", 0, ""), ("tcp", 80, ":80"), ("tcp", 8080, ":8080"), ("udp", 53, ":53/udp"))


@dataclass(frozen=True)
class Case:
    """One question: who asks, whom, and how."""

    start: Place
    to: Place | None
    way: tuple[str, int, str]

    def pair(self, layout: Layout) -> Pair:
        """As `reach` and a probe take it."""
        start = f"{self.start.vpc}/{self.start.subnet}/{self.start.name}"
        address = INTERNET if self.to is None else \
            layout.vpcs[self.to.vpc].subnets[self.to.subnet].machines[self.to.name].address
        to = f"{self.to.vpc}/{self.to.subnet}/{self.to.name}" if self.to else "internet"
        protocol, port, suffix = self.way
        return Pair(start, to, protocol, port, f"{address}{suffix}")


def places(layout: Layout) -> list[Place]:
    """All machines."""
    return [Place(vpc, subnet, name) for vpc, one in layout.vpcs.items()
            for subnet, held in one.subnets.items() for name in held.machines]


def cases(layout: Layout, seed: int) -> list[Case]:
    """As many questions as there is time for."""
    ends = [*places(layout), None]
    every = [Case(start, to, way) for start in ends if start for to in ends if to != start for way in WAYS
             if to or way[1] != 8080]
    return Random(seed).sample(every, min(PAIRS, len(every)))  # noqa: S311 - a test wants the same again


def build(host: Host, layout: Layout) -> None:
    """The network, with services in each machine."""
    host.do("apply -f", host.write("layout.yaml", aws_layout.document(layout)))
    for place in places(layout):
        host.listen(f"{place.vpc}-{place.subnet}.{place.name}", "80", "8080", "53/udp")


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[list[Host]]:
    """Hosts that may end in any state."""
    made: list[Host] = []
    yield made
    for host in made:
        host.end()


def disagreements(host: Host, layout: Layout, asked: list[Case], patience: float) -> dict[Case, str]:
    """Where paper, packets and `reach` differ, and how."""
    tried = [case.pair(layout) for case in asked]
    found = {}
    for case, report, real in zip(asked, ask(host, tried), send(host, tried, patience), strict=True):
        why = verdict(layout, case.start, case.to, *case.way[:2])
        said = report["verdict"] == "reachable"
        if not ((real.verdict == "reached") == said == (not why)):
            found[case] = (f"paper: {why or 'reached'}; packet {real.verdict}; "
                           f"reach {report['verdict']} {report['blocked_by']}")
    return found


@pytest.mark.long
def test_paper_packets_and_reach_agree(new_host: list[Host], tmp_path: Path) -> None:
    problems, compared, reached = [], 0, 0
    for seed in range(FIRST, FIRST + WORLDS):
        layout = aws_layout.make(seed)
        host = Host(tmp_path)
        new_host.append(host)
        build(host, layout)
        asked = cases(layout, seed)
        wrong = disagreements(host, layout, asked, patience=0.7)
        if wrong:
            # A busy machine may be late: what differs is asked and tried again.
            wrong = disagreements(host, layout, list(wrong), patience=3.0)
        compared += len(asked)
        reached += sum(not verdict(layout, case.start, case.to, *case.way[:2]) for case in asked)
        problems += [f"seed {seed}: {case}: {how}" for case, how in wrong.items()]
        new_host.remove(host)
        host.end()
    print(*problems, sep="\n")
    print(f"{compared} questions, {reached} of them answered, {len(problems)} disagreements")
    assert problems == []
