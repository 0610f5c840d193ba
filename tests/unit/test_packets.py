"""Whether packets leave a VPC, judged by what the host was asked."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from vpcctl_lib.kernel.host import HostRoute
from vpcctl_lib.kernel.ruleset import Chain, Rule, Table
from vpcctl_lib.kernel.ways import REFUSED, UNKNOWN, Hop, Way
from vpcctl_lib.model.topology import Nat, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.uplink.packets import Cause, Facts, Links, Passage, State, inward, judge, outward, questions
from vpcctl_lib.uplink.verdicts import BaseChain

PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
PRIVATE = Subnet("private", IPv4Network("10.0.2.0/24"))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=Nat("eth0"), subnets=(PUBLIC, PRIVATE))
OTHER = Vpc("vpc2", IPv4Network("10.0.0.0/16"), link=1, nat=Nat("eth0"), subnets=(PUBLIC,))
HERE = frozenset({"eth0", "eth1", "vpc-vpc1", "vpc-vpc2"})
LINKS = Links(HERE, HERE, HERE)
OUT = Way(hops=(Hop("eth0", "192.0.2.1"),))
IN = Way(hops=(Hop("vpc-vpc1"),), network=VPC.cidr)


def asked(topology: Topology, out: Way = OUT, back: Way = IN, **more: Any) -> Facts:
    """The kernel's answer to all that leads out, and to all that leads in."""
    ways = {}
    for vpc in topology.vpcs:
        home = IN if back is IN else back
        home = replace(home, hops=(Hop(f"vpc-{vpc.name}"),)) if home is IN else home
        ways |= dict.fromkeys(inward(topology, vpc).values(), home)
        ways |= dict.fromkeys(outward(topology, vpc) if vpc.nat else (), out)
    return Facts(**{"links": LINKS, "ways": ways, **more})


def judged(vpc: Vpc = VPC, **facts: Any) -> Passage:
    (passage,) = judge(Topology((vpc,)), asked(Topology((vpc,)), **facts))
    return passage


def test_all_well() -> None:
    assert judged() == Passage("vpc1", "eth0", State.LEAVE)
    private = replace(VPC, subnets=(PRIVATE,))
    assert judged(private).state is State.NONE
    assert judge(Topology(), Facts()) == []
    assert judge(Topology((replace(VPC, nat=None),)), asked(Topology((replace(VPC, nat=None),)))) == []


def test_each_source_is_asked_for_and_each_way_back() -> None:
    told = [str(question) for question in questions(Topology((VPC, OTHER)))]
    assert told == ["route get 8.8.8.8 from 10.0.1.2 iif vpc-vpc1 fibmatch",
                    "route get 198.41.0.4 from 10.0.1.2 iif vpc-vpc1 fibmatch",
                    "route get 10.0.1.2 from 8.8.8.8 iif eth0 fibmatch", "route get 10.0.2.2 fibmatch",
                    "route get 8.8.8.8 from 169.254.64.3 iif vpc-vpc2 fibmatch",
                    "route get 198.41.0.4 from 169.254.64.3 iif vpc-vpc2 fibmatch",
                    "route get 169.254.64.3 from 8.8.8.8 iif eth0 fibmatch"]


BY_ETH1 = Way(hops=(Hop("eth1"),), table="51820")
SHARED = Way(hops=(Hop("eth0", "192.0.2.1"), Hop("eth1")))
NOWHERE = Way(REFUSED, failure="No route to host")
SILENT = Way(UNKNOWN, failure="boom")
NOT_THERE = Links(HERE - {"eth0"}, HERE, HERE)
DOWN = Links(HERE, HERE - {"eth0"}, HERE)
UNPLUGGED = Links(HERE, HERE, HERE - {"eth0"})
HOLE = HostRoute(IPv4Network("10.0.1.0/24"), "", "blackhole")


def closed(table: str = "own", *rules: Rule) -> BaseChain:
    chain = Chain("inet", table, "f", rules, "forward", policy="drop")
    return BaseChain(chain, Table("inet", table, {"f": chain}))


CLOSED, FIREWALLD = closed(), closed("firewalld")
UNSURE = closed("own", Rule([{"xt": {}}, {"accept": None}]))


@pytest.mark.parametrize(("facts", "state", "why", "helps"), [
    ({"out": BY_ETH1}, State.LOST, "packets leave by eth1 (route default dev eth1 table 51820)",
     "vpcctl nat enable --vpc vpc1 --interface eth1"),
    ({"out": Way(hops=(Hop("vpc-vpc2"),))}, State.LOST, "packets leave by vpc-vpc2", ""),
    ({"out": SHARED}, State.LOST, "several next hops, eth0 and eth1",
     "ip route add default via 192.0.2.1 dev eth0 table 30320 && ip rule add iif vpc-vpc1 table 30320"),
    ({"out": NOWHERE}, State.LOST, "no way out for them: No route to host", ""),
    ({"out": SILENT}, State.UNKNOWN, "not known: boom", ""),
    ({"links": NOT_THERE}, State.LOST, "no link eth0 any more", "--interface LINK"),
    ({"links": NOT_THERE, "out": BY_ETH1}, State.LOST,
     "there is no link eth0 any more, and packets leave by eth1 (route default dev eth1 table 51820)",
     "vpcctl nat enable --vpc vpc1 --interface eth1"),
    ({"links": DOWN, "out": NOWHERE}, State.LOST, "link eth0 is down, and the host has no way out for them",
     "ip link set dev eth0 up"),
    ({"links": DOWN}, State.LOST, "eth0 is down", "ip link set dev eth0 up"),
    ({"links": UNPLUGGED}, State.LOST, "no carrier", "plug it in, or name another"),
    ({"passes_on": False}, State.LOST, "ip_forward = 0", "vpcctl restore"),
    ({"back": SILENT}, State.UNKNOWN, "way back is not known", ""),
    ({"back": NOWHERE}, State.LOST, "answers to 10.0.1.2 (public) do not come back: the host refuses", ""),
    ({"back": NOWHERE, "routes": (HOLE,)}, State.LOST, "blackhole route to 10.0.1.0/24 comes first",
     "ip route del blackhole 10.0.1.0/24"),
    ({"back": OUT}, State.LOST, "the host's route to 10.0.0.0/16 is gone", "vpcctl restore"),
    ({"back": replace(OUT, table="52")}, State.LOST, "default dev eth0 table 52 comes first",
     "ip rule add to 10.0.0.0/16 pref 1 table main"),
    ({"back": replace(BY_ETH1, network=PUBLIC.cidr, table="main")}, State.LOST, "0/24 dev eth1 comes first",
     "remove that route (ip route del 10.0.1.0/24), or give the subnet another CIDR"),
    ({"back": Way("local", (Hop("lo"),))}, State.LOST, "an address of the host itself (on lo)", "remove it"),
    ({"routes": (HostRoute(IPv4Network("169.254.64.0/30"), "vpn0"),)}, State.LOST, "addresses of its cable",
     "vpcctl vpc delete"),
    ({"routes": (HostRoute(IPv4Network("169.254.0.0/16"), "eth0"),)}, State.LEAVE, "", ""),
    ({"chains": (CLOSED,)}, State.LOST, "firewall refuses them: nft chain inet own f, its policy is drop",
     "nft insert rule inet own f iifname vpc-vpc1 oifname eth0 accept"),
    ({"chains": (FIREWALLD,)}, State.LOST, "inet firewalld", "--zone=vpcctl --add-interface=vpc-vpc1"),
    ({"chains": (UNSURE,)}, State.UNKNOWN, "may refuse them", "nft insert rule inet own f iifname vpc-vpc1"),
    ({"chains": "nft is not found"}, State.UNKNOWN, "is not known: nft is not found", ""),
    ({"faults": {"vpc1": [Cause("NAT's rules are not as recorded", "vpcctl restore")]}}, State.LOST,
     "NAT's rules", "vpcctl restore")])
def test_why_packets_are_lost(facts: dict[str, Any], state: State, why: str, helps: str) -> None:
    passage = judged(**facts)
    assert passage.state is state
    assert why in "; ".join(cause.why for cause in passage.causes)
    assert helps in "; ".join(cause.help for cause in passage.causes)
    assert "links" not in facts or len(passage.causes) == 1
    if not helps:
        assert not any(cause.help for cause in passage.causes if why in cause.why)


def test_what_follows_is_moved_by_restore() -> None:
    passage = judged(replace(VPC, nat=Nat("eth0", follows=True)), out=BY_ETH1)
    assert passage.causes[0].help == "vpcctl restore"


def test_a_subnet_that_only_the_host_does_not_reach() -> None:
    plain = replace(VPC, nat=None)
    passage = judged(plain, back=Way("local", (Hop("lo"),)))
    assert (passage.state, passage.interface) == (State.CUT_OFF, "")
    assert all(cause.at_home for cause in passage.causes)


def test_one_obstacle_is_told_once() -> None:
    many = replace(VPC, subnets=tuple(
        Subnet(f"s{number}", IPv4Network(f"10.0.{number}.0/24"), SubnetType.PUBLIC) for number in range(6)))
    (cause,) = judged(many, back=NOWHERE).causes
    assert "10.0.0.2 (s0), 10.0.1.2 (s1), 10.0.2.2 (s2) and 3 more" in cause.why
