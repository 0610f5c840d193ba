"""What the host itself keeps apart: its LAN, its tenants, connections of others; with forged packets."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator

import pytest
from frames import END, ICMP, IPV4, UDP, ether, icmp, ipv4, listen, names, send, tcp, udp
from host import INTERNET, UPLINK, Host
from sixth import FAMILIES, by

from vpcctl_lib.model.naming import mac

ROUTERS = mac("vpc1")
PUBLIC, PRIVATE = "02:10:0a:00:01:02", "02:10:0a:00:02:02"
LAN = "203.0.113.1"
SOURCES = (LAN, "8.8.8.8", "10.0.1.2", "10.0.2.2", "10.0.0.1", "172.16.1.2", "169.254.64.0", "169.254.64.1",
           UPLINK, "127.0.0.1")
TARGETS = ("10.0.1.2", "10.0.2.2", "10.0.0.1", "169.254.64.1", "10.0.255.255")
FIN, SYN, RST, ACK = 1, 2, 4, 16
FLAGS = (SYN, ACK, SYN | ACK, RST, FIN)


@pytest.fixture
def nat(vpc2: Host) -> Host:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc2")
    vpc2.reaches("vpc1-public", *INTERNET)
    return vpc2


@pytest.fixture(params=FAMILIES)
def either(request: pytest.FixtureRequest, nat: Host) -> Host:
    """The same, by each family."""
    return by(request.param, nat)


def lan_device(host: Host) -> str:
    """The link of the simulated internet to the host."""
    found = json.loads(host.sh(f"ip -j route get {UPLINK}", "internet"))
    return str(found[0]["dev"])


def hardware(host: Host, device: str, namespace: str = "") -> str:
    where = ["-n", namespace] if namespace else []
    return str(json.loads(host.run("ip", *where, "-j", "link", "show", device).out)[0]["address"])


def floods(mine: str, his: str) -> Iterator[bytes]:
    for source in SOURCES:
        for target in TARGETS:
            name = f"{source} to {target}"
            about = ipv4(target, source, UDP, b"\0\7\0\7\0\x08\0\0")
            segments = (tcp(source, target, (80, 22), flags, name) for flags in FLAGS)
            others = (udp(source, target, (53, 7), name), icmp(source, target, 3, 4, about),
                      ipv4(source, target, ICMP, b"\x08\0\xf7\xff\0\0\0\0"))
            yield from (ether(mine, his, IPV4, packet) for packet in (*segments, *others))


FLUSHES = ("true", "iptables -F", "iptables -P FORWARD ACCEPT; iptables -F VPCCTL-FORWARD",
           "iptables -I FORWARD -j ACCEPT")


@pytest.mark.parametrize("flush", FLUSHES)
def test_nothing_of_the_lan_comes_to_a_tenant(nat: Host, flush: str) -> None:
    """Whatever source it claims, and whoever emptied the host's filter or accepts all above ours."""
    rules = nat.sh("iptables-save -t filter")
    nat.sh(flush)
    ears = [listen(nat, "vpc1-public", "eth0"), listen(nat, "vpc1-private", "eth0")]
    device = lan_device(nat)
    send(nat, "internet", floods(hardware(nat, device, "internet"), hardware(nat, "eth0")), device)
    for source, target, his in (("vpc1-private", "10.0.1.2", PUBLIC), ("vpc1-public", "10.0.2.2", PRIVATE)):
        mine, own = (PRIVATE, "10.0.2.2") if his == PUBLIC else (PUBLIC, "10.0.1.2")
        send(nat, source, [ether(mine, his, IPV4, udp(own, target, (7, 7), END))])
    assert [names(nat, ear) for ear in ears] == [[], []]
    assert nat.run("iptables-restore", stdin=rules).code == 0


@pytest.mark.parametrize("opened", ["iptables -I INPUT -j ACCEPT", "iptables -F INPUT",
                                    "iptables -F VPCCTL-INPUT",
                                    "iptables -I INPUT -p tcp --dport 7000 -j ACCEPT"])
def test_what_others_accept_opens_no_port_of_the_host_to_a_tenant(either: Host, opened: str) -> None:
    """Only who means the tenants, and says so after the filter as well, opens one."""
    if "legacy" in either.sh("iptables --version"):
        pytest.skip("NOT TRIED: iptables-legacy has no guard, as its kernels may lack the table security")
    own = ("169.254.64.0:7000", f"{UPLINK}:7000")
    rules = either.sh("iptables-save -t filter")
    either.listen("", "7000")
    either.sh(opened)
    either.never_reaches("vpc1-public", *own)
    either.never_reaches("vpc1-private", *own)
    either.reaches("internet", own[1])
    either.reaches("", "10.0.1.2", "10.0.2.2")
    allow = "INPUT -i vpc-vpc1 -p tcp --dport 7000 -j ACCEPT"
    either.sh(f"iptables -I {allow}; iptables -t security -I {allow}")
    either.reaches("vpc1-public", own[1])
    either.sh(f"iptables -t security -D {allow}")
    assert either.run("iptables-restore", stdin=rules).code == 0


def test_the_host_masquerades_nobody_who_claims_a_tenants_address(nat: Host) -> None:
    device = lan_device(nat)
    ear = listen(nat, "internet", device)
    mine, his = hardware(nat, device, "internet"), hardware(nat, "eth0")
    send(nat, "internet", [ether(mine, his, IPV4, udp("10.0.1.99", "8.8.8.8", (7, 7), "relayed"))], device)
    send(nat, "vpc1-public", [ether(PUBLIC, ROUTERS, IPV4, udp("10.0.1.2", "8.8.8.8", (7, 7), END))])
    assert names(nat, ear) == []


def test_what_fits_no_connection_leaves_by_no_uplink(nat: Host) -> None:
    """An INVALID packet is translated by nobody: it would show the tenant's address outside."""
    ear = listen(nat, "internet", lan_device(nat))
    name = "untranslated"
    odd = [tcp("10.0.1.2", "8.8.8.8", (777, 80), flags, name) for flags in (RST, RST | ACK, FIN, FIN | ACK)]
    odd.append(icmp("10.0.1.2", "8.8.8.8", 3, 4, tcp("10.0.1.2", "8.8.8.8", (1, 2), ACK, name)))
    last = udp("10.0.1.2", "8.8.8.8", (7, 7), END)
    send(nat, "vpc1-public", [ether(PUBLIC, ROUTERS, IPV4, packet) for packet in (*odd, last)])
    assert names(nat, ear) == []


ASKER = """
import socket
asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asking.connect(("8.8.8.8", 53))
asking.send(bytes.fromhex("123401000001000000000000076578616d706c6503636f6d0000010001"))
asking.settimeout(2)
asking.recv(512)
print(asking.getsockname()[1], flush=True)
try:
    asking.recv(100)
except OSError as error:
    print(type(error).__name__, flush=True)
"""


def test_a_tenants_icmp_error_about_the_hosts_own_connection_is_not_believed(nat: Host) -> None:
    """It would end it: the host asks 8.8.8.8, and a tenant says that nobody listens there."""
    file = nat.scratch / "asked"
    nat.start("", sys.executable, "-c", ASKER, output=str(file))
    nat.wait_until(lambda: file.exists() and "\n" in file.read_text(), "has asked")
    port = int(file.read_text().split()[0])
    about = ipv4(UPLINK, "8.8.8.8", UDP, struct.pack("!HHHH", port, 53, 8, 0))
    forged = icmp("10.0.1.2", UPLINK, 3, 3, about)
    send(nat, "vpc1-public", [ether(PUBLIC, ROUTERS, IPV4, forged)] * 3)
    nat.wait_until(lambda: len(file.read_text().split()) == 2, "has an end")
    assert file.read_text().split()[1] == "TimeoutError"


def test_the_host_is_told_of_what_it_asked_a_tenant(nat: Host) -> None:
    """An ICMP error about the host's own question to a subnet is believed."""
    assert nat.probe(("", "10.0.1.2:9/udp"), patience=2)[0].verdict == "refused"
    assert nat.probe(("", "169.254.64.1:9/udp"), patience=2)[0].verdict == "refused"


def test_a_private_subnet_sends_no_icmp_error_out(nat: Host) -> None:
    """About a connection of the public one's: the other end would believe it."""
    device = lan_device(nat)
    send(nat, "vpc1-public", [ether(PUBLIC, ROUTERS, IPV4, udp("10.0.1.2", "8.8.8.8", (5353, 9), "begun"))])
    ear = listen(nat, "internet", device)
    about = udp("8.8.8.8", "10.0.1.2", (9, 5353), "an error")
    send(nat, "vpc1-private", [ether(PRIVATE, ROUTERS, IPV4, icmp("10.0.2.2", "8.8.8.8", 3, 3, about))])
    send(nat, "vpc1-public", [ether(PUBLIC, ROUTERS, IPV4, udp("10.0.1.2", "8.8.8.8", (7, 7), END))])
    assert names(nat, ear) == []


def test_a_tenants_port_is_not_the_hosts(nat: Host) -> None:
    """A tenant that chooses its port does not get that of the host, which a program may be about to use."""
    ear = listen(nat, "internet", lan_device(nat))
    named = [udp("10.0.1.2", "8.8.8.8", (port, 9), f"port {port}") for port in range(40000, 40020)]
    send(nat, "vpc1-public", [ether(PUBLIC, ROUTERS, IPV4, packet) for packet in (
        *named, udp("10.0.1.2", "8.8.8.8", (7, 7), END))])
    kept = [name for name in names(nat, ear, ports=True) if len(set(name.split()[1:])) == 1]
    assert len(kept) < 3


def test_no_cloud_hands_out_credentials(nat: Host) -> None:
    for address in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"):
        nat.sh(f"ip addr add {address}/32 dev lo", "internet")
        nat.sh(f"ip route add {address} via {LAN}")
        nat.listen("internet", "8888", "53", "53/udp", "5353/udp", address=address)
        nat.reaches("", f"{address}:8888", f"{address}:53/udp")
        nat.never_reaches("vpc1-public", f"{address}:8888", f"{address}:53", f"{address}:53/udp", address)
        nat.sh(f"ip route del {address} via {LAN}")
        nat.sh(f"ip addr del {address}/32 dev lo", "internet")


def test_a_clouds_resolver_answers_names_and_nothing_else(vpc1: Host) -> None:
    """Google's and Azure's have the address of their metadata service."""
    address = "169.254.169.254"
    vpc1.sh(f"ip addr add {address}/32 dev lo", "internet")
    vpc1.sh(f"ip route add {address} via {LAN}")
    resolv = vpc1.write("resolv.conf", f"nameserver {address}\n")
    vpc1.sh(f"busybox mount -o bind {resolv} /etc/resolv.conf")
    try:
        vpc1.listen("internet", "8888", "53", "53/udp", "5353/udp", address=address)
        vpc1.do("nat enable --vpc vpc1")
        vpc1.reaches("vpc1-public", f"{address}:53", f"{address}:53/udp")
        vpc1.never_reaches("vpc1-public", f"{address}:8888", f"{address}:5353/udp", address)
        vpc1.never_reaches("vpc1-private", f"{address}:53/udp")
    finally:
        vpc1.sh("busybox umount /etc/resolv.conf")
        vpc1.sh(f"ip route del {address} via {LAN}")
        vpc1.sh(f"ip addr del {address}/32 dev lo", "internet")


def test_the_guard_outlives_a_flush_and_status_tells_of_its_own(nat: Host) -> None:
    nat.sh("iptables -t mangle -D VPCCTL-GUARD 1")
    nat.sh("iptables -t mangle -I POSTROUTING -j ACCEPT")
    found = {one["what"] for one in nat.vpcctl("status", "--json").json["status"]["findings"]}
    assert "chain VPCCTL-GUARD of table mangle on the host" in found
    assert any("rule POSTROUTING" in what for what in found), "its jump no longer stands at the top"
    nat.do("restore")
    assert nat.do("status").out == "in sync\n"
    nat.sh("iptables -t mangle -D POSTROUTING -j ACCEPT")


def test_a_guard_that_was_flushed_is_told_and_mended(nat: Host) -> None:
    whole = nat.portrait()
    for flush in ("iptables -t mangle -F", "iptables -t mangle -F; iptables -t mangle -X",
                  "iptables -t mangle -D PREROUTING 1", "iptables -t mangle -F VPCCTL-GUARD-OUT"):
        nat.sh(flush)
        found = nat.vpcctl("status")
        assert found.code == 1
        assert "VPCCTL-GUARD" in found.out
        nat.do("restore")
        assert nat.do("status").out == "in sync\n"
        nat.check_same(whole)


@pytest.mark.parametrize("first", [True, False])
def test_accepts_above_ours_join_nobody(nat: Host, first: bool) -> None:
    """As Docker has them from each start on: its containers come to no tenant, nor tenants to its ports."""
    nat.sh("""
        ip netns add box; ip link add docker0 type bridge; ip addr add 172.18.0.1/24 dev docker0
        ip link set docker0 up; ip link add box0 master docker0 type veth peer name eth0 netns box
        ip link set box0 up; ip -n box addr add 172.18.0.2/24 dev eth0; ip -n box link set eth0 up
        ip -n box route add default via 172.18.0.1
        iptables -I FORWARD -i docker0 ! -o docker0 -j ACCEPT; iptables -I FORWARD -o docker0 -j ACCEPT
        iptables -t nat -A POSTROUTING -s 172.18.0.0/24 ! -o docker0 -j MASQUERADE
    """)
    nat.listen("box", "80")
    nat.listen("vpc1-private", "80")
    if first:
        nat.do("restore")
    nat.never_reaches("box", "10.0.2.2", "10.0.2.2:80", "10.0.1.2")
    nat.never_reaches("vpc1-public", "172.18.0.2", "172.18.0.2:80")
    nat.reaches("box", "8.8.8.8:80")
    nat.reaches("vpc1-public", "8.8.8.8:80", "10.0.2.2:80")
    nat.sh("""
        ip netns pids box | xargs -r kill; ip netns del box; ip link del docker0
        iptables -D FORWARD -i docker0 ! -o docker0 -j ACCEPT; iptables -D FORWARD -o docker0 -j ACCEPT
        iptables -t nat -D POSTROUTING -s 172.18.0.0/24 ! -o docker0 -j MASQUERADE
    """)
