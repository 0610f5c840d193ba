"""Each way to break a network: `reach` names it by its code, and the command it gives opens it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from host import UPLINK, UPLINK6, Host, losing
from probes import REACHED

POLICY = {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow"},
                      {"protocol": "icmp", "action": "deny"}],
          "egress": [{"protocol": "udp", "port": 53, "action": "allow"}]}
INTERNET = "internet"
INSIDE = "ip netns exec"
HOPS = "nexthop via 203.0.113.1 dev eth0 nexthop via 192.168.77.2 dev vpc-lan"


@dataclass(frozen=True)
class Case:
    """What is broken, who can't reach whom then, and the code for it."""

    code: str
    damage: str
    to: str
    start: str = "vpc1/public"
    port: str = ""
    undo: str = "true"
    family: str = "-4"


DOWN = (
    Case("LINK_DOWN", "ip -n vpc1 link set s-private down", "vpc1/private"),
    Case("LINK_DOWN", "ip -n vpc1-private link set eth0 down", "vpc1/private"),
    Case("LINK_DOWN", "ip -n vpc1-public link set eth0 down", "vpc1/private"),
    Case("LINK_DOWN", "ip -n vpc1 link set s-private nomaster", "vpc1/private"),
    Case("LINK_DOWN", "ip -n vpc1 link set br-vpc1 down", "vpc1/private"),
    Case("LINK_DOWN", "ip -n vpc1 link set pcx-vpc2 down", "vpc2/web"),
    Case("LINK_DOWN", "ip link set vpc-vpc1 down", INTERNET),
    Case("LINK_DOWN", "ip -n vpc2 link del pcx-vpc1", "vpc2/web"),
)
CASES = [
    Case("NO_ROUTE", "ip -n vpc1-public route del default", INTERNET),
    Case("NO_ROUTE", "ip -n vpc1-public route add blackhole 10.0.2.0/24", "vpc1/private"),
    Case("NO_ROUTE", "ip -n vpc1 route add unreachable 172.16.1.0/24", "vpc2/web"),
    Case("NO_ROUTE", "ip -n vpc2 route del 10.0.0.0/16", "vpc2/web"),
    Case("NO_ROUTE", "ip -n vpc2 rule add pref 99 from 172.16.0.0/16 prohibit", "vpc2/web",
         undo="ip -n vpc2 rule del pref 99; ip -n vpc2 rule del pref 1"),
    Case("SOURCE_REFUSED", "ip -n vpc2-web route add blackhole default table 77; "
         "ip -n vpc2-web rule add pref 99 to 10.0.0.0/16 lookup 77; "
         f"{INSIDE} vpc2-web sysctl -qw net.ipv4.conf.eth0.rp_filter=1", "vpc2/web",
         undo="ip -n vpc2-web rule del pref 99; ip -n vpc2-web rule del pref 1; "
         f"ip -n vpc2-web route flush table 77; {INSIDE} vpc2-web sysctl -qw net.ipv4.conf.eth0.rp_filter=0"),
    Case("NO_FORWARDING", "ip route add default via 192.168.77.2 table 79; "
         "ip -n other route add 10.0.0.0/16 via 192.168.77.1; ip rule add pref 99 to 10.0.0.0/16 lookup 79",
         INTERNET, undo="ip rule del pref 99; ip rule del pref 1; ip route flush table 79; "
         "ip -n other route del 10.0.0.0/16"),
    Case("FIREWALL_DENY", f"ip route del default; ip route add default {HOPS}; "
         "sysctl -qw net.ipv4.fib_multipath_hash_policy=1", INTERNET,
         undo="ip route flush table 30320; ip rule del table 30320; "
         "ip route replace default via 203.0.113.1 dev eth0; "
         "sysctl -qw net.ipv4.fib_multipath_hash_policy=0"),
    *DOWN,
    Case("NO_ADDRESS", "ip -n vpc1-private addr flush dev eth0 scope global", "vpc1/private"),
    Case("NO_NEIGHBOUR", "ip -n vpc1-public route add 10.0.2.0/24 via 10.0.0.9 dev eth0 onlink",
         "vpc1/private"),
    # Till the cable is gone nobody can tell what is at its other end.
    Case("NAMESPACE_MISSING", losing("vpc1-private", "vpc1", "s-private"), "vpc1/private"),
    Case("NAMESPACE_MISSING", losing("vpc1", "vpc1-public", "eth0"), "vpc1/private"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1-private iptables -A INPUT -m comment --comment 'a b' -j DROP",
         "vpc1/private"),
    Case("FIREWALL_DENY", "ip netns exec vpc1-private iptables -P OUTPUT DROP", "vpc1/private"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1 iptables -I FORWARD ! -s 192.0.2.7 -o pcx-+ -j DROP", "vpc2/web"),
    Case("FIREWALL_DENY", "ip netns exec vpc1 iptables -F FORWARD", "vpc2/web"),
    Case("FIREWALL_DENY", "ip netns exec vpc1-private iptables -t mangle -A INPUT -j DROP", "vpc1/private"),
    Case("FIREWALL_DENY", "ip netns exec vpc1-private iptables-legacy -A INPUT -j DROP", "vpc1/private"),
    Case("FIREWALL_DENY", "iptables -N MINE; iptables -A MINE -j REJECT; iptables -I FORWARD -o eth0 -j MINE",
         INTERNET, undo="iptables -D FORWARD -o eth0 -j MINE; iptables -F MINE; iptables -X MINE"),
    Case("FIREWALL_DENY", "iptables -t raw -I PREROUTING -s 10.0.1.0/24 -j DROP", INTERNET),
    Case("FIREWALL_DENY", "true", "vpc2/db", "vpc2/web", port="443"),
    Case("FIREWALL_DENY", "true", "vpc2/web", "vpc2/db", port="80"),
    Case("DIVERTED", f"{INSIDE} vpc1 iptables -t nat -A PREROUTING -d 172.16.1.2 -p icmp -j REDIRECT",
         "vpc2/web"),
    Case("NO_NAT", "iptables -t nat -F POSTROUTING", INTERNET),
    Case("NO_FORWARDING", "ip netns exec vpc1 sysctl -qw net.ipv4.ip_forward=0", INTERNET),
    Case("NO_FORWARDING", "sysctl -qw net.ipv4.ip_forward=0", INTERNET),
    Case("NO_FORWARDING", "ip netns exec vpc1 sysctl -qw net.ipv4.conf.br-vpc1.forwarding=0", INTERNET),
    Case("SOURCE_REFUSED", "ip -n vpc2-web route del default; ip -n vpc2-web route del 10.0.0.0/16; "
         "ip netns exec vpc2-web sysctl -qw net.ipv4.conf.eth0.rp_filter=1", "vpc2/web",
         undo="ip netns exec vpc2-web sysctl -qw net.ipv4.conf.eth0.rp_filter=0"),
    Case("ECHO_IGNORED", f"{INSIDE} vpc1-private sysctl -qw net.ipv4.icmp_echo_ignore_all=1", "vpc1/private"),
    Case("NOT_PEERED", "true", "vpc3/web"),
    Case("NOT_PEERED", "vpcctl peer delete --vpc1 vpc1 --vpc2 vpc3", "192.168.0.2"),
    Case("NO_NAT", "true", INTERNET, "vpc3/web"),
    Case("PRIVATE_SUBNET", "true", INTERNET, "vpc1/private"),
    Case("PRIVATE_SUBNET", "true", INTERNET, "vpc3/db"),
    Case("HOST_CLOSED", "true", UPLINK),
    Case("HOST_CLOSED", "true", UPLINK, "vpc2/web", port="22"),
    Case("NOTHING_LISTENS", "true", "vpc1/private", port="8080"),
]
P, Q, R = "fd12:3456:789a:1", "fd12:3456:789a:2", "fd12:3456:789a:3"
"""The prefixes of the VPCs, without the last two digits."""

SIX = "ip -6 -n"
TO_OWN = "vpcctl route-table add-route --vpc vpc1 --name own"
OWN_TABLE = "vpcctl route-table create --vpc vpc1 --name own; " \
    "vpcctl route-table associate --vpc vpc1 --subnet private --name own"
NO_OWN_TABLE = "vpcctl route-table dissociate --vpc vpc1 --subnet private; " \
    "vpcctl route-table delete --vpc vpc1 --name own; " \
    "vpcctl subnet set --vpc vpc1 --name private --type private"
CASES6 = [replace(one, family="-6") for one in (
    Case("NO_ROUTE", f"{SIX} vpc1-public route del default", INTERNET),
    Case("NO_ROUTE", f"{SIX} vpc1-public route add blackhole {P}02::/64", "vpc1/private"),
    Case("NO_ROUTE", f"{SIX} vpc1 route add unreachable {Q}01::/64", "vpc2/web"),
    Case("NO_ROUTE", f"{SIX} vpc2 route del {P}00::/56", "vpc2/web"),
    Case("NO_ROUTE", f"{SIX} vpc2-web route add prohibit default metric 5", "vpc2/web"),
    Case("NO_ROUTE", f"{SIX} vpc2 rule add pref 99 from {Q}00::/56 prohibit", "vpc2/web",
         undo=f"{SIX} vpc2 rule del pref 99; {SIX} vpc2 rule del pref 1"),
    Case("NO_ROUTE", f"{SIX} vpc1 route del {P}02::2/128 dev br-vpc1", "vpc1/private", start="host"),
    *DOWN,
    Case("NO_ADDRESS", f"{SIX} vpc1-private addr flush dev eth0", "vpc1/private"),
    Case("NO_ADDRESS", f"{SIX} vpc1 addr flush dev pcx-vpc2 scope link", "vpc2/web"),
    Case("NO_NEIGHBOUR", f"{SIX} vpc1-public route add {P}02::/64 via {P}02::9 dev eth0 onlink",
         "vpc1/private"),
    Case("NO_NEIGHBOUR", f"{SIX} vpc1-public neigh flush dev eth0 nud permanent", "vpc1/private"),
    Case("NO_NEIGHBOUR", f"{SIX} vpc1 neigh flush dev br-vpc1 nud permanent", "vpc1/private", start="host"),
    Case("NO_IPV6", f"{INSIDE} vpc1-private sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", "vpc1/private"),
    Case("NO_IPV6", f"{INSIDE} vpc1 sysctl -qw net.ipv6.conf.uplink.disable_ipv6=1", INTERNET),
    Case("NO_IPV6", "vpcctl vpc set --name vpc2 --no-ipv6", "vpc2/web",
         undo=f"vpcctl vpc set --name vpc2 --ipv6 {Q}00::/56"),
    Case("NAMESPACE_MISSING", losing("vpc1-private", "vpc1", "s-private"), "vpc1/private"),
    Case("NAMESPACE_MISSING", losing("vpc1", "vpc1-public", "eth0"), "vpc1/private"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1-private ip6tables -A INPUT -m comment --comment 'a b' -j DROP",
         "vpc1/private"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1-private ip6tables -P OUTPUT DROP", "vpc1/private"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1 ip6tables -I FORWARD ! -s fd77::7 -o pcx-+ -j DROP", "vpc2/web"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1 ip6tables -F FORWARD", "vpc2/web"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1 ip6tables -F INPUT", "vpc2/web"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1 ip6tables -I INPUT -p ipv6-icmp --icmpv6-type 136 -j DROP",
         "vpc2/web"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1-private ip6tables -t mangle -A INPUT -j DROP", "vpc1/private"),
    Case("FIREWALL_DENY", f"{INSIDE} vpc1-private ip6tables-legacy -A INPUT -j DROP", "vpc1/private"),
    Case("FIREWALL_DENY", f"ip6tables -t raw -I PREROUTING -s {P}01::/64 -j DROP", INTERNET),
    Case("FIREWALL_DENY", "true", "vpc2/db", "vpc2/web", port="443"),
    Case("FIREWALL_DENY", "true", "vpc2/web", "vpc2/db", port="80"),
    Case("DIVERTED", f"{INSIDE} vpc1 ip6tables -t nat -A PREROUTING -d {Q}01::2 -p ipv6-icmp -j REDIRECT",
         "vpc2/web"),
    Case("NO_NAT", "ip6tables -t nat -F POSTROUTING", INTERNET),
    Case("NO_FORWARDING", f"{INSIDE} vpc1 sysctl -qw net.ipv6.conf.all.forwarding=0", INTERNET),
    Case("NO_FORWARDING", "sysctl -qw net.ipv6.conf.vpc-vpc1.force_forwarding=0", INTERNET),
    Case("NO_FORWARDING", "sysctl -qw net.ipv6.conf.eth0.force_forwarding=0", INTERNET),
    Case("ECHO_IGNORED", f"{INSIDE} vpc1-private sysctl -qw net.ipv6.icmp.echo_ignore_all=1", "vpc1/private"),
    Case("NOT_PEERED", "true", "vpc3/web"),
    Case("NOT_PEERED", "vpcctl peer delete --vpc1 vpc1 --vpc2 vpc3", f"{R}01::2"),
    Case("NO_NAT", "true", INTERNET, "vpc3/web"),
    Case("PRIVATE_SUBNET", "true", INTERNET, "vpc1/private"),
    Case("PRIVATE_SUBNET", "true", INTERNET, "vpc3/db"),
    Case("NO_ROUTE", OWN_TABLE, INTERNET, "vpc1/private", undo=NO_OWN_TABLE),
    Case("NO_ROUTE", OWN_TABLE, "vpc2/web", "vpc1/private", undo=NO_OWN_TABLE),
    Case("BLACKHOLE", f"{OWN_TABLE}; {TO_OWN} --to {Q}00::/56 --via blackhole", "vpc2/web", "vpc1/private",
         undo=NO_OWN_TABLE),
    Case("NOTHING_LISTENS", "true", "vpc1/private", port="8080"),
    Case("HOST_CLOSED", "true", UPLINK6),
    Case("HOST_CLOSED", "true", UPLINK6, "vpc2/web", port="22"))]
LASTING = {"HOST_CLOSED"}
"""Codes whose first fix does not open all the way: NAT or a service is missing behind it."""


def build(host: Host) -> None:
    """Two VPCs that are peered and one that is not, with both families."""
    for line in (
        f"vpc create --name vpc1 --cidr 10.0.0.0/16 --ipv6 {P}00::/56",
        "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
        "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
        f"vpc create --name vpc2 --cidr 172.16.0.0/16 --ipv6 {Q}00::/56",
        "subnet add --vpc vpc2 --name web --cidr 172.16.1.0/24 --type public",
        "subnet add --vpc vpc2 --name db --cidr 172.16.2.0/24",
        f"vpc create --name vpc3 --cidr 192.168.0.0/24 --ipv6 {R}00::/56",
        "subnet add --vpc vpc3 --name web --cidr 192.168.0.0/25 --type public",
        "subnet add --vpc vpc3 --name db --cidr 192.168.0.128/25",
        "nat enable --vpc vpc1",
        "peer create --vpc1 vpc1 --vpc2 vpc2",
    ):
        host.do(line)
    host.do("firewall apply --vpc vpc2 --subnet db --policy", host.write("policy.json", POLICY))


def ask(host: Host, case: Case) -> dict[str, Any]:
    """The report, whose exit code has to fit its verdict."""
    port = ("--port", case.port) if case.port else ()
    probe = ("--probe",) if case.code == "NOTHING_LISTENS" else ()
    done = host.vpcctl("reach", "--from", case.start, "--to", case.to, *port, *probe, "--json", case.family)
    report: dict[str, Any] = json.loads(done.out)["reach"]
    assert done.code == (0 if report["verdict"] == "reachable" else 1)
    return report


def repaired(host: Host, case: Case) -> str:
    """Empty if the code is right and its fix opens the way; else what is wrong."""
    host.sh(case.damage)
    report = ask(host, case)
    blocked = report["blocked_by"] or {}
    if blocked.get("code") != case.code or not blocked.get("fix"):
        return f"{case}: {report['verdict']} {report['why']} {blocked}"
    host.paste(blocked["fix"])
    after = ask(host, case)
    host.sh(case.undo)
    if after["verdict"] == "reachable" or case.code in LASTING:
        return ""
    return f"{case}: {blocked}, and then {after['why']} {after['blocked_by']}"


@pytest.mark.long
@pytest.mark.parametrize("cases", [CASES, CASES6], ids=["ipv4", "ipv6"])
def test_each_obstacle_has_its_code_and_a_fix_that_opens_it(cases: list[Case], host: Host) -> None:
    build(host)
    wrong = list(filter(None, (repaired(host, case) for case in cases)))
    assert not wrong, "\n".join(wrong)
    tool, ping = ("iptables", "icmp") if cases is CASES else ("ip6tables", "ipv6-icmp")
    host.sh(f"""
        {tool} -D INPUT -i vpc-vpc1 -p {ping} -j ACCEPT
        {tool} -D INPUT -i vpc-vpc2 -p tcp --dport 22 -j ACCEPT
    """)
    if cases is CASES:
        host.sh("iptables -t nat -A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE")


def test_next_hops_are_told_apart_as_the_kernel_chooses(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh(f"ip route del default; ip route add default {HOPS}")
    targets = [f"8.8.{number}.8" for number in range(12)]
    vpc1.sh("".join(f"ip -n internet addr add {target}/32 dev lo; " for target in targets[:8] + targets[9:]))
    answers = vpc1.probe(*(("vpc1-public", target) for target in targets), patience=1.0)
    real = {target: answer.verdict == REACHED for target, answer in zip(targets, answers, strict=True)}
    found = {target: ask(vpc1, Case("", "", target)) for target in targets}
    assert {target: report["verdict"] == "reachable" for target, report in found.items()} == real
    assert set(real.values()) == {True, False}
    for report in found.values():
        assert {hop["nexthop"]: hop["verdict"] for hop in report["nexthops"]} == {
            "host: via 203.0.113.1 dev eth0": "reachable",
            "host: via 192.168.77.2 dev vpc-lan": "unreachable"}
    vpc1.sh("".join(f"ip -n internet addr del {target}/32 dev lo; " for target in targets[:8] + targets[9:]))
    vpc1.sh("ip route replace default via 203.0.113.1 dev eth0")


def test_asking_changes_nothing(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc1")
    before = vpc2.portrait()
    for to in ("vpc1/private", "vpc2/public", "internet", "vpc2", UPLINK):
        vpc2.vpcctl("reach", "--from", "vpc1/public", "--to", to, "--port", "80")
    vpc2.check_same(before)
    assert "[0:0]" in vpc2.sh("iptables-save -c")


def test_who_can_reach_a_port(vpc2: Host) -> None:
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    done = vpc2.vpcctl("reach", "--to", "vpc1/private", "--port", "80", "--json")
    found = {one["from"]: one["verdict"] for one in done.json["reach"]}
    everybody = ("vpc1/public", "vpc2/public", "vpc2/private")
    assert (done.code, found) == (0, dict.fromkeys(everybody, "reachable"))


def test_a_probe_agrees(vpc2: Host) -> None:
    vpc2.listen("vpc1-private", "80", "53/udp")
    for words in ("--port 80", "--port 53 --protocol udp", ""):
        done = vpc2.do("reach --from vpc1/public --to vpc1/private --probe --json", *words.split())
        assert done.json["reach"]["probe"] == {"result": "answered", "agrees": True}


def test_overlapping_addresses_are_told_apart(host: Host) -> None:
    host.sh("""
        vpcctl vpc create --name one --cidr 10.0.0.0/16
        vpcctl subnet add --vpc one --name web --cidr 10.0.1.0/24
        vpcctl subnet add --vpc one --name db --cidr 10.0.2.0/24
        vpcctl vpc create --name two --cidr 10.0.0.0/16
        vpcctl subnet add --vpc two --name db --cidr 10.0.2.0/24
    """)
    done = host.vpcctl("reach", "--from", "one/web", "--to", "two/db", "--json")
    assert (done.code, done.json["reach"]["blocked_by"]["code"]) == (1, "OVERLAPPING_CIDR")
    assert done.json["reach"]["blocked_by"]["fix"] is None


def test_a_namespace_that_lives_on_without_its_name(vpc2: Host) -> None:
    pid = vpc2.start("vpc1-private", "sleep", "infinity")
    address = vpc2.sh("ip -n vpc1-private -4 -o address show dev eth0").split()[3].split("/")[0]
    vpc2.sh("ip netns del vpc1-private")
    vpc2.reaches("vpc1-public", address)
    done = vpc2.vpcctl("reach", "--from", "vpc1/public", "--to", "vpc1/private", "--json")
    assert (done.code, done.json["reach"]["verdict"]) == (1, "unknown")
    assert "s-private in vpc1 leads to a namespace without a name" in done.json["reach"]["why"]
    vpc2.do("restore")
    vpc2.stop(pid)
