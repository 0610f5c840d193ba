"""The standard layout of docs/standard.md: what it is for works, and the rest is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from host import CHECKOUT, Host
from neighbours import Neighbour
from probes import REACHED
from test_readme import differences, examples
from test_three_tier import installed, typed

DOCUMENT = CHECKOUT / "docs/standard.md"
LAYOUT = CHECKOUT / "docs/examples/standard.yaml"
INSTALL = f"""
mount -t tmpfs tmpfs /srv
cp -r {CHECKOUT}/docs/examples/standard /srv/
chmod -R a+rX /srv/standard
"""
SSHD = Neighbour("openssh", "sshd", start="", restart="", alive="")
WEB, OFFICE = "8.8.8.8:80", "internet"
BALANCER, BASTION = "198.51.100.1", "198.51.100.2"
SPACES = {"balancer": "main-public-a.balancer", "bastion": "main-public-b.bastion",
          "web1": "main-private-a.web1", "web2": "main-private-b.web2"}
INSIDE = {"balancer": "10.0.0.4", "bastion": "10.0.1.4", "web1": "10.0.10.4", "web2": "10.0.11.4"}
OPEN = {*(("balancer", web, 8080) for web in ("web1", "web2")),
        *(("bastion", web, 22) for web in ("web1", "web2")),
        *((start, "balancer", 80) for start in ("bastion", "web1", "web2"))}
"""What a machine may ask another one for."""


@pytest.fixture
def layout(host: Host) -> Host:
    """All of it, but for the balancer's program, in whose place a listener stands."""
    wanted: Any = yaml.safe_load(LAYOUT.read_text())
    del wanted["vpcs"]["main"]["subnets"]["public-a"]["instances"]["balancer"]["workloads"]
    host.do("apply -f", host.write("standard.yaml", wanted))
    for name, space in SPACES.items():
        host.listen(space, "22", *(("80",) if name in ("balancer", "bastion") else ()))
    host.listen(SPACES["bastion"], "8080")
    return host


def test_the_world_gets_in_where_the_layout_says_so_and_nowhere_else(layout: Host) -> None:
    assert "main-public-a.balancer sees" in layout.reaches(OFFICE, f"{BALANCER}:80")[0].answer
    assert "main-public-b.bastion sees 203.0.113.1" in layout.reaches(OFFICE, f"{BASTION}:22")[0].answer
    layout.none_reach(*((OFFICE, target) for target in (
        f"{BALANCER}:22", BALANCER, f"{BASTION}:80", BASTION, "198.51.100.3:22", "198.51.100.4",
        "198.51.100.5:80",
        *(f"{address}:{port}" for address in INSIDE.values() for port in (22, 80, 8080)))))
    # The office is one network; the rest of the internet has no way to the bastion.
    home = "8.8.8.8"
    assert layout.probe((OFFICE, f"{BALANCER}:80"), source=home)[0].verdict == REACHED
    assert layout.probe((OFFICE, f"{BASTION}:22"), source=home, patience=0.5)[0].verdict != REACHED


def test_everybody_gets_out_by_an_address_of_their_own(layout: Host) -> None:
    for name, address in (("balancer", BALANCER), ("bastion", BASTION), ("web1", "198.51.100.3"),
                          ("web2", "198.51.100.4")):
        assert f"your address: {address}" in layout.reaches(SPACES[name], WEB)[0].answer
    # The private subnets' ACL lets web pages and names out, and no ping.
    layout.reaches(SPACES["web1"], "8.8.8.8:53/udp")
    layout.never_reaches(SPACES["web1"], "8.8.8.8")


def test_machines_reach_each_other_as_their_groups_and_the_acl_say(layout: Host) -> None:
    every = [(start, to, port) for start in SPACES for to in SPACES if start != to for port in (22, 80, 8080)]
    for start, to, port in OPEN:
        layout.reaches(SPACES[start], f"{INSIDE[to]}:{port}")
    layout.none_reach(*((SPACES[start], f"{INSIDE[to]}:{port}") for start, to, port in every
                        if (start, to, port) not in OPEN))
    place = {name: space.replace("main-", "main/").replace(".", "/") for name, space in SPACES.items()}
    for start, to, port in every:
        ends = ("--from", place[start], "--to", place[to], "--port", str(port), "--json")
        said = layout.vpcctl("reach", *ends).json["reach"]
        assert (said["verdict"] == "reachable") == ((start, to, port) in OPEN), (start, to, port, said)


def test_what_goes_warns_of_nothing_but_the_addresses_that_are_free(layout: Host) -> None:
    told = layout.do("vpc delete --name main").err.splitlines()
    assert [line for line in told if "is free now" not in line and "stopped" not in line] == []


def test_it_comes_back(layout: Host) -> None:
    layout.sh("ip netns del main-public-a.nat-a; ip netns del main-private-b.web2")
    layout.sh("iptables -F VPCCTL-FORWARD")
    layout.do("restore")
    assert layout.do("status").out.endswith("in sync\n")
    assert "your address: 198.51.100.3" in layout.reaches(SPACES["web1"], WEB)[0].answer
    assert "your address: 198.51.100.4" in layout.reaches(SPACES["web2"], WEB)[0].answer


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Host]:
    """A host on which the balancer's and the bastion's programs are installed."""
    with installed(tmp_path, INSTALL, SSHD) as host:
        yield host


def test_the_page_shows_what_is_printed(street: Host) -> None:
    shown = examples(DOCUMENT.read_text())
    assert len(shown) >= 20
    found = differences(shown, [typed(street, example) for example in shown])
    assert not found, f"docs/standard.md shows something else than what is printed:\n{found}"
