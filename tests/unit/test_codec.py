"""The record's values: every topology comes back the same, and what does not fit is told with its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dear import DEAR
from tests.topologies import topologies
from vpcctl_lib.model.policies import Policy, Ports
from vpcctl_lib.model.topology import Machine, Nat, Subnet, Topology, Vpc
from vpcctl_lib.record.codec import Misfit, decode, written
from vpcctl_lib.record.ledger import Verb

VPC = {"name": "vpc1", "cidr": "10.0.0.0/16"}


@given(topologies())
@DEAR
def test_every_topology_comes_back_the_same(topology: Topology) -> None:
    assert decode(Topology, json.loads(written(topology))) == topology


def test_defaults_are_left_out() -> None:
    text = written(Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),)))
    assert text == json.dumps({"vpcs": [VPC]})


def test_what_may_be_missing_is_told_from_what_is_empty() -> None:
    assert decode(Policy, {"egress": []}) == Policy(egress=())
    assert decode(Policy, {"egress": None}) == decode(Policy, {}) == Policy(egress=None)


@dataclass(frozen=True)
class Mixed:
    """A value of each plain type."""

    text: str = ""
    number: int = 0
    yes: bool = False
    ratio: float = 0.0
    verb: Verb | None = None
    several: tuple[str | None, ...] = ()


@pytest.mark.parametrize(("mixed", "data"), [
    (Mixed("a \"b\\\n\x7f\u00e9\U0001f600", 7), {"text": "a \"b\\\n\x7f\u00e9\U0001f600", "number": 7}),
    (Mixed(yes=True, ratio=0.5, verb=Verb.MAKE), {"yes": True, "ratio": 0.5, "verb": "make"}),
    (Mixed(several=("a", None)), {"several": ["a", None]}), (Mixed(), {})])
def test_plain_values_are_written_as_json_does(mixed: Mixed, data: dict[str, Any]) -> None:
    assert written(mixed) == json.dumps(data)
    assert written(mixed, "mixed") == json.dumps({"kind": "mixed", **data})


@dataclass(frozen=True)
class Pair:
    """A tuple of a fixed length, and a dict."""

    both: tuple[str, int] = ("", 0)
    facts: dict[str, str] | None = None


def test_tuples_of_a_fixed_length_and_dicts() -> None:
    pair = Pair(("a", 1), {"pid": "7"})
    assert decode(Pair, json.loads(written(pair))) == pair


@pytest.mark.parametrize(("kind", "data", "told"), [
    (Topology, [], "at: dict belongs here, not []"),
    (Topology, None, "at: dict belongs here, not None"),
    (Topology, {"vpcs": {}}, "at.vpcs: list belongs here, not {}"),
    (Topology, {"vpcs": [VPC, "x"]}, "at.vpcs[1]: dict belongs here, not 'x'"),
    (Topology, {"vpcs": [{**VPC, "cidr": "x"}]}, "at.vpcs[0].cidr: "),
    (Topology, {"vpcs": [{**VPC, "cidr": "10.0.0.1/8"}]}, "at.vpcs[0].cidr: 10.0.0.1/8 has host bits set"),
    (Topology, {"vpcs": [{**VPC, "cidr": 5}]}, "at.vpcs[0].cidr: str belongs here, not 5"),
    (Topology, {"vpcs": [{**VPC, "color": 1}]}, "at.vpcs[0].color: not a field of Vpc"),
    (Topology, {"vpcs": [{"name": "a"}]}, "at.vpcs[0]: "),
    (Vpc, {**VPC, "name": 7}, "at.name: str belongs here, not 7"),
    (Vpc, {**VPC, "link": True}, "at.link: int belongs here, not True"),
    (Vpc, {**VPC, "link": 1.5}, "at.link: int belongs here, not 1.5"),
    (Vpc, {**VPC, "routed": 1}, "at.routed: bool belongs here, not 1"),
    (Vpc, {**VPC, "nat": {"interface": "eth0", "resolvers": ["8.8.8"]}}, "at.nat.resolvers[0]: "),
    (Nat, {"interface": "eth0", "resolvers": "8.8.8.8"}, "at.resolvers: list belongs here"),
    (Nat, {"interface": "eth0", "resolvers": [134744072]}, "at.resolvers[0]: str belongs here"),
    (Machine, {"addresses": [None]}, "at.addresses[0]: str belongs here, not None"),
    (Machine, {"addresses": ["10.0.1"]}, "at.addresses[0]: '10.0.1' does not appear to be an IPv4 or IPv6"),
    (Subnet, {**VPC, "type": "secret"}, "at.type: 'secret' is not a valid SubnetType"),
    (Subnet, {**VPC, "type": ["public"]}, "at.type: str belongs here"),
    (Ports, {"first": 1}, "at: "),
    (Pair, {"both": ["a"]}, "at.both: 2 values belong here, not 1"),
    (Pair, {"both": ["a", "b"]}, "at.both[1]: int belongs here, not 'b'"),
    (Pair, {"facts": {"pid": 7}}, "at.facts.pid: str belongs here, not 7"),
])
def test_a_misfit_names_its_place(kind: type, data: Any, told: str) -> None:
    with pytest.raises(Misfit) as caught:
        decode(kind, data, "at")
    assert str(caught.value).startswith(told)


def test_without_a_place_only_the_problem_is_named() -> None:
    with pytest.raises(Misfit) as caught:
        decode(Topology, [])
    assert str(caught.value) == "dict belongs here, not []"


def test_addresses_are_of_either_family() -> None:
    machine = Machine(addresses=(IPv4Address("10.0.1.2"), IPv6Address("fd00::2")))
    assert written(machine) == '{"addresses": ["10.0.1.2", "fd00::2"]}'
    assert decode(Machine, json.loads(written(machine))) == machine


keys = st.sampled_from(("vpcs", "peerings", "name", "cidr", "nat", "subnets")) | st.text()
anything = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                        lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=10)


@given(anything)
def test_no_value_is_more_than_a_misfit(data: Any) -> None:
    for kind in (Topology, Vpc, Subnet, Policy):
        try:
            decode(kind, data)
        except Misfit:
            continue
