"""Inside one VPC: switching, the gateway, the way of the host in, and nothing else."""

from __future__ import annotations

import time

import pytest
from host import INTERNET, NET_UNREACHABLE, UPLINK, Host


def test_subnets_of_a_vpc_are_switched(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "80", "53/udp")
    vpc1.listen("vpc1-private", "80", "53/udp")
    there = vpc1.reaches("vpc1-public", "10.0.2.2", "10.0.2.2:80", "10.0.2.2:53/udp")
    back = vpc1.reaches("vpc1-private", "10.0.1.2", "10.0.1.2:80", "10.0.1.2:53/udp")
    assert (there[0].ttl, back[0].ttl) == (64, 64), "a router would have taken one off"
    assert there[2].answer == "vpc1-private sees 10.0.1.2"
    assert back[2].answer == "vpc1-public sees 10.0.2.2"


def test_the_gateway_answers(vpc1: Host) -> None:
    vpc1.reaches("vpc1-public", "10.0.0.1")
    vpc1.reaches("vpc1-private", "10.0.0.1")
    assert vpc1.sh("ip -o -4 addr show br-vpc1", "vpc1").split()[3] == "10.0.0.1/16"


def test_a_subnet_knows_its_own_addresses_only(vpc1: Host) -> None:
    assert vpc1.sh("ip -4 -o addr | awk '{print $2, $4}'", "vpc1-public").splitlines() == [
        "lo 127.0.0.1/8", "eth0 10.0.1.2/24",
    ]
    vpc1.reaches("vpc1-public", "127.0.0.1", "10.0.1.2")


def test_without_nat_there_is_no_way_out(vpc1: Host) -> None:
    vpc1.listen("", "80", "53/udp")
    vpc1.listen("other", "80")
    for namespace in ("vpc1-public", "vpc1-private"):
        vpc1.never_reaches(namespace, *INTERNET)
        vpc1.never_reaches(namespace, UPLINK, f"{UPLINK}:80", f"{UPLINK}:53/udp", "169.254.64.0")
        vpc1.never_reaches(namespace, "192.168.77.1:80", "192.168.77.2:80", "192.168.78.1:80")


@pytest.mark.parametrize("address", ["8.8.8.8", UPLINK, "172.16.1.2", "169.254.64.0"])
def test_it_says_so_at_once(vpc1: Host, address: str) -> None:
    started = time.monotonic()
    assert vpc1.probe(("vpc1-private", address))[0].verdict == NET_UNREACHABLE
    assert time.monotonic() - started < 0.5


def test_the_host_reaches_its_tenants(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "80", "53/udp")
    vpc1.listen("vpc1-private", "80")
    answers = vpc1.reaches("", "10.0.1.2:80", "10.0.2.2:80", "10.0.1.2", "10.0.1.2:53/udp")
    assert answers[0].answer.startswith("vpc1-public sees 169.254.64.0 ")


def test_a_subnet_that_is_deleted_answers_no_more(vpc1: Host) -> None:
    vpc1.do("subnet delete --vpc vpc1 --name private")
    vpc1.never_reaches("vpc1-public", "10.0.2.2")
    vpc1.reaches("vpc1-public", "10.0.0.1")
    vpc1.do("subnet add --vpc vpc1 --name again --cidr 10.0.2.0/24")
    vpc1.reaches("vpc1-public", "10.0.2.2")


def test_a_subnet_may_fill_its_vpc(host: Host) -> None:
    host.do("vpc create --name small --cidr 192.168.5.0/24")
    host.do("subnet add --vpc small --name all --cidr 192.168.5.0/24 --type public")
    host.do("nat enable --vpc small")
    host.reaches("small-all", "192.168.5.1", "8.8.8.8")
    host.reaches("", "192.168.5.2")


@pytest.mark.parametrize("frame", [1500, 9000])
def test_whole_frames_pass(vpc1: Host, frame: int) -> None:
    fits = vpc1.inside("vpc1-public", "ping", "-c1", "-W2", "-M", "do", "-s", str(frame - 28), "10.0.2.2")
    assert fits.code == (0 if frame == 1500 else 1)


def test_there_is_no_ipv6(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    policy = vpc2.write("open.json", {"ingress": [{"protocol": "all", "action": "allow"}]})
    vpc2.do("firewall apply --vpc vpc1 --subnet public --policy", policy)
    for namespace in ("vpc1", "vpc1-public", "vpc1-private", "vpc2", "vpc2-public"):
        assert vpc2.sh("ip -6 -o addr | grep -v ' lo ' || true", namespace) == ""
    assert vpc2.sh("ip -6 -o addr show vpc-vpc1; ip -6 -o addr show vpc-vpc2") == ""
    for link in ("fe80::1%eth0", "ff02::1%eth0"):
        assert vpc2.inside("vpc1-public", "ping", "-6", "-c1", "-W1", link).code != 0


def test_somebody_inside_can_t_turn_ipv6_on_and_walk_past_the_firewall(vpc1: Host) -> None:
    policy = vpc1.write("closed.json", {"ingress": []})
    vpc1.do("firewall apply --vpc vpc1 --subnet private --policy", policy)
    vpc1.sh("sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.eth0.disable_ipv6=0; "
            "ip -6 addr add fe80::1/64 dev eth0 nodad", "vpc1-public")
    assert vpc1.sh("ip -6 -o addr", "vpc1-private") == ""
    assert vpc1.inside("vpc1-public", "ping", "-6", "-L", "-c1", "-W1", "ff02::1%eth0").code == 1


def test_the_size_of_a_vpc_costs_nothing(host: Host) -> None:
    def seconds(name: str, cidr: str) -> float:
        started = time.monotonic()
        host.do(f"vpc create --allow-overlap --name {name} --cidr {cidr}")
        took = time.monotonic() - started
        host.do(f"subnet add --vpc {name} --name a --cidr {cidr.split('/')[0]}/24")
        host.reaches("", f"{cidr.rpartition('.')[0]}.2") if cidr != "10.0.0.0/8" else None
        host.do(f"vpc delete --name {name}")
        return took

    small = min(seconds(f"small{number}", "192.168.5.0/24") for number in range(3))
    large = min(seconds(f"large{number}", "10.0.0.0/8") for number in range(3))
    assert large < 2 * small + 0.1


def test_a_wide_vpc_is_warned_of(host: Host) -> None:
    done = host.do("vpc create --name wide --cidr 172.0.0.0/8")
    assert "wider than the /16" in done.err
    assert "not a private range" in done.err
    host.do("subnet add --vpc wide --name far --cidr 172.255.255.0/24")
    host.reaches("", "172.255.255.2")
