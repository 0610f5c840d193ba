"""What a topology needs, in the cases that the recorded plans don't have."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network

import pytest

from vpcctl_lib.blueprint import blueprint, peerings
from vpcctl_lib.blueprint.tables import HOME
from vpcctl_lib.firewall.filter_rules import MANY
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.routes import RouteTable, Via, VpcRoute
from vpcctl_lib.model.tables import KERNEL, MOST
from vpcctl_lib.model.topology import (
    OWN,
    Attachment,
    Machine,
    Nat,
    Peering,
    Subnet,
    SubnetType,
    Topology,
    Variant,
    Vpc,
)
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.resources import (
    Altname,
    Chain,
    File,
    Folder,
    Forwarding6,
    Guard,
    Port,
    Program,
    SingleRule,
    Way,
    WayRule,
)
from vpcctl_lib.resources.guard import FORM, FORM6
from vpcctl_lib.resources.packing import unpacked

PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=Nat("eth0"), subnets=(PUBLIC,))
LONG = ("production-europe-west", "production-europe-east")


def resolving(*servers: str, subnet: Subnet = PUBLIC) -> Topology:
    nat = Nat("eth0", resolvers=tuple(map(IPv4Address, servers)))
    return Topology((replace(VPC, nat=nat, subnets=(subnet,)),))


def test_a_file_names_each_resolver_in_a_line_of_its_own() -> None:
    files = [one for one in blueprint(resolving("9.9.9.9", "8.8.8.8")) if isinstance(one, File)]
    assert [one.content for one in files] == [
        "# vpcctl:vpc1/public\nnameserver 9.9.9.9\nnameserver 8.8.8.8\n"]


def test_without_a_resolver_there_is_no_file() -> None:
    assert [one for one in blueprint(resolving()) if isinstance(one, File | Folder)] == []


def test_programs_that_enter_an_attached_namespace_by_its_name_find_name_servers() -> None:
    guest = Machine("guest", (IPv4Address("10.0.1.9"),), Attachment(path="/run/netns/guest"))
    files = [one for one in blueprint(resolving("9.9.9.9", subnet=replace(PUBLIC, machines=(OWN, guest))))
             if isinstance(one, File)]
    assert [one.path for one in files] == ["/etc/netns/vpc1-public/resolv.conf",
                                             "/etc/netns/vpc1-public.guest/resolv.conf"]


@pytest.mark.parametrize(("variant", "has"), [(Variant.LEGACY, False), (Variant.NFT, True), (None, True)])
def test_the_older_iptables_may_have_no_table_of_security(variant: Variant | None, has: bool) -> None:
    found = blueprint(Topology((VPC,), iptables=variant))
    tables = [one.table for one in found if isinstance(one, Chain | SingleRule)]
    assert tables.count("security") == (2 if has else 0), "the chain, and the jump to it"


@pytest.mark.parametrize(("nat", "mtu"), [
    (None, 1500), (Nat("eth0", 1000), 1000), (Nat("eth0", 1400), 1400),
    (Nat("eth0", 1500), 1500), (Nat("eth0", 9000), 1500)])
def test_a_cable_takes_no_larger_packets_than_the_way_out_or_ethernet(nat: Nat | None, mtu: int) -> None:
    found = blueprint(Topology((replace(VPC, nat=nat),)))
    ends = [one for one in found if isinstance(one, Port) and one.device in ("vpc-vpc1", "uplink")]
    assert [one.mtu for one in ends] == [mtu, mtu]


@pytest.mark.parametrize("machine", [OWN, Machine(tap="tap0")])
def test_a_policy_of_many_rules_has_the_chains_that_it_leads_to(machine: Machine) -> None:
    rules = tuple(Rule(Protocol.TCP, Action.ALLOW, Ports(port, port)) for port in range(1, MANY + 1))
    subnet = replace(PUBLIC, policy=Policy(rules), machines=(machine,))
    (chain, *_) = [one for one in blueprint(Topology((replace(VPC, subnets=(subnet,)),)))
                   if isinstance(one, Chain) and one.namespace == "vpc1-public"]
    texts = [*chain.rules, *(text for inner in unpacked(chain.inner).values() for text in inner)]
    assert all(any(f"ingress[{number}]" in text for text in texts) for number in range(MANY))


@pytest.mark.parametrize(("port", "address"), [(80, "10.0.1.2"), (None, "")])
def test_only_what_listens_is_given_the_address(port: int | None, address: str) -> None:
    machine = Machine(workloads=(Workload("web", ("sleep", "9"), port=port),))
    (program,) = [one for one in blueprint(Topology((replace(VPC, subnets=(
        replace(PUBLIC, machines=(machine,)),)),))) if isinstance(one, Program)]
    assert program.address == address


def test_a_peering_of_long_names_can_be_found_by_them() -> None:
    vpcs = tuple(Vpc(name, IPv4Network((0x0A000000 + (number << 16), 16)), number)
                 for number, name in enumerate(LONG))
    topology = Topology(vpcs, (Peering.between(*LONG),))
    names = {(one.namespace, one.name) for one in blueprint(topology) if isinstance(one, Altname)}
    assert {(LONG[0], f"pcx-{LONG[1]}"), (LONG[1], f"pcx-{LONG[0]}")} <= names


@pytest.mark.parametrize("gone", ["vpc1", "vpc2"])
def test_a_peering_with_a_vpc_that_is_not_there_has_no_cable(gone: str) -> None:
    other = Vpc("vpc2", IPv4Network("172.16.0.0/16"), 1)
    topology = Topology(tuple(vpc for vpc in (VPC, other) if vpc.name != gone))
    assert list(peerings.cable(topology, Peering("vpc1", "vpc2"))) == []


def test_middleboxes_are_numbered_in_the_order_of_their_names() -> None:
    boxes = {name: IPv4Address(f"10.0.1.{number}") for number, name in enumerate("fdbeac", 10)}
    table = RouteTable("app", 1, tuple(
        VpcRoute(IPv4Network(f"192.168.{number}.0/24"), Via.INSTANCE, f"public/{name}")
        for number, name in enumerate(boxes)))
    machines = tuple(Machine(name, (address,), forwards=True) for name, address in boxes.items())
    app = Subnet("app", IPv4Network("10.0.2.0/24"), route_table="app")
    vpc = replace(VPC, subnets=(replace(PUBLIC, machines=machines), app), route_tables=(table,))
    answers = {one.table - KERNEL - MOST: one.via for one in blueprint(Topology((vpc,)))
               if isinstance(one, Way) and one.table > KERNEL + MOST}
    assert answers == {number: boxes[name] for number, name in enumerate("abcdef", 1)}


def test_links_forward_ipv6_only_if_some_leaves_by_them() -> None:
    def vpc(number: int, kind: SubnetType, nat: Nat | None) -> Vpc:
        subnet = Subnet("one", IPv4Network(f"10.{number}.1.0/24"), kind,
                        ipv6=IPv6Network(f"fd00:0:0:{number}01::/64"))
        return Vpc(f"vpc{number}", IPv4Network(f"10.{number}.0.0/16"), number, nat=nat, subnets=(subnet,),
                   ipv6=IPv6Network(f"fd00:0:0:{number}00::/56"))

    found = blueprint(Topology((
        vpc(1, SubnetType.PUBLIC, Nat("eth0")), vpc(2, SubnetType.PRIVATE, Nat("eth1")),
        vpc(3, SubnetType.PUBLIC, None))))
    assert [one for one in found if isinstance(one, Forwarding6)] \
        == [Forwarding6("vpc-vpc1", own=True), Forwarding6("eth0")]


PREFIX = IPv6Network("2001:db8:0:100::/56")
DUAL = replace(VPC, ipv6=PREFIX, subnets=(
    replace(PUBLIC, ipv6=IPv6Network("2001:db8:0:101::/64"), machines=(
        Machine("box", (IPv4Address("10.0.1.4"),), forwards=True),)),
    Subnet("app", IPv4Network("10.0.2.0/24"), ipv6=IPv6Network("2001:db8:0:102::/64"), route_table="app")))
ANYWHERE, ANYWHERE6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")


def test_a_guard_says_by_which_version_of_its_form_it_was_made() -> None:
    for vpc, form in ((VPC, FORM), (DUAL, FORM6)):
        (guard,) = Guard.among(blueprint(Topology((vpc,), guarded=True)))
        assert guard.form == form


def test_a_middlebox_of_one_family_leads_none_of_the_other() -> None:
    for destination, family in ((ANYWHERE, Family.INET), (ANYWHERE6, Family.INET6)):
        table = RouteTable("app", 1, (VpcRoute(destination, Via.INSTANCE, "public/box"),))
        rules = [*WayRule.among(blueprint(Topology((replace(DUAL, route_tables=(table,)),))))]
        assert {one.family for one in rules if one.priority >= HOME} == {family}
        # What the bridge itself switches needs no rule in the router.
        marked = {one.family for one in rules if one.priority < HOME}
        assert marked == {Family.INET6} | ({Family.INET} if family is Family.INET6 else set())


@pytest.mark.parametrize("via", [Via.INTERNET, Via.EGRESS])
def test_without_nat_a_route_of_ipv6_leads_nobody_out_or_in(via: Via) -> None:
    """It is listed as a blackhole: the router's and the host's rules are those without it."""
    table = RouteTable("app", 1, (VpcRoute(ANYWHERE6, via),))
    for nat, leads in ((Nat("eth0"), True), (None, False)):
        given, bare = (replace(DUAL, nat=nat, route_tables=(replace(table, routes=routes),))
                       for routes in (table.routes, ()))
        chains = [[one for one in blueprint(Topology((vpc,))) if isinstance(one, Chain)
                   and one.family is Family.INET6 and one.table != "raw"] for vpc in (given, bare)]
        assert (chains[0] != chains[1]) is leads
