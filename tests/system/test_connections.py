"""Connections that are older than the rules: begun while NAT was gone, or before a subnet's first policy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from host import Host

FLOW = """
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 40000))
while True:
    sock.sendto(b"x", ("8.8.8.8", 5000))
    time.sleep(0.05)
"""
STREAM = """
import socket, sys, time
server = socket.create_server(("", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    one, _ = server.accept()
    try:
        while True:
            one.sendall(b"line\\n")
            time.sleep(0.05)
    except OSError:
        pass
"""
DOWNLOAD = """
import socket, sys
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
with open(sys.argv[3], "wb", buffering=0) as file:
    while data := sock.recv(999):
        file.write(data)
"""
FLUSH = """iptables -t nat -F
iptables -t nat -A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE"""
"""With the rule of somebody else back."""

HIDDEN = ("conntrack", "ss")


@pytest.fixture
def nat(vpc1: Host) -> Host:
    vpc1.do("nat enable --vpc vpc1")
    return vpc1


def entries(host: Host, *options: str, namespace: str = "") -> list[str]:
    """The lines of the table of connections."""
    prefix = ("ip", "netns", "exec", namespace) if namespace else ()
    return host.run(*prefix, "conntrack", "-L", *options).out.splitlines()


def untranslated(host: Host, namespace: str = "") -> bool:
    return any("dst=10.0.1.2 sport=5000" in line
               for line in entries(host, "-p", "udp", "--dport", "5000", namespace=namespace))


def translated(host: Host, address: str, namespace: str = "") -> bool:
    return any(f"dst={address} sport=5000" in line
               for line in entries(host, "-p", "udp", "--dport", "5000", namespace=namespace))


def without(host: Host, *tools: str) -> str:
    """A PATH on which some tools are not."""
    folder = host.scratch / "few"
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for tool in Path(place).iterdir() if Path(place).is_dir() else ():
            if tool.name not in tools and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


def test_a_flow_that_began_without_nat_gets_it_with_the_rules(nat: Host) -> None:
    nat.sh(FLUSH)
    flow = nat.start("vpc1-public", "python3", "-c", FLOW)
    nat.wait_until(lambda: untranslated(nat), "the flow has no NAT")
    nat.do("restore")
    nat.wait_until(lambda: translated(nat, "203.0.113.2"), "the flow has NAT")
    assert not untranslated(nat)
    nat.stop(flow)


@pytest.mark.parametrize("meddling", [
    "iptables -t nat -D POSTROUTING -m comment --comment vpcctl:host -j VPCCTL-POSTROUTING",
    "iptables -t nat -F VPCCTL-POSTROUTING",
    "iptables -t nat -I VPCCTL-POSTROUTING -j RETURN",
])
def test_whichever_rule_was_lost(nat: Host, meddling: str) -> None:
    nat.sh(meddling)
    flow = nat.start("vpc1-public", "python3", "-c", FLOW)
    nat.wait_until(lambda: untranslated(nat), "the flow has no NAT")
    nat.do("restore")
    nat.wait_until(lambda: translated(nat, "203.0.113.2"), "the flow has NAT")
    nat.stop(flow)


def test_no_connection_of_others_goes_nor_one_that_is_translated(nat: Host) -> None:
    """Neither the host's own, nor another subnet's; what was translated goes on under its number."""
    nat.sh("""
        conntrack -I -p udp -s 192.0.2.77 -d 192.0.2.78 --sport 1 --dport 2 -u SEEN_REPLY -t 300
        conntrack -I -p udp -s 10.0.2.2 -d 192.0.2.78 --sport 1 --dport 2 -u SEEN_REPLY -t 300
        conntrack -I -p udp -s 10.0.1.2 -d 10.0.0.1 --sport 1 --dport 2 -u SEEN_REPLY -t 300
        conntrack -I -p udp -s 10.0.1.2 -d 192.0.2.78 --sport 1 --dport 2 -u SEEN_REPLY -t 300
    """)
    flow = nat.start("vpc1-public", "python3", "-c", FLOW)
    nat.wait_until(lambda: translated(nat, "203.0.113.2"), "the flow has NAT")
    (before,) = entries(nat, "-p", "udp", "--dport", "5000", "-o", "id")
    nat.sh(FLUSH)
    nat.do("restore")
    left = {line.split("src=")[1].split(" sport")[0] for line in entries(nat, "-p", "udp", "--dport", "2")}
    assert left == {"192.0.2.77 dst=192.0.2.78", "10.0.2.2 dst=192.0.2.78", "10.0.1.2 dst=10.0.0.1"}
    (after,) = entries(nat, "-p", "udp", "--dport", "5000", "-o", "id")
    assert before.split("id=")[1] == after.split("id=")[1]
    nat.stop(flow)
    nat.sh("conntrack -D -p udp --dport 2")


def test_where_cidrs_overlap_the_router_forgets_them_too(nat: Host) -> None:
    nat.do("vpc create --name twin --cidr 10.0.0.0/16")
    nat.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
    nat.do("nat enable --vpc twin")
    nat.sh("iptables -t nat -F POSTROUTING", "twin")
    flow = nat.start("twin-public", "python3", "-c", FLOW)
    nat.wait_until(lambda: untranslated(nat, "twin"), "the flow has no NAT")
    nat.do("restore")
    nat.wait_until(lambda: translated(nat, "169.254.64.3", "twin") and translated(nat, "203.0.113.2"),
                   "the flow has NAT")
    nat.stop(flow)


def test_what_is_pasted_forgets_them_as_well(nat: Host) -> None:
    nat.sh(FLUSH)
    flow = nat.start("vpc1-public", "python3", "-c", FLOW)
    nat.wait_until(lambda: untranslated(nat), "the flow has no NAT")
    nat.sh(nat.do("restore --dry-run").out)
    nat.wait_until(lambda: translated(nat, "203.0.113.2"), "the flow has NAT")
    assert not untranslated(nat)
    assert nat.do("status").out == "in sync\n"
    nat.stop(flow)


POLICY = {"ingress": [{"port": 22, "protocol": "tcp", "action": "allow"}]}


def served(host: Host, space: str) -> None:
    """The service there can be asked."""
    host.wait_until(lambda: ":9000 " in host.sh("ss -Hltn", space), "it listens")


def grows(host: Host, file: str) -> None:
    """More of it comes than was on its way."""
    size = int(host.sh(f"stat -c %s {file}"))
    host.wait_until(lambda: int(host.sh(f"stat -c %s {file}")) > size + 50, "the file grows")


@pytest.mark.parametrize("tools", [(), HIDDEN])
def test_the_first_policy_keeps_open_connections(nat: Host, tools: tuple[str, ...]) -> None:
    """One that the subnet opened outside, one to its neighbour, and one that came in to a service of it."""
    file = nat.write("policy.json", json.dumps(POLICY))
    path = {"PATH": without(nat, *tools)} if tools else {}
    pids = [nat.start(space, "python3", "-c", STREAM, "9000")
            for space in ("internet", "vpc1-private", "vpc1-public")]
    for space in ("internet", "vpc1-private", "vpc1-public"):
        served(nat, space)
    files = [str(nat.scratch / name) for name in ("out", "near", "in")]
    ways = [("vpc1-public", "8.8.8.8"), ("vpc1-public", "10.0.2.2"), ("vpc1-private", "10.0.1.2")]
    for (space, address), name in zip(ways, files, strict=True):
        pids.append(nat.start(space, "python3", "-c", DOWNLOAD, address, "9000", name))
        nat.wait_until(lambda name=name: Path(name).exists(), "the download begins")
        grows(nat, name)
    nat.do(f"firewall apply --vpc vpc1 --subnet public --policy {file}", **path)
    for name in files:
        grows(nat, name)
    nat.never_reaches("vpc1-private", "10.0.1.2:9000")
    nat.sh("iptables -F; iptables -P INPUT ACCEPT", "vpc1-public")
    nat.do("restore", **path)
    for name in files:
        grows(nat, name)
    nat.stop(*pids)


def test_a_policy_that_is_pasted_keeps_them_too(nat: Host) -> None:
    file = nat.write("policy.json", json.dumps(POLICY))
    pids = [nat.start("internet", "python3", "-c", STREAM, "9000")]
    served(nat, "internet")
    out = str(nat.scratch / "out")
    pids.append(nat.start("vpc1-public", "python3", "-c", DOWNLOAD, "8.8.8.8", "9000", out))
    nat.wait_until(lambda: (nat.scratch / "out").exists(), "the download begins")
    nat.sh(nat.do(f"firewall apply --vpc vpc1 --subnet public --policy {file} --dry-run").out)
    grows(nat, str(nat.scratch / "out"))
    nat.do("restore")
    nat.stop(*pids)
