"""Peerings: all of two VPCs, and nobody else, at layer 3."""

from __future__ import annotations

import pytest
from frames import END, EVERYBODY, IPV4, ether, listen, names, send, udp
from host import INTERNET, Host
from sixth import FAMILIES, by

from vpcctl_lib.model.naming import mac


@pytest.fixture
def peered(vpc2: Host) -> Host:
    """The article's two VPCs, peered, with services."""
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc2.listen("vpc1-private", "80", "53/udp")
    vpc2.listen("vpc2-private", "80", "53/udp")
    return vpc2


@pytest.fixture(params=FAMILIES)
def either(request: pytest.FixtureRequest, vpc2: Host) -> Host:
    """The same, by each family."""
    host = by(request.param, vpc2)
    host.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    for namespace in ("vpc1-private", "vpc2-private"):
        host.listen(namespace, "80", "53/udp")
    return host


def add_third(host: Host, *peers: str) -> None:
    host.do("vpc create --name vpc3 --cidr 192.168.0.0/16 --allow-overlap")
    host.do("subnet add --vpc vpc3 --name public --cidr 192.168.1.0/24 --type public")
    host.listen("vpc3-public", "80")
    for peer in peers:
        host.do(f"peer create --vpc1 vpc3 --vpc2 {peer}")


def test_both_ways_and_all_subnets(peered: Host) -> None:
    answers = peered.reaches("vpc1-public", "172.16.1.2", "172.16.2.2", "172.16.2.2:80", "172.16.2.2:53/udp")
    assert answers[0].ttl == 62, "two routers on the way"
    assert answers[2].answer.startswith("vpc2-private sees 10.0.1.2 ")
    peered.reaches("vpc1-private", "172.16.1.2", "172.16.2.2:80")
    peered.reaches("vpc2-public", "10.0.1.2", "10.0.2.2", "10.0.2.2:80", "10.0.2.2:53/udp")
    peered.reaches("vpc2-private", "10.0.1.2", "10.0.2.2:80")


def test_the_routes_are_the_article_s(peered: Host) -> None:
    for namespace in ("vpc1-public", "vpc1-private"):
        assert "172.16.0.0/16 via 10.0.0.1 dev eth0" in peered.sh("ip route", namespace)
    for namespace in ("vpc2-public", "vpc2-private"):
        assert "10.0.0.0/16 via 172.16.0.1 dev eth0" in peered.sh("ip route", namespace)


def test_subnets_that_are_added_later(either: Host) -> None:
    either.do("subnet add --vpc vpc1 --name later --cidr 10.0.3.0/24")
    either.do("subnet add --vpc vpc2 --name later --cidr 172.16.3.0/24 --type public")
    either.reaches("vpc1-later", "172.16.3.2", "172.16.2.2:80")
    either.reaches("vpc2-later", "10.0.3.2", "10.0.2.2:80")


def test_order_does_not_matter(peered: Host) -> None:
    assert peered.do("peer create --vpc1 vpc2 --vpc2 vpc1").out.startswith("unchanged")
    assert len(peered.do("peer list --json").json["peerings"]) == 1
    peered.do("peer delete --vpc1 vpc2 --vpc2 vpc1")
    assert peered.do("peer list --json").json["peerings"] == []


def test_a_deleted_peering_is_cut_at_once(either: Host) -> None:
    either.reaches("vpc1-public", "172.16.2.2:80")
    either.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    either.none_reach(("vpc1-public", "172.16.2.2:80"), ("vpc2-public", "10.0.2.2"))
    assert "172.16" not in either.sh("ip route", "vpc1-public")
    either.reaches("vpc1-public", "10.0.2.2:80")


def test_so_is_a_live_connection(peered: Host) -> None:
    told = peered.scratch / "told"
    script = "exec 3<>/dev/tcp/172.16.2.2/80; printf 'HOLD ' >&3; head -c4 <&3; read -r x; " \
             "printf 'more' >&3; timeout 1 head -c4 <&3 || echo cut"
    peered.sh(f"mkfifo {peered.scratch}/go")
    peered.start("vpc1-public", "bash", "-c", f"({script}) <{peered.scratch}/go", output=str(told))
    peered.sh(f"exec 9>{peered.scratch}/go; until grep -q held {told}; do sleep 0.01; done; "
              f"vpcctl peer delete --vpc1 vpc1 --vpc2 vpc2; echo on >&9")
    peered.wait_until(lambda: told.read_text() != "held", "the connection went on or was cut")
    assert told.read_text() == "heldcut\n"


def test_it_is_not_transitive(either: Host) -> None:
    add_third(either, "vpc2")
    either.reaches("vpc2-public", "192.168.1.2:80", "10.0.2.2:80")
    either.none_reach(("vpc1-public", "192.168.1.2:80"), ("vpc1-public", "192.168.1.2"),
                      ("vpc3-public", "10.0.2.2:80"), ("vpc3-public", "10.0.2.2"))


@pytest.mark.parametrize("routers", [":", "iptables -I FORWARD -j ACCEPT"])
def test_nor_with_routes_added_by_hand(either: Host, routers: str) -> None:
    """Nor when the routers at both ends let everything pass: the one in the middle does not."""
    add_third(either, "vpc2")
    for end in ("vpc1", "vpc3"):
        either.sh(routers, end)
    either.sh("ip route add 192.168.0.0/16 via 10.0.0.1", "vpc1-public")
    either.sh("ip route add 192.168.0.0/16 via 172.16.0.1 dev pcx-vpc2", "vpc1")
    either.sh("ip route add 10.0.0.0/16 via 192.168.0.1", "vpc3-public")
    either.sh("ip route add 10.0.0.0/16 via 172.16.0.1 dev pcx-vpc2", "vpc3")
    either.none_reach(("vpc1-public", "192.168.1.2:80"), ("vpc1-public", "192.168.1.2"),
                      ("vpc3-public", "10.0.2.2:80"), ("vpc3-public", "10.0.2.2"))


def test_a_triangle_does_not_loop(peered: Host) -> None:
    add_third(peered, "vpc1", "vpc2")
    peered.reaches("vpc1-public", "172.16.2.2:80", "192.168.1.2:80")
    peered.reaches("vpc3-public", "172.16.2.2:80", "10.0.2.2:80")

    def packets() -> int:
        return sum(int(peered.sh(f"cat /sys/class/net/{link}/statistics/rx_packets", namespace))
                   for namespace, link in (("vpc1", "pcx-vpc2"), ("vpc2", "pcx-vpc3"), ("vpc3", "pcx-vpc1")))

    before = packets()
    peered.inside("vpc1-public", "ping", "-b", "-c1", "-W1", "10.0.255.255")
    peered.inside("vpc1-public", "ping", "-c1", "-W1", "172.16.9.9")
    assert packets() - before < 10


def test_no_broadcast_crosses(peered: Host) -> None:
    """A frame to everybody is seen by the router of the same VPC, by no neighbour and not in the peer."""
    mine, router = "02:10:0a:00:01:02", mac("vpc1")
    last = {"vpc1": ("vpc1-public", router, "10.0.1.2", "10.0.0.1"),
            "vpc1-private": ("vpc1-public", "02:10:0a:00:02:02", "10.0.1.2", "10.0.2.2"),
            "vpc2-public": ("vpc1-public", router, "10.0.1.2", "172.16.1.2"),
            "vpc2-private": ("vpc1-public", router, "10.0.1.2", "172.16.2.2")}
    ears = {name: listen(peered, name, "br-vpc1" if name == "vpc1" else "eth0") for name in last}
    everybody = udp("10.0.1.2", "10.0.255.255", (7, 7), "to all")
    send(peered, "vpc1-public", [ether(mine, EVERYBODY, IPV4, everybody)])
    for sender, target, source, address in last.values():
        send(peered, sender, [ether(mine, target, IPV4, udp(source, address, (7, 7), END))])
    assert {name: names(peered, ear) for name, ear in ears.items()} == {
        "vpc1": ["to all"], "vpc1-private": [], "vpc2-public": [], "vpc2-private": []}



def test_the_nat_of_a_peer_is_its_own(either: Host) -> None:
    either.do("nat enable --vpc vpc2")
    either.reaches("vpc2-public", *INTERNET)
    either.never_reaches("vpc1-public", *INTERNET)
    either.sh("ip route replace default via 172.16.0.1 dev pcx-vpc2", "vpc1")
    either.never_reaches("vpc1-public", *INTERNET)
    either.never_reaches("vpc1-private", *INTERNET)


def test_the_host_does_not_come_in_through_a_peer(either: Host) -> None:
    either.listen("", "90")
    either.never_reaches("vpc1-public", "169.254.64.2:90", "169.254.64.3")
    either.reaches("", "10.0.2.2:80", "172.16.2.2:80")


def test_overlapping_vpcs_are_refused(peered: Host) -> None:
    peered.do("vpc create --name twin --cidr 10.0.0.0/20")
    peered.refused("peer create --vpc1 vpc1 --vpc2 twin", says="overlap")
    peered.refused("peer create --vpc1 twin --vpc2 vpc2", says="overlaps 'twin'")


@pytest.mark.parametrize(("line", "code"), [
    ("peer create --vpc1 vpc1 --vpc2 vpc1", 2), ("peer create --vpc1 vpc1 --vpc2 nobody", 1),
    ("peer delete --vpc1 vpc1 --vpc2 vpc1", 1), ("peer delete --vpc1 vpc1 --vpc2 vpc3", 1),
])
def test_nonsense_is_refused(peered: Host, line: str, code: int) -> None:
    peered.refused(line, code=code)


def test_a_vpc_that_is_deleted_leaves_its_peers_cleanly(peered: Host) -> None:
    peered.do("vpc delete --name vpc2")
    assert "pcx-" not in peered.sh("ip link; iptables -S; ip route", "vpc1")
    assert "172.16" not in peered.sh("ip route", "vpc1-public")
    assert peered.do("vpc show --name vpc1 --json").json["vpc"]["peers"] == []
    peered.reaches("vpc1-public", "10.0.2.2:80")


def test_a_peering_does_not_open_the_host_s_way(either: Host) -> None:
    """With all of the host's own rules gone the peering works, and only it."""
    either.sh(f"iptables-save >{either.scratch}/rules; iptables -F")
    either.reaches("vpc1-public", "172.16.2.2:80")
    either.sh(f"iptables-restore <{either.scratch}/rules")
