"""What a topology needs, in the cases that the recorded plans don't have."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest

from vpcctl_lib.blueprint import blueprint, dual, peerings, taps
from vpcctl_lib.blueprint.dual import KERNELS_METRIC
from vpcctl_lib.blueprint.openings import openings6
from vpcctl_lib.blueprint.tables import HOME
from vpcctl_lib.firewall.filter_rules import MANY
from vpcctl_lib.firewall.route_rules import came_in
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import endpoint
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp
from vpcctl_lib.model.outside import Publish
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
    Address,
    Altname,
    Chain,
    Copying,
    Discovery,
    File,
    Folder,
    Forwarding6,
    Guard,
    Localnet6,
    Port,
    Program,
    Route,
    SingleRule,
    Way,
    WayRule,
    Whole6,
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


@pytest.mark.parametrize(("bandwidth", "back", "through"), [
    ("1mbit", (Mirror("public/web", 2),), "q-public.web"), ("1mbit", (), ""),
    ("", (Mirror("public/web", 2),), "")])
def test_what_is_not_copied_waits_too_where_a_limited_machine_gets_copies(
        bandwidth: str, back: tuple[Mirror, ...], through: str) -> None:
    web = Machine("web", (IPv4Address("10.0.1.4"),), mirrors=(Mirror("public/tap", 1),), bandwidth=bandwidth)
    tap = Machine("tap", (IPv4Address("10.0.1.5"),), mirrors=back)
    found = Copying.among(blueprint(Topology((VPC.with_subnet(replace(PUBLIC, machines=(web, tap))),))))
    assert {one.to: (one.is_target, one.through) for one in found}["copy1",] == (bool(back), through)


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


def test_a_machine_of_several_addresses_of_ipv6_sends_from_its_first() -> None:
    addresses = tuple(IPv4Address(f"10.0.1.{number}") for number in (4, 5))
    for count in (1, 2):
        guests = tuple(Machine(name, addresses[:count], at) for name, at in (
            ("ours", Attachment()), ("guest", Attachment(path="/run/netns/guest"))))
        for guest in guests:
            vpc = DUAL.with_subnet(replace(DUAL.subnets[0], machines=(guest,)))
            routes = [one for one in Route.among(blueprint(Topology((vpc,))))
                      if one.namespace == f"vpc1-public.{guest.name}" and one.destination.version == 6]
            first = None if count == 1 else IPv6Address("2001:db8:0:101::4")
            assert len(routes) == (2 if guest.name == "ours" else 3)
            assert {one.source for one in routes} == {first}


def test_the_namespace_of_a_virtual_machine_has_none_of_its_addresses_to_send_from() -> None:
    vpc = DUAL.with_subnet(replace(DUAL.subnets[0], machines=(VM,)))
    found, space = blueprint(Topology((vpc,))), "vpc1-public.vm"
    assert [str(one.address) for one in Address.among(found) if one.namespace == space] == ["fe80::1/64"]
    assert {one.source for one in Route.among(found) if one.namespace == space} == {None}


VM = Machine("vm", (IPv4Address("10.0.1.4"), IPv4Address("10.0.1.5")), tap="tap0")


@pytest.mark.parametrize(("vpc", "count", "needed"), [
    (VPC, 1, ["10.0.1.4/24 and gateway 10.0.1.1"]),
    (DUAL, 2, ["10.0.1.4/24, 10.0.1.5/24 and gateway 10.0.1.1",
               "2001:db8:0:101::4/128, 2001:db8:0:101::5/128 and gateway fe80::1"])])
def test_a_guest_must_set_the_addresses_of_each_family_and_its_gateway(
        vpc: Vpc, count: int, needed: list[str]) -> None:
    guest = replace(VM, addresses=VM.addresses[:count])
    assert list(map(str, taps.needs(endpoint(vpc, vpc.subnets[0], guest)))) == needed


@pytest.mark.parametrize(("machine", "dhcp", "guarded", "asks"), [
    (VM, Dhcp(), True, ["vpc1-public.vm"]), (VM, None, True, []), (OWN, Dhcp(), True, []),
    (VM, Dhcp(), False, [])])
def test_what_asks_by_dhcp_is_behind_a_tap_and_led_by_nft(
        machine: Machine, dhcp: Dhcp | None, guarded: bool, asks: list[str]) -> None:
    vpc = replace(VPC, dhcp=dhcp).with_subnet(replace(PUBLIC, machines=(machine,)))
    found = blueprint(Topology((vpc,), guarded=guarded))
    assert [one.namespace for one in Discovery.among(found)] == asks


def published6(link: int = 0, whole6: str | None = None, **fields: object) -> Topology:
    """A VPC with a port that leads to a machine of both families."""
    subnet = replace(DUAL.subnets[0], machines=(
        Machine("web", (IPv4Address("10.0.1.4"),), publishes=(Publish(8080, 80),)),))
    vpc = replace(DUAL, link=link, **fields).with_subnet(subnet)  # type: ignore[arg-type]
    return Topology((vpc,), front=IPv4Address("203.0.113.2"), front6=IPv6Address("2001:db8::2"),
                    entrances=("eth0",), whole6=whole6)


def test_the_cables_with_ports_have_metrics_of_their_own() -> None:
    found = [one.metric for link in (0, 1, 7) for one in Localnet6.among(blueprint(published6(link)))]
    assert found == [KERNELS_METRIC, KERNELS_METRIC + 1, KERNELS_METRIC + 7]


@pytest.mark.parametrize("nat", [None, Nat("eth1")])
def test_what_forwards_ipv6_is_each_link_or_the_whole_host(nat: Nat | None) -> None:
    links = [one for one in blueprint(published6(nat=nat)) if isinstance(one, Forwarding6 | Whole6)]
    assert links == [Forwarding6("vpc-vpc1", own=True), *map(Forwarding6, ["eth1"] if nat else []),
                     Forwarding6("eth0")]
    whole = blueprint(published6(whole6="0", nat=nat))
    assert [one for one in whole if isinstance(one, Forwarding6 | Whole6)] == [Whole6()]
    none = Topology((replace(DUAL, nat=None),), whole6="0")
    assert not [*Whole6.among(dual.forwarding(none))]


def test_ports_by_ipv6_give_the_guard_of_ipv4_nothing_to_look_at() -> None:
    assert openings6(published6()).suspect == ()
    assert openings6(published6()).forward


def test_who_comes_in_by_ipv6_is_marked_if_any_subnet_has_a_table() -> None:
    """By IPv4 only if the table is that of a machine with a port."""
    (vpc,) = published6(route_tables=(RouteTable("app", 1),)).vpcs
    assert (len(came_in(vpc)), len(came_in(vpc, Family.INET6))) == (0, 1)
    led = vpc.with_subnet(replace(vpc.subnets[0], route_table="app"))
    assert (len(came_in(led)), len(came_in(led, Family.INET6))) == (1, 1)
    bare = replace(vpc, route_tables=())
    assert (came_in(bare), came_in(bare, Family.INET6)) == ((), ())
