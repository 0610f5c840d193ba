"""`reach` in a VPC with more subnets than the kernel tells in one answer to `ip netns list-id`."""

from __future__ import annotations

import os
import time
from collections import Counter
from ipaddress import IPv4Network
from itertools import islice
from typing import Any

import pytest
from host import Host

SUBNETS = 200
LONG = bool(os.environ.get("VPCCTL_LONG"))
MACHINES = 200 if LONG else 24
GUARDED = 8
"""Machines with a policy."""

POLICY = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}], "default": "deny"}
LOG = "/var/lib/vpcctl/vpcctl.log"


def wide(**last: Any) -> dict[str, Any]:
    """A topology of one VPC; the last subnet has these keys as well."""
    cidrs = islice(IPv4Network("10.0.0.0/16").subnets(new_prefix=26), SUBNETS)
    subnets: dict[str, Any] = {f"s{number}": {"cidr": str(cidr)} for number, cidr in enumerate(cidrs)}
    subnets[f"s{SUBNETS - 1}"].update(last)
    return {"version": 1, "vpcs": {"a": {"cidr": "10.0.0.0/16", "subnets": subnets}}}


@pytest.mark.long
def test_the_last_of_many_subnets_is_followed_as_the_first(host: Host) -> None:
    host.do("apply -f", host.write("wide.yaml", wide()))
    last, its_address = f"a/s{SUBNETS - 1}", "10.0.49.194"
    host.reaches(f"a-s{SUBNETS - 1}", "10.0.0.66")
    assert host.do(f"reach --from {last} --to a/s1").out.endswith("\nreachable\n")
    assert host.do(f"reach --from a/s1 --to {last}").out.endswith("\nreachable\n")
    deny = {"ingress": [{"protocol": "icmp", "action": "deny"}]}
    host.do("apply -f", host.write("wide.yaml", wide(firewall=deny)))
    host.never_reaches("a-s1", its_address)
    report = host.vpcctl("reach", "--from", "a/s1", "--to", last, "--json").json["reach"]
    assert (report["verdict"], report["blocked_by"]["code"]) == ("unreachable", "FIREWALL_DENY")


def crowd() -> dict[str, Any]:
    """A VPC of many machines in one subnet, and of some in another that has a policy."""
    cidrs = {"many": "10.0.16.0/20", "guarded": "10.0.2.0/24"}
    subnets: dict[str, Any] = {name: {"cidr": cidr, "bare": True} for name, cidr in cidrs.items()}
    subnets["many"]["instances"] = {f"m{number}": {} for number in range(MACHINES)}
    subnets["guarded"] |= {"firewall": POLICY, "instances": {f"g{number}": {} for number in range(GUARDED)}}
    return {"version": 2, "vpcs": {"a": {"cidr": "10.0.0.0/16", "subnets": subnets}}}


def programs(host: Host) -> Counter[str]:
    """What was started so far, by the log: each program with the namespace that it was started in."""
    lines = [line.partition(" ms: ")[2] for line in host.sh(f"cat {LOG}").splitlines() if "] exit " in line]
    return Counter(line.removeprefix("ip netns exec ") for line in lines)


@pytest.mark.parametrize("command", ["reach --to a/many/m0 --json", "status"])
def test_few_programs_are_started_however_many_machines_there_are(host: Host, command: str) -> None:
    """None for a machine without rules, one for a machine with rules."""
    host.do("apply -f", host.write("crowd.yaml", crowd()))
    before, began = programs(host), time.monotonic()
    done = host.do(command)
    took, started = time.monotonic() - began, programs(host) - before
    if command == "status":
        assert done.out == "in sync\n"
    else:
        found = done.json["reach"]
        assert {one["verdict"] for one in found} == {"reachable"}
        assert len({one["from"] for one in found}) == MACHINES + GUARDED - 1
    assert [line for line in started if line.startswith("a-many.")] == []
    assert sum(number for line, number in started.items() if line.startswith("a-guarded.")) == GUARDED
    assert sum(number for line, number in started.items() if not line.startswith("a-")) <= 9, started
    print(f"{command}: {len(started)} programs, {took:.2f} s")


def test_a_policy_in_one_of_many_is_seen(host: Host) -> None:
    """The rules of a machine that had none are asked for as soon as there is one, whoever made it."""
    host.do("apply -f", host.write("crowd.yaml", crowd()))
    host.sh("iptables -A INPUT -s 10.0.16.4 -j DROP", "a-many.m3")
    host.sh("iptables-legacy -A INPUT -s 10.0.16.4 -j DROP", "a-many.m4")
    host.sh("nft 'add table inet t; add chain inet t c { type filter hook input priority 0; policy drop; }'",
            "a-many.m5")
    found = {one["from"]: (one["verdict"], (one["blocked_by"] or {}).get("where"))
             for one in host.vpcctl("reach", "--to", "a/many/m0", "--json").json["reach"]}
    assert {start: what for start, what in found.items() if what != ("reachable", None)} == {
        "a/many/m3": ("unreachable", "a-many.m3"), "a/many/m4": ("unreachable", "a-many.m4"),
        "a/many/m5": ("unknown", None)}
    host.never_reaches("a-many.m3", "10.0.16.4")
    host.never_reaches("a-many.m4", "10.0.16.4")
    host.never_reaches("a-many.m5", "10.0.16.4")
    host.reaches("a-many.m6", "10.0.16.4")


BEHIND = """
ip link add br2 type bridge; ip link set br2 up
ip link add x1 type veth peer name x2
ip link set x1 master br-vpc1 up; ip link set x2 master br2 up
ip link add y1 type veth peer name e0 netns far; ip link set y1 master br2 up
ip -n far link set e0 up; ip -n far addr add 10.0.9.9/16 dev e0
ip -n far route add 10.0.1.0/24 via 10.0.0.1
nft delete table bridge vpcctl
"""


def test_a_bridge_behind_a_bridge_is_crossed(vpc1: Host) -> None:
    vpc1.sh("ip netns add far; ip -n far link set lo up")
    vpc1.sh(BEHIND, "vpc1")
    vpc1.reaches("vpc1-public", "10.0.9.9")
    told = vpc1.vpcctl("reach", "--from", "vpc1/public", "--to", "10.0.9.9")
    assert (told.code, "bridge br2 switches from x2 to y1" in told.out) == (0, True)
    vpc1.sh("ip link set y1 down", "vpc1")
    vpc1.never_reaches("vpc1-public", "10.0.9.9")
    assert vpc1.vpcctl("reach", "--from", "vpc1/public", "--to", "10.0.9.9").code == 1
    vpc1.sh("ip netns del far; ip -n vpc1 link del br2; ip -n vpc1 link del x1")
    vpc1.do("restore")
