"""New connections a second under big policies, what applying these takes, and how many rules packets meet."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

from benchmarks import policies
from benchmarks.plumbing import SCRATCH
from benchmarks.timing import run, vpcctl
from benchmarks.walk import Walk
from vpcctl_lib.firewall.filter_rules import ingress_filter, ingress_rules
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule

SECONDS = 1.0
PORT = 8080
CLIENT = IPv4Address("10.0.1.2")
MIXED = "hosts, ports or both, any protocol"
CASES = {"few": (MIXED, 10), "ports": ("ports", 10_000), "mixed": (MIXED, 10_000), "plain": (MIXED, 10_000)}
"""Subnets, each with a policy of a shape and a length; `plain` has its rules in one chain, in their order."""

SERVER = """
import socket, sys
listening = socket.create_server(("", int(sys.argv[1])), backlog=4096)
print("up", flush=True)
while True:
    listening.accept()[0].close()
"""
DIAL = """
import socket, struct, sys, time
where, end, count = (sys.argv[1], int(sys.argv[2])), time.perf_counter() + float(sys.argv[3]), 0
while time.perf_counter() < end:
    one = socket.socket()
    # A reset instead of a farewell: else all ports would be waiting within seconds.
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    one.connect(where)
    one.close()
    count += 1
print(count)
"""


def policy(case: str) -> Policy:
    """The policy of a subnet, of which only the last rule lets our packets in."""
    shape, count = CASES[case]
    others = [rule for rule in policies.policy(shape, count) if not _is_for_us(rule)]
    return Policy((*others[:count - 1], Rule(Protocol.TCP, Action.ALLOW, Ports(PORT, PORT))))


def _is_for_us(rule: Rule) -> bool:
    return (rule.protocol in (Protocol.TCP, Protocol.ALL)
            and (rule.network is None or CLIENT in rule.network)
            and (rule.ports is None or rule.ports.first <= PORT <= rule.ports.last))


def build() -> None:
    """A VPC with a subnet to call from, and one for each case."""
    vpcctl("vpc create --name calls --cidr 10.0.0.0/16")
    vpcctl("subnet add --vpc calls --name client --cidr 10.0.1.0/24")
    for number, case in enumerate(CASES):
        vpcctl(f"subnet add --vpc calls --name {case} --cidr 10.0.{number + 2}.0/24")


def put(case: str) -> tuple[float, float]:
    """Put the policy in force; the seconds that it took, and the megabytes at its peak."""
    if case == "plain":
        lines = "".join(f"-A INPUT {rule}\n" for rule in ingress_rules(policy(case)))
        run("ip", "netns", "exec", f"calls-{case}", "iptables-restore", stdin=f"*filter\n{lines}COMMIT\n")
        return 0.0, 0.0
    file = SCRATCH / f"{case}.json"
    file.write_text(json.dumps(policies.document(policy(case).ingress)))
    words = ("vpcctl", "firewall", "apply", "--vpc", "calls", "--subnet", case, "--policy", str(file))
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - begun, usage.ru_maxrss / 1000


def serving() -> Iterator[subprocess.Popen[str]]:
    """Servers in all the subnets."""
    for case in CASES:
        words = ("ip", "netns", "exec", f"calls-{case}", sys.executable, "-c", SERVER, str(PORT))
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        yield server


def rate(number: int) -> float:
    """Connections a second from the client to a subnet."""
    words = (sys.executable, "-c", DIAL, f"10.0.{number + 2}.2", str(PORT), str(SECONDS))
    return int(run("ip", "netns", "exec", "calls-client", *words)) / SECONDS


def met(case: str) -> dict[str, float]:
    """Rules that a packet meets, on average and at most: late ones, any, some for which no rule is."""
    rules = policy(case).ingress
    found = ingress_filter(policy(case))
    walks = []
    for packet in (packet for kind in policies.packets(rules, 250).values() for packet in kind):
        walks.append(Walk(found.inner, packet))
        walks[-1].verdict(found.rules)
    read = [walk.read for walk in walks]
    return {f"{case}: met on average": statistics.mean(read), f"{case}: met at most": max(read),
            f"{case}: lines": len(found.rules) + sum(map(len, found.inner.values()))}


def compare(rounds: int) -> dict[str, float]:
    """The medians, round by round."""
    build()
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        for case in ("ports", "mixed"):
            taken, peak = put(case)
            figures.setdefault(f"{case}: seconds", []).append(taken)
            figures.setdefault(f"{case}: megabytes", []).append(peak)
            vpcctl(f"firewall clear --vpc calls --subnet {case}")
    for case in CASES:
        put(case)
    servers = list(serving())
    for _ in range(rounds):
        for number, case in enumerate(CASES):
            figures.setdefault(f"{case}: rate", []).append(rate(number))
    for server in servers:
        server.kill()
        server.communicate()
    vpcctl("vpc delete --name calls")
    counts = {name: value for case in ("ports", "mixed") for name, value in met(case).items()}
    return {name: statistics.median(values) for name, values in figures.items()} | counts
