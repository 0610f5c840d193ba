"""Whoever is refused hears of it at once, however many are refused together."""

from __future__ import annotations

import json
from pathlib import Path

from host import Host

MANY = 200
ASK = Path(__file__).with_name("many_connects.py").read_text()


def seconds(host: Host, namespace: str, address: str, port: int = 80, kind: str = "tcp") -> float:
    """How long the last of many waited, none of whom got through."""
    told = host.inside(namespace, "python3", "-c", ASK, address, str(port), str(MANY), kind)
    assert told.code == 0, told
    found = json.loads(told.out)
    assert not {"connected", "timed out"}.intersection(found["outcomes"]), found
    return float(found["seconds"])


def test_without_nat(vpc1: Host) -> None:
    for namespace in ("vpc1-public", "vpc1-private"):
        assert seconds(vpc1, namespace, "8.8.8.8") < 0.9


def test_a_private_subnet_where_another_has_nat(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    assert seconds(vpc1, "vpc1-private", "8.8.8.8") < 0.9
    vpc1.reaches("vpc1-public", "8.8.8.8")
    vpc1.do("nat disable --vpc vpc1")
    assert seconds(vpc1, "vpc1-public", "8.8.8.8") < 0.9


def test_to_a_vpc_without_a_peering(vpc2: Host) -> None:
    assert seconds(vpc2, "vpc1-private", "172.16.1.2") < 0.9


def test_a_machine_on_whose_port_nothing_listens(vpc1: Host) -> None:
    assert seconds(vpc1, "vpc1-public", "10.0.2.2", 9, "udp") < 0.9


def test_the_route_that_leads_to_the_refusal_is_told_and_restored(vpc1: Host) -> None:
    vpc1.sh("ip route del default", "vpc1")
    assert "route default dev lo" in vpc1.vpcctl("status").out
    found = vpc1.vpcctl("reach", "--from", "vpc1/private", "--to", "8.8.8.8", "--json").json["reach"]
    assert found["verdict"] == "unreachable"
    vpc1.do("restore")
    assert vpc1.do("status").out == "in sync\n"
    assert seconds(vpc1, "vpc1-private", "8.8.8.8") < 0.9


def test_a_router_that_lost_its_way_out_to_nat_is_told_so(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("ip route del default via 169.254.64.0", "vpc1")
    found = vpc1.vpcctl("reach", "--from", "vpc1/public", "--to", "8.8.8.8", "--json").json["reach"]
    assert (found["blocked_by"]["code"], found["blocked_by"]["fix"]) == ("NO_ROUTE", "vpcctl restore")
    vpc1.do("restore")
    vpc1.reaches("vpc1-public", "8.8.8.8")


def test_an_answer_that_lost_its_way_does_not_go_in_circles(vpc2: Host) -> None:
    """Over lo it would, were it accepted as one of a connection that is known."""
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc2.listen("vpc2-public", "80")
    vpc2.sh("ip route del 10.0.0.0/16", "vpc2")
    vpc2.never_reaches("vpc1-public", "172.16.1.2:80")
    rules = vpc2.sh("iptables -nvxL FORWARD", "vpc2").splitlines()
    accepted = next(line.split() for line in rules if "ctstate ESTABLISHED" in line)
    assert accepted[0] == "0", rules
    found = vpc2.vpcctl("reach", "--from", "vpc1/public", "--to", "vpc2/public", "--json").json["reach"]
    assert (found["blocked_by"]["code"], found["blocked_by"]["fix"]) == ("NO_ROUTE", "vpcctl restore")
    vpc2.do("restore")
    vpc2.reaches("vpc1-public", "172.16.1.2:80")
