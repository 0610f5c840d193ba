"""Two VPCs never reach each other, by neither family, whatever becomes of the host's firewall and routes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from host import INTERNET, Host
from sixth import FAMILIES, by

PLACES = {"vpc1-public": "10.0.1.2", "vpc1-private": "10.0.2.2", "vpc1": "10.0.0.1",
          "vpc2-public": "172.16.1.2", "vpc2-private": "172.16.2.2", "vpc2": "172.16.0.1"}


@pytest.fixture(params=FAMILIES)
def serving(request: pytest.FixtureRequest, vpc2: Host) -> Host:
    """Two VPCs with a service in every subnet, by each family."""
    host = by(request.param, vpc2)
    for namespace in PLACES:
        host.listen(namespace, "80", "53/udp")
    return host


def both_enable_nat(host: Host) -> None:
    host.do("nat enable --vpc vpc1")
    host.do("nat enable --vpc vpc2")


def check_isolated(host: Host, routers: bool = True) -> None:
    """Every subnet of a VPC against every subnet of the other, and its router."""
    pairs = [(one, PLACES[other]) for one, other in itertools.permutations(PLACES, 2)
             if "-" in one and one.partition("-")[0] != other.partition("-")[0] and (routers or "-" in other)]
    host.none_reach(*((one, where + port) for one, where in pairs for port in ("", ":80", ":53/udp")))
    host.reaches("vpc1-public", "10.0.2.2:80")
    host.reaches("vpc2-private", "172.16.1.2:80")


@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_without_nat(serving: Host, policy: str) -> None:
    serving.sh(f"iptables -P FORWARD {policy}; sysctl -qw net.ipv4.ip_forward=1")
    check_isolated(serving)
    serving.sh("iptables -P FORWARD ACCEPT; sysctl -qw net.ipv4.ip_forward=0 "
               "net.ipv4.conf.all.accept_redirects=1")


@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_with_nat_for_both(serving: Host, policy: str) -> None:
    both_enable_nat(serving)
    serving.sh(f"iptables -P FORWARD {policy}")
    check_isolated(serving)
    serving.reaches("vpc1-public", *INTERNET)
    serving.sh("iptables -P FORWARD ACCEPT")


def test_with_nat_for_one(serving: Host) -> None:
    serving.do("nat enable --vpc vpc1")
    check_isolated(serving)


def test_with_others_rules_that_accept_everything(serving: Host) -> None:
    both_enable_nat(serving)
    serving.sh("iptables -A FORWARD -j ACCEPT; iptables -A DOCKER-USER -j ACCEPT")
    check_isolated(serving)
    serving.sh("iptables -D FORWARD -j ACCEPT; iptables -D DOCKER-USER -j ACCEPT")


@pytest.fixture
def flushed(serving: Host) -> Iterator[Host]:
    """NAT for both, then somebody flushes the host's filter table."""
    both_enable_nat(serving)
    serving.sh(f"iptables-save >{serving.scratch}/rules; iptables -F; iptables -P FORWARD ACCEPT")
    yield serving
    serving.sh(f"iptables-restore <{serving.scratch}/rules")


def test_after_the_host_s_filter_table_was_flushed(flushed: Host) -> None:
    check_isolated(flushed)


def test_and_with_routes_added_by_hand_too(flushed: Host) -> None:
    flushed.sh("ip route add 172.16.0.0/16 via 169.254.64.0", "vpc1")
    flushed.sh("ip route add 10.0.0.0/16 via 169.254.64.2", "vpc2")
    flushed.sh("ip route add 172.16.0.0/16 via 10.0.0.1", "vpc1-private")
    check_isolated(flushed)


def test_tenants_can_t_add_a_way_by_hand(serving: Host) -> None:
    """Whoever is root in a subnet sets its routes and addresses, and still finds no way."""
    both_enable_nat(serving)
    serving.sh("ip route add 172.16.0.0/16 via 10.0.0.1; ip route add 169.254.64.0/18 via 10.0.0.1; "
               "ip addr add 172.16.1.77/32 dev eth0", "vpc1-public")
    check_isolated(serving)
    serving.no_forgery_arrives("vpc1-public", "172.16.1.2", "172.16.1.2:80", source="172.16.1.77",
                               at="vpc2-public", witness="vpc2-private")
    serving.never_reaches("vpc1-public", "169.254.64.0", "169.254.64.2", "169.254.64.3")


def test_other_links_of_the_host_are_out_of_reach(serving: Host) -> None:
    both_enable_nat(serving)
    for namespace, other in (("vpc1-public", "169.254.64.3"), ("vpc1-private", "169.254.64.3"),
                             ("vpc2-public", "169.254.64.1")):
        serving.never_reaches(namespace, other, f"{other}:80", f"{other}:53/udp")


def test_deleting_one_leaves_the_other(serving: Host) -> None:
    both_enable_nat(serving)
    serving.do("vpc delete --name vpc1")
    serving.reaches("vpc2-public", *INTERNET, "172.16.2.2:80")
    serving.reaches("", "172.16.1.2:80")
