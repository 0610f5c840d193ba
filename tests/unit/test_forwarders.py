"""What of others' needs forwarding, by links, routes and rules; what a restart does to the old value."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.ruleset import tables
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Nat, Topology, Vpc
from vpcctl_lib.record.ledger import Verb
from vpcctl_lib.resources import Forwarding, forwarders
from vpcctl_lib.resources.forwarders import Seen

DOCKER = """*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-USER -j RETURN
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
"""


def link(name: str, kind: str = "", **more: Any) -> dict[str, Any]:
    return {"ifname": name, "linkinfo": {"info_kind": kind}, **more}


def route(device: str, target: str, **more: Any) -> dict[str, Any]:
    return {"dev": device, "dst": target, **more}


@pytest.mark.parametrize(("links", "routes", "found"), [
    ([link("br0", "bridge")], [route("br0", "10.0.0.0/24")], ()),
    ([link("br0", "bridge"), link("eth1", master="br0")], [], ("bridge br0",)),
    ([link("br0", "bridge"), link("x", "veth", master="br0", ifalias="vpcctl:vpc1")], [], ()),
    ([link("v", "veth")], [], ()),
    ([link("v", "veth")], [route("v", "10.0.0.0/24")], ("link v",)),
    ([link("v", "veth")], [route("v", "10.0.0.1", type="local")], ()),
    ([link("v", "veth", ifalias="vpcctl:vpc1")], [route("v", "10.0.0.0/24")], ()),
    ([link("v", "veth", master="vrf0")], [route("v", "10.0.0.0/24")], ()),
    ([link("wg0", "wireguard")], [route("wg0", "10.8.0.0/24")], ("link wg0",)),
    ([link("wg0", "wireguard")], [route("wg0", "10.8.0.0/24"), route("wg0", "default", table="51820")], ()),
    ([link("eth0"), link("bond0", "bond")], [route("eth0", "192.0.2.0/24"), route("bond0", "10.0.0.0/8")],
     ()),
])
def test_links(links: list[dict[str, Any]], routes: list[dict[str, Any]], found: tuple[str, ...]) -> None:
    assert forwarders.forwarders(Seen(tuple(links), tuple(routes))) == found


def test_docker_s_rules() -> None:
    assert forwarders.forwarders(Seen(saved=(DOCKER,))) == (
        "rule POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE of table nat",
        "rule DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80 "
        "of table nat",
        "rule DOCKER-FORWARD -i docker0 -j ACCEPT of table filter")


@pytest.mark.parametrize("rule", [
    "FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "FORWARD -p icmp -j ACCEPT",
    "FORWARD -j DROP", "FORWARD -j NOWHERE", "INPUT -j ACCEPT", "LOOSE -j ACCEPT",
    'FORWARD -m comment --comment "vpcctl:host ip_forward=0" -j VPCCTL-FORWARD',
    'FORWARD -m comment --comment "vpcctl:vpc1" -j ACCEPT', "VPCCTL-FORWARD -i eth0 -j ACCEPT",
    'FORWARD -m comment --comment "such as -j ACCEPT" -j DROP',
])
def test_rules_that_let_nothing_new_through(rule: str) -> None:
    assert forwarders.forwarders(Seen(saved=(f"*filter\n-A {rule}\nCOMMIT\n",))) == ()


CHAIN = {"chain": {"family": "inet", "table": "t", "name": "f", "hook": "forward"}}
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}


@pytest.mark.parametrize(("chain", "expressions", "found"), [
    ("f", [{"accept": None}], True), ("f", [{"jump": {"target": "x"}}], True), ("f", [{"drop": None}], False),
    ("f", [ESTABLISHED, {"accept": None}], False), ("other", [{"accept": None}], False),
    ("other", [{"masquerade": None}], True), ("other", [{"dnat": {"addr": "10.0.0.1"}}], True),
])
def test_tables_of_nft(chain: str, expressions: list[dict[str, Any]], found: bool) -> None:
    rule = {"rule": {"family": "inet", "table": "t", "chain": chain, "expr": expressions}}
    found_tables = forwarders.forwarders(Seen(tables=tables({"nftables": [CHAIN, rule]})))
    assert found_tables == (("nft table inet t",) if found else ())


def test_what_iptables_made_in_nft_is_not_told_twice() -> None:
    rule = {"rule": {"family": "ip", "table": "nat", "chain": "POSTROUTING", "expr": [{"masquerade": None}]}}
    assert forwarders.forwarders(Seen(tables=tables({"nftables": [rule]}))) == ("nft table ip nat",)
    assert forwarders.forwarders(Seen(saved=("*nat\nCOMMIT\n",), tables=tables({"nftables": [rule]}))) == ()
    assert forwarders.forwarders(Seen(tables=tables({"nftables": [rule]}), blind=True)) == ()


def test_only_what_came_since_counts_and_a_record_keeps_the_rest_apart() -> None:
    seen = Seen(links=(link("v", "veth"), link("w", "veth")), saved=(DOCKER,), unread=('the "rest"|\n',),
                routes=(route("v", "10.0.0.0/24"), route("w", "10.1.0.0/24")))
    text = forwarders.written(forwarders.forwarders(seen))
    assert set(text) & set('"\\\n{}') == set(), "it stands in JSON, and cleanup.sh reads it"
    assert forwarders.newcomers(seen, forwarders.read(text)) == ()
    more = replace(seen, links=(*seen.links, link("x", "veth")),
                   routes=(*seen.routes, route("x", "10.2.0.0/24")))
    assert forwarders.newcomers(more, forwarders.read(text)) == ("link x",)


def test_what_could_be_read_before_and_can_t_be_now_is_not_guessed() -> None:
    with pytest.raises(VpcctlError, match="unknown whether others need"):
        forwarders.newcomers(Seen(unread=("the rest",)), frozenset({"link v"}))


def test_one_line_names_two_and_counts_the_rest() -> None:
    others = [f"link {name}" for name in "abcd"]
    told = forwarders.stays("net.ipv4.ip_forward", "1", "0", others)
    assert told == ("net.ipv4.ip_forward stays 1, since others may need it: link a, link b and 2 more; "
                    "if none does, run: sysctl -w net.ipv4.ip_forward=0")


@pytest.mark.parametrize(("mark", "found"), [
    (naming.host_mark("0"), "0"), (naming.host_mark("1"), "1"), (naming.host_mark(), None),
    ("vpcctl:host ip_forward=7", None), ("vpcctl:vpc1 ip_forward=0", None), ("", None),
])
def test_the_mark_tells_what_was_found(mark: str, found: str | None) -> None:
    assert naming.forwarding_in(mark) == found


NAT = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=Nat("eth0")),), forwarding="0")


def test_the_jump_for_what_is_forwarded_bears_it() -> None:
    rules = [str(resource) for resource in blueprint(NAT) if "-j VPCCTL-" in str(resource)]
    assert [rule.split(" -j ")[0] for rule in rules if "ip_forward" in rule] == [
        'rule FORWARD -m comment --comment "vpcctl:host ip_forward=0"']


def test_what_an_earlier_start_had_is_asked_anew(bare_host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare_host / "ip_forward").write_text("0")
    before = difference((), blueprint(NAT)).after
    assert difference(before, blueprint(NAT)).steps == ()
    monkeypatch.setattr(netns, "own_identity", lambda: "another start")
    (bare_host / "ip_forward").write_text("1")
    plan = difference(before, blueprint(NAT))
    ((verb, entry, undo),) = [(step.verb, step.entry, step.undo()) for step in plan.steps]
    assert (verb, entry.resource, entry.found["net.ipv4.ip_forward"]) == (Verb.MAKE, Forwarding(), "1")
    assert undo == (), "a change that fails leaves on what it found on"
    gone = [step for step in difference(before, ()).steps if step.entry.resource == Forwarding()]
    assert [step.work for step in gone] == [()]
