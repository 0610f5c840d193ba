"""What reach says of a recorded network, whole and damaged in one way each: verdict, code, and where."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import REACHED, Recorded
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.reach import find_target
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.question import Question
from vpcctl_lib.reach.scene import Scene
from vpcctl_lib.reach.verdict import Analyzer, Report

TCP, UDP, ICMP = Protocol.TCP, Protocol.UDP, Protocol.ICMP
QUESTIONS = {
    "web": ("vpc1/private", "vpc1/public", TCP, 80),
    "closed port": ("vpc1/private", "vpc1/public", TCP, 8080),
    "other way": ("vpc1/public", "vpc1/private", ICMP, None),
    "internet": ("vpc1/public", "internet", UDP, 53),
    "private out": ("vpc1/private", "internet", ICMP, None),
    "without nat": ("vpc2/shop", "internet", ICMP, None),
    "peer": ("vpc1/private", "vpc2/shop", TCP, 443),
    "from peer": ("vpc2/shop", "vpc1/public", TCP, 80),
}
REACHABLE, UNKNOWN = ["reachable"], ["unknown"]


def blocked(code: str, where: str) -> list[str]:
    return ["unreachable", code, where]


WHOLE = {
    **dict.fromkeys(("web", "other way", "internet", "peer", "from peer"), REACHABLE),
    "closed port": blocked("FIREWALL_DENY", "vpc1-public"),
    "private out": blocked("PRIVATE_SUBNET", "vpc1"),
    "without nat": blocked("NO_NAT", "vpc2"),
}
DAMAGED: dict[str, dict[str, list[str]]] = {
    "nat is flushed": {"internet": blocked("NO_NAT", "host")},
    "the host's filter is flushed": {"internet": blocked("FIREWALL_DENY", "host")},
    "the host does not forward": {"internet": blocked("NO_FORWARDING", "host")},
    "a foreign rule drops": {"internet": blocked("FIREWALL_DENY", "host")},
    "a foreign firewall of nft": {"internet": UNKNOWN},
    "a router has no default route": {"internet": blocked("NO_ROUTE", "vpc1")},
    "a subnet has no default route": {"internet": blocked("NO_ROUTE", "vpc1-public")},
    "a router's rules are flushed": dict.fromkeys(
        ("internet", "peer", "from peer"), blocked("FIREWALL_DENY", "vpc1")),
    "a router does not forward": dict.fromkeys(
        ("internet", "private out", "peer", "from peer"), blocked("NO_FORWARDING", "vpc1")),
    # Its filter is gone as well as its guard, so the host refuses in its place.
    "a router's nft is flushed": {"private out": blocked("PRIVATE_SUBNET", "host")},
    "a policy is flushed": {"closed port": REACHABLE},
    "a port is down": {
        **dict.fromkeys(("web", "closed port", "private out", "peer"), blocked("LINK_DOWN", "vpc1-private")),
        "other way": blocked("LINK_DOWN", "vpc1-public")},
    "a port is isolated": dict.fromkeys(
        ("web", "closed port", "other way", "internet", "private out", "peer", "from peer"), UNKNOWN),
    "a peering is cut": {"peer": blocked("LINK_DOWN", "vpc1"), "from peer": blocked("LINK_DOWN", "vpc2")},
    "a namespace is gone": dict.fromkeys(
        ("peer", "from peer", "without nat"), blocked("NAMESPACE_MISSING", "vpc2-shop")),
}
"""What each damage changes of that."""


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plays a recorded network."""

    def play(name: str = "whole") -> Recorded:
        recorded = Recorded(name, tmp_path, REACHED)
        recorded.play(monkeypatch)
        return recorded

    return play


def asked(recorded: Recorded, name: str) -> Report:
    start, to, protocol, port = QUESTIONS[name]
    topology = recorded.state().topology
    target = find_target(topology, to)
    question = Question(*find_subnet(topology, *start.split("/")), target.address, protocol, port, target.vpc,
                        target.subnet)
    return Analyzer(Scene(Kernel(Runner())), topology).ask(question)


def told(report: Report) -> list[str]:
    cause = report.blocked_by
    return [report.verdict.value, *([cause.code.value, cause.where] if cause else [])]


@pytest.mark.parametrize("scene", ["whole", *DAMAGED])
def test_the_verdicts_on_each_recorded_network(played: Any, scene: str) -> None:
    recorded = played(scene)
    wanted = WHOLE | DAMAGED.get(scene, {})
    assert {name: told(asked(recorded, name)) for name in QUESTIONS} == wanted
    assert WHOLE | REACHED[scene].get("verdicts", {}) == wanted, "as there, so here"


def test_no_recorded_network_is_left_out() -> None:
    assert REACHED.keys() == {"whole", *DAMAGED}
    assert REACHED["whole"]["verdicts"] == WHOLE


FIXES = {
    ("nat is flushed", "internet"): "vpcctl restore",
    ("a router has no default route", "internet"): "vpcctl restore",
    ("a router does not forward", "peer"): "vpcctl restore",
    ("whole", "without nat"): "vpcctl nat enable --vpc vpc2",
    ("a foreign rule drops", "internet"): "iptables -D FORWARD -s 10.0.0.0/16 -j DROP",
    ("a peering is cut", "peer"): "vpcctl restore",
}


@pytest.mark.parametrize(("scene", "name"), FIXES)
def test_what_mends_it(played: Any, scene: str, name: str) -> None:
    cause = asked(played(scene), name).blocked_by
    assert cause is not None
    assert cause.fix == FIXES[scene, name]


def test_a_policy_is_mended_by_one_rule_more(played: Any) -> None:
    cause = asked(played(), "closed port").blocked_by
    assert cause is not None
    assert cause.fix is not None
    assert '{"port": 8080, "protocol": "tcp", "action": "allow", "source": "10.0.2.2/32"}' in cause.fix


def test_hops_there_and_back(played: Any) -> None:
    hops = asked(played(), "peer").hops
    assert list(dict.fromkeys(hop.where for hop in hops if not hop.back)) \
        == ["vpc1-private", "vpc1", "vpc2", "vpc2-shop"]
    assert list(dict.fromkeys(hop.where for hop in hops if hop.back)) \
        == ["vpc2-shop", "vpc2", "vpc1", "vpc1-private"]


# What a test changes of what was recorded.


def test_a_namespace_that_cannot_be_read_is_unknown_and_not_an_error(played: Any) -> None:
    recorded = played()
    recorded.fail("vpc1-public", "ip", "-j", "-d", "addr", "show", says="Operation not permitted")
    report = asked(recorded, "web")
    assert told(report) == UNKNOWN
    assert "vpc1-public" in report.why
    assert "Operation not permitted" in report.why


def test_a_wrong_neighbour_is_where_the_packet_is_lost(played: Any) -> None:
    recorded = played()
    near = recorded.printed("vpc1-private", "ip", "-j", "-4", "neigh", "show")
    (gateway,) = (one for one in near if one["dst"] == "10.0.0.1")
    gateway["lladdr"] = "02:00:00:00:00:99"
    assert asked(recorded, "web").verdict.value != "reachable"


def test_an_address_that_nobody_has(played: Any) -> None:
    recorded = played()
    topology = recorded.state().topology
    near = find_subnet(topology, "vpc1", "private")
    report = Analyzer(Scene(Kernel(Runner())), topology).ask(
        Question(*near, IPv4Address("10.0.1.9"), TCP, 80, topology.vpcs[0]))
    assert report.verdict.value == "unreachable"
