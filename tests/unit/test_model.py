"""The model's own small operations: every change gives a new value and keeps the order."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from vpcctl_lib.model.policies import Ports
from vpcctl_lib.model.topology import OWN, Machine, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

A, B, C = (Vpc(name, IPv4Network(f"10.{number}.0.0/16"), number) for number, name in enumerate("abc"))
WEB, DB = (Subnet(name, IPv4Network(f"10.0.{number}.0/24")) for number, name in enumerate(("web", "db")))


def test_things_are_found_by_name() -> None:
    topology = Topology((A, B))
    assert topology.vpc("b") is B
    assert topology.vpc("c") is None
    assert replace(A, subnets=(WEB,)).subnet("web") is WEB
    assert A.subnet("web") is None
    worker = Workload("worker", ("sleep", "1"))
    assert Machine(workloads=(worker,)).workload("worker") is worker
    assert OWN.workload("worker") is None
    assert WEB.machine() == OWN
    assert WEB.machine("web1") is None


def test_a_new_one_goes_to_the_end() -> None:
    assert Topology((A, B)).with_vpc(C).vpcs == (A, B, C)
    assert replace(A, subnets=(WEB,)).with_subnet(DB).subnets == (WEB, DB)


def test_one_of_the_same_name_keeps_its_place() -> None:
    other = replace(A, routed=False)
    assert Topology((A, B)).with_vpc(other).vpcs == (other, B)
    public = replace(WEB, type=SubnetType.PUBLIC)
    assert replace(A, subnets=(WEB, DB)).with_subnet(public).subnets == (public, DB)
    assert Topology((A, B)).with_vpc(A) == Topology((A, B))


def test_a_vpc_takes_its_peerings_along() -> None:
    topology = Topology((A, B, C), (Peering("a", "b"), Peering("b", "c")))
    assert topology.without_vpc("a") == Topology((B, C), (Peering("b", "c"),))
    assert topology.without_vpc("b") == Topology((A, C))
    assert replace(A, subnets=(WEB, DB)).without_subnet("web").subnets == (DB,)


def test_the_order_of_a_peering_does_not_matter() -> None:
    assert Peering.between("b", "a") == Peering.between("a", "b") == Peering("a", "b")
    assert Peering("a", "b").other("a") == "b"
    assert Peering("a", "b").other("b") == "a"


def test_peers_are_those_of_one_hop() -> None:
    topology = Topology((A, B, C), (Peering("a", "b"), Peering("b", "c")))
    assert list(topology.peers_of("a")) == [B]
    assert list(topology.peers_of("b")) == [A, C]
    assert list(topology.peers_of("nobody")) == []


def test_nothing_can_be_changed_in_place() -> None:
    with pytest.raises(AttributeError):
        A.name = "b"  # type: ignore[misc]


def test_ports_as_a_person_writes_them() -> None:
    assert str(Ports(80, 80)) == "80"
    assert str(Ports(8000, 8100)) == "8000-8100"
