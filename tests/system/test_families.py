"""Rules of IPv6 in the kernel: made by a transaction, missed by status, removed by restore and by an undo."""

from __future__ import annotations

import sys
from pathlib import Path

from host import Host

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
