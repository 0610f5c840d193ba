"""NAT: public subnets get out, and everything else stays where it is."""

from __future__ import annotations

import pytest
from host import INTERNET, UPLINK, Host

METADATA = "169.254.169.254"
"""Where clouds hand a machine its credentials."""


@pytest.fixture
def nat(vpc1: Host) -> Host:
    """The article's first VPC with NAT."""
    vpc1.do("nat enable --vpc vpc1 --interface eth0")
    return vpc1


def test_public_yes_private_no(nat: Host) -> None:
    answers = nat.reaches("vpc1-public", *INTERNET)
    assert f"your address: {UPLINK}" in answers[1].answer
    nat.never_reaches("vpc1-private", *INTERNET)


def test_a_private_subnet_does_not_get_out_by_another_route(nat: Host) -> None:
    for words in ("replace default", "add 8.8.8.8"):
        nat.sh(f"ip route {words} via 10.0.1.2 dev eth0 onlink", "vpc1-private")
    nat.never_reaches("vpc1-private", *INTERNET)


def test_a_private_subnet_does_not_get_out_with_another_address(nat: Host) -> None:
    nat.sh("ip addr add 10.0.9.9/32 dev eth0", "vpc1-private")
    nat.no_forgery_arrives("vpc1-private", "8.8.8.8", "8.8.8.8:80", source="10.0.9.9",
                           at="internet", witness="vpc1-public")


def test_names_resolve(nat: Host) -> None:
    page = nat.do("exec --vpc vpc1 --subnet public -- curl -s --max-time 5 http://example.com")
    assert f"your address: {UPLINK}" in page.out
    assert "the simulated internet" in nat.sh("curl -s --max-time 5 http://example.com", "vpc1-public")
    assert nat.sh("cat /etc/resolv.conf", "vpc1-public").splitlines()[-1] == "nameserver 8.8.8.8"
    assert nat.inside("vpc1-private", "curl", "-s", "--max-time", "1", "http://example.com").code != 0


@pytest.mark.parametrize("kind", ["public", "private"])
def test_a_subnet_that_is_added_later(nat: Host, kind: str) -> None:
    nat.do(f"subnet add --vpc vpc1 --name later --cidr 10.0.3.0/24 --type {kind}")
    if kind == "public":
        nat.reaches("vpc1-later", *INTERNET)
        assert nat.sh("cat /etc/resolv.conf", "vpc1-later").splitlines()[-1] == "nameserver 8.8.8.8"
    else:
        nat.never_reaches("vpc1-later", *INTERNET)


def test_the_rules_are_for_public_subnets_only(nat: Host) -> None:
    listed = nat.sh("iptables -t nat -S").splitlines()
    ours = [line for line in listed if "MASQUERADE" in line and "vpcctl:vpc1" in line]
    assert len(ours) == 1
    assert "-s 10.0.1.0/24 -o eth0 " in ours[0]


def test_a_subnet_that_is_deleted_takes_its_rules_along(nat: Host) -> None:
    nat.do("subnet delete --vpc vpc1 --name public")
    assert "10.0.1.0/24" not in nat.sh("iptables-save; ls /etc/netns; ip netns exec vpc1 iptables-save")


def test_disabling_cuts(nat: Host) -> None:
    nat.listen("internet", "9000")
    nat.reaches("vpc1-public", "8.8.8.8:9000")
    nat.do("nat disable --vpc vpc1")
    nat.never_reaches("vpc1-public", *INTERNET, "8.8.8.8:9000")
    nat.reaches("vpc1-public", "10.0.2.2")
    assert "MASQUERADE" not in nat.sh("iptables -t nat -S | grep vpcctl: || true")
    assert nat.sh("ls /etc/netns").split() == ["other"]
    assert nat.do("nat disable --vpc vpc1").out.startswith("unchanged")


def test_disabling_cuts_live_connections(nat: Host) -> None:
    nat.listen("internet", "9000")
    told = nat.scratch / "told"
    script = "exec 3<>/dev/tcp/8.8.8.8/9000; printf 'HOLD ' >&3; head -c4 <&3; read -r x; " \
             "printf 'more' >&3; timeout 1 head -c4 <&3 || echo cut"
    nat.sh(f"mkfifo {nat.scratch}/go")
    nat.start("vpc1-public", "bash", "-c", f"({script}) <{nat.scratch}/go", output=str(told))
    nat.sh(f"exec 9>{nat.scratch}/go; until grep -q held {told}; do sleep 0.01; done; "
           f"vpcctl nat disable --vpc vpc1; echo on >&9")
    nat.wait_until(lambda: told.read_text() != "held", "the connection went on or was cut")
    assert told.read_text() == "heldcut\n"


def test_the_host_keeps_its_own_way(nat: Host) -> None:
    nat.reaches("", *INTERNET)
    nat.reaches("", "192.168.77.2")


def test_nat_serves_no_other_network_of_the_host(nat: Host) -> None:
    nat.listen("other", "80")
    nat.never_reaches("vpc1-public", "192.168.77.1:80", "192.168.77.2:80", "192.168.77.2", "10.200.0.1")


def test_the_cloud_s_metadata_is_out_of_reach(nat: Host) -> None:
    nat.sh(f"ip addr add {METADATA}/32 dev lo", "internet")
    nat.sh(f"ip route add {METADATA} via 203.0.113.1")
    try:
        nat.listen("internet", "8888")
        nat.reaches("", f"{METADATA}:80", METADATA)
        nat.never_reaches("vpc1-public", f"{METADATA}:80", f"{METADATA}:8888", METADATA)
    finally:
        nat.sh(f"ip route del {METADATA} via 203.0.113.1")
        nat.sh(f"ip addr del {METADATA}/32 dev lo", "internet")


def test_two_vpcs_at_the_same_time(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc2")
    vpc2.reaches("vpc1-public", *INTERNET)
    vpc2.reaches("vpc2-public", *INTERNET)
    vpc2.never_reaches("vpc2-private", *INTERNET)
    vpc2.do("nat disable --vpc vpc1")
    vpc2.never_reaches("vpc1-public", *INTERNET)
    vpc2.reaches("vpc2-public", *INTERNET)


def test_another_interface(vpc1: Host) -> None:
    vpc1.listen("other", "80")
    vpc1.do("nat enable --vpc vpc1 --interface vpc-lan")
    assert vpc1.reaches("vpc1-public", "192.168.77.2:80")[0].answer.startswith("other sees 192.168.77.1 ")
    vpc1.never_reaches("vpc1-public", *INTERNET)
    vpc1.do("nat enable --vpc vpc1 --interface eth0")
    vpc1.reaches("vpc1-public", *INTERNET)
    vpc1.never_reaches("vpc1-public", "192.168.77.2:80")
    assert vpc1.do("nat enable --vpc vpc1").out.startswith("unchanged")


@pytest.mark.parametrize("name", ["lo", "eth9", "vpc-vpc1", "-j", "eth0 -j ACCEPT", "."])
def test_a_wrong_interface_is_refused(shared_vpc1: Host, name: str) -> None:
    done = shared_vpc1.refused("nat enable --vpc vpc1", f"--interface={name}", code=2)
    assert "eth0" in done.err


def test_without_a_default_route_the_interface_has_to_be_named(vpc1: Host) -> None:
    vpc1.sh("ip route del default")
    vpc1.refused("nat enable --vpc vpc1", says="--interface")
    vpc1.do("nat enable --vpc vpc1 --interface eth0")
    vpc1.sh("ip route add default via 203.0.113.1 dev eth0")
    vpc1.reaches("vpc1-public", *INTERNET)


def test_the_same_again_changes_nothing(nat: Host) -> None:
    before = nat.portrait()
    assert nat.do("nat enable --vpc vpc1 --interface eth0").out.startswith("unchanged")
    nat.check_same(before)
