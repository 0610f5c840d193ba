"""Address ranges that overlap: those of two VPCs, and those that the host has routes to."""

from __future__ import annotations

import pytest
from host import INTERNET, Host


@pytest.fixture
def twins(vpc1: Host) -> Host:
    """A second VPC with the very same CIDR and subnet, NAT for both, and services."""
    assert "overlaps VPC 'vpc1'" in vpc1.do("vpc create --name twin --cidr 10.0.0.0/16").err
    vpc1.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
    vpc1.do("subnet add --vpc twin --name private --cidr 10.0.2.0/24")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("nat enable --vpc twin")
    for namespace in ("vpc1-public", "vpc1-private", "twin-public", "twin-private"):
        vpc1.listen(namespace, "80")
    return vpc1


def test_each_is_a_network_of_its_own(twins: Host) -> None:
    assert twins.reaches("vpc1-public", "10.0.2.2:80")[0].answer.startswith("vpc1-private ")
    assert twins.reaches("twin-public", "10.0.2.2:80")[0].answer.startswith("twin-private ")


def test_nat_works_for_both_at_the_same_time(twins: Host) -> None:
    questions = [(namespace, target) for namespace in ("vpc1-public", "twin-public") for target in INTERNET]
    answers = twins.probe(*questions, *questions)
    assert {answer.verdict for answer in answers} == {"reached"}
    twins.none_reach(("twin-private", "8.8.8.8:80"), ("vpc1-private", "8.8.8.8:80"))


def test_a_subnet_added_later_gets_out_too(twins: Host) -> None:
    twins.do("subnet add --vpc twin --name later --cidr 10.0.3.0/24 --type public")
    twins.reaches("twin-later", *INTERNET)


def test_the_host_s_route_leads_to_the_first(twins: Host) -> None:
    assert twins.reaches("", "10.0.1.2:80")[0].answer.startswith("vpc1-public ")
    assert twins.sh("ip route show 10.0.0.0/16").split()[2] == "169.254.64.1"
    shown = [twins.do(f"vpc show --json --name {name}").json["vpc"]["uplink"] for name in ("vpc1", "twin")]
    assert [uplink["routed"] for uplink in shown] == [True, False]


def test_deleting_the_first_hands_the_route_over(twins: Host) -> None:
    twins.do("vpc delete --name vpc1")
    assert twins.reaches("", "10.0.1.2:80")[0].answer.startswith("twin-public ")
    twins.reaches("twin-public", *INTERNET)
    twins.never_reaches("twin-private", *INTERNET)
    assert twins.do("vpc show --json --name twin").json["vpc"]["uplink"]["routed"]


def test_deleting_the_second_leaves_the_first(twins: Host) -> None:
    twins.do("vpc delete --name twin")
    assert twins.reaches("", "10.0.1.2:80")[0].answer.startswith("vpc1-public ")
    twins.reaches("vpc1-public", *INTERNET)


def test_they_stay_apart(twins: Host) -> None:
    """Where the first has no such address the packet does not end up in the second."""
    twins.do("subnet add --vpc twin --name only --cidr 10.0.9.0/24")
    twins.listen("twin-only", "80")
    twins.none_reach(("vpc1-public", "10.0.9.2:80"), ("vpc1-public", "10.0.9.2"), ("", "10.0.9.2:80"))


@pytest.mark.parametrize(("cidr", "route", "device"), [
    ("192.168.77.0/24", "192.168.77.0/24", "vpc-lan"), ("192.168.0.0/16", "192.168.77.0/24", "vpc-lan"),
    ("10.0.0.0/8", "10.200.0.0/16", "vpc-lan"), ("10.200.5.0/24", "10.200.0.0/16", "vpc-lan"),
    ("203.0.113.0/28", "203.0.113.0/24", "eth0"), ("198.51.100.0/24", "198.51.100.0/24", "br-office"),
])
def test_a_route_of_the_host_is_respected(host: Host, cidr: str, route: str, device: str) -> None:
    done = host.refused(f"vpc create --name vpc1 --cidr {cidr}", says=f"{route} (dev {device})")
    assert "--allow-overlap" in done.err


def test_allowed_over_a_route_the_host_keeps_its_own(host: Host) -> None:
    host.listen("other", "80")
    host.sh("ip -n other addr add 10.200.1.2/32 dev lo")
    done = host.do("vpc create --name vpc1 --cidr 10.200.0.0/16 --allow-overlap")
    assert "10.200.0.0/16 (dev vpc-lan)" in done.err
    host.do("subnet add --vpc vpc1 --name public --cidr 10.200.1.0/24 --type public")
    host.do("nat enable --vpc vpc1")
    host.listen("vpc1-public", "80")
    assert host.reaches("", "10.200.1.2:80")[0].answer.startswith("other ")
    host.reaches("vpc1-public", "10.200.0.1", *INTERNET)
    host.never_reaches("other", "10.200.0.1")
    host.sh("ip -n other addr del 10.200.1.2/32 dev lo")


def test_a_vpn_that_takes_all_traffic_is_no_overlap(host: Host) -> None:
    host.sh("ip route add 0.0.0.0/1 via 192.168.77.2; ip route add 128.0.0.0/1 via 192.168.77.2")
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.sh("ip route del 0.0.0.0/1; ip route del 128.0.0.0/1")


def test_links_are_numbered_apart_and_used_again(twins: Host) -> None:
    def links() -> dict[str, str]:
        return {vpc["name"]: vpc["uplink"]["host"] for vpc in twins.do("vpc list --json").json["vpcs"]}

    assert links() == {"vpc1": "169.254.64.0", "twin": "169.254.64.2"}
    twins.do("vpc delete --name vpc1")
    twins.do("vpc create --name third --cidr 172.16.0.0/16")
    assert links() == {"twin": "169.254.64.2", "third": "169.254.64.0"}
    twins.reaches("twin-public", *INTERNET)
