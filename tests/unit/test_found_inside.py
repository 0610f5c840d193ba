"""What is found inside a router whose record is lost, and is not believed or not vpcctl's: each is noted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from tests.made import Made
from vpcctl_lib.engine import (
    found_acls,
    found_names,
    found_prefixes,
    found_routes,
    found_subnets,
    intruders,
    rebuild,
)
from vpcctl_lib.engine.found_subnets import SubnetReader
from vpcctl_lib.engine.strays import strays
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Unreadable
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model import names
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Site, endpoint, gateways
from vpcctl_lib.model.names import Dns
from vpcctl_lib.model.policies import Acl, AclRule, Action, Group, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.tables import MOST
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
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import Chain, Resource, Settings, SingleRule, Way, WayRule
from vpcctl_lib.workloads import members

pytestmark = pytest.mark.usefixtures("bare_host")

PREFIX = IPv6Network("fd00:0:0:100::/56")
WEB = Subnet("web", IPv4Network("10.0.1.0/24"), ipv6=IPv6Network("fd00:0:0:105::/64"), machines=(
    OWN, Machine("second", (IPv4Address("10.0.1.4"),))))
EMPTY = Subnet("empty", IPv4Network("10.0.2.0/24"), SubnetType.PUBLIC, machines=(),
               ipv6=IPv6Network("fd00:0:0:107::/64"))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), ipv6=PREFIX, subnets=(WEB, EMPTY))
BRIDGE = "br-vpc1"


def made(vpc: Vpc = VPC) -> Made:
    """The kernel where everything of a VPC is there."""
    return Made(Topology((vpc,), guarded=True, forwarding="0" if vpc.nat else None))


def unreadable(*_: Any) -> Any:
    raise Unreadable("vpc1", "tables", "no")


def parts(kernel: Made) -> tuple[dict[str, IPv6Network | None], list[str]]:
    """The prefixes of the subnets, by name; and what is noted."""
    bare = replace(VPC, subnets=tuple(replace(one, ipv6=None) for one in VPC.subnets))
    notes: list[str] = []
    return {one.name: one.ipv6 for one in found_prefixes.with_parts(kernel, bare, notes).subnets}, notes


FREE = {"web": IPv6Network("fd00:0:0:101::/64"), "empty": IPv6Network("fd00:0:0:102::/64")}
LOST = "the IPv6 prefixes of {} in VPC 'vpc1' are unknown: they get free ones"


def test_a_vpc_s_prefix_is_that_of_its_router_s_own_address() -> None:
    kernel = made()
    assert found_prefixes.prefix(kernel, "vpc1") == PREFIX
    for held in ([], [{"family": "inet", "prefixlen": 56, "local": "10.0.0.1"}],
                 [{"family": "inet6", "prefixlen": 56, "local": "fd00:0:0:100::2"}],
                 [{"family": "inet6", "prefixlen": 64, "local": "fd00:0:0:100::1"}]):
        kernel.link = lambda *_, held=held: {"addr_info": held}  # type: ignore[method-assign]
        assert found_prefixes.prefix(kernel, "vpc1") is None
    kernel.link = lambda *_: None  # type: ignore[method-assign]
    assert found_prefixes.prefix(kernel, "vpc1") is None


def test_the_router_knows_the_prefixes_of_its_subnets() -> None:
    assert parts(made()) == ({"web": WEB.ipv6, "empty": EMPTY.ipv6}, [])


def test_without_a_guard_neighbours_alone_tell_prefixes() -> None:
    kernel = made()
    kernel.bridge_table = lambda *_: None  # type: ignore[method-assign]
    assert parts(kernel) == ({"web": WEB.ipv6, "empty": FREE["web"]}, [LOST.format("empty")])
    kernel.bridge_table = unreadable  # type: ignore[method-assign]
    assert parts(kernel) == (FREE, [
        "the prefixes of the subnets of VPC 'vpc1' are unknown: the tables of vpc1 can't be read: no",
        LOST.format("web, empty")])


@pytest.mark.parametrize(("place", "mac"), [
    (("eth0", "fd00:0:0:105::2"), ""), ((BRIDGE, "fd00:0:0:105::3"), ""), ((BRIDGE, "fd01:0:0:105::2"), ""),
    ((BRIDGE, "fd00:0:0:105::2"), "02:00:00:00:00:01"), ((BRIDGE, "fd00:0:0:105::2"), "none")])
def test_a_neighbour_that_is_no_machine_tells_nothing(place: tuple[str, str], mac: str) -> None:
    kernel = made()
    own = endpoint(VPC, WEB, OWN).mac
    entry = {} if mac == "none" else {"lladdr": mac or own}
    kernel.neighbours6 = lambda _: {place: entry}  # type: ignore[method-assign]
    assert parts(kernel) == ({"web": FREE["web"], "empty": EMPTY.ipv6}, [LOST.format("web")])
    right = {(BRIDGE, "fd00:0:0:105::2"): {"lladdr": own}}
    kernel.neighbours6 = lambda _: {place: entry, **right}  # type: ignore[method-assign]
    assert parts(kernel) == ({"web": WEB.ipv6, "empty": EMPTY.ipv6}, [])


@pytest.mark.parametrize("told", ["fd00:0:0:107::/63", "much", "fd01:0:0:107::/64"])
def test_a_prefix_that_no_subnet_may_have_is_not_believed(told: str) -> None:
    kernel = made(VPC.with_subnet(replace(EMPTY, ipv6=IPv6Network("fd00:0:0:1ff::/64"))))
    table = kernel.bridge_table
    kernel.bridge_table = lambda *names: eval(  # type: ignore[method-assign] # noqa: S307
        repr(table(*names)).replace("fd00:0:0:1ff::/64", told))
    assert parts(kernel) == ({"web": WEB.ipv6, "empty": FREE["web"]}, [LOST.format("empty")])


APP = RouteTable("app", 7, (VpcRoute(IPv4Network("10.9.0.0/16"), Via.BLACKHOLE),))
ROUTED = replace(VPC, route_tables=(APP,), subnets=(replace(WEB, route_table="app"), EMPTY))


def routed(*listed: tuple[str, tuple[str, ...]]) -> tuple[Vpc, list[str]]:
    """The VPC with the route tables of a list, each with its words; and what is noted."""
    kernel, notes = made(), []  # type: ignore[var-annotated]
    kernel.bridge_table = lambda *_: [item for name, words in listed for item in (  # type: ignore[method-assign]
        {"chain": {"name": f"table-{name}"}},
        *({"rule": {"chain": f"table-{name}", "comment": text}} for text in words))]
    return found_routes.with_routes(kernel, notes, VPC), notes


WORDS = ("number 7", "route 10.9.0.0/16 blackhole", "subnet web", "subnet gone")


def test_without_a_list_there_are_no_route_tables() -> None:
    kernel, notes = made(), []  # type: ignore[var-annotated]
    for said in (unreadable, lambda *_: None):
        kernel.bridge_table = said  # type: ignore[method-assign]
        assert (found_routes.with_routes(kernel, notes, VPC), notes) == (VPC, [])


def test_route_tables_are_found_with_their_subnets() -> None:
    assert routed(("app", WORDS)) == (ROUTED, [])
    assert routed(("main", ("number 7", "subnet web")))[0].subnets == VPC.subnets
    for number in (1, MOST):
        assert routed(("app", (f"number {number}",)))[0].route_tables == (RouteTable("app", number),)


@pytest.mark.parametrize(("name", "words"), [
    ("Not a name", ("number 8",)), ("other", ("number 0",)), ("other", (f"number {MOST + 1}",)),
    ("other", ()), ("other", ("number many",)), ("other", ("number 7",)),
    ("other", ("number 8", "route 10.9.0.0/16 away")),
    ("other", ("number 8", "route 10.0.1.0/24 blackhole")), ("other", ("number 8", "route ten blackhole"))])
def test_a_route_table_that_nobody_may_have_is_noted(name: str, words: tuple[str, ...]) -> None:
    note = f"route table '{name}' of VPC 'vpc1' can't be rebuilt: it is not as vpcctl lists it"
    late = RouteTable("late", 9)
    assert routed(("app", WORDS), (name, (*words, "subnet empty")), ("late", ("number 9",))) \
        == (replace(ROUTED, route_tables=(APP, late)), [note])


RULE = AclRule(100, Protocol.TCP, Action.ALLOW)
EDGED = replace(VPC, acls=(Acl("into", (RULE,)), Acl("out", (), (RULE,)), Acl("bare")), subnets=(
    replace(WEB, acl="out"), EMPTY))


def acls(kernel: Made) -> tuple[list[Acl], list[str], dict[str, str]]:
    """The network ACLs, what is noted, and which subnet has which."""
    notes: list[str] = []
    return [*found_acls.acls(kernel, EDGED, (), notes)], notes, dict(found_acls.associations(kernel, "vpc1"))


def test_network_acls_are_found_without_descriptions() -> None:
    unknown = "descriptions in network ACL '{}' of VPC 'vpc1' are unknown"
    assert acls(made(EDGED)) == (list(EDGED.acls), [unknown.format("into"), unknown.format("out")],
                                 {"web": "out"})
    kernel = made(EDGED)
    kernel.bridge_table = unreadable  # type: ignore[method-assign]
    assert acls(kernel) == ([], [], {})
    assert acls(made()) == ([], [], {})


@pytest.mark.parametrize(("old", "new"), [("'counter'", "'limit'"), ("in-into", "in-Not a name")])
def test_a_table_of_network_acls_that_is_not_vpcctl_s_is_noted(old: str, new: str) -> None:
    kernel = made(EDGED)
    table = kernel.bridge_table
    changed = repr(table("vpc1", "vpcctl-acls")).replace(old, new).replace(
        old.replace("in-", "out-"), new.replace("in-", "out-"))
    kernel.bridge_table = lambda *_: eval(changed)  # type: ignore[method-assign] # noqa: S307
    assert acls(kernel) == ([], [
        "the network ACLs of VPC 'vpc1' can't be rebuilt: something in their nft table is not vpcctl's; it "
        "stays as it is, until: vpcctl acl create --vpc vpc1 --name …"], {})


def test_a_subnet_has_no_acl_that_is_not_there() -> None:
    kernel = made(EDGED)
    changed = repr(kernel.bridge_table("vpc1", "vpcctl-acls")).replace("'web out'", "'web gone'")
    kernel.bridge_table = lambda *_: eval(changed)  # type: ignore[method-assign] # noqa: S307
    assert acls(kernel)[2] == {}


KERNEL_S = {"dst": "10.0.0.0/16", "protocol": "kernel"}
FIRST = {"priority": 0, "src": "all", "table": "local"}


@pytest.fixture
def router() -> Made:
    """The router of a VPC of IPv4 as vpcctl made it."""
    kernel = made(replace(VPC, ipv6=None, subnets=()))
    kernel.route_rules = lambda *_: [FIRST]  # type: ignore[method-assign]
    kernel.all_routes = lambda *_: [KERNEL_S]  # type: ignore[method-assign]
    return kernel


def strangers(kernel: Made) -> list[Resource]:
    """What is in the router that nobody recorded."""
    return [*intruders.intruders(kernel, [one for kind in (Settings, Chain) for one in kernel.those(kind)])]


def test_a_router_that_is_as_vpcctl_made_it_has_nothing_of_others(router: Made) -> None:
    assert strangers(router) == []


def test_rules_and_routes_of_others_in_a_router(router: Made) -> None:
    router.route_rules = lambda *_: [  # type: ignore[method-assign]
        FIRST, {"priority": 5, "src": "all", "table": "7"}]
    router.all_routes = lambda *_: [KERNEL_S, {"dst": "10.9.0.0/16", "dev": "uplink"}]  # type: ignore[method-assign]
    assert list(map(str, strangers(router))) == [
        "ip rule pref 5 lookup 7 in vpc1", "route 10.9.0.0/16 dev uplink table main in vpc1"]


def test_rules_and_routes_of_route_tables_are_vpcctl_s() -> None:
    held = [Way("vpc1", 1007, IPv4Network("10.9.0.0/16")), WayRule("vpc1", 10007, "br-vpc1", 1007)]
    kernel = made(replace(VPC, ipv6=None, subnets=()))
    kernel.route_rules = lambda *_: [  # type: ignore[method-assign]
        {"priority": 10007, "src": "all", "iif": "br-vpc1", "table": "1007"}]
    kernel.all_routes = lambda *_: [  # type: ignore[method-assign]
        {"dst": "10.9.0.0/16", "type": "blackhole", "table": "1007"}]
    recorded = [one for kind in (Settings, Chain) for one in kernel.those(kind)]
    assert [*intruders.intruders(kernel, [*recorded, *held])] == []


def test_strays_are_looked_for_in_routers_too(router: Made) -> None:
    router.all_routes = lambda *_: [KERNEL_S, {"dst": "10.9.0.0/16", "dev": "uplink"}]  # type: ignore[method-assign]
    recorded = [Entry(one) for kind in (Settings, Chain, SingleRule) for one in router.those(kind)]
    assert list(map(str, strays(router, recorded))) == ["route 10.9.0.0/16 dev uplink table main in vpc1"]


def test_chains_of_others_that_do_something_with_packets(router: Made) -> None:
    lines = ["*mangle", ":INPUT ACCEPT [0:0]", ":FORWARD DROP [0:0]", ":POSTROUTING ACCEPT [0:0]",
             "-A POSTROUTING -j ACCEPT", ":mine - [0:0]", "-A mine -j DROP", "*filter", ":INPUT ACCEPT [0:0]",
             "-A INPUT -j ACCEPT", ":OUTPUT ACCEPT [0:0]"]
    router.chains = lambda *_: Saved("".join(f"{line}\n" for line in lines))  # type: ignore[method-assign]
    assert strangers(router) == [Chain("vpc1", "mangle", "FORWARD", (), "DROP"),
                                 Chain("vpc1", "mangle", "POSTROUTING", ("-j ACCEPT",))]


def test_a_chain_of_others_is_of_its_own_family() -> None:
    kernel = made(replace(VPC, subnets=()))
    kernel.route_rules = lambda *_: [FIRST]  # type: ignore[method-assign]
    kernel.all_routes = lambda *_: [KERNEL_S]  # type: ignore[method-assign]
    held = "*raw\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j ACCEPT\n"
    kernel.chains = lambda _, family: Saved(  # type: ignore[method-assign]
        held if family is Family.INET6 else "")
    assert strangers(kernel) == [Chain("vpc1", "raw", "OUTPUT", ("-j ACCEPT",), family=Family.INET6)]


def test_what_of_a_router_cannot_be_read_is_no_stranger(router: Made) -> None:
    router.route_rules = unreadable  # type: ignore[method-assign]
    assert strangers(router) == []


def nat_gateways(vpc: Vpc, kernel: Made) -> tuple[list[NatGateway], list[str]]:
    """The NAT gateways that are found by the ports to them, and what is noted."""
    notes: list[str] = []
    sites = [Site(vpc.name, WEB.name, one.name) for one in gateways(vpc, WEB)]
    return [*SubnetReader(kernel, notes, {}, {}).nat_gateways(sites)], notes


def test_a_nat_gateway_has_the_address_that_the_guard_knows() -> None:
    vpc = replace(VPC, nat_gateways=(NatGateway("nat1", "web", IPv4Address("10.0.1.9")),))
    assert nat_gateways(vpc, made(vpc)) == ([*vpc.nat_gateways], [])
    assert nat_gateways(vpc, made()) == ([], ["NAT gateway 'vpc1/web/nat1' can't be rebuilt: its address is "
                                              "missing"])


def ranges(*held: tuple[str, ...]) -> tuple[list[tuple[str, str, str]], list[str]]:
    """The subnets without machines that a guard knows, by comments; and what is noted."""
    kernel, notes = made(), []  # type: ignore[var-annotated]
    kernel.bridge_table = lambda *_: [{"set": {"name": "ranges", "elem": [  # type: ignore[method-assign]
        {"elem": {"val": cidr.partition("/")[0], "comment": f"{name} {cidr} {''.join(kind) or 'private'}"}}
        for name, cidr, *kind in held]}}]
    found = SubnetReader(kernel, notes, {}, {}).subnets(replace(VPC, subnets=()), ())
    return [(one.name, str(one.cidr), one.type.value) for one in found], notes


def test_subnets_without_machines_come_in_the_order_of_their_names() -> None:
    found = [(name, f"10.0.{number}.0/24") for number, name in enumerate("abcdefg", 1)]
    assert ranges(*found[::-1]) == ([(*one, "private") for one in found], [])


@pytest.mark.parametrize("other", [("Not", "10.0.9.0/24"), ("late", "10.0.1.0/25"), ("late", "10.9.0.0/24"),
                                   ("late", "ten"), ("late", "10.0.9.0/24", "secret")])
def test_a_subnet_that_nobody_may_have_is_noted(other: tuple[str, ...]) -> None:
    assert ranges(("a", "10.0.1.0/24"), other, ("z", "10.0.5.0/24")) == (
        [("a", "10.0.1.0/24", "private"), ("z", "10.0.5.0/24", "private")],
        ["a subnet of VPC 'vpc1' can't be rebuilt: its mark is not vpcctl's"])


def subnets(vpc: Vpc, patch: pytest.MonkeyPatch,
            **says: Callable[..., Any]) -> tuple[tuple[Subnet, ...], list[str]]:
    """The subnets that are found of a VPC, where the kernel says something else; and what is noted."""
    kernel, notes = made(vpc), []  # type: ignore[var-annotated]
    for name, said in says.items():
        setattr(kernel, name, said)
    patch.setattr(found_subnets, "keepers", kernel.keepers)
    held = {Site(vpc.name, subnet.name, one.name): one for subnet in vpc.subnets for one in subnet.machines}
    kernel.namespaces |= {site.namespace for site in held}
    reader = SubnetReader(kernel, notes, {site: one.attached for site, one in held.items() if one.attached},
                          {site: one.tap for site, one in held.items() if one.tap})
    return reader.subnets(vpc, [*held]), notes


def test_a_subnet_over_one_with_machines_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.name for one in subnets(replace(VPC, ipv6=None), monkeypatch)[0]] == ["web", "empty"]
    over = made(VPC.with_subnet(replace(EMPTY, cidr=IPv4Network("10.0.1.128/25"))))
    found, notes = subnets(replace(VPC, ipv6=None), monkeypatch, bridge_table=over.bridge_table)
    assert [one.name for one in found] == ["web"]
    assert notes == ["a subnet of VPC 'vpc1' can't be rebuilt: its mark is not vpcctl's"]


FRONT = ("front",)
GUEST = Machine("guest", (IPv4Address("10.0.1.5"),), Attachment("docker:web"), groups=FRONT)
BOX = Machine("box", (IPv4Address("10.0.1.6"),), forwards=True, groups=FRONT)
VM = Machine("vm", (IPv4Address("10.0.1.7"),), tap="tap0", groups=FRONT)
GROUPED = replace(VPC, ipv6=None, groups=(Group("front"),), subnets=(replace(
    WEB, ipv6=None, machines=(Machine(groups=FRONT), GUEST, BOX, VM)),))
NO_POLICY = "whether 'vpc1/web' had a policy is unknown: all its machines are in groups"


def test_machines_in_groups_that_no_router_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    assert subnets(GROUPED, monkeypatch) == (GROUPED.subnets, [NO_POLICY])
    (found,), notes = subnets(GROUPED, monkeypatch, ip_table=lambda *_: None)
    assert [one.groups for one in found.machines] == [()] * 4
    where, stay = "--vpc vpc1 --subnet web", "are unknown: its rules stay as they are, until"
    assert notes == [
        f"the groups of 'vpc1/web' {stay}: vpcctl group join {where}",
        f"the groups of 'vpc1/web/guest' {stay} it is attached again: vpcctl instance detach {where} "
        "--name guest",
        f"the groups of 'vpc1/web/box' {stay}: vpcctl group join {where} --instance box",
        f"the groups of 'vpc1/web/vm' {stay}: vpcctl group join {where} --instance vm", NO_POLICY]


def test_machines_in_groups_whose_rules_are_gone_are_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    assert subnets(GROUPED, monkeypatch, chains=lambda *_: Saved(""))[1] == [NO_POLICY]


def test_what_runs_in_a_namespace_of_others_is_no_workload(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = replace(GUEST, groups=(), workloads=(Workload("web", ("sleep", "9")),))
    (found,), _ = subnets(replace(GROUPED, subnets=(replace(WEB, machines=(busy,)),)), monkeypatch)
    assert found.machines == (replace(busy, workloads=()),)


POLICY = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)),))
OLD = ("an older vpcctl's rules of 'vpc1/web/box' stay beside the new ones: "
       "ip netns exec vpc1-web.box iptables -F")


@pytest.mark.parametrize("machine", [OWN, *(replace(one, groups=()) for one in (GUEST, BOX, VM))])
def test_a_subnet_s_policy_is_that_of_its_first_machine_in_no_group(
        machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    subnet = replace(WEB, ipv6=None, policy=POLICY, machines=(replace(GUEST, name="other", addresses=(
        IPv4Address("10.0.1.9"),)), machine))
    assert subnets(replace(GROUPED, subnets=(subnet,)), monkeypatch) == (
        (subnet,), ["descriptions in the policy of 'vpc1/web' are unknown"])


def test_what_a_machine_that_forwards_had_from_an_older_vpcctl(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Machine("box", BOX.addresses)
    subnet = replace(WEB, ipv6=None, policy=POLICY, machines=(replace(plain, forwards=True),))
    old = made(replace(GROUPED, subnets=(replace(subnet, machines=(plain,)),)))
    assert subnets(replace(GROUPED, subnets=(subnet,)), monkeypatch, chains=old.chains) == (
        (subnet,), [OLD, "descriptions in the policy of 'vpc1/web' are unknown"])
    bare = replace(subnet, policy=None)
    assert subnets(replace(GROUPED, subnets=(bare,)), monkeypatch) == ((bare,), [])
    # Only where it forwards: rules of others in INPUT of one that others made are not a policy of ours.
    guest = replace(subnet, machines=(replace(GUEST, groups=()),))
    ours = made(replace(GROUPED, subnets=(replace(subnet, machines=(Machine("guest", GUEST.addresses),)),)))
    assert subnets(replace(GROUPED, subnets=(guest,)), monkeypatch, chains=ours.chains)[0][0].policy is None


def test_of_a_vpc_with_ipv6_both_families_tell_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    both = Policy((*POLICY.ingress, Rule(Protocol.TCP, Action.ALLOW, None, IPv6Network("fd01::/16"))))
    found, _ = subnets(VPC.with_subnet(replace(WEB, policy=both)), monkeypatch)
    assert found[0].policy == both


def test_without_a_guard_routes_tell_the_addresses_of_a_virtual_machine(
        monkeypatch: pytest.MonkeyPatch) -> None:
    vpc = replace(GROUPED, subnets=(replace(WEB, ipv6=None, machines=(OWN, replace(VM, groups=()))),))
    (found,), _ = subnets(vpc, monkeypatch, bridge_table=lambda *_: None)
    assert found.machines == vpc.subnets[0].machines
    (found,), notes = subnets(vpc, monkeypatch, bridge_table=lambda *_: None, routes=unreadable)
    assert found.machines == (OWN,)
    assert "machine 'vpc1/web/vm' can't be rebuilt: its address is missing" in notes


PUBLIC = Subnet("web", WEB.cidr, SubnetType.PUBLIC)
NAT = Nat("eth0", resolvers=(IPv4Address("9.9.9.9"), IPv4Address("1.1.1.1")))
OPEN = replace(VPC, ipv6=None, nat=NAT, subnets=(PUBLIC,))


def whole(kernel: Made, folder: Path, patch: pytest.MonkeyPatch) -> tuple[Topology, list[str]]:
    """The network that is found, and what is noted."""
    kernel.write_files(folder)
    patch.setattr(rebuild, "NAMESPACE_FILES", str(folder))
    for module in (rebuild, found_subnets, found_names):
        patch.setattr(module, "keepers", kernel.keepers)
    patch.setattr(names, "FILES", str(folder))
    patch.setattr(members, "kept_identity", lambda _: {})
    patch.setattr(netns, "identity", lambda _: "")
    rebuilder = rebuild.Rebuilder(kernel, Variant.NFT)
    return rebuilder.state().topology, rebuilder.notes


@pytest.mark.parametrize("dns", [None, Dns()])
def test_the_resolvers_of_nat_are_those_that_dns_stands_for(dns: Dns | None, tmp_path: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    vpc = replace(OPEN, dns=dns)
    found, notes = whole(made(vpc), tmp_path, monkeypatch)
    assert (found.vpcs, notes) == ((replace(vpc, subnets=found.vpcs[0].subnets),), [])
    file = tmp_path / "vpc1-web" / "resolv.conf"
    file.write_text(f"{file.read_text()}# instead you may ask 8.8.8.8\n#\nsortlist 1 2 8.8.4.4\n")
    (again,) = rebuild.Rebuilder(made(vpc), Variant.NFT).state().topology.vpcs
    assert again.nat == NAT


@pytest.mark.parametrize("text", ["10.0.1.0/24", "10.0.0.0/7", "127.0.0.0/16", "default", "10.9.128.0/17"])
def test_a_route_onto_the_bridge_that_is_no_cidr_is_noted(text: str, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, told = made(replace(OPEN, cidrs=(IPv4Network("10.9.0.0/16"),))), Made.routes
    more = [{"dst": "10.20.0.0/16", "dev": BRIDGE, "gateway": "10.0.1.4"}, {"dst": text, "dev": BRIDGE},
            {"dst": "10.8.0.0/16", "dev": BRIDGE},
            {"dst": "10.21.0.0/16", "dev": BRIDGE, "protocol": "kernel"}]
    kernel.routes = lambda space: [  # type: ignore[method-assign]
        *told(kernel, space), *(more if space == "vpc1" else ())]
    found, notes = whole(kernel, tmp_path, monkeypatch)
    assert found.vpcs[0].cidrs == (IPv4Network("10.8.0.0/16"), IPv4Network("10.9.0.0/16"))
    assert notes == [f"the route to {text} in VPC 'vpc1' is not one of its CIDRs: it stays as it is"]


def test_a_peering_with_a_vpc_that_is_gone_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Vpc("vpc2", IPv4Network("172.16.0.0/16"), 1)
    kernel = Made(Topology((OPEN, other), (Peering("vpc1", "vpc2"),), guarded=True, forwarding="0"))
    told = kernel.links
    kernel.links = lambda space: [] if space == "vpc2" else [  # type: ignore[method-assign]
        one for one in told(space) if one["ifname"] != "vpc-vpc2"]
    found, notes = whole(kernel, tmp_path, monkeypatch)
    assert ([one.name for one in found.vpcs], found.peerings, notes) == (["vpc1"], (), [])


@pytest.mark.parametrize(("guest", "why"), [
    ("lo~docker:web", "'lo' can't be the name of the machine's link"),
    ("vpc0~rkt:web", "'rkt' is not a container runtime that vpcctl asks"),
    ("vpc0~-web", "'-web' can't be a container's name"),
    ("vpc0~/a b", "'/a b' can't be the path of a network namespace")])
def test_a_router_with_a_machine_attached_to_what_nobody_may_name(
        guest: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine("guest", (IPv4Address("10.0.1.5"),), Attachment("docker:web", interface="vpc0"))
    kernel = made(replace(OPEN, subnets=(replace(PUBLIC, machines=(OWN, machine)),)))
    told = kernel.links
    kernel.links = lambda space: [  # type: ignore[method-assign]
        {**one, "ifalias": one.get("ifalias", "").replace("vpc0~docker:web", guest)} for one in told(space)]
    found, notes = whole(kernel, tmp_path, monkeypatch)
    assert found.vpcs == ()
    assert notes[0] == f"VPC 'vpc1' can't be rebuilt: {why}; remove it with cleanup.sh, or by hand"
