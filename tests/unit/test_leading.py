"""Which rules of nft lead a port of the host elsewhere, by what nft lists."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.ruleset import tables
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers import ports
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.uplink.leading import Knock, leading

Statement = dict[str, Any]
KNOCK = Knock("eth0", ip_address("203.0.113.2"), "tcp", 8080)
KNOCK6 = Knock("eth0", ip_address("2001:db8::2"), "tcp", 8080)
AWAY: Statement = {"dnat": {"addr": "192.168.77.2"}}
PORT: Statement = {"payload": {"protocol": "tcp", "field": "dport"}}


def match(left: Any, right: Any, op: str = "==") -> Statement:
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: str, right: Any, op: str = "==") -> Statement:
    return match({"meta": {"key": key}}, right, op)


AT_PORT = match(PORT, 8080)
FROM = match({"payload": {"protocol": "ip", "field": "saddr"}}, "192.0.2.1")


def found(*rules: list[Statement], family: str = "ip", table: str = "x", name: str = "pre",
          kind: str = "nat", hook: str = "prerouting", knock: Knock = KNOCK,
          more: tuple[list[Statement], ...] = (), sets: tuple[Statement, ...] = (),
          priority: int = -100) -> list[int]:
    """The numbers of the rules of a base chain that lead the packet elsewhere; those of `more` from 100."""
    chain = {"family": family, "table": table, "name": name, "type": kind, "hook": hook,
             "prio": priority}
    listed = [{"table": {"family": family, "name": table}}, {"chain": chain},
              {"chain": {"family": family, "table": table, "name": "more"}}, *sets,
              *({"rule": {"family": family, "table": table, "chain": at, "handle": number, "expr": rule}}
                for at, held, start in ((name, rules, 1), ("more", more, 100))
                for number, rule in enumerate(held, start))]
    told = leading(tables({"nftables": listed}), knock)
    return [int(one.partition(", handle ")[2]) for one in told]


@pytest.mark.parametrize("rule", [
    [AT_PORT, AWAY], [AT_PORT, {"redirect": {"port": 9}}], [AT_PORT, {"redirect": None}],
    [FROM, AT_PORT, AWAY],
    [meta("iifname", "eth0"), AWAY], [meta("iifname", "wg0", "!="), AWAY], [{"counter": None}, AWAY],
    [match({"fib": {"result": "type", "flags": "daddr"}}, "local"), AWAY],
    [match(PORT, {"set": [80, {"range": [8000, 9000]}]}), AWAY], [{"limit": {"rate": 1}}, AWAY],
    [match({"payload": {"protocol": "th", "field": "dport"}}, 8080), AWAY],
    [match({"&": [PORT, 0xFFF0]}, 0x1F90), AWAY],
    [match({"concat": [{"meta": {"key": "l4proto"}}, PORT]}, {"concat": ["tcp", 8080]}), AWAY],
])
def test_a_packet_for_the_port_is_led_elsewhere(rule: list[Statement]) -> None:
    assert found(rule) == [1]
    for other in ({"kind": "filter"}, {"hook": "output"}, {"hook": "postrouting"}, {"family": "bridge"},
                  {"family": "ip6"}, {"table": "nat", "name": "PREROUTING"}):
        assert found(rule, **other) == [], other  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", [
    [FROM, AWAY], [match(PORT, 80), AWAY], [match(PORT, 8080, "!="), AWAY], [meta("iifname", "wg0"), AWAY],
    [match({"payload": {"protocol": "udp", "field": "dport"}}, 8080), AWAY], [AT_PORT],
    [AT_PORT, {"accept": None}],
    [match({"payload": {"protocol": "ip", "field": "daddr"}}, "203.0.113.3"), AWAY],
    [match({"payload": {"protocol": "ip6", "field": "daddr"}}, "2001:db8::2"), AWAY],
    [AT_PORT, {"dnat": {"family": "ip6", "addr": "2001:db8::9"}}], [meta("nfproto", "ipv6"), AWAY],
    [match({"concat": [{"meta": {"key": "l4proto"}}, PORT]}, {"concat": ["tcp", 80]}), AWAY],
    [match({"numgen": {"mode": "random"}}, 1), AWAY], [match({"&": [PORT, 0xFFF0]}, 0x1F80), AWAY],
])
def test_another_packet_is(rule: list[Statement]) -> None:
    assert found(rule) == []


def test_what_is_let_through_first_is_not_led() -> None:
    assert found([AT_PORT, {"accept": None}], [AWAY]) == []
    assert found([AT_PORT, {"return": None}], [AWAY]) == []
    # Others than those go on.
    assert found([FROM, {"accept": None}], [AWAY]) == [2]
    assert found([match(PORT, 80), {"accept": None}], [AWAY]) == [2]


@pytest.mark.parametrize(("way", "numbers"), [
    ([{"jump": {"target": "more"}}], [100]), ([{"goto": {"target": "more"}}], [100]),
    ([match(PORT, 80), {"jump": {"target": "more"}}], []), ([FROM, {"jump": {"target": "more"}}], []),
    ([FROM, AT_PORT, {"jump": {"target": "more"}}], [100]), ([{"jump": {"target": "gone"}}], []),
    ([{"vmap": {"key": PORT, "data": {"set": [[8080, {"jump": {"target": "more"}}]]}}}], [100]),
    ([{"vmap": {"key": PORT, "data": {"set": [
        [80, {"jump": {"target": "more"}}], [8080, {"accept": None}]]}}}], []),
    ([{"vmap": {"key": PORT, "data": "@ways"}}], [100]),
])
def test_chains_are_followed(way: list[Statement], numbers: list[int]) -> None:
    ways = {"map": {"family": "ip", "table": "x", "name": "ways",
                    "elem": [[8080, {"goto": {"target": "more"}}]]}}
    assert found(way, more=([AWAY],), sets=(ways,)) == numbers


def test_a_circle_of_chains_ends() -> None:
    assert found([{"jump": {"target": "more"}}], more=([{"jump": {"target": "more"}}],)) == []


@pytest.mark.parametrize(("where", "is_led"), [
    ({"addr": {"map": {"key": PORT, "data": {"set": [[8080, "192.168.77.2"]]}}}}, True),
    ({"addr": {"map": {"key": PORT, "data": {"set": [[80, "192.168.77.2"]]}}}}, False),
    ({"addr": {"map": {"key": PORT, "data": "@goals"}}}, True),
    ({"addr": {"map": {"key": PORT, "data": "@gone"}}}, False),
    ({"addr": {"map": {"key": FROM["match"]["left"], "data": {"set": [["192.0.2.1", "192.168.77.2"]]}}}},
     False),
    ({"addr": {"map": {"key": {"numgen": {"mode": "inc", "mod": 2, "offset": 0}}, "data": {
        "set": [[0, "192.168.77.2"], [1, "192.168.77.3"]]}}}}, True),
    ({"addr": "192.168.77.2", "port": {"map": {"key": PORT, "data": {
        "set": [[{"range": [8000, 9000]}, 90]]}}}}, True),
])
def test_maps_lead_what_they_have(where: Statement, is_led: bool) -> None:
    goals = {"map": {"family": "ip", "table": "x", "name": "goals", "elem": [[8080, "192.168.77.2"]]}}
    assert found([{"dnat": where}], sets=(goals,)) == ([1] if is_led else [])


def test_each_family_has_its_own_tables() -> None:
    there = match({"payload": {"protocol": "ip6", "field": "daddr"}},
                  {"prefix": {"addr": "2001:db8::", "len": 64}})
    assert found([there, AWAY], family="ip6", knock=KNOCK6) == [1]
    assert found([there, AWAY], family="inet", knock=KNOCK6) == [1]
    assert found([AT_PORT, AWAY], family="ip", knock=KNOCK6) == []
    assert found([AT_PORT, AWAY], family="ip6", table="nat", name="PREROUTING", knock=KNOCK6) == []


def test_rules_that_cannot_be_read_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_: Kernel) -> None:
        raise VpcctlError("no such family")

    monkeypatch.setattr(Kernel, "ruleset", unreadable)
    monkeypatch.setattr(ports, "has", lambda _: True)
    monkeypatch.setattr(ports, "_rules_for", lambda *_: iter(()))
    monkeypatch.setattr(ports, "_can_bind", lambda *_: True)
    assert ports.check_free(Runner(), Publish(8080, 80), Family.INET) == [
        "whether a rule of nft leads tcp port 8080 elsewhere is unknown: no such family"]


def test_behind_ours_only_what_names_the_port_counts() -> None:
    for priority, taken in ((-101, True), (-100, True), (-99, False)):
        for rule in ([AWAY], [meta("iifname", "eth0"), AWAY], [{"jump": {"target": "more"}}]):
            assert bool(found(rule, more=([AWAY],), priority=priority)) is taken, (rule, priority)
        assert found([AT_PORT, AWAY], [FROM, AT_PORT, AWAY], priority=priority)
