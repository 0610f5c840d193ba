"""Rules of IPv6 in the kernel: made by a transaction, missed by status, removed by restore and by an undo."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from host import CHECKOUT, Host

ADD = (sys.executable, str(Path(__file__).with_name("both_families.py")))
RULE = '-A {} -s fd00:1::/64 -m comment --comment "vpcctl:vpc1" -j ACCEPT'
JUMP = '-A FORWARD -m comment --comment "vpcctl:host" -j VPCCTL-FORWARD'
OTHERS = "-A FORWARD -s 2001:db8:5::/64 -j ACCEPT"


def rules(host: Host, namespace: str = "", tool: str = "ip6tables") -> list[str]:
    """The rules, and the policies of FORWARD."""
    said = host.sh(f"{tool} -S", namespace).splitlines()
    return [line for line in said if line.startswith(("-A", "-P FORWARD"))]


def found(host: Host) -> list[str]:
    """What status reports of IPv6, a line each."""
    findings = host.vpcctl("status", "--json").json["status"]["findings"]
    return [f"{one['condition']} {one['what']}" for one in findings if "ip6tables" in one["what"]]


def test_rules_of_ipv6_are_made_missed_and_removed(vpc1: Host) -> None:
    before, fourth = vpc1.portrait(), rules(vpc1, "vpc1", "iptables")
    assert vpc1.run(*ADD).code == 0
    assert rules(vpc1, "vpc1") == ["-P FORWARD DROP", RULE.format("FORWARD")]
    assert rules(vpc1) == ["-P FORWARD ACCEPT", JUMP, OTHERS, RULE.format("VPCCTL-FORWARD")]
    assert rules(vpc1, "vpc1", "iptables") == fourth
    assert found(vpc1) == []
    vpc1.sh("ip6tables -D FORWARD 1; ip6tables -F VPCCTL-FORWARD; "
            f"ip6tables {RULE.format('FORWARD')}")
    vpc1.sh("ip6tables -P FORWARD ACCEPT", "vpc1")
    assert sorted(found(vpc1)) == [
        "changed chain FORWARD of table filter of ip6tables in vpc1",
        "changed chain VPCCTL-FORWARD of table filter of ip6tables on the host",
        "missing rule FORWARD -m comment --comment vpcctl:host -j VPCCTL-FORWARD of table filter of "
        "ip6tables on the host",
        "unrecorded rule of FORWARD, table filter of ip6tables on the host",
    ]
    vpc1.do("restore")
    assert found(vpc1) == []
    vpc1.check_same(before)


def test_an_undo_removes_rules_of_ipv6(vpc1: Host) -> None:
    before = vpc1.portrait()
    done = vpc1.run(*ADD, "fail")
    assert done.code == 1
    *commands, told = done.out.splitlines()
    assert [line for line in commands if " host " in line] == [
        "0 host ip6tables-restore", "1 host iptables-restore", "0 host ip6tables-restore"]
    assert told.startswith("iptables-restore failed")
    assert "could not be undone" not in told
    vpc1.check_same(before)


FORGET = f"""
import sys
sys.path.insert(0, {str(CHECKOUT)!r})
from vpcctl_lib.resources.tracking import Forget
forget = Forget("", ("fd00:1::/64", "10.0.0.0/16"), ("fd00:3::/64",), whole=sys.argv[1] == "whole")
forget.do() if sys.argv[2] == "do" else print(forget)
"""
HOW = "-u SEEN_REPLY -t 300"
ENTRIES = "".join(f"conntrack -I -p udp -s {source} -d {destination} --sport 1 --dport 2 {HOW}\n"
                  for source, destination in (("fd00:1::2", "2001:db8::1"), ("fd00:2::2", "2001:db8::1"),
                                              ("fd00:1::2", "fd00:3::3"), ("10.0.1.2", "192.0.2.1"),
                                              ("10.1.0.2", "192.0.2.1")))


PINGS = "".join(f"conntrack -I -p {one} -s {source} -d {to} --{one}-type {kind} --{one}-code 0 --{one}-id 7 "
                f"{HOW}\n" for one, kind, source, to in (("icmpv6", 128, "fd00:1::2", "2001:db8::1"),
                                              ("icmp", 8, "10.0.1.2", "192.0.2.1")))
CLEAR = "for family in ipv4 ipv6; do conntrack -D -f $family -p udp --dport 2; done 2>&1 >/dev/null || true"


def entries(host: Host) -> set[tuple[str, ...]]:
    """The ends of the connections to port 2, of both families."""
    said = host.sh("for family in ipv4 ipv6; do conntrack -L -f $family 2>/dev/null; done")
    return {tuple(word[4:] for word in line.split() if word.startswith(("src=", "dst=")))[:2]
            for line in said.splitlines() if "dport=2 " in line or "id=7 " in line}


@pytest.mark.parametrize("whole", ["whole", "untranslated"])
@pytest.mark.parametrize("how", ["do", "print"])
def test_connections_of_both_families_are_forgotten(host: Host, whole: str, how: str) -> None:
    host.sh(ENTRIES + PINGS)
    told = host.run(sys.executable, "-c", FORGET, whole, how)
    assert told.code == 0, told.err
    host.sh(told.out or "true")
    near = ("fd00:1::2", "fd00:3::3")
    stay = {("fd00:2::2", "2001:db8::1"), ("10.1.0.2", "192.0.2.1")}
    # The script has no word for those that are near: tracking recreates them with their next packet.
    assert {one[:2] for one in entries(host)} == stay | ({near} if how == "do" else set())
    host.sh(CLEAR)
