"""Refusals name what is there, a route table once; containers get no address of a NAT gateway."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model.route_checks import check_vpc, find_table
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.topology import Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.runtimes.guests import address_for

PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
GATEWAY = NatGateway("nat1", "public", IPv4Address("10.0.1.4"))
NETWORK = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(PUBLIC,), nat_gateways=(GATEWAY,), route_tables=(
    RouteTable("main", (VpcRoute(IPv4Network("0.0.0.0/0"), Via.NAT, "nat1"),)),))


def test_a_built_in_table_with_routes_is_named_once() -> None:
    with pytest.raises(VpcctlError) as refused:
        find_table(Topology((NETWORK,)), "vpc1", "elsewhere")
    assert refused.value.hint == "use one of: main, public"


def test_a_container_gets_no_address_of_a_nat_gateway() -> None:
    assert address_for(NETWORK, PUBLIC, None, ()) == IPv4Address("10.0.1.5")
    with pytest.raises(BadInput, match="already belongs to NAT gateway 'nat1'"):
        address_for(NETWORK, PUBLIC, IPv4Address("10.0.1.4"), ())
    with pytest.raises(BadInput, match="already belongs to another container"):
        address_for(NETWORK, PUBLIC, IPv4Address("10.0.1.6"), (IPv4Address("10.0.1.6"),))


def test_two_nat_gateways_have_no_address_in_common() -> None:
    vpc = replace(NETWORK, nat_gateways=(GATEWAY, replace(GATEWAY, name="nat2")))
    with pytest.raises(BadInput, match="already belongs to NAT gateway 'nat2'"):
        check_vpc(Topology((vpc,)), vpc, None)
