"""Addresses: what is a CIDR, which a VPC and a subnet may have, and which address goes where."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model import addressing
from vpcctl_lib.model.addressing import (
    check_address,
    check_count,
    check_subnet,
    check_vpc,
    free_address,
    interface,
    owner,
    parse_interface,
    parse_network,
)

VPC = IPv4Network("10.0.0.0/16")


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_every_network_is_read_as_it_is_written(address: int, prefix: int) -> None:
    network = IPv4Network((address, prefix), strict=False)
    assert parse_network(str(network)) == network
    assert parse_network(f" {network}\n") == network


@pytest.mark.parametrize(("text", "problem", "hint"), [
    ("10.0.0.1/16", "has host bits set", "did you mean 10.0.0.0/16?"),
    ("10.0.1.2/0", "has host bits set", "did you mean 0.0.0.0/0?"),
    ("10.0.0.0", "has no prefix length", "write for example 10.0.0.0/24"),
    ("", "has no prefix length", "10.0.0.0/24"),
    ("10.7.5.3", "has no prefix length", "write for example 10.7.5.0/24"),
    ("2020-01-01", "has no prefix length", "write for example 10.0.0.0/24"),
    ("10.0.0.0/33", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0.0/-1", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0.0/", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0.0/16/8", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0.0/255.255.0.0", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0.0/١٦", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0/16", "is not a CIDR", "10.0.0.0/16"),
    ("10.0.0.256/16", "is not a CIDR", "10.0.0.0/16"),
    ("010.0.0.0/16", "is not a CIDR", "10.0.0.0/16"),
    ("ten/16", "is not a CIDR", "10.0.0.0/16"),
    ("fd00::/64", "is an IPv6 network", "10.0.0.0/16"),
])
def test_what_is_no_network(text: str, problem: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_network(text)
    assert text in caught.value.message
    assert problem in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.1.2.0/28", "192.168.0.0/24", "100.64.0.0/16"])
def test_a_cidr_for_a_vpc(cidr: str) -> None:
    assert check_vpc(IPv4Network(cidr)) == []


@pytest.mark.parametrize(("cidr", "warning"), [
    ("10.0.0.0/8", "wider than the /16"),
    ("8.8.0.0/16", "not a private range"),
    ("172.0.0.0/16", "not a private range"),
])
def test_a_cidr_that_deserves_a_warning(cidr: str, warning: str) -> None:
    (told,) = check_vpc(IPv4Network(cidr))
    assert told.startswith(cidr)
    assert warning in told


@pytest.mark.parametrize(("cidr", "why"), [
    ("0.0.0.0/0", "0.0.0.0/8"), ("0.1.0.0/16", "RFC 1122"), ("127.0.0.0/16", "loopback"),
    ("169.254.0.0/16", "link-local"), ("168.0.0.0/6", "link-local"), ("224.0.0.0/16", "multicast"),
    ("239.1.0.0/16", "multicast"), ("240.0.0.0/16", "reserved"), ("255.255.255.0/24", "reserved"),
    ("10.0.0.0/29", "too small"), ("10.0.0.1/32", "too small"),
])
def test_a_cidr_no_vpc_can_have(cidr: str, why: str) -> None:
    with pytest.raises(BadInput, match=why) as caught:
        check_vpc(IPv4Network(cidr))
    assert caught.value.hint.startswith("use ")


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.0.1.0/24", "10.0.255.248/29"])
def test_a_cidr_for_a_subnet(cidr: str) -> None:
    check_subnet(IPv4Network(cidr), (VPC,), [])


@pytest.mark.parametrize(("cidr", "vpc", "problem"), [
    ("10.1.0.0/24", "10.0.0.0/16", "not inside the VPC's CIDR 10.0.0.0/16"),
    ("10.0.0.0/15", "10.0.0.0/16", "not inside"),
    ("10.0.0.0/30", "10.0.0.0/16", "too small for a subnet"),
    ("10.0.0.0/15", "10.0.0.0/8", "too wide for a subnet"),
])
def test_a_cidr_no_subnet_can_have(cidr: str, vpc: str, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        check_subnet(IPv4Network(cidr), (IPv4Network(vpc),), [])


def test_a_subnet_over_another_names_it() -> None:
    others = [("web", IPv4Network("10.0.1.0/24")), ("db", IPv4Network("10.0.2.0/24"))]
    check_subnet(IPv4Network("10.0.3.0/24"), (VPC,), others)
    with pytest.raises(VpcctlError, match=r"10\.0\.2\.0/23 overlaps subnet 'db' \(10\.0\.2\.0/24\)"):
        check_subnet(IPv4Network("10.0.2.0/23"), (VPC,), others)


def test_gateway_and_instance_never_meet() -> None:
    assert addressing.gateway(VPC) == IPv4Address("10.0.0.1")
    assert addressing.instance(IPv4Network("10.0.1.0/24")) == IPv4Address("10.0.1.2")
    assert addressing.instance(IPv4Network("10.0.0.0/29")) != addressing.gateway(VPC)


def test_each_cable_has_addresses_of_its_own() -> None:
    ends = [end(link) for link in range(addressing.LINK_COUNT)
            for end in (addressing.host_end, addressing.router_end)]
    assert len(set(ends)) == addressing.LINKS.num_addresses
    assert all(end in addressing.LINKS for end in (ends[0], ends[-1]))
    pair = IPv4Network(f"{addressing.host_end(5)}/31")
    assert list(pair.hosts()) == [addressing.host_end(5), addressing.router_end(5)]


def test_the_lowest_free_cable_is_taken() -> None:
    assert addressing.free_link(set()) == 0
    assert addressing.free_link({0, 1, 3}) == 2
    with pytest.raises(VpcctlError, match="all 8192 links"):
        addressing.free_link(range(addressing.LINK_COUNT))


few = st.builds(lambda octet, prefix: IPv4Network((octet << 24, prefix), strict=False),
                st.integers(0, 255), st.integers(4, 10))


@given(st.lists(few, max_size=6))
def test_overlapping_is_what_any_two_of_them_do(networks: list[IPv4Network]) -> None:
    pairs = combinations(networks, 2)
    assert addressing.overlapping(networks) == any(one.overlaps(other) for one, other in pairs)


def test_a_vpc_has_as_many_subnets_as_its_bridge_has_ports() -> None:
    check_count("vpc1", 1023)
    with pytest.raises(VpcctlError, match="1,024 subnets: its bridge has 1,023 ports"):
        check_count("vpc1", 1024)


def test_a_resolver_of_a_cloud_is_known_for_what_it_is() -> None:
    refused = ("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
    for text in refused:
        assert any(IPv4Address(text) in block for block in addressing.METADATA), text
    assert not any(IPv4Address("9.9.9.9") in block for block in addressing.METADATA)


@pytest.mark.parametrize(("subnet", "taken"), [
    # The first and last, a machine's, and in the VPC's first subnet the router's.
    ("10.0.0.0/24", 4), ("10.0.1.0/24", 3), ("10.0.0.0/30", 4), ("10.0.255.0/24", 3), ("10.0.0.0/16", 4)])
def test_how_many_addresses_of_a_subnet_are_taken(subnet: str, taken: int) -> None:
    network = IPv4Network(subnet)
    assert addressing.used(network, VPC, ()) == taken - 1
    assert addressing.used(network, VPC, [network[2], IPv4Address("192.0.2.1")]) == taken
    assert addressing.used(network, VPC, [network[2], network[3]]) == taken + (network.num_addresses > 4)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_an_interface_made_of_parts_is_like_any_other(address: int, prefix: int) -> None:
    made, whole = interface(IPv4Address(address), prefix), IPv4Interface((address, prefix))
    assert (made, hash(made), str(made), repr(made)) == (whole, hash(whole), str(whole), repr(whole))
    assert (made.ip, made.network, made.netmask, made.with_prefixlen) == (
        whole.ip, whole.network, whole.netmask, whole.with_prefixlen)
    assert parse_interface(str(whole)) == whole
    assert made != IPv4Interface((address ^ 1, prefix))


@pytest.mark.parametrize("text", ["10.0.0.1/33", "10.0.0/8", "10.0.0.1/-1", "10.0.0.1/", "x", "10.0.0.1/٨"])
def test_what_is_no_interface(text: str) -> None:
    with pytest.raises(ValueError, match=".+"):
        parse_interface(text)


SUBNET = IPv4Network("10.0.1.0/24")


@pytest.mark.parametrize(("address", "why"), [
    ("10.0.2.5", "is not inside the subnet's CIDR"), ("10.0.1.0", "is the subnet's network address"),
    ("10.0.1.255", "is the subnet's broadcast address"), ("10.0.1.1", "is reserved"),
    ("10.0.1.3", "is reserved"),
    ("10.0.1.2", "already belongs to the subnet's own machine"),
    ("10.0.1.9", "already belongs to machine 'web1'"),
])
def test_addresses_that_no_machine_can_have(address: str, why: str) -> None:
    taken = {IPv4Address("10.0.1.2"): owner(""), IPv4Address("10.0.1.9"): owner("web1")}
    with pytest.raises(BadInput, match=why):
        check_address(IPv4Address(address), SUBNET, VPC, taken)


def test_the_lowest_free_address_comes_after_the_reserved() -> None:
    small = IPv4Network("10.0.1.8/29")
    taken: set[IPv4Address] = set()
    for last in (12, 13, 14):
        taken.add(free_address(small, taken))
        assert IPv4Address(f"10.0.1.{last}") in taken
    with pytest.raises(VpcctlError, match="all addresses of 10.0.1.8/29 are already in use"):
        free_address(small, taken)
