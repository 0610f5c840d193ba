"""What reach says of a recorded network, whole and damaged in one way each: verdict, code, and where."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.dear import by_lot
from tests.recorded import REACHED, Recorded
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.reach import find_sender, find_target, question_from
from vpcctl_lib.model.addressing import Family
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
    "past an acl": ("vpc3/inner", "vpc3/open", TCP, 80),
    "acl": ("vpc3/inner", "vpc3/open", TCP, 22),
    "elastic in": ("internet", "198.51.100.1", TCP, 80),
    "elastic closed": ("internet", "198.51.100.1", ICMP, None),
    "elastic from a vpc": ("vpc1/public", "198.51.100.1", TCP, 80),
    "elastic from the host": ("host", "198.51.100.1", TCP, 80),
    "elastic out": ("vpc3/open", "internet", TCP, 443),
    "unused elastic": ("internet", "198.51.100.2", TCP, 80),
    "published in": ("internet", "203.0.113.2", TCP, 8081),
    "published from a vpc": ("vpc1/public", "203.0.113.2", TCP, 8081),
    "published from the host": ("host", "203.0.113.2", TCP, 8081),
    "past the port": ("internet", "vpc3/inner", TCP, 80),
}
QUESTIONS6 = {
    "web by IPv6": ("vpc1/private", "vpc1/public", TCP, 80),
    "closed port by IPv6": ("vpc1/private", "vpc1/public", TCP, 8080),
    "other way by IPv6": ("vpc1/public", "vpc1/private", ICMP, None),
    "internet by IPv6": ("vpc1/public", "internet", UDP, 53),
    "private out by IPv6": ("vpc1/private", "internet", ICMP, None),
    "peer by IPv6": ("vpc1/private", "vpc2/shop", TCP, 443),
    "from the host by IPv6": ("host", "vpc1/private", ICMP, None),
    "from outside by IPv6": ("internet", "vpc1/public", TCP, 80),
    "where is none": ("vpc1/public", "vpc3/open", TCP, 80),
}
REACHABLE, UNKNOWN = ["reachable"], ["unknown"]


def blocked(code: str, where: str) -> list[str]:
    return ["unreachable", code, where]


WHOLE = {
    **dict.fromkeys(("web", "other way", "internet", "peer", "from peer", "past an acl", "elastic in",
                     "elastic from a vpc", "elastic from the host", "elastic out", "published in",
                     "published from a vpc", "published from the host"), REACHABLE),
    **dict.fromkeys(("acl", "elastic closed"), blocked("ACL_DENY", "vpc3")),
    "unused elastic": blocked("NO_NEIGHBOUR", "host"),
    "past the port": blocked("FIREWALL_DENY", "host"),
    "closed port": blocked("FIREWALL_DENY", "vpc1-public"),
    "private out": blocked("PRIVATE_SUBNET", "vpc1"),
    "without nat": blocked("NO_NAT", "vpc2"),
    **dict.fromkeys(("web by IPv6", "other way by IPv6", "internet by IPv6", "peer by IPv6",
                     "from the host by IPv6"), REACHABLE),
    "closed port by IPv6": blocked("FIREWALL_DENY", "vpc1-public"),
    "private out by IPv6": blocked("PRIVATE_SUBNET", "vpc1"),
    "from outside by IPv6": blocked("FIREWALL_DENY", "host"),
    "where is none": blocked("NO_IPV6", "vpc3"),
}
OUT = ("internet", "elastic from a vpc", "published from a vpc")
"""From a public subnet past the host."""

OF_PRIVATE6 = ("web by IPv6", "closed port by IPv6", "private out by IPv6", "peer by IPv6")
"""By IPv6 from the private subnet."""

IN = ("elastic in", "elastic closed", "elastic from a vpc", "elastic out")
"""By an elastic address, but from the host."""

DAMAGED: dict[str, dict[str, list[str]]] = {
    # What comes to a published port is then for the host itself.
    "nat is flushed": {"internet": blocked("NO_NAT", "host"),
                       "published from a vpc": blocked("HOST_CLOSED", "host")},
    "the host's filter is flushed": dict.fromkeys(
        (*OUT, *IN, "published in"), blocked("FIREWALL_DENY", "host")),
    "the host does not forward": dict.fromkeys(
        (*OUT, *IN, "published in", "past the port"), blocked("NO_FORWARDING", "host")),
    "a foreign rule drops": dict.fromkeys(OUT, blocked("FIREWALL_DENY", "host")),
    "a foreign firewall of nft": dict.fromkeys(
        (*OUT, *IN, "published in", "past the port", "unused elastic", "internet by IPv6",
         "from outside by IPv6"), UNKNOWN),
    "a router has no default route": dict.fromkeys(OUT, blocked("NO_ROUTE", "vpc1")),
    "a subnet has no default route": dict.fromkeys(OUT, blocked("NO_ROUTE", "vpc1-public")),
    "a router's rules are flushed": dict.fromkeys(
        (*OUT, "peer", "from peer"), blocked("FIREWALL_DENY", "vpc1")),
    "a router does not forward": dict.fromkeys(
        (*OUT, "private out", "peer", "from peer"), blocked("NO_FORWARDING", "vpc1")),
    # Its filter is gone as well as its guard, so the host refuses in its place.
    "a router's nft is flushed": dict.fromkeys(("private out", "private out by IPv6"),
                                               blocked("PRIVATE_SUBNET", "host")),
    "a policy is flushed": {"closed port": REACHABLE},
    "a port is down": {
        **dict.fromkeys(("web", "closed port", "private out", "peer", *OF_PRIVATE6),
                        blocked("LINK_DOWN", "vpc1-private")),
        **dict.fromkeys(("other way", "other way by IPv6"), blocked("LINK_DOWN", "vpc1-public")),
        "from the host by IPv6": blocked("LINK_DOWN", "vpc1")},
    "a port is isolated": dict.fromkeys(
        ("web", "closed port", "other way", *OUT, "private out", "peer", "from peer", *OF_PRIVATE6,
         "other way by IPv6", "internet by IPv6", "from the host by IPv6"), UNKNOWN),
    "a peering is cut": {**dict.fromkeys(("peer", "peer by IPv6"), blocked("LINK_DOWN", "vpc1")),
                         "from peer": blocked("LINK_DOWN", "vpc2")},
    "nat of IPv6 is flushed": {"internet by IPv6": blocked("NO_NAT", "host")},
    "the host sends no IPv6 on": {"internet by IPv6": blocked("NO_FORWARDING", "host")},
    # The last has its own answers for neighbours refused.
    "a router's rules of IPv6 are flushed": dict.fromkeys(
        ("internet by IPv6", "peer by IPv6", "from the host by IPv6"), blocked("FIREWALL_DENY", "vpc1")),
    "a machine has lost its router": dict.fromkeys(
        ("internet by IPv6", "other way by IPv6", "web by IPv6"), blocked("NO_NEIGHBOUR", "vpc1-public")),
    "IPv6 is off on a link": dict.fromkeys(
        (*OF_PRIVATE6, "other way by IPv6", "from the host by IPv6"), blocked("NO_IPV6", "vpc1-private")),
    "a namespace is gone": dict.fromkeys(
        ("peer", "from peer", "without nat", "peer by IPv6"), blocked("NAMESPACE_MISSING", "vpc2-shop")),
    "the acls are gone": dict.fromkeys(("acl", "elastic closed"), REACHABLE),
    "nobody answers for an elastic address": {
        **dict.fromkeys(("elastic in", "elastic closed"), blocked("NO_NEIGHBOUR", "host")),
        "elastic out": blocked("NO_NAT", "host")},
    "elastic addresses are refused": dict.fromkeys(IN, blocked("FIREWALL_DENY", "host")),
    "a router translates no elastic address": dict.fromkeys(
        ("elastic in", "elastic closed", "elastic from a vpc", "elastic from the host"),
        blocked("FIREWALL_DENY", "vpc3")),
    "published ports are refused": dict.fromkeys(
        ("published in", "published from a vpc"), blocked("FIREWALL_DENY", "host")),
    "an acl lets no answers out": dict.fromkeys(
        ("past an acl", "elastic in", "elastic from a vpc", "elastic from the host", "elastic out"),
        blocked("ACL_DENY", "vpc3")),
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


def asking(recorded: Recorded) -> Callable[[str], Report]:
    """Answers questions about a network as it is now: to read it takes as long as to answer one."""
    topology, kernel = recorded.state().topology, Kernel(Runner())
    analyzers = {family: Analyzer(Scene(kernel, family=family), topology) for family in Family}

    def answer(name: str) -> Report:
        start, to, protocol, port = (QUESTIONS | QUESTIONS6)[name]
        family = Family.INET6 if name in QUESTIONS6 else Family.INET
        ends = find_sender(topology, start), find_target(topology, to, family)
        return analyzers[family].ask(question_from(*ends, protocol, port))

    return answer


def asked(recorded: Recorded, name: str) -> Report:
    return asking(recorded)(name)


def told(report: Report) -> list[str]:
    cause = report.blocked_by
    return [report.verdict.value, *([cause.code.value, cause.where] if cause else [])]


FEW = 3
"""As many questions are asked whose answers a damage does not change; with --slow all."""


SCENES = 13
"""As many of the damages are tried, with --slow all: what mends one is asked of others."""


@pytest.mark.parametrize("scene", ["whole", *by_lot(list(DAMAGED), SCENES, "scenes")])
def test_the_verdicts_on_each_recorded_network(played: Any, scene: str) -> None:
    recorded = played(scene)
    wanted = WHOLE | DAMAGED.get(scene, {})
    answer, others = asking(recorded), [name for name in wanted if name not in DAMAGED.get(scene, {})]
    some = [*DAMAGED[scene], *by_lot(others, FEW, scene)] if scene in DAMAGED else wanted
    assert {name: told(answer(name)) for name in some} == {name: wanted[name] for name in some}
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
    ("whole", "unused elastic"): "vpcctl eip allocate --address 198.51.100.2",
    ("nobody answers for an elastic address", "elastic in"): "vpcctl restore",
    ("elastic addresses are refused", "elastic in"): "vpcctl restore",
    ("a router translates no elastic address", "elastic in"): "vpcctl restore",
    ("published ports are refused", "published in"): "vpcctl restore",
    ("nat of IPv6 is flushed", "internet by IPv6"): "vpcctl restore",
    ("the host sends no IPv6 on", "internet by IPv6"): "vpcctl restore",
    ("a router's rules of IPv6 are flushed", "peer by IPv6"): "vpcctl restore",
    ("a machine has lost its router", "web by IPv6"): "vpcctl restore",
    ("IPv6 is off on a link", "web by IPv6"): "vpcctl restore",
    ("whole", "where is none"): "vpcctl vpc set --name vpc3 --ipv6 auto",
    ("whole", "private out by IPv6"): "vpcctl subnet set --vpc vpc1 --name private --type public",
    ("whole", "past the port"): "vpcctl publish add --vpc vpc3 --subnet inner --port 80",
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
