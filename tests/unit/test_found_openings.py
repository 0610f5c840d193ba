"""Published ports and elastic addresses of a lost record: what rules tell, and which of them are believed."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest

from vpcctl_lib.engine import found_elastic, found_publishes
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.outside import Elastic, Pool, Publish, Transport
from vpcctl_lib.model.routes import NatGateway
from vpcctl_lib.model.topology import OWN, Machine, Subnet, Topology, Vpc

WEB = Machine("web", (IPv4Address("10.0.1.4"),))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat_gateways=(NatGateway("nat1", "public"),), subnets=(
    Subnet("public", IPv4Network("10.0.1.0/24"), machines=(OWN, WEB)),))
POOL = Pool(IPv4Network("198.51.100.0/28"), "eth0")
NAMES = ("vpc1", "public", "web")
MARK = "-m comment --comment vpcctl:vpc1/public/web~publish"


class Said(Kernel):
    """The kernel with these chains."""

    def __init__(self, *rules: str, router: tuple[str, ...] = (), sixth: tuple[str, ...] = ()) -> None:
        super().__init__(Runner())
        self._said = {("", Family.INET): rules, ("vpc1", Family.INET): router, ("", Family.INET6): sixth}

    def link(self, namespace: str, device: str) -> dict[str, Any]:
        """The bridge of a router, with its own address if there are rules of IPv6."""
        assert (namespace, device) == ("vpc1", "br-vpc1")
        own = {"family": "inet6", "local": "fd00:0:0:100::1", "prefixlen": 56}
        return {"ifname": device, "addr_info": [own] if self._said["", Family.INET6] else []}

    def chains(self, namespace: str, family: Family = Family.INET) -> Saved:
        """A rule comes with its table and chain before it."""
        said = [rule.split(" ", 2) for rule in self._said[namespace, family]]
        lines: list[str] = []
        for table, chain in dict.fromkeys((table, chain) for table, chain, _ in said):
            lines += [f"*{table}", f":{chain} - [0:0]",
                      *(f"-A {chain} {rule}" for *where, rule in said if where == [table, chain])]
        return Saved("".join(f"{line}\n" for line in lines))


def published(*rules: str, router: tuple[str, ...] = (),
              sixth: tuple[str, ...] = ()) -> tuple[list[Publish], list[str]]:
    """The ports of the machine, and what is noted."""
    notes: list[str] = []
    kernel = Said(*(f"nat VPCCTL-PORTS {rule}" for rule in rules),
                  router=tuple(f"nat PREROUTING {rule}" for rule in router),
                  sixth=tuple(f"nat VPCCTL-PORTS {rule}" for rule in sixth))
    return [*found_publishes.publishes(kernel, WEB, NAMES, notes)], notes


TCP = f"-p tcp -m tcp --dport 8080 {MARK} -j DNAT --to-destination"


def test_a_port_is_found_by_its_rule() -> None:
    udp = f"-d 203.0.113.2/32 -p udp -m udp --dport 53 {MARK} -j DNAT --to-destination 10.0.1.4:5353"
    other = TCP.replace("/web~", "/other~")
    assert published(f"{TCP} 10.0.1.4:80", udp, f"{other} 10.0.1.5:80") == (
        [Publish(8080, 80), Publish(53, 5353, Transport.UDP, IPv4Address("203.0.113.2"))], [])


def test_a_port_of_a_vpc_without_a_route_is_found_at_its_router() -> None:
    inner = [f"-p {protocol} -m {protocol} --dport {port} {MARK} -j DNAT --to-destination 10.0.1.4:{to}"
             for protocol, port, to in (("udp", 30000, 1), ("tcp", 30001, 2), ("tcp", 30000, 80))]
    other = inner[2].replace("/web~", "/other~").replace(":80", ":81")
    assert published(f"{TCP} 169.254.64.1:30000", router=(other, *inner)) == ([Publish(8080, 80)], [])


def test_a_port_of_both_families_is_one_and_one_at_an_address_of_ipv6_is_found() -> None:
    at, goal = "-d 2001:db8::2/128", "[fd00:0:0:101::4]"
    both = f"{TCP} {goal}:80"
    only = f"{at} -p udp -m udp --dport 53 {MARK} -j DNAT --to-destination {goal}:5353"
    held = Publish(53, 5353, Transport.UDP, IPv6Address("2001:db8::2"))
    assert published(f"{TCP} 10.0.1.4:80", sixth=(both, only)) == ([Publish(8080, 80), held], [])
    # The rules of IPv4 are lost.
    assert published(sixth=(both,)) == ([Publish(8080, 80)], [])
    for rule in (f"-d 2001:db8::/64 {TCP} {goal}:80", f"-d fe80::1/128 {TCP} {goal}:80", f"{TCP} {goal}"):
        found, notes = published(sixth=(rule,))
        assert (found, len(notes)) == ([], 1)


@pytest.mark.parametrize("rule", [
    f"{TCP} 10.0.1.4", f"{TCP} 10.0.1.4:many", f"{TCP} ten:80", f"{TCP} 169.254.64.1:30000",
    f"{TCP} 10.0.1.4:70000", f"-p tcp -m tcp --dport 8080 {MARK} -j ACCEPT",
    f"-p tcp {MARK} -j DNAT --to-destination 10.0.1.4:80",
    f"-p sctp --dport 8080 {MARK} -j DNAT --to-destination 10.0.1.4:80",
    f"-d 203.0.113.0/24 {TCP} 10.0.1.4:80", f"-d 203.0.113.2/31 {TCP} 10.0.1.4:80"])
def test_a_rule_that_is_not_vpcctl_s_is_noted(rule: str) -> None:
    assert published(rule, f"{TCP} 10.0.1.4:80") == (
        [Publish(8080, 80)],
        ["a published port of 'vpc1/public/web' can't be rebuilt: its rule is not vpcctl's"])


@pytest.mark.parametrize(("rules", "front"), [
    ((), None), (("VPCCTL-PORTS -j SNAT --to-source 203.0.113.2",), None),
    (("VPCCTL-PUBLISHED -j ACCEPT", "VPCCTL-PUBLISHED -s 10.0.0.0/16 -j SNAT --to-source 203.0.113.2"),
     "203.0.113.2"),
    (("VPCCTL-ELASTIC-TO -s 10.0.0.0/16 -j SNAT --to-source 203.0.113.2",), "203.0.113.2"),
    (("VPCCTL-PUBLISHED -s 10.0.0.0/16 -j SNAT --to-source 203.0.113.2-203.0.113.3",), None)])
def test_the_host_s_address_outside_is_the_one_that_machines_get(rules: tuple[str, ...],
                                                                 front: str | None) -> None:
    found = found_publishes.front(Said(*(f"nat {rule}" for rule in rules)))
    assert found == (IPv4Address(front) if front else None)


@pytest.mark.parametrize(("rules", "front"), [
    ((), None),
    (("VPCCTL-PUBLISHED -j ACCEPT", "VPCCTL-PUBLISHED -s fd00::/56 -j SNAT --to-source 2001:db8::2"),
     "2001:db8::2"),
    (("VPCCTL-ELASTIC-TO -s fd00::/56 -j SNAT --to-source 2001:db8::2",), None),
    (("VPCCTL-PUBLISHED -s fd00::/56 -j SNAT --to-source 2001:db8::2-2001:db8::3",), None)])
def test_so_is_that_of_ipv6(rules: tuple[str, ...], front: str | None) -> None:
    found = found_publishes.front6(Said(sixth=tuple(f"nat {rule}" for rule in rules)))
    assert found == (IPv6Address(front) if front else None)


def test_ipv6_comes_to_ports_by_the_links_that_marked_rules_name() -> None:
    ours, others = ("-m comment --comment vpcctl:host", "-m comment --comment vpcctl:vpc1/public")
    rules = (f"-i eth0 {ours}", "-i wg0", f"-i vpc-vpc1 {others}", ours, f"-i wg1 {ours}")
    said = Said(sixth=tuple(f"nat VPCCTL-PUBLISH {rule} -j VPCCTL-PORTS" for rule in rules))
    assert found_publishes.entrances(said) == ("eth0", "wg1")
    assert found_publishes.entrances(Said()) == ()


def marked(*rules: str) -> Said:
    """The chain with the marks of pools and elastic addresses."""
    return Said(*(f"filter VPCCTL-ELASTIC-TO {rule}" for rule in rules))


def test_pools_are_found_by_their_marks() -> None:
    notes: list[str] = []
    kernel = marked("-d 198.51.100.0/28 -m comment --comment vpcctl:~pool~eth0",
                    "-d 203.0.113.9/32 -m comment --comment vpcctl:~pool~lan", "-d 203.0.113.10/32 -j ACCEPT",
                    "-m comment --comment another -j ACCEPT")
    assert [*found_elastic.pools(kernel, Topology((VPC,)), (), notes)] \
        == [POOL, Pool(IPv4Network("203.0.113.9/32"), "lan")]
    assert notes == []


@pytest.mark.parametrize("rule", [
    "-m comment --comment vpcctl:~pool~eth0", "-d 198.51.100.8/29 -m comment --comment vpcctl:~pool~eth0",
    "-d 10.0.1.0/28 -m comment --comment vpcctl:~pool~eth0",
    "-d 127.0.0.0/28 -m comment --comment vpcctl:~pool~eth0"])
def test_a_pool_that_nobody_may_have_is_noted(rule: str) -> None:
    notes: list[str] = []
    other = Pool(IPv4Network("203.0.113.0/28"), "lan")
    kernel = marked("-d 198.51.100.0/28 -m comment --comment vpcctl:~pool~eth0",
                    "-d 203.0.113.0/28 -m comment --comment vpcctl:~pool~lan", rule)
    assert [*found_elastic.pools(kernel, Topology((VPC,)), (), notes)] == [POOL, other]
    assert notes == ["a pool of elastic addresses can't be rebuilt: its mark is not vpcctl's"]


def elastic(*rules: tuple[str, str]) -> tuple[list[Elastic], list[str]]:
    """The elastic addresses by marks, each with its address; and what is noted."""
    notes: list[str] = []
    kernel = marked(*(f"-d {address} -m comment --comment {mark} -j ACCEPT" for address, mark in rules))
    return [*found_elastic.eips(kernel, Topology((VPC,), pools=(POOL,)), (), notes)], notes


def test_elastic_addresses_are_found_by_their_marks() -> None:
    assert elastic(("198.51.100.1/32", "vpcctl:vpc1/public~eip"), ("198.51.100.2/32", "vpcctl:~eip"),
                   ("198.51.100.3/32", "vpcctl:vpc1/public/web~eip"),
                   ("198.51.100.4/32", "vpcctl:vpc1/public/nat1~eip"), ("198.51.100.5/32", "another")) == (
        [Elastic(IPv4Address("198.51.100.1"), "vpc1", "public"), Elastic(IPv4Address("198.51.100.2")),
         Elastic(IPv4Address("198.51.100.3"), *NAMES),
         Elastic(IPv4Address("198.51.100.4"), "vpc1", "public", "nat1")], [])


@pytest.mark.parametrize(("address", "place"), [
    ("203.0.113.9/32", "vpc1/public"), ("198.51.100.0/28", "vpc1/public"), ("198.51.100.2/32", "vpc1/other"),
    ("198.51.100.2/32", "vpc2/public"), ("198.51.100.2/32", "vpc1/public/other"),
    ("198.51.100.2/32", "vpc1/public/web/more"), ("198.51.100.2/32", "vpc1")])
def test_an_elastic_address_that_nobody_may_have_is_noted(address: str, place: str) -> None:
    known = ("198.51.100.1/32", "vpcctl:vpc1/public~eip")
    assert elastic((address, f"vpcctl:{place}~eip"), known) == (
        [Elastic(IPv4Address("198.51.100.1"), "vpc1", "public")],
        ["an elastic address can't be rebuilt: its mark is not vpcctl's, or its machine is missing"])


def test_a_host_without_such_chains_has_none() -> None:
    assert published() == ([], [])
    assert elastic() == ([], [])
    assert [*found_elastic.pools(marked(), Topology(), (), [])] == []
