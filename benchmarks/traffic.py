"""How fast packets go: inside a VPC against a bare bridge, through routers and NAT against bare ones."""

from __future__ import annotations

import json
import statistics
import subprocess

from benchmarks.timing import run, vpcctl

SECONDS = 1

BARE = """
netns add bridge
netns add router
netns add far
netns add a
netns add b
netns add c
netns add masq
netns add d
netns add e
netns add wan
link add br0 netns bridge type bridge
link add pa netns bridge type veth peer name eth0 netns a
link add pb netns bridge type veth peer name eth0 netns b
link add ra netns router type veth peer name eth0 netns c
link add rf netns router type veth peer name eth0 netns far
link add md netns masq type veth peer name eth0 netns d
link add me netns masq type veth peer name eth0 netns e
link add wan0 type veth peer name eth0 netns wan
link set wan0 up
addr add 10.71.0.1/24 dev wan0
"""
"""Among them what stands for the internet: one for the bare router with NAT, one on the host's far side."""

INSIDE = {
    "bridge": "link set br0 up\nlink set pa master br0 up\nlink set pb master br0 up\n",
    "a": "link set eth0 up\naddr add 10.66.0.1/24 dev eth0\n",
    "b": "link set eth0 up\naddr add 10.66.0.2/24 dev eth0\n",
    "router": "link set ra up\nlink set rf up\naddr add 10.67.0.1/24 dev ra\naddr add 10.68.0.1/24 dev rf\n",
    "c": "link set eth0 up\naddr add 10.67.0.2/24 dev eth0\nroute add default via 10.67.0.1\n",
    "masq": "link set md up\nlink set me up\naddr add 10.69.0.1/24 dev md\naddr add 10.70.0.1/24 dev me\n",
    "d": "link set eth0 up\naddr add 10.69.0.2/24 dev eth0\nroute add default via 10.69.0.1\n",
    "e": "link set eth0 up\naddr add 10.70.0.2/24 dev eth0\n",
    "wan": "link set eth0 up\naddr add 10.71.0.2/24 dev eth0\n",
    "far": "link set eth0 up\naddr add 10.68.0.2/24 dev eth0\nroute add default via 10.68.0.1\n",
}
MASQUERADE = "*nat\n-A POSTROUTING -o me -j MASQUERADE\nCOMMIT\n"


def build() -> None:
    """The bare paths, and the VPCs."""
    run("ip", "-batch", "-", stdin=BARE)
    for namespace, lines in INSIDE.items():
        run("ip", "-n", namespace, "-batch", "-", stdin=lines)
    for router in ("router", "masq"):
        run("ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    run("ip", "netns", "exec", "masq", "iptables-restore", stdin=MASQUERADE)
    vpcctl("vpc create --name vpc1 --cidr 10.0.0.0/16")
    vpcctl("subnet add --vpc vpc1 --name a --cidr 10.0.1.0/24 --type public")
    vpcctl("subnet add --vpc vpc1 --name b --cidr 10.0.2.0/24")
    vpcctl("vpc create --name vpc2 --cidr 172.16.0.0/16")
    vpcctl("subnet add --vpc vpc2 --name a --cidr 172.16.1.0/24")
    vpcctl("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpcctl("nat enable --vpc vpc1 --interface wan0")


def clear() -> None:
    """Take it all away."""
    vpcctl("vpc delete --name vpc1")
    vpcctl("vpc delete --name vpc2")
    run("ip", "-batch", "-", stdin="".join(f"netns del {name}\n" for name in (*INSIDE,)))


def gigabits(client: str, server: str, address: str) -> float:
    """TCP throughput from one namespace to another (iperf3)."""
    listening = subprocess.Popen(["ip", "netns", "exec", server, "iperf3", "-s", "-1", "--forceflush"],
                                 stdout=subprocess.PIPE, text=True)
    assert listening.stdout is not None
    while "listening" not in listening.stdout.readline():
        continue
    report = json.loads(run("ip", "netns", "exec", client, "iperf3", "-c", address, "-t", str(SECONDS), "-J"))
    listening.communicate()
    return float(report["end"]["sum_received"]["bits_per_second"]) / 1e9


PATHS = {
    "bare bridge": ("a", "b", "10.66.0.2"),
    "inside a VPC": ("vpc1-a", "vpc1-b", "10.0.2.2"),
    "bare router": ("c", "far", "10.68.0.2"),
    "peering": ("vpc1-a", "vpc2-a", "172.16.1.2"),
    "bare router with MASQUERADE": ("d", "e", "10.70.0.2"),
    "NAT": ("vpc1-a", "wan", "10.71.0.2"),
}


def compare(rounds: int) -> dict[str, float]:
    """Median throughput of each path, round by round."""
    build()
    found: dict[str, list[float]] = {name: [] for name in PATHS}
    for _ in range(rounds):
        for name, path in PATHS.items():
            found[name].append(gigabits(*path))
    clear()
    return {name: statistics.median(rates) for name, rates in found.items()}
