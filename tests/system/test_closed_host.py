"""The host is no neighbour of its tenants, and its own neighbours are none either."""

from __future__ import annotations

import pytest
from host import REFUSED, UPLINK, Host

PORTS = ("80", "5353/udp")
ADDRESSES = (UPLINK, "169.254.64.0", "192.168.77.1", "192.168.78.1")


@pytest.fixture
def serving(vpc1: Host) -> Host:
    """A host with NAT for its VPC and services on all of its own addresses."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.listen("", *PORTS)
    return vpc1


@pytest.mark.parametrize("namespace", ["vpc1-public", "vpc1-private", "vpc1"])
def test_tenants_reach_no_service_of_the_host(serving: Host, namespace: str) -> None:
    for address in ADDRESSES:
        serving.reaches("", f"{address}:80", f"{address}:5353/udp", address)
        serving.never_reaches(namespace, f"{address}:80", f"{address}:5353/udp", address, f"{address}:22")


def test_nor_one_that_listens_on_the_link_alone(serving: Host) -> None:
    serving.listen("", "81", address="169.254.64.0")
    serving.never_reaches("vpc1-public", "169.254.64.0:81")
    serving.never_reaches("vpc1-private", "169.254.64.0:81")


def test_nor_one_on_loopback(serving: Host) -> None:
    serving.listen("", "82", address="127.0.0.1")
    for namespace in ("vpc1-public", "vpc1"):
        serving.sh("ip route add 127.0.0.1 via 10.0.0.1 dev eth0 || true", namespace)
        verdict = serving.probe((namespace, "127.0.0.1:82"), patience=0.5)[0].verdict
        assert verdict == REFUSED, "the namespace's own loopback, where nobody listens"


def test_a_flow_the_host_began_is_answered_and_no_other(serving: Host) -> None:
    serving.listen("vpc1-public", "80")
    serving.listen("vpc1-private", "80")
    serving.reaches("", "10.0.1.2:80", "10.0.2.2:80", "10.0.1.2")
    serving.never_reaches("vpc1-public", f"{UPLINK}:80")


def test_a_rule_of_the_host_s_own_does_not_open_it(serving: Host) -> None:
    serving.sh("iptables -A INPUT -p tcp --dport 80 -j ACCEPT")
    serving.never_reaches("vpc1-public", f"{UPLINK}:80")
    serving.reaches("internet", f"{UPLINK}:80")
    serving.sh("iptables -D INPUT -p tcp --dport 80 -j ACCEPT")


def arrived(host: Host) -> int:
    """Packets that have come to the VPC's router from the host."""
    return int(host.sh("cat /sys/class/net/uplink/statistics/rx_packets", "vpc1"))


@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_the_host_s_neighbours_reach_no_tenant(serving: Host, policy: str) -> None:
    serving.listen("vpc1-public", "80", "53/udp")
    serving.listen("vpc1-private", "80")
    serving.sh(f"iptables -P FORWARD {policy}; ip -n internet route add 10.0.0.0/8 via {UPLINK}")
    before = arrived(serving)
    for neighbour in ("internet", "other"):
        serving.never_reaches(neighbour, "10.0.1.2:80", "10.0.1.2:53/udp", "10.0.1.2", "10.0.2.2:80")
        serving.never_reaches(neighbour, "10.0.0.1", "169.254.64.1")
    assert arrived(serving) == before, "not even one that nobody would have answered"
    serving.reaches("vpc1-public", "8.8.8.8")
    serving.sh("iptables -P FORWARD ACCEPT; ip -n internet route del 10.0.0.0/8")


def test_a_neighbour_can_t_pose_as_the_host(serving: Host) -> None:
    """The router lets in what has the host's link address: that may only come from the host itself."""
    serving.listen("vpc1-public", "53/udp")
    serving.sh("ip addr add 169.254.64.0/32 dev lo; ip route add 10.0.0.0/16 via 192.168.77.1", "other")
    for level in "01":
        serving.sh(f"sysctl -qw net.ipv4.conf.all.rp_filter={level} net.ipv4.conf.vpc-lan.rp_filter={level}")
        serving.no_forgery_arrives("other", "10.0.1.2:53/udp", "10.0.1.2", source="169.254.64.0",
                                   at="vpc1-public", witness="")
    serving.sh("ip addr del 169.254.64.0/32 dev lo; ip route del 10.0.0.0/16", "other")
    serving.sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.vpc-lan.rp_filter=0")


def test_somebody_else_s_interface_called_like_ours_is_no_tenant(serving: Host) -> None:
    """`vpc-lan` is the office's: what it could do before, it can do still."""
    serving.reaches("other", "192.168.77.1:80", f"{UPLINK}:80", "192.168.77.1:5353/udp")
    serving.sh("iptables -t nat -A POSTROUTING -s 192.168.77.0/24 -o eth0 -j MASQUERADE")
    serving.reaches("other", "8.8.8.8", "8.8.8.8:80")
    serving.sh("iptables -t nat -D POSTROUTING -s 192.168.77.0/24 -o eth0 -j MASQUERADE")


def test_no_room_for_a_namespace_is_not_a_bridge_s_fault(host: Host) -> None:
    host.sh("mkdir -p /run/netns; mount -n -t tmpfs -o nr_inodes=2 tmpfs /run/netns; touch /run/netns/x")
    done = host.vpcctl("vpc", "create", "--name", "vpc1", "--cidr", "10.0.0.0/16")
    assert done.code == 1
    assert "No space left on device\nHint: /run is full" in done.err
    host.sh("umount -n /run/netns")
