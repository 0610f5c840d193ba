"""Other firewalls on every hook of the host: what `status` says of them is what happens to packets."""

from __future__ import annotations

import pytest
from host import INTERNET, Host
from probes import REACHED

TABLE = "table {family} own {{\n chain c {{\n type filter hook {hook}; {rules}\n }}\n}}"
SERVICES = INTERNET[1:]


def said(host: Host) -> list[tuple[bool, str]]:
    """What is sure, and what to type."""
    status = host.vpcctl("status", "--json").json["status"]
    causes = [cause for one in status["packets"] for cause in one["causes"]]
    assert all("another firewall" in cause["why"] for cause in causes), causes
    return [(cause["sure"], cause["help"]) for cause in causes]


def passes(host: Host) -> bool:
    answers = host.probe(*(("vpc1-public", place) for place in SERVICES), patience=1.0)
    return all(answer.verdict == REACHED for answer in answers)


def nft(family: str, hook: str, rules: str) -> str:
    return f"nft -f - <<'END'\n{TABLE.format(family=family, hook=hook, rules=rules)}\nEND"


REFUSING = {
    "established alone": nft("inet", "forward priority 0; policy drop",
                             "ct state established,related accept"),
    "only new": nft("inet", "forward priority 0; policy drop", "ct state new accept"),
    "udp": nft("ip", "forward priority -10", "meta l4proto udp drop"),
    "pattern": nft("inet", "forward priority 10", 'iifname "vpc*" drop'),
    "raw": nft("inet", "prerouting priority raw", "iifname vpc-vpc1 drop"),
    "invalid in raw": nft("inet", "prerouting priority raw", "ct state invalid drop"),
    "answers in mangle": nft("inet", "prerouting priority mangle", "iifname eth0 ct state established drop"),
    "postrouting": nft("inet", "postrouting priority 0", "oifname eth0 ip saddr 10.0.0.0/8 drop"),
    "ingress": nft("netdev", "ingress device eth0 priority 0", "udp sport 53 drop"),
    "ingress of the cable": nft("netdev", "ingress device vpc-vpc1 priority 0", "ip protocol udp drop"),
    "legacy policy": "iptables-legacy -P FORWARD DROP",
    "legacy rule": "iptables-legacy -A FORWARD -i vpc-+ -p udp -j DROP",
    "legacy raw": "iptables-legacy -t raw -A PREROUTING -p udp --sport 53 -j DROP",
    "legacy mangle": "iptables-legacy -t mangle -A PREROUTING -i vpc-vpc1 -j DROP",
    "before ours": "iptables -t mangle -A FORWARD -i vpc-vpc1 -j DROP",
    "raw beside ours": "iptables -t raw -A PREROUTING -i vpc-vpc1 -p udp -j DROP",
}
HARMLESS = {
    "invalid": nft("inet", "forward priority 0", "ct state invalid drop"),
    "invalid in mangle": nft("inet", "prerouting priority mangle", "ct state invalid drop"),
    "another link": nft("inet", "forward priority 0; policy accept", 'iifname "docker*" drop'),
    "another device": nft("netdev", "ingress device lo priority 0", "drop"),
    "of the host alone": nft("inet", "input priority 0", "iifname eth0 drop"),
    "legacy": "iptables-legacy -A FORWARD -i docker0 -j DROP",
}
UNSURE = {
    "mark": nft("inet", "forward priority 0", "meta mark 7 drop"),
    "limit of connections": nft("inet", "forward priority 0", "ct count over 5000 drop"),
    "legacy mark": "iptables-legacy -A FORWARD -m mark --mark 7 -j DROP",
}
AWAY = """for t in inet ip netdev; do nft delete table $t own 2>/dev/null || true; done
iptables-legacy -P FORWARD ACCEPT; for t in filter raw mangle; do iptables-legacy -t $t -F; done
iptables -t raw -F; iptables -t mangle -F FORWARD"""


@pytest.fixture
def way_out(vpc1: Host) -> Host:
    """A host whose VPC has a way out."""
    vpc1.do("nat enable --vpc vpc1")
    assert passes(vpc1)
    return vpc1


@pytest.mark.parametrize("rules", REFUSING.values(), ids=REFUSING)
def test_refused(way_out: Host, rules: str) -> None:
    way_out.sh(rules)
    assert not passes(way_out)
    (found,) = said(way_out)
    assert found[0]
    way_out.sh(found[1])
    assert passes(way_out), found[1]
    assert said(way_out) == []
    way_out.sh(AWAY)


@pytest.mark.parametrize("rules", HARMLESS.values(), ids=HARMLESS)
def test_passes(way_out: Host, rules: str) -> None:
    way_out.sh(rules)
    assert passes(way_out)
    assert said(way_out) == []
    way_out.sh(AWAY)


@pytest.mark.parametrize("rules", UNSURE.values(), ids=UNSURE)
def test_may_refuse(way_out: Host, rules: str) -> None:
    way_out.sh(rules)
    assert [sure for sure, _ in said(way_out)] == [False]
    way_out.sh(AWAY)
