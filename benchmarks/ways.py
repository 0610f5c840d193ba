"""What the ways in and out of a VPC cost, against the same hops by hand with a firewall of few rules."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.acls import FEW, rules
from benchmarks.connections import PORT, SERVER
from benchmarks.plumbing import SCRATCH
from benchmarks.timing import run, vpcctl

IPERF = 5201
CONNECTIONS, MEGABYTES = 200, 200
"""In each run."""

CLIENT = """
import socket, struct, sys, time
print("up", flush=True)
for line in sys.stdin:
    address, port, count = line.split()
    begun = time.process_time()
    for _ in range(int(count)):
        one = socket.socket()
        # A reset instead of a farewell: else all ports would be waiting within seconds.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.connect((address, int(port)))
        one.close()
    print(time.process_time() - begun, flush=True)
"""
"""Packets pass namespaces in the time of the process that sends them, so the processor's time has all of it.

Unlike seconds, it is the same beside other programs.
"""


class Way(NamedTuple):
    """Where a client is, and where the service that it asks: by which address, in which namespace."""

    client: str
    server: str
    address: str


WAYS = {
    "out by a NAT gateway": (Way("one-prv", "wan", "10.71.0.2"), Way("h-prv", "h-wan", "10.72.0.2")),
    "out by a middlebox": (Way("one-boxed", "wan", "10.71.0.2"), Way("h-boxed", "h-wan", "10.72.0.2")),
    "out with an elastic address": (Way("one-pub", "wan", "10.71.0.2"), Way("h-pub", "h-wan", "10.72.0.2")),
    "in by an elastic address": (Way("wan", "one-pub", "198.51.100.1"),
                                 Way("h-wan", "h-pub", "198.51.100.33")),
    "in by a published port": (Way("wan", "one-pub", "10.71.0.1"), Way("h-wan", "h-pub", "10.72.0.1")),
    "out by a NAT gateway, with network ACLs": (Way("two-prv", "wan", "10.71.0.2"),
                                                Way("h-prv", "h-wan", "10.72.0.2")),
    "in by an elastic address, with a network ACL": (Way("wan", "two-pub", "198.51.100.2"),
                                                     Way("h-wan", "h-pub", "198.51.100.33")),
}
"""Each way through VPCs, and by hand; by hand there are no ACLs."""

MACHINES = {"h-pub": "10.9.1.2", "h-nat": "10.9.1.5", "h-prv": "10.9.2.2", "h-box": "10.9.3.4",
            "h-boxed": "10.9.4.2"}
VIA = {"h-prv": "10.9.1.5", "h-boxed": "10.9.3.4"}
"""Whose way out is not the router: through the NAT gateway, and through the middlebox."""

BY_HAND = """
link add wan0 type veth peer name eth0 netns wan
link set wan0 up
addr add 10.71.0.1/24 dev wan0
link add wan0 netns h-host type veth peer name eth0 netns h-wan
link add cable netns h-host type veth peer name uplink netns h-router
link add br0 netns h-router type bridge
"""
INSIDE = {
    "wan": "addr add 10.71.0.2/24 dev eth0\nlink set eth0 up\nroute add 198.51.100.0/28 via 10.71.0.1\n",
    "h-wan": "addr add 10.72.0.2/24 dev eth0\nlink set eth0 up\nroute add 198.51.100.32/28 via 10.72.0.1\n",
    "h-host": "addr add 10.72.0.1/24 dev wan0\nlink set wan0 up\naddr add 169.254.1.0/31 dev cable\n"
              "link set cable up\nroute add 10.9.0.0/16 via 169.254.1.1\n"
              "route add 198.51.100.33 via 169.254.1.1\n",
    "h-router": "addr add 169.254.1.1/31 dev uplink\nlink set uplink up\naddr add 10.9.0.1/16 dev br0\n"
                "link set br0 up\nroute add default via 169.254.1.0\nroute add 10.9.4.0/24 via 10.9.3.4\n",
}
ALLOWED = {
    "h-router": "-i br0 -o uplink -s 10.9.0.0/16", "h-host": "-i cable -o wan0 -s 10.9.0.0/16",
    "h-nat": "-i eth0 -o eth0 -s 10.9.0.0/16"}
OPENED = {"h-router": ("-i uplink -o br0 -d 10.9.1.2",),
          "h-host": ("-i wan0 -o cable -d 10.9.1.2", "-i wan0 -o cable -d 198.51.100.33",
                     "-i cable -o wan0 -s 198.51.100.33")}
"""What may begin connections outward, and inward."""

NAT = {
    "h-nat": "-A POSTROUTING -j MASQUERADE",
    "h-router": "-A PREROUTING -d 198.51.100.33 -i uplink -j DNAT --to-destination 10.9.1.2\n"
                "-A POSTROUTING -s 10.9.1.2 -o uplink -j SNAT --to-source 198.51.100.33",
    "h-host": f"-A PREROUTING -d 10.72.0.1 -p tcp -m multiport --dports {IPERF},{PORT} "
              "-j DNAT --to-destination 10.9.1.2\n-A POSTROUTING -s 10.9.0.0/16 -o wan0 -j MASQUERADE",
}
"""The fewest rules that work."""


def filters(name: str) -> str:
    """The fewest rules of a stateful firewall: what may begin, what belongs to it, and nothing else."""
    begun = "".join(f"-A FORWARD {match} -j ACCEPT\n" for match in (ALLOWED[name], *OPENED.get(name, ())))
    return ("*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\n"
            f"-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n{begun}COMMIT\n")


def network() -> dict[str, Any]:
    """Two VPCs with all these ways, the second with network ACLs."""
    vpcs: dict[str, Any] = {}
    for number, name in enumerate(("one", "two")):
        start = f"10.{number}"
        vpcs[name] = {
            "cidr": f"{start}.0.0/16", "nat": {"interface": "wan0"},
            "nat_gateways": {"nat1": {"subnet": "pub"}},
            "route_tables": {"out": {"routes": {"0.0.0.0/0": "nat:nat1"}}},
            "subnets": {"pub": {"cidr": f"{start}.1.0/24", "type": "public"},
                        "prv": {"cidr": f"{start}.2.0/24", "route_table": "out"}}}
    one, two = vpcs["one"], vpcs["two"]
    one["subnets"]["pub"]["publish"] = [f"{port}:{port}" for port in (IPERF, PORT)]
    one["route_tables"]["boxed"] = {"routes": {"0.0.0.0/0": "instance:box/b"}}
    one["subnets"] |= {"box": {"cidr": "10.0.3.0/24", "type": "public", "bare": True,
                               "instances": {"b": {"forwards": True}}},
                       "boxed": {"cidr": "10.0.4.0/24", "route_table": "boxed"}}
    two["acls"] = {"few": rules(FEW)}
    for subnet in two["subnets"].values():
        subnet["acl"] = "few"
    return {"version": 2, "vpcs": vpcs, "eip_pools": {"198.51.100.0/28": "wan0"},
            "eips": {"198.51.100.1": "one/pub", "198.51.100.2": "two/pub"}}


def build() -> None:
    """The same twice: by hand, and as VPCs."""
    names = (*INSIDE, *MACHINES)
    cables = (f"link add {name} netns h-router type veth peer name eth0 netns {name}\n" for name in MACHINES)
    run("ip", "-batch", "-", stdin="".join(f"netns add {name}\n" for name in names) + BY_HAND
        + "".join(cables))
    ports = "".join(f"link set {name} master br0 up\n" for name in MACHINES)
    inside = {**INSIDE, "h-router": f"{ports}{INSIDE['h-router']}", **{
        name: f"addr add {address}/16 dev eth0\nlink set eth0 up\n"
              f"route add default via {VIA.get(name, '10.9.0.1')}\n" for name, address in MACHINES.items()}}
    for name, lines in inside.items():
        run("ip", "-n", name, "-batch", "-", stdin=lines)
    for name in ("h-host", "h-router", "h-nat", "h-box"):
        run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0"
            if name in MACHINES else "net.ipv4.conf.lo.send_redirects=0")
    # Or the router's rules would meet frames that its bridge switches.
    run("ip", "netns", "exec", "h-router", "sysctl", "-e", "-qw", "net.bridge.bridge-nf-call-iptables=0")
    for name, lines in NAT.items():
        run("ip", "netns", "exec", name, "iptables-restore",
            stdin=f"*nat\n{lines}\nCOMMIT\n{filters(name)}")
    file = SCRATCH / "ways.json"
    file.write_text(json.dumps(network()))
    vpcctl(f"apply -f {file}")


def clear() -> None:
    """Take it all away."""
    for name in ("one", "two"):
        vpcctl(f"vpc delete --name {name}")
    for address in ("198.51.100.1", "198.51.100.2"):
        vpcctl(f"eip release --address {address}")
    vpcctl("eip pool delete 198.51.100.0/28")
    run("ip", "-batch", "-", stdin="".join(f"netns del {name}\n" for name in (*INSIDE, *MACHINES)))


class Street:
    """The services wherever somebody is asked, and clients who ask on command; what that takes."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, bool], subprocess.Popen[str]] = {}
        self._clients: dict[str, subprocess.Popen[str]] = {}

    def open(self) -> None:
        """Start all of them."""
        for pair in WAYS.values():
            for way in pair:
                for is_bulk, words in ((False, (sys.executable, "-c", SERVER, str(PORT))),
                                       (True, ("iperf3", "-s", "--forceflush"))):
                    if (way.server, is_bulk) not in self._servers:
                        self._servers[way.server, is_bulk] = _started(way.server, *words)
                if way.client not in self._clients:
                    self._clients[way.client] = _started(way.client, sys.executable, "-c", CLIENT)

    def close(self) -> None:
        """End all of them."""
        for process in (*self._servers.values(), *self._clients.values()):
            process.kill()
            process.communicate()

    def connection(self, way: Way) -> float:
        """Microseconds of the processor that a connection takes, at both ends and on the way."""
        client, server = self._clients[way.client], self._servers[way.server, False]
        assert client.stdin is not None
        assert client.stdout is not None
        before = _spent(server.pid)
        client.stdin.write(f"{way.address} {PORT} {CONNECTIONS}\n")
        client.stdin.flush()
        spent = float(client.stdout.readline())
        return (spent + _spent(server.pid) - before) / CONNECTIONS * 1e6

    def megabyte(self, way: Way) -> float:
        """Microseconds of the processor for a megabyte by TCP (iperf3), at both ends and on the way."""
        server = self._servers[way.server, True]
        before = _spent(server.pid)
        words = ("ip", "netns", "exec", way.client, "iperf3", "-c", way.address, "-n", f"{MEGABYTES}M")
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return (usage.ru_utime + usage.ru_stime + _spent(server.pid) - before) / MEGABYTES * 1e6


def _started(namespace: str, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(("ip", "netns", "exec", namespace, *words), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    while not any(word in process.stdout.readline() for word in ("up", "listening")):
        assert process.poll() is None, words
    return process


def _spent(pid: int) -> float:
    """Seconds of the processor that a process has had (proc_pid_schedstat: nanoseconds first)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def compare(rounds: int) -> dict[str, float]:
    """Medians of what each way takes, and of its ratio to the same by hand in the same moment."""
    build()
    street = Street()
    street.open()
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, pair in WAYS.items():
            for what, measure in (("connection", street.connection), ("megabyte", street.megabyte)):
                # In turn, so that neither is always the first.
                taken = {way: measure(way) for way in (pair if number % 2 else pair[::-1])}
                ours, by_hand = (taken[way] for way in pair)
                found.setdefault(f"{name}: {what}", []).append(ours)
                found.setdefault(f"{name}: {what} by hand", []).append(by_hand)
                found.setdefault(f"{name}: {what} ratio", []).append(by_hand / ours)
    street.close()
    clear()
    return {name: statistics.median(values) for name, values in found.items()}
