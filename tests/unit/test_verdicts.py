"""What other firewalls do to a packet, judged by their rules as `nft -j` tells them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from vpcctl_lib.kernel import saved_rules
from vpcctl_lib.kernel.ruleset import has_flags, read, tables
from vpcctl_lib.uplink.verdicts import BaseChain, Fate, Kind, Packet, base_chains

NEW = Packet("vpc-a", "eth0", IPv4Address("10.0.1.2"), IPv4Address("8.8.8.8"))
ANSWER = replace(NEW, kind=Kind.ANSWERS)
DNS = replace(NEW, protocol="udp", port=53)
ACCEPT: list[Any] = [{"accept": None}]
DROP: list[Any] = [{"drop": None}]
REJECT: list[Any] = [{"counter": {"packets": 0, "bytes": 0}}, {"reject": {"type": "icmp", "expr": "x"}}]


def match(left: Any, right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": left, "right": right}}


def meta(key: str) -> dict[str, Any]:
    return {"meta": {"key": key}}


def payload(protocol: str, name: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": name}}


def vmap(key: Any, *entries: list[Any]) -> list[Any]:
    return [{"vmap": {"key": key, "data": {"set": list(entries)}}}]


STATE = {"ct": {"key": "state"}}


def fate(rules: list[Any], policy: str = "accept", packet: Packet = NEW, **more: Any) -> Fate:
    place = {"family": "inet", "table": "own"}
    listed = [{"metainfo": {}},
              {"chain": {**place, "name": "f", "hook": "forward", "type": "filter", "policy": policy}},
              *({"rule": {**place, "chain": "f", "expr": rule}} for rule in rules)]
    for name, thing in more.items():
        if name.startswith("set"):
            listed.append({"set": {**place, "name": name, "elem": thing}})
        else:
            listed.append({"chain": {**place, "name": name}})
            listed += ({"rule": {**place, "chain": name, "expr": rule}} for rule in thing)
    (chain,) = base_chains(tables({"nftables": listed}))
    return chain.verdict(packet).fate


@pytest.mark.parametrize(("rules", "policy", "expected"), [
    ([], "accept", Fate.PASSES), ([], "drop", Fate.REFUSED), ([ACCEPT], "drop", Fate.PASSES),
    ([REJECT], "accept", Fate.REFUSED),
    ([[match({"ct": {"key": "status"}}, "dnat", "in"), *ACCEPT], REJECT], "accept", Fate.REFUSED),
    ([[match(meta("iifname"), "vpc-*"), *ACCEPT], DROP], "accept", Fate.PASSES),
    ([[match(meta("iifname"), "docker*"), *ACCEPT], DROP], "accept", Fate.REFUSED),
    ([[match(meta("oifname"), "eth0", "!="), *DROP]], "accept", Fate.PASSES),
    ([[match(meta("oifname"), {"set": ["eth0", "eth1"]}), *DROP]], "accept", Fate.REFUSED),
    ([[match(payload("ip", "saddr"), {"prefix": {"addr": "10.0.0.0", "len": 8}}), *DROP]], "accept",
     Fate.REFUSED),
    ([[match(payload("ip", "daddr"), {"range": ["8.8.8.0", "8.8.8.9"]}), *ACCEPT]], "drop", Fate.PASSES),
    ([[match(payload("ip", "daddr"), {"set": ["1.1.1.1", "9.9.9.9"]}), *ACCEPT]], "drop", Fate.REFUSED),
    ([[match(payload("tcp", "dport"), {"set": [80, {"range": [400, 500]}]}), *ACCEPT]], "drop", Fate.PASSES),
    ([[match(payload("udp", "dport"), 53), *DROP]], "accept", Fate.PASSES),
    ([[match(payload("ip6", "saddr"), "::1", "!="), *DROP]], "accept", Fate.PASSES),
    ([[match(meta("mark"), 7), *DROP]], "accept", Fate.UNSURE),
    ([[{"xt": {}}, *ACCEPT]], "drop", Fate.UNSURE),
    ([[match(meta("mark"), 7), *DROP], DROP], "accept", Fate.REFUSED),
    ([[{"limit": {"rate": 1, "inv": True}}, *DROP]], "accept", Fate.PASSES),
    ([[match(STATE, ["new", "related"], "in"), *DROP]], "accept", Fate.REFUSED),
    ([[match(STATE, "established", "in"), *DROP]], "accept", Fate.PASSES),
    ([vmap(STATE, ["established", {"accept": None}], ["new", {"drop": None}])], "accept", Fate.REFUSED),
    ([vmap(meta("mark"), [1, {"drop": None}]), ACCEPT], "drop", Fate.UNSURE),
    ([vmap(meta("iifname"), ["x", {"drop": None}]), ACCEPT], "drop", Fate.PASSES)])
def test_rules(rules: list[Any], policy: str, expected: Fate) -> None:
    assert fate(rules, policy) is expected


def test_answers_are_established() -> None:
    rules = [[match(STATE, {"set": ["established", "related"]}), *ACCEPT], REJECT]
    assert (fate(rules), fate(rules, packet=ANSWER)) == (Fate.REFUSED, Fate.PASSES)


@pytest.mark.parametrize(("call", "inner", "expected"), [
    ("jump", [], Fate.REFUSED), ("goto", [], Fate.PASSES), ("jump", [ACCEPT], Fate.PASSES),
    ("jump", [[{"return": None}], ACCEPT], Fate.REFUSED), ("goto", [DROP], Fate.REFUSED),
    ("jump", [[match(meta("mark"), 1), *ACCEPT]], Fate.UNSURE)])
def test_chains_that_are_called(call: str, inner: list[Any], expected: Fate) -> None:
    assert fate([[{call: {"target": "inner"}}], DROP], inner=inner) is expected


def test_named_sets() -> None:
    rules = [[match(meta("iifname"), "@set1"), *ACCEPT], DROP]
    assert fate(rules, set1=["vpc-a", "x"]) is Fate.PASSES
    assert fate(rules, set1=[{"elem": {"val": "y", "timeout": 1}}]) is Fate.REFUSED
    assert fate(rules) is Fate.UNSURE


def test_a_circle_ends() -> None:
    jump = [{"jump": {"target": "inner"}}]
    assert fate([jump, DROP], inner=[jump]) is Fate.REFUSED


@pytest.mark.parametrize("chain", [
    {"family": "ip6", "table": "x", "name": "f", "hook": "forward"},
    {"family": "bridge", "table": "x", "name": "f", "hook": "forward"},
    {"family": "inet", "table": "x", "name": "f", "hook": "input"},
    {"family": "inet", "table": "x", "name": "f"}])
def test_chains_that_are_none_of_this(chain: dict[str, Any]) -> None:
    assert base_chains(tables({"nftables": [{"chain": chain}]})) == []


def test_a_dormant_table_refuses_nothing() -> None:
    chain = {"family": "inet", "table": "x", "name": "f", "hook": "forward", "policy": "drop"}
    # As nft 1.0.6 prints its flag.
    listed = {"nftables": [{"table": {"family": "inet", "name": "x", "flags": "lost"}}, {"chain": chain}]}
    assert has_flags(listed)
    assert base_chains(read(listed, dormant={("inet", "x")})) == []
    assert [one.chain.name for one in base_chains(read(listed, dormant={("ip", "x")}))] == ["f"]


def chain_at(hook: str, priority: int, rule: list[Any], family: str = "inet", **more: Any) -> BaseChain:
    place = {"family": family, "table": "own"}
    chain = {**place, "name": "f", "hook": hook, "prio": priority, "type": "filter", **more}
    (found,) = base_chains(tables({"nftables": [
        {"chain": chain}, {"rule": {**place, "chain": "f", "handle": 7, "expr": rule}}]}))
    return found


INVALID = [match(STATE, "invalid", "in"), *DROP]
HOME = [match(payload("ip", "daddr"), "10.0.1.2"), *DROP]


@pytest.mark.parametrize(("hook", "priority", "rule", "new", "answer"), [
    ("forward", 0, INVALID, Fate.PASSES, Fate.PASSES),
    ("prerouting", -150, INVALID, Fate.PASSES, Fate.PASSES),
    ("prerouting", -300, INVALID, Fate.REFUSED, Fate.REFUSED),
    ("prerouting", -200, INVALID, Fate.UNSURE, Fate.UNSURE),
    ("prerouting", -150, HOME, Fate.PASSES, Fate.UNSURE),
    ("prerouting", -50, HOME, Fate.PASSES, Fate.REFUSED),
    ("prerouting", 0, [match(meta("oifname"), "eth0"), *DROP], Fate.PASSES, Fate.PASSES),
    ("postrouting", 200, [match(payload("ip", "saddr"), "10.0.1.2"), *DROP], Fate.UNSURE, Fate.PASSES),
    ("postrouting", 50, [match(payload("ip", "saddr"), "10.0.1.2"), *DROP], Fate.REFUSED, Fate.PASSES),
    ("forward", 0, [{"queue": {}}], Fate.UNSURE, Fate.UNSURE),
    ("forward", 0, [{"ct count": {"val": 5}}, *DROP], Fate.UNSURE, Fate.UNSURE),
    ("forward", 0, [{"flow": {"op": "add"}}, *DROP], Fate.REFUSED, Fate.REFUSED)])
def test_hooks(hook: str, priority: int, rule: list[Any], new: Fate, answer: Fate) -> None:
    chain = chain_at(hook, priority, rule)
    assert (chain.verdict(NEW).fate, chain.verdict(ANSWER).fate) == (new, answer)


@pytest.mark.parametrize(("devices", "new", "answer"), [
    ({"dev": "eth0"}, Fate.PASSES, Fate.REFUSED), ({"dev": ["vpc-a", "x"]}, Fate.REFUSED, Fate.PASSES),
    ({"dev": "docker0"}, Fate.PASSES, Fate.PASSES), ({}, Fate.UNSURE, Fate.UNSURE)])
def test_devices(devices: dict[str, Any], new: Fate, answer: Fate) -> None:
    chain = chain_at("ingress", 0, DROP, "netdev", **devices)
    assert (chain.verdict(NEW).fate, chain.verdict(ANSWER).fate) == (new, answer)


@pytest.mark.parametrize(("rule", "policy", "new", "dns"), [
    ("-j DROP", "ACCEPT", Fate.REFUSED, Fate.REFUSED), ("", "DROP", Fate.REFUSED, Fate.REFUSED),
    ("-i vpc-+ -p udp -j DROP", "ACCEPT", Fate.PASSES, Fate.REFUSED),
    ("! -i eth0 -p tcp -m multiport --dports 80,400:500 -j DROP", "ACCEPT", Fate.REFUSED, Fate.PASSES),
    ("-m mark --mark 0x1 -j DROP", "ACCEPT", Fate.UNSURE, Fate.UNSURE),
    ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "DROP", Fate.REFUSED, Fate.REFUSED),
    ('-m comment --comment "vpcctl:host" -j VPCCTL-FORWARD', "DROP", Fate.PASSES, Fate.PASSES),
    ("-j NFQUEUE --queue-num 1", "ACCEPT", Fate.UNSURE, Fate.UNSURE)])
def test_rules_of_iptables(rule: str, policy: str, new: Fate, dns: Fate) -> None:
    text = f"*filter\n:FORWARD {policy} [0:0]\n" + (f"-A FORWARD {rule}\n" if rule else "") + "COMMIT\n"
    (chain,) = base_chains(saved_rules.tables(text), "iptables")
    assert (chain.verdict(NEW).fate, chain.verdict(DNS).fate) == (new, dns)
