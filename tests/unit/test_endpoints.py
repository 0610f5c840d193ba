"""Machines in a network: what follows from their places, and that nothing takes a subnet for one machine."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.inspection import owners
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.graph import graph
from vpcctl_lib.model import endpoints, kinds
from vpcctl_lib.model.comparison import compare
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.policies import Action, Policy, Protocol, Rule
from vpcctl_lib.model.routes import NatGateway
from vpcctl_lib.model.topology import OWN, Attachment, Machine, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.reach.intent import Intent
from vpcctl_lib.record.codec import decode, written
from vpcctl_lib.resources import (
    Attached,
    Chain,
    Namespace,
    Port,
    Program,
    Route,
    Settings,
    SingleRule,
)
from vpcctl_lib.resources.processes import EmptyNamespaces

WORKER = Workload("worker", ("sleep", "9"))
WEB1 = Machine("web1", (IPv4Address("10.0.1.4"),), workloads=(WORKER,))
GUEST = Machine("guest", (IPv4Address("10.0.1.5"),), Attachment(path="/proc/77/ns/net", interface="vpc0"))
PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC, machines=(OWN, WEB1, GUEST))
BARE = Subnet("bare", IPv4Network("10.0.2.0/24"), machines=())
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(PUBLIC, BARE))
NETWORK = Topology((VPC,), guarded=True)
OURS = replace(VPC, subnets=(replace(PUBLIC, machines=(OWN, WEB1)), BARE))
"""With nothing in it that somebody else makes."""


def test_a_machine_s_place_gives_it_its_names() -> None:
    own, web1, guest = endpoints.in_vpc(VPC)
    assert [str(one.site) for one in (own, web1, guest)] == ["vpc1/public", "vpc1/public/web1",
                                                             "vpc1/public/guest"]
    assert [one.namespace for one in (own, web1, guest)] == ["vpc1-public", "vpc1-public.web1",
                                                             "vpc1-public.guest"]
    assert [one.interface for one in (own, web1, guest)] == ["eth0", "eth0", "vpc0"]
    assert [one.port for one in (own, web1)] == ["s-public", "i-public.web1"]
    assert [one.site.owner for one in (own, web1)] == ["vpcctl:vpc1/public", "vpcctl:vpc1/public/web1"]
    assert [one.is_ours for one in (own, web1, guest)] == [True, True, False]


def test_addresses_are_of_both_families_and_the_mac_follows_from_the_first() -> None:
    dual = replace(VPC, ipv6=IPv6Network("fd00:0:0:100::/56"),
                   subnets=(replace(PUBLIC, ipv6=IPv6Network("fd00:0:0:101::/64")),))
    own, web1, _ = endpoints.in_vpc(dual)
    assert own.addresses == (IPv4Interface("10.0.1.2/24"), IPv6Interface("fd00:0:0:101::2/128"))
    assert web1.addresses == (IPv4Interface("10.0.1.4/24"), IPv6Interface("fd00:0:0:101::4/128"))
    assert web1.ipv6 == (IPv6Address("fd00:0:0:101::4"),)
    assert (web1.address, web1.mac[-8:]) == (IPv4Address("10.0.1.4"), "00:01:04")


def test_a_vpc_without_ipv6_has_no_such_address() -> None:
    assert all(one.ipv6 == () for one in endpoints.in_vpc(VPC))


def test_a_nat_gateway_has_only_ipv4() -> None:
    subnet = replace(PUBLIC, ipv6=IPv6Network("fd00:0:0:101::/64"))
    gateway = NatGateway("nat", "public", IPv4Address("10.0.1.9"))
    vpc = replace(VPC, subnets=(subnet,), nat_gateways=(gateway,))
    *machines, nat = endpoints.all_in_subnet(vpc, subnet)
    assert (nat.translates, nat.ipv6) == (True, ())
    assert all(one.ipv6 for one in machines)


def test_a_bare_subnet_has_nobody() -> None:
    assert endpoints.own(VPC, BARE) is None
    assert endpoints.in_subnet(VPC, BARE) == ()
    with pytest.raises(VpcctlError, match="vpc1/bare has no machine of its own"):
        find_endpoint(NETWORK, Site("vpc1", "bare"))
    with pytest.raises(VpcctlError, match="machine 'web2' does not exist in vpc1/public") as refused:
        find_endpoint(NETWORK, Site("vpc1", "public", "web2"))
    assert "web1" in refused.value.hint
    alone = Topology((replace(VPC, subnets=(replace(PUBLIC, machines=(OWN,)),)),))
    with pytest.raises(VpcctlError) as refused:
        find_endpoint(alone, Site("vpc1", "public", "web1"))
    assert refused.value.hint == "its own machine is vpc1/public"


def test_each_machine_has_all_that_a_subnet_s_own_has() -> None:
    made = blueprint(NETWORK)
    spaces = [one.name for one in made if isinstance(one, Namespace)]
    assert spaces == ["vpc1", "vpc1-public", "vpc1-public.web1"], "somebody else's is not made"
    kinds = {space: sorted(type(one).__name__ for one in made if (space, "") in one.homes)
             for space in ("vpc1-public", "vpc1-public.web1")}
    assert kinds["vpc1-public.web1"] == kinds["vpc1-public"] != []
    inner = {space: sorted(str(one).replace(space, "") for one in made
                           if isinstance(one, Route) and one.namespace == space)
             for space in ("vpc1-public", "vpc1-public.web1")}
    assert inner["vpc1-public.web1"] == inner["vpc1-public"] != []
    assert [one.mark for one in made if isinstance(one, Program)] == ["vpc1/public/web1/worker"]


def test_the_record_keeps_machines() -> None:
    assert decode(Topology, json.loads(written(NETWORK))) == NETWORK


def test_comparison_tells_of_machines() -> None:
    alone = replace(VPC, subnets=(replace(PUBLIC, machines=(OWN,)), BARE))
    assert list(map(str, compare(Topology((alone,)), NETWORK))) == [
        "+ machine vpc1/public/web1: it does not exist yet",
        "+ workload vpc1/public/web1/worker: it does not exist yet",
        "+ machine vpc1/public/guest: /proc/77/ns/net is not attached yet"]
    assert [str(one)[:28] for one in compare(NETWORK, Topology((alone,)))] == [
        "- machine vpc1/public/web1: ", "- machine vpc1/public/guest:"]
    moved = PUBLIC.with_machine(replace(WEB1, addresses=(IPv4Address("10.0.1.9"),)))
    assert list(map(str, compare(NETWORK, Topology((VPC.with_subnet(moved),))))) == [
        "~ machine vpc1/public/web1: addresses: 10.0.1.4 → 10.0.1.9"]
    other = PUBLIC.with_machine(replace(GUEST, attached=Attachment("docker:web")))
    assert list(map(str, compare(NETWORK, Topology((VPC.with_subnet(other),))))) == [
        "~ machine vpc1/public/guest: attached: /proc/77/ns/net by vpc0 → docker:web by eth0"]


def test_a_plan_makes_and_removes_a_machine_alone() -> None:
    alone = Topology((replace(VPC, subnets=(replace(PUBLIC, machines=(OWN,)), BARE)),), guarded=True)
    there = difference(difference((), blueprint(alone)).after, blueprint(Topology((OURS,), guarded=True)))
    touched = {str(step.entry.resource) for step in there.steps}
    assert any("vpc1-public.web1" in one for one in touched)
    assert "namespace vpc1-public" not in touched
    back = difference(there.after, blueprint(alone))
    assert [entry.resource for entry in back.after] == blueprint(alone)


def test_in_a_namespace_of_others_everything_of_ours_is_apart_from_what_is_theirs() -> None:
    policy = Policy((Rule(Protocol.ICMP, Action.ALLOW),), ())
    subnet = replace(PUBLIC, machines=(GUEST,), policy=policy)
    made = blueprint(Topology((replace(VPC, subnets=(subnet,)),)))
    inside = [one for one in made if ("vpc1-public.guest", "") in one.homes]
    assert [(one.table, one.name) for one in inside if isinstance(one, Chain)] == [
        ("mangle", "VPCCTL-IN"), ("mangle", "VPCCTL-OUT")]
    assert [(one.chain, one.rule, one.top) for one in inside if isinstance(one, SingleRule)] == [
        ("PREROUTING", "-i vpc0 -j VPCCTL-IN", True), ("POSTROUTING", "-o vpc0 -j VPCCTL-OUT", True)]
    assert [one.device for one in inside if isinstance(one, Settings | Port)] == ["vpc0", "vpc0"]
    keys = [key for one in inside if isinstance(one, Settings) for key, _ in one.values]
    assert {key.rpartition(".")[0] for key in keys} == {"net.ipv4.conf.vpc0", "net.ipv6.conf.vpc0"}
    assert [one.metric for one in inside if isinstance(one, Route)] == [0, 0, 30320, 0]
    (port,) = [one for one in made if isinstance(one, Port) and one.device == "i-public.guest"]
    assert port.owner == "vpcctl:vpc1/public/guest~vpc0~/proc/77/ns/net"
    (name,) = [one for one in made if isinstance(one, Attached)]
    assert (name.space, name.guest, name.takes) == ("", "vpc1-public.guest", frozenset())
    gone = difference(difference((), made).after, ()).steps
    undone = [line for step in gone for line in map(str, step.work) if "netns del" in line]
    assert "netns del vpc1-public.guest" in undone
    assert "vpc1-public.guest" not in str([one for step in gone for one in step.work
                                           if isinstance(one, EmptyNamespaces)])


def test_a_name_that_is_taken_is_seen() -> None:
    twin = replace(VPC, subnets=(PUBLIC, replace(BARE, name="public.web1")))
    assert kinds.collision(NETWORK) is None
    found = kinds.collision(Topology((replace(twin, subnets=(*twin.subnets[:1], replace(
        BARE, name="public.web1", machines=(OWN,)))),)))
    assert found is not None
    assert found.name == "namespace vpc1-public.web1"


def test_who_can_break_what_is_told_by_machine() -> None:
    network = Topology((OURS,))
    found = owners(network, difference((), blueprint(network)).after)
    assert {"vpc1-public", "vpc1-public.web1"} <= set(found.values())


def test_the_graph_shows_each_machine() -> None:
    (vpc,) = graph(NETWORK).vpcs
    assert vpc.subnets[0].address == "10.0.1.2"
    assert list(map(str, vpc.subnets[0].things)) == [
        "machine web1 10.0.1.4", "machine guest 10.0.1.5, /proc/77/ns/net by vpc0"]
    assert vpc.subnets[0].workloads == ("web1/worker",)


def test_an_address_is_that_of_its_machine() -> None:
    intent = Intent(NETWORK)
    assert intent.namespace_at(VPC, IPv4Address("10.0.1.4")) == "vpc1-public.web1"
    assert intent.namespace_at(VPC, IPv4Address("10.0.1.99")) == "vpc1-public"
    assert intent.nobody_at(VPC, IPv4Address("10.0.1.4")) == ""
    assert "10.0.1.2, 10.0.1.4, 10.0.1.5" in intent.nobody_at(VPC, IPv4Address("10.0.1.99"))
    assert "vpc1/bare has no machine" in intent.nobody_at(VPC, IPv4Address("10.0.2.2"))
