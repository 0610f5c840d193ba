"""Policies come and go whole, and their counters count."""

from __future__ import annotations

from typing import Any

import pytest
from host import Host

WEB = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}]}
SHOW = "firewall show --vpc vpc1 --subnet public --json"


@pytest.fixture
def guarded(vpc1: Host) -> Host:
    """A subnet with services, and a policy that opens one of them."""
    vpc1.listen("vpc1-public", "80", "443")
    vpc1.do("firewall apply --vpc vpc1 --subnet public --policy", vpc1.write("web.json", WEB))
    return vpc1


def check_only_web(host: Host) -> None:
    host.reaches("vpc1-private", "10.0.1.2:80")
    host.never_reaches("vpc1-private", "10.0.1.2:443", "10.0.1.2")


BAD = (
    ("{", "bad.json"),
    ({"ingress": [{"port": 70000, "protocol": "tcp", "action": "allow"}]}, "ingress[0].port"),
    ({"ingress": [{"port": 443, "protocol": "tcp", "action": "allow"},
                  {"port": 443, "protocol": "tcp", "action": "Allow"}]}, "ingress[1].action"),
    ({"subnet": "10.0.2.0/24", "ingress": []}, "subnet"),
    ({"ingress": [{"protocol": "tcp", "action": "allow", "source": "10.0.0.1/16"}]}, "ingress[0].source"),
    ({"ingress": [], "extra": 1}, "extra"),
)


def test_a_bad_policy_changes_nothing(guarded: Host) -> None:
    for policy, says in BAD:
        file = guarded.write("bad.json", policy)
        done = guarded.refused("firewall apply --vpc vpc1 --subnet public --policy", file, code=2, says=says)
        assert "bad.json" in done.err
        check_only_web(guarded)


def test_a_policy_is_replaced_whole(guarded: Host) -> None:
    tls = {"ingress": [{"port": 443, "protocol": "tcp", "action": "allow"}]}
    guarded.do("firewall apply --vpc vpc1 --subnet public --policy", guarded.write("tls.json", tls))
    guarded.reaches("vpc1-private", "10.0.1.2:443")
    guarded.never_reaches("vpc1-private", "10.0.1.2:80", "10.0.1.2")


def test_the_same_again_changes_nothing(guarded: Host) -> None:
    before = guarded.portrait()
    done = guarded.do("firewall apply --vpc vpc1 --subnet public --policy", guarded.write("again.json", WEB))
    assert done.out.startswith("unchanged")
    guarded.check_same(before)


def test_one_rule_more(guarded: Host) -> None:
    guarded.do("firewall allow --vpc vpc1 --subnet public --protocol tcp --port 443")
    guarded.reaches("vpc1-private", "10.0.1.2:80", "10.0.1.2:443")
    guarded.never_reaches("vpc1-private", "10.0.1.2")
    before = guarded.portrait()
    done = guarded.do("firewall allow --vpc vpc1 --subnet public --protocol tcp --port 443 --source 10.0.2.2")
    assert done.out == "unchanged: the policy of vpc1/public allows tcp 443 from 10.0.2.2\n"
    guarded.check_same(before)
    guarded.refused("firewall deny --vpc vpc1 --subnet public --protocol tcp --port 80",
                    says="ingress[0] allows all of it")
    guarded.do("firewall allow --vpc vpc1 --subnet public --protocol icmp --source 10.0.2.2")
    guarded.reaches("vpc1-private", "10.0.1.2")
    guarded.never_reaches("", "10.0.1.2")
    rules = guarded.do(SHOW).json["firewall"]["policy"]["ingress"]
    assert [rule["protocol"] for rule in rules] == ["tcp", "tcp", "icmp"]


def test_the_first_rule_of_an_open_subnet(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "80", "443")
    done = vpc1.do("firewall deny --vpc vpc1 --subnet public --protocol tcp --port 80")
    assert "everything else stays open" in done.err
    vpc1.reaches("vpc1-private", "10.0.1.2:443", "10.0.1.2")
    vpc1.never_reaches("vpc1-private", "10.0.1.2:80")
    vpc1.do("firewall clear --vpc vpc1 --subnet public")
    done = vpc1.do("firewall allow --vpc vpc1 --subnet public --protocol tcp --port 80")
    assert "is now denied" in done.err
    check_only_web(vpc1)


def test_clearing_opens(guarded: Host) -> None:
    guarded.do("firewall clear --vpc vpc1 --subnet public")
    guarded.reaches("vpc1-private", "10.0.1.2:80", "10.0.1.2:443", "10.0.1.2")
    assert guarded.do(SHOW).json["firewall"]["policy"] is None
    assert guarded.sh("iptables-save | grep -e '^-A' -e ' DROP' || true", "vpc1-public") == ""
    assert guarded.do("firewall clear --vpc vpc1 --subnet public").out.startswith("unchanged")


def test_clearing_opens_egress_too(guarded: Host) -> None:
    closed: dict[str, Any] = {"ingress": [], "egress": []}
    guarded.do("firewall apply --vpc vpc1 --subnet public --policy", guarded.write("closed.json", closed))
    guarded.do("firewall clear --vpc vpc1 --subnet public")
    guarded.reaches("vpc1-public", "10.0.2.2", "10.0.0.1")


def test_there_is_no_moment_without_rules(guarded: Host) -> None:
    """While policies are replaced over and over, no packet slips through."""
    first, second = guarded.write("first.json", WEB), guarded.write("second.json", {**WEB, "description": "x",
                    "egress": [{"protocol": "all", "action": "allow"}]})
    hammer = "for _ in $(seq 300); do (: >/dev/tcp/10.0.1.2/443) 2>/dev/null && echo in; done"
    told = guarded.scratch / "told"
    pid = guarded.start("vpc1-private", "timeout", "30", "bash", "-c",
                        f"while :; do timeout 0.05 bash -c '{hammer}'; done", output=str(told))
    for _ in range(5):
        for file in (first, second):
            guarded.do("firewall apply --vpc vpc1 --subnet public --policy", file)
    guarded.stop(pid)
    assert told.read_text() == ""


def counted(host: Host) -> dict[str, int]:
    counters = host.do(SHOW).json["firewall"]["counters"]
    return {name: rule["packets"] for name, rule in counters.items()}


def test_counters_move(guarded: Host) -> None:
    before = counted(guarded)
    assert before.keys() == {"ingress[0]", "ingress.default"}
    guarded.reaches("", "10.0.1.2:80")
    once = counted(guarded)
    assert once["ingress[0]"] == before["ingress[0]"] + 1, "the first packet; the rest is established"
    guarded.never_reaches("vpc1-private", "10.0.1.2:443")
    assert counted(guarded)["ingress.default"] > once["ingress.default"]


def test_a_subnet_that_is_made_again_has_no_policy(guarded: Host) -> None:
    guarded.do("subnet delete --vpc vpc1 --name public")
    guarded.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    guarded.reaches("vpc1-private", "10.0.1.2")


def test_a_policy_in_yaml(guarded: Host) -> None:
    file = guarded.write("policy.yaml", "ingress:\n  - {port: 443, protocol: tcp, action: allow}\n")
    guarded.do("firewall apply --vpc vpc1 --subnet public --policy", file)
    guarded.reaches("vpc1-private", "10.0.1.2:443")
    guarded.never_reaches("vpc1-private", "10.0.1.2:80")


def test_a_long_policy_is_one_commit(guarded: Host) -> None:
    rules = [{"port": 1000 + number, "protocol": "tcp", "action": "deny"} for number in range(2000)]
    policy = {"ingress": [*rules, {"port": 443, "protocol": "tcp", "action": "allow"}]}
    guarded.do("firewall apply --vpc vpc1 --subnet public --policy", guarded.write("long.json", policy))
    guarded.reaches("vpc1-private", "10.0.1.2:443")
    guarded.never_reaches("vpc1-private", "10.0.1.2:80")


def test_a_changed_policy_keeps_what_its_rules_have_counted(vpc1: Host) -> None:
    """Those that stay, wherever they stand; a new one begins at nothing."""
    def rules(host: Host) -> dict[int, int]:
        told = host.do("firewall show --vpc vpc1 --subnet private --json").json["firewall"]
        return {one["port"]: told["counters"][f"ingress[{number}]"]["packets"]
                for number, one in enumerate(told["policy"]["ingress"])}

    def allowing(*ports: int) -> str:
        found = [{"port": port, "protocol": "tcp", "action": "allow"} for port in ports]
        return vpc1.write("policy.json", {"ingress": found})

    vpc1.listen("vpc1-private", "80")
    vpc1.do("firewall apply --vpc vpc1 --subnet private --policy", allowing(80, 22))
    vpc1.reaches("vpc1-public", "10.0.2.2:80")
    before = rules(vpc1)[80]
    assert before
    vpc1.do("firewall apply --vpc vpc1 --subnet private --policy", allowing(443, 80))
    assert rules(vpc1) == {443: 0, 80: before}
    vpc1.reaches("vpc1-public", "10.0.2.2:80")
    assert rules(vpc1)[80] > before
