"""Walks through a recorded network: two peered VPCs, one with NAT; each test changes what was recorded."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vpcctl_lib.kernel import netns, proc, run
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.model.topology import Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.reach.detours import quoted
from vpcctl_lib.reach.question import Question
from vpcctl_lib.reach.routes import PolicyRule
from vpcctl_lib.reach.scene import Scene
from vpcctl_lib.reach.verdict import Analyzer, Report

RECORDED = json.loads(Path(__file__).with_name("recorded").joinpath("reach.json").read_text())
PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
PRIVATE = Subnet("private", IPv4Network("10.0.2.0/24"))
FAR = Subnet("public", IPv4Network("172.16.1.0/24"), SubnetType.PUBLIC)
ONE = Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=Nat("eth0"), subnets=(PUBLIC, PRIVATE))
TWO = Vpc("vpc2", IPv4Network("172.16.0.0/16"), 1, subnets=(FAR,))
TOPOLOGY = Topology((ONE, TWO), (Peering("vpc1", "vpc2"),))
SAVE = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{}\nCOMMIT\n"


class Recorded:
    """What was recorded, as a runner that answers from it."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = copy.deepcopy(RECORDED["asked"])
        self.files: dict[str, str] = dict(RECORDED["files"])

    def ask(self, argv: tuple[str, ...], namespace: str = "") -> Outcome:
        """What the command printed."""
        command = Command(argv, namespace=namespace)
        answer = self.asked[str(command)]
        return Outcome(command, 0, answer if isinstance(answer, str) else json.dumps(answer), "", 0)

    def read(self, namespace: str, *readings: Reading) -> list[list[dict[str, Any]]]:
        """What the namespace says of itself."""
        return [self._listed(namespace, reading.value) for reading in readings]

    def _listed(self, namespace: str, argv: tuple[str, ...]) -> list[dict[str, Any]]:
        found = self.asked[str(Command(argv, namespace=namespace))]
        return found if isinstance(found, list) else [one for one in found["nftables"] if "chain" in one]

    def numbers(self, namespace: str) -> Any:
        """Its numbers for others."""
        numbered = {one["id"]: one["name"] for one in self._listed(namespace, ("ip", "-j", "netns", "list"))
                    if "id" in one}
        return SimpleNamespace(name=lambda number: numbered.get(number, ""))

    def rules(self, namespace: str, *rules: str) -> None:
        """A namespace with these rules in its filter table only."""
        self.asked[f"ip netns exec {namespace} iptables-save -c"] = SAVE.format("\n".join(rules))
        chains = [{"chain": {"family": "ip", "table": "filter", "name": "INPUT", "hook": "input"}}]
        self.asked[f"ip netns exec {namespace} nft -j list chains"] = {"nftables": chains}

    def links(self, namespace: str) -> dict[str, dict[str, Any]]:
        """Its links, to be changed."""
        return {link["ifname"]: link for link in self.asked[f"ip -n {namespace} -j -d addr show"]}

    def routes(self, namespace: str) -> list[dict[str, Any]]:
        """Its routes, to be changed."""
        routes: list[dict[str, Any]] = self.asked[f"ip -n {namespace} -j -d -4 route show table all"]
        return routes

    def sets(self, namespace: str, key: str, value: str) -> None:
        """A setting."""
        self.files[f"{namespace} /proc/sys/{key}"] = value


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    recorded = Recorded()
    monkeypatch.setattr(Kernel, "read", lambda _, *given: recorded.read(*given))
    monkeypatch.setattr(Kernel, "numbers", lambda _, namespace, *first: recorded.numbers(namespace))
    monkeypatch.setattr(netns, "names", lambda: frozenset(RECORDED["names"]))
    monkeypatch.setattr(proc, "may_have_legacy", lambda namespace, *_: False)
    monkeypatch.setattr(proc, "_text_in", lambda name, path: recorded.files.get(f"{name} {path}", ""))
    monkeypatch.setattr(run, "_located", lambda tool, path: f"/sbin/{tool}")
    return recorded  # type: ignore[return-value]


def ask(kernel: Recorded, to: str, subnet: Subnet = PUBLIC, port: int | None = 80) -> Report:
    protocol = Protocol.TCP if port else Protocol.ICMP
    analyzer = Analyzer(Scene(Kernel(kernel)), TOPOLOGY)  # type: ignore[arg-type]
    return analyzer.ask(Question(ONE, subnet, IPv4Address(to), protocol, port))


def where(report: Report) -> list[str]:
    return list(dict.fromkeys(hop.where for hop in report.hops if not hop.back))


def test_within_a_vpc_frames_are_switched(kernel: Recorded) -> None:
    report = ask(kernel, "10.0.2.2")
    assert report.verdict.value == "reachable"
    assert where(report) == ["vpc1-public", "vpc1", "vpc1-private"]
    assert "bridge br-vpc1 switches from s-public to s-private" in [hop.what for hop in report.hops]


def test_a_peer_is_reached_by_both_routers(kernel: Recorded) -> None:
    assert where(ask(kernel, "172.16.1.2")) == ["vpc1-public", "vpc1", "vpc2", "vpc2-public"]


def test_the_internet_is_reached_with_the_hosts_address(kernel: Recorded) -> None:
    report = ask(kernel, "8.8.8.8")
    assert report.verdict.value == "reachable"
    assert "host: tcp 203.0.113.2 → 8.8.8.8:80 leaves this host by eth0, for 203.0.113.1" in [
        f"{hop.where}: {hop.what}" for hop in report.hops]


Change = Callable[[Recorded], object]


@pytest.mark.parametrize(("change", "to", "code", "at"), [
    (lambda k: k.rules("vpc1-private", "[2:9] -A INPUT -p tcp -m tcp --dport 80 -j DROP"), "10.0.2.2",
     "FIREWALL_DENY", "vpc1-private"),
    (lambda k: k.rules("vpc1-public", "-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP"), "10.0.2.2",
     "FIREWALL_DENY", "vpc1-public"),
    (lambda k: k.rules("vpc1-private", "-A INPUT -m conntrack --ctstate ESTABLISHED -j DROP"), "10.0.2.2",
     "FIREWALL_DENY", "vpc1-private"),
    (lambda k: k.routes("vpc1-public").clear(), "10.0.2.2", "NO_ROUTE", "vpc1-public"),
    (lambda k: k.routes("vpc1-private").clear(), "10.0.2.2", "NO_NEIGHBOUR", "vpc1-public"),
    (lambda k: k.routes("vpc1-public").append({"type": "blackhole", "dst": "10.0.2.0/24", "flags": []}),
     "10.0.2.2", "NO_ROUTE", "vpc1-public"),
    (lambda k: k.links("vpc1")["s-private"].update(flags=[]), "10.0.2.2", "LINK_DOWN", "vpc1-public"),
    (lambda k: k.links("vpc1")["s-private"].pop("master"), "10.0.2.2", "LINK_DOWN", "vpc1-public"),
    (lambda k: k.sets("vpc1", "net/ipv4/conf/br-vpc1/forwarding", "0"), "172.16.1.2",
     "NO_FORWARDING", "vpc1"),
    (lambda k: k.routes("vpc2-public").pop(0), "172.16.1.2", None, ""),
    (lambda k: k.sets("vpc1", "net/ipv4/conf/all/rp_filter", "1"), "172.16.1.2", None, ""),
    (lambda k: k.asked.update({"iptables-save -c": ""}), "8.8.8.8", "NO_NAT", "host"),
    (lambda k: None, "203.0.113.2", "HOST_CLOSED", "host"),
])
def test_damage_is_found_where_it_is(kernel: Recorded, change: Change, to: str, code: str | None,
                                     at: str) -> None:
    change(kernel)
    blocked = ask(kernel, to).blocked_by
    assert (blocked.code.value if blocked else None, blocked.where if blocked else "") == (code, at)


def test_a_private_subnet_has_no_way_out(kernel: Recorded) -> None:
    blocked = ask(kernel, "8.8.8.8", PRIVATE).blocked_by
    assert blocked is not None
    assert (blocked.code.value, "--type public" in (blocked.fix or "")) == ("PRIVATE_SUBNET", True)


@pytest.mark.parametrize(("change", "why"), [
    (lambda k: k.rules("vpc1-private", "-A INPUT -m set --match-set bad src -j DROP"), "--match-set"),
    (lambda k: k.asked["tc -n vpc1 -j qdisc show"].append({"kind": "netem", "dev": "s-private"}), "netem"),
    (lambda k: k.asked["ip netns exec vpc1-private nft -j list chains"]["nftables"].append({"chain": {
        "family": "inet", "table": "f2b", "name": "input", "hook": "input"}}), "inet f2b input"),
    (lambda k: k.routes("vpc1-public").append({"dst": "10.0.2.0/24", "dev": "eth0", "encap": "mpls",
                                               "flags": []}), "encap"),
    (lambda k: k.sets("vpc1-private", "net/ipv4/conf/all/proxy_arp", "1"), "proxy_arp"),
])
def test_what_cannot_be_told_says_why(kernel: Recorded, change: Change, why: str) -> None:
    change(kernel)
    report = ask(kernel, "10.0.2.2")
    assert (report.verdict.value, why in report.why) == ("unknown", True), report.why


def test_switched_frames_meet_the_router_where_the_bridge_calls_iptables(kernel: Recorded) -> None:
    kernel.rules("vpc1", "-A FORWARD -m physdev --physdev-is-bridged -j DROP")
    assert ask(kernel, "10.0.2.2").blocked_by is None
    kernel.sets("vpc1", "net/bridge/bridge-nf-call-iptables", "1")
    blocked = ask(kernel, "10.0.2.2").blocked_by
    assert blocked is not None
    assert blocked.fix == "ip netns exec vpc1 iptables -D FORWARD -m physdev --physdev-is-bridged -j DROP"


def has_hops(kernel: Recorded, *devices: str, takes: str = "") -> None:
    """The host's default route has these next hops, of which the kernel takes one."""
    routes = kernel.asked["ip -j -d -4 route show table all"]
    hops = [{"gateway": "203.0.113.1", "dev": device, "weight": 1, "flags": []} for device in devices]
    routes[0] = {"dst": "default", "nexthops": hops, "flags": []}
    taken = [{"dst": "8.8.8.8", "dev": takes, "gateway": "203.0.113.1"}] if takes else []
    for protocol in ("tcp", "icmp"):
        asked = f"ip -j route get 8.8.8.8 from 10.0.1.2 iif vpc-vpc1 ipproto {protocol}"
        kernel.asked[asked] = taken
    if not takes:
        kernel.sets("", "net/ipv4/fib_multipath_hash_policy", "1")


def test_next_hops_that_lead_to_the_same_are_one_answer(kernel: Recorded) -> None:
    has_hops(kernel, "eth0", "eth0", "eth0")
    report = ask(kernel, "8.8.8.8")
    assert (report.verdict.value, report.blocked_by) == ("reachable", None)
    assert [hop.verdict.value for hop in report.nexthops] == ["reachable"] * 3


@pytest.mark.parametrize(("takes", "verdict"), [
    ("eth0", "reachable"), ("vpc-vpc2", "unreachable"), ("", "unknown")])
def test_next_hops_that_differ_are_told_apart(takes: str, verdict: str, kernel: Recorded) -> None:
    has_hops(kernel, "eth0", "vpc-vpc2", takes=takes)
    report = ask(kernel, "8.8.8.8")
    assert report.verdict.value == verdict
    found = {hop.name: (hop.verdict.value, hop.is_real) for hop in report.nexthops}
    assert found == {"host: via 203.0.113.1 dev eth0": ("reachable", takes in ("eth0", "")),
                     "host: via 203.0.113.1 dev vpc-vpc2": ("unreachable", takes in ("vpc-vpc2", ""))}
    if not takes:
        assert report.why.startswith("it depends on the next hop")
        assert report.blocked_by is not None
    if report.blocked_by:
        assert report.blocked_by.fix == ("ip route add default via 203.0.113.1 dev eth0 table 30320 && "
                                         "ip rule add iif vpc-vpc1 table 30320")


def test_a_next_hop_that_is_dead_is_none(kernel: Recorded) -> None:
    has_hops(kernel, "vpc-vpc2", "eth0")
    kernel.asked["ip -j -d -4 route show table all"][0]["nexthops"][0]["flags"] = ["dead"]
    report = ask(kernel, "8.8.8.8")
    assert (report.verdict.value, report.nexthops) == ("reachable", ())


@pytest.mark.parametrize(("rule", "words"), [
    ({"dst": "10.0.0.0", "dstlen": 16, "table": "77"}, "from all to 10.0.0.0/16 lookup 77"),
    ({"src": "172.16.1.2", "action": "prohibit"}, "from 172.16.1.2 prohibit"),
    ({"not": None, "src": "192.0.2.0", "srclen": 24, "action": "blackhole"},
     "not from 192.0.2.0/24 blackhole"),
])
@pytest.mark.parametrize("strict", ["0", "1"])
def test_a_policy_rule_is_led_past_before_it_is_deleted(rule: dict[str, Any], words: str, strict: str,
                                                        kernel: Recorded) -> None:
    kernel.asked["ip -n vpc2-public -j -d -4 rule show"].insert(1, {"priority": 100, "src": "all", **rule})
    kernel.routes("vpc2-public").append({"dst": "default", "type": "blackhole", "table": "77", "flags": []})
    kernel.sets("vpc2-public", "net/ipv4/conf/all/rp_filter", strict)
    blocked = ask(kernel, "172.16.1.2").blocked_by
    assert blocked is not None
    ends = ("from all to 10.0.0.0/16", "from 172.16.0.0/16")
    assert blocked.fix in [f"ip -n vpc2-public rule add pref 1 {end} lookup main" for end in ends]
    assert blocked.otherwise == f"ip -n vpc2-public rule del pref 100 {words}"
    assert f"{words}" in blocked.rule
    assert not blocked.removes


def test_a_rule_that_nothing_can_precede_is_deleted_and_said_to_be(kernel: Recorded) -> None:
    rules = kernel.asked["ip -n vpc1 -j -d -4 rule show"]
    rules.insert(1, {"priority": 1, "src": "all", "action": "blackhole"})
    blocked = ask(kernel, "172.16.1.2").blocked_by
    assert blocked is not None
    assert (blocked.fix, blocked.otherwise, blocked.removes) == (
        "ip -n vpc1 rule del pref 1 from all blackhole", None, True)


def test_no_setting_is_blamed_for_a_route_that_leads_astray(kernel: Recorded) -> None:
    kernel.sets("vpc2-public", "net/ipv4/conf/eth0/rp_filter", "1")
    kernel.routes("vpc2-public").append({"dst": "10.0.1.0/24", "type": "blackhole", "flags": []})
    blocked = ask(kernel, "172.16.1.2").blocked_by
    assert blocked is not None
    assert (blocked.code.value, blocked.fix) == (
        "SOURCE_REFUSED", "ip -n vpc2-public route del blackhole 10.0.1.0/24")


@pytest.mark.parametrize(("metrics", "verdict"), [({"mtu": 1400, "advmss": 1360}, "reachable"),
                                                  ({"hoplimit": 1}, "unknown")])
def test_metrics_of_a_route(metrics: dict[str, int], verdict: str, kernel: Recorded) -> None:
    kernel.asked["ip -j -d -4 route show table all"][0]["metrics"] = [metrics]
    assert ask(kernel, "8.8.8.8").verdict.value == verdict


def test_a_shell_reads_a_link_s_name_as_a_name() -> None:
    rule = PolicyRule("main", incoming="$(id>taken)", priority=9)
    assert quoted(rule) == "from all iif '$(id>taken)' lookup main"
    assert quoted("default via 10.0.0.1 dev eth0") == "default via 10.0.0.1 dev eth0"
