"""`vpcctl reach` on the command line: what it refuses, and how it tells what it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vpcctl_lib.cli import reach_views, root
from vpcctl_lib.cli.output import Painted
from vpcctl_lib.managers.reach import find_target, question_from
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.model.topology import OWN, Subnet, Topology, Vpc
from vpcctl_lib.reach.packet import Code
from vpcctl_lib.reach.probe import Probe, judge
from vpcctl_lib.reach.probe import Result as Sent
from vpcctl_lib.reach.question import Outside, Question
from vpcctl_lib.reach.verdict import Obstacle, Report, Verdict, disproved
from vpcctl_lib.reach.walk import Hop
from vpcctl_lib.views import reach as views

RECORD = {"version": 1, "ledger": [], "topology": {"vpcs": [
    {"name": "vpc1", "cidr": "10.0.0.0/16", "subnets": [
        {"name": "public", "cidr": "10.0.1.0/24", "type": "public"},
        {"name": "private", "cidr": "10.0.2.0/24"}]},
    {"name": "vpc2", "cidr": "172.16.0.0/16", "link": 1}]}}

WEB = Subnet("web", IPv4Network("10.0.1.0/24"))
DB = Subnet("db", IPv4Network("10.0.2.0/24"))
SHOP = Vpc("shop", IPv4Network("10.0.0.0/16"), subnets=(WEB, DB))
QUESTION = Question(SHOP, WEB, IPv4Address("10.0.2.2"), Protocol.TCP, 5432, SHOP, DB)
HOPS = (Hop("shop-web", "route 10.0.0.0/16 dev eth0"), Hop("shop-db", "tcp … has arrived"),
        Hop("shop-db", "route 10.0.0.0/16 dev eth0", back=True))
REACHED = Report(QUESTION, Verdict.REACHABLE, HOPS)
BLOCKED = Report(QUESTION, Verdict.UNREACHABLE, HOPS[:1],
                 Obstacle(Code.FIREWALL_DENY, "shop-db", "-A INPUT -j DROP [2 packets]",
                          "iptables -D INPUT …"))
UNCLEAR = Report(QUESTION, Verdict.UNKNOWN, HOPS[:1], why="shop-db: '-m set' is not modelled")


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(root, ["--state-dir", str(folder), "reach", *words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state.json").write_text(json.dumps(RECORD))
    return tmp_path


@pytest.mark.parametrize(("words", "code", "says"), [
    (["--from", "vpc1/public"], 2, "--to"),
    (["--from", "vpc1", "--to", "internet"], 2, "not a subnet"),
    (["--from", "vpc1/", "--to", "internet"], 2, "not a subnet"),
    (["--from", "vpc1/public", "--to", "vpc1/private", "--port", "0"], 2, "--port"),
    (["--from", "vpc1/public", "--to", "vpc1/private", "--protocol", "sctp"], 2, "--protocol"),
    (["--from", "vpc1/public", "--to", "vpc1/private", "--protocol", "tcp"], 2, "tcp needs a port"),
    (["--from", "vpc1/public", "--to", "vpc1/private", "--protocol", "udp"], 2, "udp needs a port"),
    (["--from", "vpc1/public", "--to", "vpc2", "--protocol", "icmp", "--port", "8"], 2, "icmp has no ports"),
    (["--from", "vpc1/public", "--to", "10.0.2"], 2, "not an address"),
    (["--from", "vpc1/public", "--to", "224.0.0.1"], 2, "not the address of another host"),
    (["--from", "vpc1/public", "--to", "127.0.0.1"], 2, "not the address of another host"),
    (["--from", "vpc1/public", "--to", "fd00::g"], 2, "not an address"),
    (["--from", "vpc1/public", "--to", "fe80::1"], 2, "not the address of another host"),
    (["--from", "vpc1/public", "--to", "fd00::1", "-4"], 2, "fd00::1 is an address of IPv6"),
    (["--from", "vpc1/public", "--to", "10.0.2.2", "-6"], 2, "leave out -6"),
    (["--from", "vpc1/pubic", "--to", "internet"], 1, "did you mean 'public'?"),
    (["--from", "vpc1/public", "--to", "vcp2"], 1, "did you mean 'vpc2'?"),
    (["--to", "vpc1/privat"], 1, "did you mean 'private'?"),
])
def test_what_cannot_be_asked_is_refused(folder: Path, words: Sequence[str], code: int, says: str) -> None:
    plain, as_json = run(folder, *words), run(folder, *words, "--json")
    assert (plain.exit_code, as_json.exit_code) == (code, code)
    assert says in plain.output
    error = json.loads(as_json.stdout)["error"]
    assert says in f"{error['message']} {error['hint']}"
    assert error["code"] == code


def test_targets() -> None:
    topology = Topology((SHOP, Vpc("internet", IPv4Network("10.9.0.0/16"))))
    targets = {to: find_target(topology, to) for to in ("shop/db", "shop", "internet", "1.1.1.1")}
    found = {to: (str(one.address), one.vpc, one.subnet) for to, one in targets.items()}
    assert found == {"shop/db": ("10.0.2.2", SHOP, DB), "shop": ("10.0.0.1", SHOP, None),
                     "internet": ("10.9.0.1", topology.vpcs[1], None), "1.1.1.1": ("1.1.1.1", None, None)}
    assert str(find_target(Topology(), "internet").address) == "8.8.8.8"


def test_targets_by_ipv6() -> None:
    web = replace(WEB, ipv6=IPv6Network("fd00:0:0:101::/64"))
    dual = replace(SHOP, ipv6=IPv6Network("fd00:0:0:100::/56"), subnets=(web, DB))
    topology = Topology((dual,))
    found = {to: str(find_target(topology, to, Family.INET6).address)
             for to in ("shop/web", "shop/db", "shop", "internet")}
    assert found == {"shop/web": "fd00:0:0:101::2", "shop/db": "None", "shop": "fd00:0:0:100::1",
                     "internet": "2001:4860:4860::8888"}
    asked = question_from(Outside.HOST, find_target(topology, "fd00::9"), Protocol.ICMP, None)
    assert (asked.family, asked.protocol) == (Family.INET6, Protocol.ICMPV6)
    host = find_target(topology, "host", Family.INET6)
    assert str(question_from((dual, web, OWN), host, Protocol.ICMP, None).address) == "fd00:0:0:100::2"


def test_the_first_line_says_by_which_family_it_is_where_both_ends_have_both() -> None:
    dual = replace(SHOP, ipv6=IPv6Network("fd00:0:0:100::/56"))
    for vpc, told in ((SHOP, "tcp port 80:"), (dual, "tcp port 80 by IPv4:")):
        question = Question(vpc, WEB, IPv4Address("10.0.2.2"), Protocol.TCP, 80, vpc, DB)
        first = next(iter(reach_views.lines(Report(question, Verdict.REACHABLE), False, 200)))
        assert first == f"shop/web to shop/db (10.0.2.2), {told}"


def test_json_has_what_the_contract_says() -> None:
    assert views.report(BLOCKED) == {
        "from": "shop/web", "to": "shop/db", "address": "10.0.2.2", "family": "ipv4", "protocol": "tcp",
        "port": 5432, "verdict": "unreachable", "why": None,
        "hops": [{"where": "shop-web", "what": "route 10.0.0.0/16 dev eth0", "way": "there"}],
        "blocked_by": {"code": "FIREWALL_DENY", "where": "shop-db", "rule": "-A INPUT -j DROP [2 packets]",
                       "why": None,
                       "fix": "iptables -D INPUT …", "otherwise": None, "removes": True},
        "nexthops": [], "probe": None}
    assert views.report(REACHED)["blocked_by"] is None
    assert views.report(UNCLEAR)["why"] == "shop-db: '-m set' is not modelled"


def told(report: Report, draws: bool = False, width: int = 10_000) -> list[str]:
    return [line.text if isinstance(line, Painted) else line
            for line in reach_views.lines(report, draws, width)]


def test_people_see_numbered_hops_the_verdict_and_the_fix() -> None:
    assert told(REACHED) == [
        "shop/web to shop/db (10.0.2.2), tcp port 5432:",
        "   1  shop-web  route 10.0.0.0/16 dev eth0", "   2  shop-db   tcp … has arrived", "and back:",
        "   3  shop-db   route 10.0.0.0/16 dev eth0", "reachable"]
    assert told(BLOCKED)[2:] == ["unreachable: FIREWALL_DENY", "Where: shop-db",
                                 "What:  -A INPUT -j DROP [2 packets]", "Fix:   iptables -D INPUT …",
                                 "Note:  the fix removes something made by hand"]
    assert told(UNCLEAR)[-1] == "unknown: shop-db: '-m set' is not modelled"


def test_signs_are_for_a_terminal() -> None:
    assert told(REACHED, draws=True)[-1] == "✔ reachable"
    assert told(BLOCKED, draws=True)[2] == "✘ unreachable: FIREWALL_DENY"
    assert reach_views.row(BLOCKED, draws=False) == ("shop/web", "unreachable", "FIREWALL_DENY", "shop-db",
                                                     "iptables -D INPUT …")


@pytest.mark.parametrize(("result", "protocol", "is_reachable", "is_rejected", "agrees"), [
    (Sent.ANSWERED, Protocol.TCP, True, False, True), (Sent.ANSWERED, Protocol.TCP, False, False, False),
    (Sent.REFUSED, Protocol.TCP, True, False, True), (Sent.REFUSED, Protocol.TCP, False, True, True),
    (Sent.REFUSED, Protocol.TCP, False, False, False), (Sent.REJECTED, Protocol.ICMP, True, False, False),
    (Sent.REJECTED, Protocol.ICMP, False, False, True), (Sent.SILENCE, Protocol.TCP, True, False, False),
    (Sent.SILENCE, Protocol.UDP, True, False, None), (Sent.SILENCE, Protocol.UDP, False, False, True),
])
def test_a_packet_agrees_or_not(result: Sent, protocol: Protocol, is_reachable: bool, is_rejected: bool,
                                agrees: bool | None) -> None:
    assert judge(result, protocol, is_reachable, is_rejected).agrees is agrees


def test_a_disagreement_makes_the_verdict_unknown() -> None:
    report = disproved(REACHED, Probe("no answer", False))
    assert (report.verdict, report.why) == (
        Verdict.UNKNOWN, "the walk says reachable, but the packet sent says: no answer")
    assert disproved(REACHED, Probe("answered", True)).verdict is Verdict.REACHABLE
