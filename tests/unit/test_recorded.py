"""What status finds, and what is rebuilt, of a recorded network: whole, damaged, changed by the test."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from tests.recorded import RECORDED, Recorded
from vpcctl_lib.engine.inspection import findings, inspect, kept_apart
from vpcctl_lib.engine.rebuild import Rebuilder
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model import kinds, naming
from vpcctl_lib.model.topology import Nat, Subnet, SubnetType, Topology, Variant, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.ledger import State, Verb
from vpcctl_lib.resources import Forwarding, Namespace, Program

SCENES = tuple(RECORDED)
LONG = "a-name-that-is-hashed"
ADDR = ("ip", "-j", "-d", "addr", "show")
NO_DESCRIPTIONS = "descriptions in the policy of 'vpc1/public' are unknown"
AS_THEY_SAY = (
    "the CIDRs of {} in VPC 'vpc1' come from their own namespaces, where others may be root: "
    "check that they are right"
)

Scene = Callable[..., Recorded]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Plays a recorded network."""

    def play(name: str = "whole") -> Recorded:
        (tmp_path / name).mkdir()
        recorded = Recorded(name, tmp_path / name)
        recorded.play(monkeypatch)
        return recorded

    return play


def found(recorded: Recorded) -> list[str]:
    """What status would tell, a line each."""
    kernel, ledger = Kernel(Runner()), recorded.state().ledger
    return [
        f"{one.condition} {one.what}: {one.detail}".removesuffix(": ")
        for one in findings(kernel, ledger, (), inspect(kernel, ledger))
    ]


def rebuilt() -> tuple[State, list[str]]:
    """What the marks tell, and what is noted."""
    rebuilder = Rebuilder(Kernel(Runner()), Variant.NFT)
    return rebuilder.state(), rebuilder.notes


def subnets(topology: Topology, name: str = "vpc1") -> dict[str, Subnet]:
    return {one.name: one for vpc in topology.vpcs if vpc.name == name for one in vpc.subnets}


def workloads(subnet: Subnet) -> tuple[Workload, ...]:
    return tuple(workload for machine in subnet.machines for workload in machine.workloads)


def told(topology: Topology) -> Topology:
    """What marks tell of it."""
    return replace(topology, guarded=None, quotes=None)


def test_of_a_whole_network_nothing_is_found(scene: Scene) -> None:
    assert found(scene()) == []


def test_a_whole_network_is_rebuilt_with_all_its_facts(scene: Scene) -> None:
    recorded = scene()
    record = recorded.state()
    state, notes = rebuilt()
    assert state.topology == told(record.topology)
    assert notes == [NO_DESCRIPTIONS]
    known = {entry.resource.key: entry.found for entry in record.ledger}
    for entry in state.ledger:
        if isinstance(entry.resource, Namespace | Program):
            assert entry.found == known[entry.resource.key] != {}
        elif isinstance(entry.resource, Forwarding):
            assert entry.found == {"net.ipv4.ip_forward": "0", "identity": recorded.identities[""]}
        else:
            assert entry.found == {}


NEW = {
    "a policy is flushed": [
        "changed chain INPUT of table filter in vpc1-public: 6 of its 6 rules missing, 0 not ours",
        "changed chain OUTPUT of table filter in vpc1-public: 5 of its 5 rules missing, 0 not ours",
    ],
    "a router forgets": [
        "missing guard of the ports in vpc1",
        "missing chain INPUT of table filter in vpc1",
        "missing chain FORWARD of table filter in vpc1",
        "missing chain FORWARD of table mangle in vpc1",
    ],
    "a cable is gone": [
        "missing cable s-private in vpc1 to eth0 in vpc1-private",
        "missing link s-private in vpc1",
        "missing switching of port s-private in vpc1",
        "missing MAC 02:10:0a:00:02:02 at port s-private in vpc1",
        "missing link eth0 in vpc1-private",
        "missing address 10.0.2.2/24 on eth0 in vpc1-private",
        "missing route 10.0.0.1/32 dev eth0 scope link in vpc1-private",
        "missing route 10.0.0.0/16 via 10.0.0.1 dev eth0 in vpc1-private",
        "missing route default via 10.0.0.1 dev eth0 in vpc1-private",
        "missing route 172.16.0.0/16 via 10.0.0.1 dev eth0 in vpc1-private",
        "missing neighbour 10.0.0.1 on eth0 in vpc1-private",
    ],
    "a link is another's": [
        "unrecorded link lan on the host: vpcctl:vpc7; adopt it: vpcctl restore --from-kernel, "
        "or remove it: ip link del lan"
    ],
    "a namespace bears the mark": [
        "unrecorded namespace other: it bears vpcctl's mark; adopt it: vpcctl restore --from-kernel, "
        "or remove it: ip netns del other"
    ],
    "a route is gone": ["missing route default via 169.254.64.0 dev uplink in vpc1"],
    "a setting is another's": [
        "changed settings of vpc1: net.ipv4.ip_forward is 0, not 1; "
        "net.ipv4.conf.all.accept_redirects is 1, not 0"
    ],
    "a router has no address": [
        "missing address 172.16.0.1/16 on br-vpc2 in vpc2",
        "missing neighbour 172.16.1.2 on br-vpc2 in vpc2",
    ],
}
"""What each damage adds to what was found before it."""


@pytest.mark.parametrize("name", NEW)
def test_what_each_damage_adds(scene: Scene, name: str) -> None:
    before = found(scene(SCENES[SCENES.index(name) - 1]))
    now = found(scene(name))
    assert [line for line in now if line not in before] == NEW[name]
    assert [line for line in before if line not in now] == []


def test_a_peering_that_is_cut(scene: Scene) -> None:
    before = found(scene("a setting is another's"))
    new = [line for line in found(scene("a peering is cut")) if line not in before]
    assert {line.partition(" ")[0] for line in new} == {"missing"}
    assert [line for line in new if "pcx-" not in line] == []
    assert len(new) == 7


def test_a_router_that_is_gone_takes_all_with_it(scene: Scene) -> None:
    recorded = scene("a router is gone")
    gone = found(recorded)
    assert "missing namespace vpc1" in gone
    inside = {
        str(entry.resource) for entry in recorded.state().ledger if str(entry.resource).endswith(" in vpc1")
    }
    assert {f"missing {one}" for one in inside} <= set(gone)
    state, notes = rebuilt()
    assert state == State(Topology(), ())
    assert notes == [
        "VPC 'vpc2' can't be rebuilt: its addresses are missing; remove it with cleanup.sh, or by hand",
        "link lan on the host bears the mark vpcctl:vpc7, but vpcctl did not make it: it stays as it is",
        f"other, vpc1-private, vpc2, vpc2-{LONG}: marked as vpcctl's, but neither the host nor a "
        "router has a link to it: it stays as it is",
    ]


def test_a_namespace_that_is_gone_is_rebuilt_without_what_was_in_it(scene: Scene) -> None:
    scene().names.remove("vpc1-public")
    state, notes = rebuilt()
    public = subnets(state.topology)["public"]
    assert (public.cidr, public.type, public.policy, workloads(public)) == (
        IPv4Network("10.0.1.0/24"),
        SubnetType.PUBLIC,
        None,
        (),
    )
    assert notes == [
        "the policy and the workloads of 'vpc1/public' are unknown: its namespace was "
        "missing, and is recreated"
    ]


# A subnet's CIDR and type: out of the guard, the router's rules, its own namespace.


def test_without_guard_and_rules_a_subnet_is_asked_itself(scene: Scene) -> None:
    scene("a router forgets")
    state, notes = rebuilt()
    assert {name: (str(one.cidr), one.type) for name, one in subnets(state.topology).items()} == {
        "public": ("10.0.1.0/24", SubnetType.PRIVATE),
        "private": ("10.0.2.0/24", SubnetType.PRIVATE),
    }
    assert notes == [AS_THEY_SAY.format("public, private")]
    assert state.topology.vpcs[0].nat is not None


def test_the_guard_alone_tells_cidr_and_type(scene: Scene) -> None:
    recorded = scene()
    recorded.asked['["vpc1", "iptables-save"]']["stdout"] = ""
    # What root in the subnet says counts for nothing then.
    recorded.links("vpc1-public")["eth0"]["addr_info"][0].update(local="10.0.9.2")
    state, notes = rebuilt()
    assert (str(subnets(state.topology)["public"].cidr), subnets(state.topology)["public"].type) == (
        "10.0.1.0/24",
        SubnetType.PUBLIC,
    )
    assert notes == [NO_DESCRIPTIONS]


def test_the_router_s_rules_alone_tell_that_a_subnet_is_public(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("vpc1", "nft", "-j", "list", "table", "bridge", "vpcctl", says="No such file or directory")
    state, notes = rebuilt()
    assert {name: (str(one.cidr), one.type) for name, one in subnets(state.topology).items()} == {
        "public": ("10.0.1.0/24", SubnetType.PUBLIC),
        "private": ("10.0.2.0/24", SubnetType.PRIVATE),
    }
    assert notes == [AS_THEY_SAY.format("private"), NO_DESCRIPTIONS]


def test_without_nft_a_subnet_of_a_vpc_without_nat_is_taken_for_private(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene()
    monkeypatch.setattr(Kernel, "has_tool", lambda *_: False)
    state, notes = rebuilt()
    assert subnets(state.topology, "vpc2")[LONG].type is SubnetType.PRIVATE
    assert f"whether 'vpc2/{LONG}' was public is unknown without NAT: it is now private" in notes
    assert not [note for note in notes if "'vpc1/public' was public" in note]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ({"local": "10.0.2.3"}, "its address is missing"),
        ({"local": "192.0.2.2"}, "its address is missing"),
        ({"prefixlen": 8}, "its address is missing"),
        ({"family": "inet6"}, "its address is missing"),
    ],
)
def test_an_address_that_vpcctl_gives_nobody_is_none(
    scene: Scene, address: dict[str, object], why: str
) -> None:
    recorded = scene("a router forgets")
    recorded.links("vpc1-private")["eth0"]["addr_info"][0].update(address)
    state, notes = rebuilt()
    assert [*subnets(state.topology)] == ["public"]
    assert f"subnet 'vpc1/private' can't be rebuilt: {why}" in notes


def test_of_two_addresses_neither_is_believed(scene: Scene) -> None:
    recorded = scene("a router forgets")
    held = recorded.links("vpc1-private")["eth0"]["addr_info"]
    held.append({**held[0], "local": "10.0.3.2"})
    assert [*subnets(rebuilt()[0].topology)] == ["public"]
    assert (
        "subnet 'vpc1/private' can't be rebuilt: it has several addresses of the kind vpcctl gives"
        in rebuilt()[1]
    )


def test_a_subnet_that_claims_anothers_addresses_is_left_out(scene: Scene) -> None:
    recorded = scene("a router forgets")
    recorded.links("vpc1-private")["eth0"]["addr_info"][0].update(local="10.0.0.2", prefixlen=16)
    recorded.links("vpc1-public")["eth0"]["addr_info"][0].update(local="10.0.0.2", prefixlen=20)
    state, notes = rebuilt()
    assert subnets(state.topology) == {}
    assert notes[:2] == [
        f"subnet 'vpc1/{one}' can't be rebuilt: its own namespace has addresses of {other}"
        for one, other in (("public", "private"), ("private", "public"))
    ]


def test_a_subnet_whose_links_cannot_be_read(scene: Scene) -> None:
    recorded = scene("a router forgets")
    recorded.fail("vpc1-private", *ADDR, says="Operation not permitted")
    state, notes = rebuilt()
    assert [*subnets(state.topology)] == ["public"]
    assert any(
        note.startswith("subnet 'vpc1/private' can't be rebuilt: the links of vpc1-private can't be read")
        for note in notes
    )


# Whose a link is.


def test_a_mark_that_two_links_bear_is_refused(scene: Scene) -> None:
    recorded = scene()
    recorded.links("")["eth0"]["ifalias"] = "vpcctl:vpc1"
    with pytest.raises(VpcctlError) as caught:
        rebuilt()
    assert caught.value.message == "links eth0 and vpc-vpc1 on the host both bear the mark vpcctl:vpc1"
    assert caught.value.hint == "remove the one that vpcctl did not make, or its alias"


@pytest.mark.parametrize("name", ["Abc", "abc-", "a.c"])
def test_a_name_that_nobody_may_give_is_not_ours(scene: Scene, name: str) -> None:
    recorded = scene()
    recorded.links("")["eth0"].update(ifname=f"vpc-{name}", ifalias=f"vpcctl:{name}")
    note = f"link vpc-{name} on the host bears the mark vpcctl:{name}, but vpcctl did not make it"
    assert f"{note}: it stays as it is" in rebuilt()[1]


@pytest.mark.parametrize("alias", ["vpcctl:vpc7", "vpcctl:Not a name", "vpcctl:-x"])
def test_a_link_that_bears_a_mark_and_is_not_as_we_make_them(scene: Scene, alias: str) -> None:
    recorded = scene()
    recorded.links("")["eth0"]["ifalias"] = alias
    state, notes = rebuilt()
    assert [vpc.name for vpc in state.topology.vpcs] == ["vpc1", "vpc2"]
    assert (
        f"link eth0 on the host bears the mark {alias}, but vpcctl did not make it: it stays as it is"
        in notes
    )


@pytest.mark.parametrize("alias", ["vpcctl", "another", "vpcctl:a/b", "vpcctl:a+b", ""])
def test_a_link_with_another_alias_is_nobody_s_vpc(scene: Scene, alias: str) -> None:
    recorded = scene()
    recorded.links("")["eth0"]["ifalias"] = alias
    state, notes = rebuilt()
    assert (len(state.topology.vpcs), notes) == (2, [NO_DESCRIPTIONS])


def test_a_port_that_is_not_of_our_bridge_is_no_subnet(scene: Scene) -> None:
    recorded = scene()
    recorded.links("vpc1")["s-private"]["master"] = "br-other"
    state, notes = rebuilt()
    assert [*subnets(state.topology)] == ["public"]
    assert notes[0] == (
        "link s-private in vpc1 bears the mark vpcctl:vpc1/private, but vpcctl did not make it: it "
        "stays as it is"
    )


def test_subnets_come_in_the_order_in_which_they_were_made(scene: Scene) -> None:
    recorded = scene()
    links = recorded.links("vpc1")
    links["s-public"]["ifindex"], links["s-private"]["ifindex"] = 90, 89
    assert [*subnets(rebuilt()[0].topology)] == ["private", "public"]


# VPCs.


def test_vpcs_come_in_the_order_of_their_rules_on_the_host(scene: Scene) -> None:
    recorded = scene()
    said = recorded.asked['["", "iptables-save"]']
    lines = said["stdout"].splitlines(keepends=True)
    ours = [number for number, line in enumerate(lines) if line.startswith(f"-A {naming.HOST_FORWARD} ")]
    assert len(ours) > 2
    moved = iter(sorted((lines[number] for number in ours), key=lambda line: "-i vpc-vpc2" not in line))
    for number in ours:
        lines[number] = next(moved)
    said["stdout"] = "".join(lines)
    assert [vpc.name for vpc in rebuilt()[0].topology.vpcs] == ["vpc2", "vpc1"]


def test_vpcs_without_rules_come_in_the_order_of_their_cables(scene: Scene) -> None:
    recorded = scene()
    recorded.asked['["", "iptables-save"]']["stdout"] = ""
    links = recorded.links("")
    links["vpc-vpc1"]["ifindex"], links["vpc-vpc2"]["ifindex"] = 60, 50
    state, notes = rebuilt()
    assert [vpc.name for vpc in state.topology.vpcs] == ["vpc2", "vpc1"]
    # Nor is it known then where NAT leads.
    assert "the uplink of VPC 'vpc1' is unknown: vpcctl nat enable --vpc vpc1" in notes
    assert state.topology.vpcs[1].nat is None
    assert state.topology.forwarding is None


def test_two_vpcs_of_one_address_are_refused(scene: Scene) -> None:
    recorded = scene()
    recorded.links("vpc2")["uplink"]["addr_info"][0].update(local="169.254.64.1")
    with pytest.raises(
        VpcctlError, match="VPCs 'vpc1' and 'vpc2' both have the address 169.254.64.1"
    ) as caught:
        rebuilt()
    assert caught.value.hint == "remove one of the two"


@pytest.mark.parametrize(
    ("device", "address", "why"),
    [
        ("uplink", {"local": "169.254.64.2"}, "its uplink has the address 169.254.64.2"),
        ("uplink", {"local": "192.0.2.3"}, "its uplink has the address 192.0.2.3"),
        ("br-vpc2", {"local": "172.16.0.2"}, "its bridge has the address 172.16.0.2/16"),
        ("uplink", {"family": "inet6"}, "its addresses are missing"),
        ("br-vpc2", {"family": "inet6"}, "its addresses are missing"),
    ],
)
def test_a_router_whose_addresses_we_never_give(
    scene: Scene, device: str, address: dict[str, str], why: str
) -> None:
    recorded = scene()
    recorded.links("vpc2")[device]["addr_info"] = [
        {**recorded.links("vpc2")[device]["addr_info"][0], **address}
    ]
    state, notes = rebuilt()
    assert [vpc.name for vpc in state.topology.vpcs] == ["vpc1"]
    assert f"VPC 'vpc2' can't be rebuilt: {why}; remove it with cleanup.sh, or by hand" in notes


def test_a_router_without_its_links(scene: Scene) -> None:
    recorded = scene()
    recorded.without_link("vpc2", "uplink")
    assert [vpc.name for vpc in rebuilt()[0].topology.vpcs] == ["vpc1"]


def test_a_router_whose_namespace_is_gone(scene: Scene) -> None:
    scene().names.remove("vpc2")
    state, notes = rebuilt()
    assert [vpc.name for vpc in state.topology.vpcs] == ["vpc1"]
    told = "VPC 'vpc2' can't be rebuilt: its namespace is missing; remove it with cleanup.sh, or by hand"
    assert told in notes


@pytest.mark.parametrize(
    ("route", "routed"), [({}, True), ({"dst": "172.17.0.0/16"}, False), ({"dev": "eth0"}, False)]
)
def test_a_vpc_without_a_route_on_the_host_is_not_routed(
    scene: Scene, route: dict[str, str], routed: bool
) -> None:
    recorded = scene()
    for one in recorded.routes(""):
        if one["dst"] == "172.16.0.0/16":
            one.update(route)
    vpcs = {vpc.name: vpc for vpc in rebuilt()[0].topology.vpcs}
    assert (vpcs["vpc1"].routed, vpcs["vpc2"].routed) == (True, routed)


# Peerings.


def test_a_peering_with_one_end_is_none(scene: Scene) -> None:
    scene().without_link("vpc2", "pcx-vpc1")
    state, notes = rebuilt()
    assert state.topology.peerings == ()
    assert "the peering of 'vpc1' and 'vpc2' can't be rebuilt: one end of its cable is missing" in notes


@pytest.mark.parametrize(
    "change",
    [
        {"ifalias": "vpcctl:vpc2+vpc1"},
        {"ifalias": "vpcctl:vpc1+vpc9"},
        {"ifname": "pcx-other"},
        {"master": "br-vpc2"},
    ],
)
def test_an_end_of_a_peering_that_is_not_as_we_make_them(scene: Scene, change: dict[str, str]) -> None:
    recorded = scene()
    recorded.links("vpc2")["pcx-vpc1"].update(change)
    assert rebuilt()[0].topology.peerings == ()


def test_peerings_come_in_the_order_of_their_names(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene()
    names = ("b", "d", "a", "c")
    vpcs = [Vpc(name, IPv4Network((0x0A000000 + (n << 16), 16)), n) for n, name in enumerate(names)]

    def ends(_: Rebuilder, space: str, __: object) -> dict[str, dict[str, str]]:
        """Each is the peer of every other."""
        far = [name for name in names if name != space]
        return {"+".join(sorted((space, one))): {"ifname": f"pcx-{one}"} for one in far}

    monkeypatch.setattr(Rebuilder, "_marked", ends)
    found = Rebuilder(Kernel(Runner()), Variant.NFT)._peerings(vpcs)
    assert [f"{one.vpc1}{one.vpc2}" for one in found] == ["ab", "ac", "ad", "bc", "bd", "cd"]


# NAT.


def test_nat_has_its_interface_s_mtu_and_the_resolvers_of_the_files(scene: Scene) -> None:
    recorded = scene()
    recorded.links("")["eth0"]["mtu"] = 1400
    (recorded.folder / "vpc1-public/resolv.conf").write_text(
        "# vpcctl:vpc1/public\nsearch x\nnameserver 9.9.9.9\nnameserver 8.8.4.4\nnameserver nowhere\n"
    )
    state, notes = rebuilt()
    assert state.topology.vpcs[0].nat == Nat("eth0", 1400, (IPv4Address("9.9.9.9"), IPv4Address("8.8.4.4")))
    assert "a resolver of VPC 'vpc1' is not an address, and left out" in notes


def test_without_a_default_route_there_is_no_nat(scene: Scene) -> None:
    recorded = scene()
    recorded.routes("vpc1")[:] = [
        one for one in recorded.routes("vpc1") if not one.get("gateway") or one["dst"] != "default"
    ]
    state, _ = rebuilt()
    assert (state.topology.vpcs[0].nat, state.topology.forwarding) == (None, None)


def test_the_rules_of_an_older_vpcctl_tell_of_nat_too(scene: Scene) -> None:
    recorded = scene()
    recorded.asked['["", "iptables-save"]']["stdout"] = (
        "*nat\n:POSTROUTING ACCEPT [0:0]\n"
        '-A POSTROUTING -s 10.9.0.0/16 -o wrong0 -m comment --comment "vpcctl:vpc9/nat" -j MASQUERADE\n'
        '-A POSTROUTING -s 10.0.0.0/16 -o eth0 -m comment --comment "vpcctl:vpc1/nat" -j MASQUERADE\nCOMMIT\n'
    )
    state, _ = rebuilt()
    nat = next(vpc.nat for vpc in state.topology.vpcs if vpc.name == "vpc1")
    assert nat is not None
    assert nat.interface == "eth0"


def test_a_mark_of_ours_without_an_interface_tells_nothing_of_nat(scene: Scene) -> None:
    recorded = scene()
    recorded.asked['["", "iptables-save"]']["stdout"] = (
        "*nat\n:POSTROUTING ACCEPT [0:0]\n"
        '-A POSTROUTING -m comment --comment "vpcctl:vpc1/nat" -j ACCEPT\nCOMMIT\n'
    )
    assert "the uplink of VPC 'vpc1' is unknown: vpcctl nat enable --vpc vpc1" in rebuilt()[1]


def test_without_rules_for_what_is_forwarded_those_of_nat_tell_of_it(scene: Scene) -> None:
    recorded = scene()
    said = recorded.asked['["", "iptables-save"]']
    said["stdout"] = "".join(
        line
        for line in said["stdout"].splitlines(keepends=True)
        if not line.startswith(f"-A {naming.HOST_FORWARD} ")
    )
    nat = next(vpc.nat for vpc in rebuilt()[0].topology.vpcs if vpc.name == "vpc1")
    assert nat is not None
    assert nat.interface == "eth0"


def test_what_forwarding_was_is_in_our_jump_or_not_known(scene: Scene) -> None:
    recorded = scene()
    said = recorded.asked['["", "iptables-save"]']
    jump = next(line for line in said["stdout"].splitlines() if line.endswith(f"-j {naming.HOST_FORWARD}"))
    recorded.edit_rules("", jump, f"-A FORWARD -j {naming.HOST_FORWARD}")
    state, notes = rebuilt()
    assert state.topology.forwarding is None
    assert "the value of net.ipv4.ip_forward before is unknown: it will stay on" in notes
    assert next(entry.found for entry in state.ledger if isinstance(entry.resource, Forwarding)) == {}


def test_a_folder_of_others_beside_ours_is_not_ours(scene: Scene) -> None:
    recorded = scene()
    (recorded.folder / "somebody").mkdir()
    state, _ = rebuilt()
    facts = {str(entry.resource): entry.found for entry in state.ledger}
    assert facts[f"folder {recorded.folder}"] == {"existed": "yes"}
    assert facts[f"folder {recorded.folder}/vpc1-public"] == {}


# Policies and workloads.


def test_a_policy_that_was_changed_by_hand_is_not_known(scene: Scene) -> None:
    recorded = scene()
    recorded.edit_rules("vpc1-public", "--dport 80 ", "--dport 81 --sport 5 ")
    state, notes = rebuilt()
    assert subnets(state.topology)["public"].policy is None
    assert len(notes) == 1
    assert notes[0].startswith("the policy of 'vpc1/public' can't be rebuilt: ")
    assert notes[0].endswith(
        "; its rules stay as they are, until: vpcctl firewall apply --vpc vpc1 --subnet public"
    )


def test_a_keeper_with_orders_that_nobody_gives_is_no_workload(scene: Scene) -> None:
    recorded = scene()
    recorded.keepers["vpc1-private"]["vpc1/private/Not a name"] = recorded.keepers["vpc1-private"].pop(
        "vpc1/private/worker"
    )
    held = recorded.keepers["vpc1-private"]["vpc1/private/Not a name"]
    held["argv"] = [word.replace("private/worker", "private/Not a name") for word in held["argv"]]
    state, notes = rebuilt()
    assert workloads(subnets(state.topology)["private"]) == ()
    told = "a process in vpc1-private is not one of vpcctl's workloads: "
    assert any(note.startswith(told) for note in notes)


def test_workloads_come_in_the_order_of_their_names(scene: Scene) -> None:
    recorded = scene()
    held = recorded.keepers["vpc1-private"]
    for name in ("zoo", "also"):
        one = copy.deepcopy(held["vpc1/private/worker"])
        one["argv"] = [word.replace("private/worker", f"private/{name}") for word in one["argv"]]
        held[f"vpc1/private/{name}"] = one
    found = workloads(subnets(rebuilt()[0].topology)["private"])
    assert [one.name for one in found] == ["also", "worker", "zoo"]


# Namespaces that can't be read, and what is half-made.


def test_what_cannot_be_read_is_told_once_and_of_the_host_not_at_all(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("vpc1-private", *ADDR, says="Operation not permitted")
    lines = found(recorded)
    assert len(lines) == 1
    assert lines[0].startswith("unreadable namespace vpc1-private: ")
    recorded.fail("", *ADDR, says="Operation not permitted")
    with pytest.raises(VpcctlError, match="the links of the host can't be read"):
        found(recorded)


def test_what_is_wanted_and_not_recorded_is_missing(scene: Scene) -> None:
    recorded = scene()
    kernel, state = Kernel(Runner()), recorded.state()
    *rest, last = state.ledger
    one = [
        finding for finding in findings(kernel, rest, [last.resource], {}) if finding.condition == "missing"
    ]
    assert [(finding.what, finding.detail) for finding in one] == [
        (str(last.resource), "not recorded as made")
    ]
    assert [
        finding
        for finding in findings(kernel, state.ledger, [last.resource], {})
        if finding.condition == "missing"
    ] == []


def test_a_question_that_was_not_recorded_fails(scene: Scene) -> None:
    del scene().asked['["vpc1", "iptables-save"]']
    with pytest.raises(AssertionError, match="not recorded"):
        rebuilt()


def test_of_the_host_that_cannot_be_read_no_resource_is_blamed(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("", *ADDR, says="Operation not permitted")
    with pytest.raises(VpcctlError, match="the links of the host can't be read"):
        inspect(Kernel(Runner()), recorded.state().ledger)
    assert (
        inspect(
            Kernel(Runner()),
            [
                entry
                for entry in recorded.state().ledger
                if "vpc1-" in str(entry.resource) and "file" not in str(entry.resource)
            ],
        )
        == {}
    )


@pytest.mark.parametrize(
    ("verb", "word"), [(Verb.MAKE, "make"), (Verb.UNMAKE, "unmake"), (Verb.CHANGE, "change")]
)
def test_what_a_command_left_half_made_is_told_with_what_there_is(
    scene: Scene, verb: Verb, word: str
) -> None:
    recorded = scene()
    ledger = [
        replace(
            entry,
            under_way=verb
            if str(entry.resource) in ("namespace vpc1-private", "link s-private in vpc1")
            else None,
        )
        for entry in recorded.state().ledger
    ]
    recorded.without_link("vpc1", "s-private")
    told = {
        one.what: (one.condition, one.detail)
        for one in findings(Kernel(Runner()), ledger, (), inspect(Kernel(Runner()), ledger))
    }
    cut_short = f"an interrupted command was to {word} it; it is "
    assert told["namespace vpc1-private"] == ("half-made", f"{cut_short}there")
    assert told["link s-private in vpc1"] == ("half-made", f"{cut_short}missing")
    assert told["cable s-private in vpc1 to eth0 in vpc1-private"][0] == "changed"


def test_what_is_half_made_and_cannot_be_read_is_told_for_itself(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("vpc1-private", *ADDR, says="Operation not permitted")
    ledger = [
        replace(entry, under_way=Verb.MAKE if str(entry.resource) == "link eth0 in vpc1-private" else None)
        for entry in recorded.state().ledger
    ]
    told = [
        (one.condition, one.what)
        for one in findings(Kernel(Runner()), ledger, (), inspect(Kernel(Runner()), ledger))
    ]
    assert sorted(told) == [
        ("half-made", "link eth0 in vpc1-private"),
        ("unreadable", "namespace vpc1-private"),
    ]


def test_rules_and_files_of_ours_that_the_record_lacks(scene: Scene) -> None:
    recorded = scene()
    whole, gone = recorded.state().ledger, ("rule", "file /", "folder /")
    ledger = [entry for entry in whole if not str(entry.resource).startswith(gone)]
    assert len(ledger) < len(whole)
    recorded.edit_rules("", "*filter\n", "*filter\n:USER - [0:0]\n")
    recorded.edit_rules(
        "", "COMMIT\n", '-A POSTROUTING -m comment --comment "vpcctl:vpc9/nat" -j ACCEPT\nCOMMIT\n'
    )
    told = {
        (one.condition, one.what): one.detail
        for one in findings(Kernel(Runner()), ledger, (), inspect(Kernel(Runner()), ledger))
    }
    assert {condition for condition, _ in told} == {"unrecorded"}
    away = "it is not in the record: vpcctl restore removes it"
    assert told["unrecorded", f"file {recorded.folder}/vpc1-public/resolv.conf"] == away
    assert f"vpcctl:vpc9/nat: {away}" in told.values()
    assert any(what.startswith("rule of FORWARD, table filter on the host") for _, what in told)
    assert not any(what.startswith("folder") for _, what in told)


def test_marks_that_the_record_lacks_are_told_in_order(scene: Scene) -> None:
    recorded = scene("a namespace bears the mark")
    plain = {"status": 0, "stderr": "", "stdout": [{"ifname": "lo", "flags": [], "addr_info": []}]}
    odd = {
        "status": 0,
        "stderr": "",
        "stdout": [
            {"ifname": "lo", "addr_info": []},
            {"ifname": "eth9", "ifalias": "vpcctl:x", "addr_info": []},
        ],
    }
    marked = {
        "status": 0,
        "stderr": "",
        "stdout": [
            {"ifname": "eth0", "addr_info": []},
            {"ifname": "lo", "ifalias": "vpcctl:x", "addr_info": []},
        ],
    }
    for name, said in (
        ("plain", plain),
        ("odd", odd),
        ("zoo", marked),
        ("yak", marked),
        ("xor", marked),
        ("blind", {"status": 1, "stdout": "", "stderr": "not permitted"}),
    ):
        recorded.names.append(name)
        recorded.asked[f'["{name}", "ip", "-j", "-d", "addr", "show"]'] = said
        recorded.asked[f'["{name}", "ip", "-j", "-4", "route", "show", "table", "main"]'] = {
            "status": 0,
            "stderr": "",
            "stdout": [],
        }
    recorded.links("vpc1")["lo"]["ifalias"] = "vpcctl:vpc1"
    recorded.printed("vpc2", *ADDR).append({"ifname": "mine", "ifalias": "vpcctl:vpc2/x", "addr_info": []})
    recorded.printed("vpc1", *ADDR).append({"ifname": "mine", "ifalias": "vpcctl:vpc1/x", "addr_info": []})
    for inside in ("vpc1-private", "vpc1-public"):
        recorded.printed(inside, *ADDR).append({"ifname": "mine", "ifalias": "vpcctl:x", "addr_info": []})
    told = [(one.what, one.detail) for one in kept_apart(Kernel(Runner()), recorded.state().ledger)]
    take_up = "adopt it: vpcctl restore --from-kernel, or remove it: "
    assert told == [
        *(
            (f"namespace {name}", f"it bears vpcctl's mark; {take_up}ip netns del {name}")
            for name in ("other", "xor", "yak", "zoo")
        ),
        ("link lan on the host", f"vpcctl:vpc7; {take_up}ip link del lan"),
        ("link mine in vpc1", f"vpcctl:vpc1/x; {take_up}ip -n vpc1 link del mine"),
        *(
            (f"link mine in {inside}", f"vpcctl:x; {take_up}ip -n {inside} link del mine")
            for inside in ("vpc1-private", "vpc1-public")
        ),
        ("link mine in vpc2", f"vpcctl:vpc2/x; {take_up}ip -n vpc2 link del mine"),
    ]
    # What is not there any more is not asked.
    recorded.names.remove("vpc2")
    assert "mine in vpc2" not in str([*kept_apart(Kernel(Runner()), recorded.state().ledger)])
    state, notes = rebuilt()
    assert notes[-1] == (
        "other, vpc1-private, vpc2-a-name-that-is-hashed, xor, yak, zoo: marked as vpcctl's, but neither the "
        "host nor a router has a link to it: it stays as it is"
    )


def test_routers_whose_networks_overlap_are_no_peers(scene: Scene) -> None:
    recorded = scene()
    recorded.links("vpc2")["br-vpc2"]["addr_info"][0].update(local="10.0.0.1", prefixlen=8)
    state, notes = rebuilt()
    assert state.topology.peerings == ()
    assert "the peering of 'vpc1' and 'vpc2' can't be rebuilt: their CIDRs overlap" in notes


def test_of_two_vpcs_with_one_network_the_one_without_a_route_waits_for_its_own(scene: Scene) -> None:
    recorded = scene()
    recorded.links("vpc2")["br-vpc2"]["addr_info"][0].update(local="10.0.0.1", prefixlen=16)
    recorded.routes("")[:] = [one for one in recorded.routes("") if one.get("dev") != "vpc-vpc2"]
    vpcs = rebuilt()[0].topology.vpcs
    assert [(vpc.name, vpc.routed) for vpc in vpcs] == [("vpc1", True), ("vpc2", True)]
    # Of those that have a route the first to be made comes first, whatever its name.
    for route in recorded.routes(""):
        if route.get("dev") == "vpc-vpc1":
            route["dev"] = "vpc-vpc2"
    vpcs = rebuilt()[0].topology.vpcs
    assert [(vpc.name, vpc.routed) for vpc in vpcs] == [("vpc2", True), ("vpc1", True)]


def test_a_router_over_a_network_that_no_vpc_may_have(scene: Scene) -> None:
    recorded = scene()
    recorded.links("vpc2")["br-vpc2"]["addr_info"][0].update(local="127.0.0.1", prefixlen=8)
    state, notes = rebuilt()
    assert [vpc.name for vpc in state.topology.vpcs] == ["vpc1"]
    assert any(
        note.startswith("VPC 'vpc2' can't be rebuilt: 127.0.0.0/8 can't be a private network")
        for note in notes
    )


def test_a_router_that_cannot_be_read(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("vpc2", *ADDR, says="Operation not permitted")
    state, notes = rebuilt()
    assert [vpc.name for vpc in state.topology.vpcs] == ["vpc1"]
    assert any(
        note.startswith("VPC 'vpc2' can't be rebuilt: the links of vpc2 can't be read") for note in notes
    )


def test_a_policy_that_cannot_be_read(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("vpc1-public", "iptables-save", says="Operation not permitted")
    state, notes = rebuilt()
    assert subnets(state.topology)["public"].policy is None
    assert [note.partition(":")[0] for note in notes] == ["the policy of 'vpc1/public' can't be rebuilt"]


@pytest.mark.parametrize(("interface", "known"), [("lan", "lan"), ('"odd/name"', None)])
def test_an_uplink_is_the_one_of_our_rules_if_a_link_may_be_called_so(
    scene: Scene, interface: str, known: str | None
) -> None:
    recorded = scene()
    said = recorded.asked['["", "iptables-save"]']
    said["stdout"] = said["stdout"].replace("-i eth0 ", f"-i {interface} ")
    state, notes = rebuilt()
    assert state.topology.vpcs[0].nat == (Nat("lan", 1500, (IPv4Address("8.8.8.8"),)) if known else None)
    assert ("the uplink of VPC 'vpc1' is unknown: vpcctl nat enable --vpc vpc1" in notes) is (known is None)


def test_only_our_jump_tells_what_forwarding_was(scene: Scene) -> None:
    recorded = scene()
    recorded.edit_rules("", f"-j {naming.HOST_FORWARD}\n", "-j USER\n")
    assert rebuilt()[0].topology.forwarding is None


def test_two_that_would_have_one_name_in_the_kernel_are_refused(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Topology) -> None:
        raise VpcctlError("they collide")

    scene()
    monkeypatch.setattr(kinds, "check_collisions", refuse)
    with pytest.raises(VpcctlError, match="they collide"):
        rebuilt()


def test_a_workload_that_ended_since_has_no_facts(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene()
    monkeypatch.setattr("vpcctl_lib.engine.rebuild.keepers", lambda kernel, space: {})
    state, _ = rebuilt()
    assert [entry.found for entry in state.ledger if isinstance(entry.resource, Program)] == [{}, {}]


def test_of_marks_on_a_host_that_cannot_be_read_nothing_is_said(scene: Scene) -> None:
    recorded = scene()
    recorded.fail("", *ADDR, says="Operation not permitted")
    with pytest.raises(VpcctlError, match="the links of the host can't be read"):
        list(kept_apart(Kernel(Runner()), recorded.state().ledger))


# Machines with a name.

GUARDED = ("nft", "-j", "list", "table", "bridge", "vpcctl")


def renamed(recorded: Recorded, name: str, subnet: str = "private") -> None:
    """The subnet's own machine becomes the one of that name."""
    port = recorded.links("vpc1")[f"s-{subnet}"]
    port.update(ifname=naming.port(subnet, name), ifalias=f"vpcctl:vpc1/{subnet}/{name}")


def guard(recorded: Recorded, *members: tuple[str, str, str, str]) -> None:
    """The guard's machines: port, MAC, address, comment."""
    listed = recorded.printed("vpc1", *GUARDED)
    own = next(item["set"] for item in listed["nftables"] if item.get("set", {}).get("name") == "own")
    own["elem"] = [
        {"elem": {"comment": comment, "val": {"concat": list(parts)}}} for *parts, comment in members
    ]


def machines(state: State, subnet: str = "private") -> list[tuple[str, list[str]]]:
    return [
        (one.name, [str(address) for address in one.addresses])
        for one in subnets(state.topology)[subnet].machines
    ]


PRIVATE = "10.0.2.0/24 private"


def mac(address: str) -> str:
    return naming.instance_mac("vpc1", IPv4Address(address))


def test_a_machine_has_the_addresses_of_the_guard_that_of_its_mac_first(scene: Scene) -> None:
    recorded = scene()
    renamed(recorded, "web1")
    port = naming.port("private", "web1")
    guard(recorded, *((port, mac("10.0.2.7"), f"10.0.2.{last}", PRIVATE) for last in (9, 5, 7, 12, 8, 3, 11)))
    state, notes = rebuilt()
    assert machines(state) == [("web1", [f"10.0.2.{last}" for last in (7, 3, 5, 8, 9, 11, 12)])]
    told = "the policy and the workloads of 'vpc1/private/web1' are unknown: "
    assert f"{told}its namespace was missing, and is recreated" in notes


def test_an_address_outside_its_subnet_is_not_a_machine_s(scene: Scene) -> None:
    recorded = scene()
    renamed(recorded, "web1")
    port = naming.port("private", "web1")
    guard(recorded, *((port, mac("10.0.2.7"), one, PRIVATE) for one in ("10.0.9.9", "10.0.2.7")))
    assert machines(rebuilt()[0]) == [("web1", ["10.0.2.7"])]


def test_a_subnet_s_own_machine_may_have_more_addresses(scene: Scene) -> None:
    recorded = scene()
    port = naming.port("private")
    guard(recorded, *((port, mac("10.0.2.2"), f"10.0.2.{last}", PRIVATE) for last in (2, 8)))
    assert machines(rebuilt()[0]) == [("", ["10.0.2.2", "10.0.2.8"])]
    guard(recorded, (port, mac("10.0.2.2"), "10.0.2.2", PRIVATE))
    assert machines(rebuilt()[0]) == [("", [])], "the address that it has by default"


def test_without_a_guard_a_subnet_s_own_machine_has_the_address_that_it_has_by_default(scene: Scene) -> None:
    recorded = scene()
    guard(recorded)
    recorded.links("vpc1-public")["eth0"]["addr_info"][0].update(local="10.0.1.9")
    assert machines(rebuilt()[0], "public") == [("", [])]


def bare(recorded: Recorded, *addresses: str) -> None:
    """The machine `web1` of the private subnet, of which nothing but its namespace tells the addresses."""
    renamed(recorded, "web1")
    guard(recorded, ("s-other", mac("10.0.2.2"), "10.0.2.2", PRIVATE))
    space = "vpc1-private.web1"
    recorded.names.append(space)
    for key, said in list(recorded.asked.items()):
        if key.startswith('["vpc1-private", '):
            recorded.asked[key.replace('["vpc1-private", ', f'["{space}", ')] = copy.deepcopy(said)
    held = recorded.links(space)["eth0"]["addr_info"]
    held[:] = [{**held[0], "local": one} for one in addresses]


def test_without_a_guard_a_machine_s_own_namespace_tells_its_addresses(scene: Scene) -> None:
    bare(scene(), "10.0.2.9")
    state, notes = rebuilt()
    assert machines(state) == [("web1", ["10.0.2.9"])]
    assert AS_THEY_SAY.format("private") in notes


def test_a_machine_without_an_address_is_left_out(scene: Scene) -> None:
    recorded = scene()
    renamed(recorded, "web1", "public")
    guard(recorded)
    state, notes = rebuilt()
    assert machines(state, "public") == []
    assert "machine 'vpc1/public/web1' can't be rebuilt: its address is missing" in notes


def test_a_machine_whose_links_cannot_be_read_is_left_out_too(scene: Scene) -> None:
    recorded = scene()
    bare(recorded)
    recorded.edit_rules("vpc1", "vpcctl:vpc1/public", "vpcctl:vpc1/private")
    recorded.edit_rules("vpc1", "-s 10.0.1.0/24", "-s 10.0.2.0/24")
    recorded.fail("vpc1-private.web1", *ADDR, says="Operation not permitted")
    state, notes = rebuilt()
    assert machines(state) == []
    assert "machine 'vpc1/private/web1' can't be rebuilt: its address is missing" in notes


def test_a_machine_of_a_subnet_of_a_name_that_nobody_may_give_is_none(scene: Scene) -> None:
    recorded = scene()
    port = naming.port("Private", "web1")
    recorded.links("vpc1")["s-private"].update(ifname=port, ifalias="vpcctl:vpc1/Private/web1")
    state, notes = rebuilt()
    assert [*subnets(state.topology)] == ["public"]
    assert "bears the mark vpcctl:vpc1/Private/web1, but vpcctl did not make it" in " ".join(notes)


@pytest.mark.parametrize("name", ["Not a name", "web-", ""])
def test_a_machine_of_a_name_that_nobody_may_give_is_none(scene: Scene, name: str) -> None:
    recorded = scene()
    renamed(recorded, name)
    state, notes = rebuilt()
    assert [*subnets(state.topology)] == ["public"]
    assert f"bears the mark vpcctl:vpc1/private/{name}, but vpcctl did not make it" in " ".join(notes)
