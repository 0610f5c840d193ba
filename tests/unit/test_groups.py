"""Security groups: what any of them allows passes, and nothing else; what files and commands refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fields import FULL, made
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.blueprint.groups import Groups
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.files import policy as files
from vpcctl_lib.files.documents import Document
from vpcctl_lib.files.topology import Reader
from vpcctl_lib.firewall import group_rules
from vpcctl_lib.firewall.filter_rules import MANY
from vpcctl_lib.firewall.group_rules import MOST, Direction, incoming, ingress_filter
from vpcctl_lib.firewall.group_words import from_words, in_words
from vpcctl_lib.managers.grouping import check_groups
from vpcctl_lib.model import endpoints, groups
from vpcctl_lib.model.addressing import Address, Family, in_spans, spans
from vpcctl_lib.model.endpoints import Stand
from vpcctl_lib.model.groups import Called
from vpcctl_lib.model.policies import Action, Group, Policy, Ports, Protocol, Rule, meet
from vpcctl_lib.model.topology import Attachment, Machine, Peering, Subnet, Topology, Vpc
from vpcctl_lib.reach.chains import Table
from vpcctl_lib.reach.governed import Judge
from vpcctl_lib.reach.governed import Packet as Asked
from vpcctl_lib.reach.marks import INCOMING, OUTGOING, marked
from vpcctl_lib.reach.match import Place
from vpcctl_lib.reach.packet import Flow, Packet
from vpcctl_lib.reach.tables import parse_save
from vpcctl_lib.resources import Chain, Marking, Resource, changed
from vpcctl_lib.resources import marking as table
from vpcctl_lib.resources.marking import Held, Members, table_of

DB, WEB, APP, FAR = map(IPv4Address, ("10.0.1.4", "10.0.1.5", "10.0.1.6", "172.16.1.4"))
PARTS = IPv6Network("fd0a:0:0:101::/64"), IPv6Network("fd0b:0:0:101::/64")
DB6, WEB6, APP6 = (PARTS[0][number] for number in (4, 5, 6))
FAR6 = PARTS[1][4]
NAMES = ("web", "data", "app")
PORTS = (22, 80, 81, 443, 5432)


def machine(name: str, address: IPv4Address, *joined: str) -> Machine:
    return Machine(name, (address,), groups=tuple(sorted(joined)))


def network(found: tuple[Group, ...], joined: dict[str, tuple[str, ...]], ops: tuple[str, ...] = ("ops",),
            peered: bool = True, dual: bool = False) -> Topology:
    """Three machines of a VPC, in these groups, and one of a peer."""
    inner = Subnet("s", IPv4Network("10.0.1.0/24"), ipv6=PARTS[0] if dual else None, machines=tuple(
        machine(name, address, *joined.get(name, ()))
        for name, address in (("db", DB), ("web", WEB), ("app", APP))))
    outer = Subnet("s", IPv4Network("172.16.1.0/24"), ipv6=PARTS[1] if dual else None,
                   machines=(machine("far", FAR, *ops),))
    first, second = (part.supernet(new_prefix=56) if dual else None for part in PARTS)
    return Topology((Vpc("a", IPv4Network("10.0.0.0/16"), subnets=(inner,), groups=found, ipv6=first),
                     Vpc("b", IPv4Network("172.16.0.0/16"), 1, subnets=(outer,), groups=(Group("ops"),),
                         ipv6=second)),
                    (Peering("a", "b"),) if peered else (), guarded=True, quotes=True)


rules = st.builds(
    lambda protocol, first, more, far: Rule(
        protocol, Action.ALLOW, Ports(first, first + more) if protocol in (Protocol.TCP, Protocol.UDP)
        and more is not None else None, None if isinstance(far, str) else far, "",
        far if isinstance(far, str) else ""),
    st.sampled_from(Protocol), st.sampled_from(PORTS), st.none() | st.sampled_from((0, 1, 400)),
    st.sampled_from((None, "web", "data", "app", "b/ops", IPv4Network("10.0.1.4/31"),
                     IPv4Network("172.16.0.0/16"), IPv4Network("0.0.0.0/0"), IPv6Network("::/0"),
                     IPv6Network("fd0a:0:0:101::4/127"), IPv6Network("fd0b::/16"))))
policies = st.builds(Policy, st.lists(rules, max_size=5).map(tuple),
                     st.none() | st.lists(rules, max_size=4).map(tuple))
joinings = st.fixed_dictionaries({name: st.lists(st.sampled_from(NAMES), unique=True, max_size=3).map(tuple)
                                  for name in ("db", "web", "app")})


@st.composite
def networks(draw: st.DrawFn) -> Topology:
    """Groups that name each other, and who is in them."""
    found = tuple(Group(name, draw(policies)) for name in NAMES)
    return network(found, draw(joinings), draw(st.sampled_from(((), ("ops",)))), draw(st.booleans()),
                   draw(st.booleans()))


BESIDE = {WEB6: WEB, APP6: APP, FAR6: FAR}
"""The IPv4 address of the same machine."""


def allows(topology: Topology, group: Group, rule: Rule, far: Address, packet: Asked) -> bool:
    """The oracle, for one rule: who is in which group stands in the model."""
    if rule.protocol not in (Protocol.ALL, packet.protocol):
        return False
    if rule.ports and not (packet.port and rule.ports.first <= packet.port <= rule.ports.last):
        return False
    if rule.network:
        return far in rule.network
    if not rule.group:
        return True
    vpc, _, name = rule.group.rpartition("/")
    if vpc and not topology.peerings:
        return False
    there = topology.vpc(vpc or "a")
    return there is not None and any(BESIDE.get(far, far) in one.addresses and name in one.groups
                                     for subnet in there.subnets for one in subnet.machines)


def passes(made: list[Resource], packet: Asked, is_ingress: bool) -> bool:
    """What nft and iptables make of it, with the rules that are in the database's namespace."""
    space = "a-s.db"
    held = next((Held({one.group: in_spans(one.spans) for one in found.members},
                      {INCOMING: found.incoming, OUTGOING: found.outgoing})
                 for found in made if isinstance(found, Marking)
                 and (found.namespace, found.family) == (space, packet.family)), None)
    name = "INPUT" if is_ingress else "OUTPUT"
    lines = ["*filter", f":{name} ACCEPT [0:0]"]
    for one in made:
        if isinstance(one, Chain) and (one.namespace, one.name, one.family) == (space, name, packet.family):
            for part in (one, *one.inner_chains()):
                lines += [f":{part.name} - [0:0]"] if part is not one else []
                lines += [f"-A {part.name} {rule}" for rule in part.rules]
    port = Ports(packet.port, packet.port) if packet.port else None
    sent = Packet(packet.protocol, Flow(packet.source, packet.destination, None, port), mark=0x12345678)
    sent = marked(held, INCOMING if is_ingress else OUTGOING, sent, "eth0") if held else sent
    place = Place(incoming="eth0") if is_ingress else Place(outgoing="eth0")
    return Table(parse_save("\n".join(lines))["filter"], place).decide(name, sent).target == "ACCEPT"


@given(networks(), st.sampled_from((Protocol.TCP, Protocol.UDP, Protocol.ICMP)), st.sampled_from(PORTS),
       st.sampled_from((WEB, APP, FAR, IPv4Address("8.8.8.8"))))
def test_what_any_group_allows_passes_and_nothing_else(topology: Topology, protocol: Protocol, port: int,
                                                       far: IPv4Address) -> None:
    check_passage(topology, protocol, port, far, DB)


@given(networks().filter(lambda topology: topology.vpcs[0].ipv6 is not None),
       st.sampled_from((Protocol.TCP, Protocol.UDP, Protocol.ICMPV6)), st.sampled_from(PORTS),
       st.sampled_from((WEB6, APP6, FAR6, IPv6Address("2600::8"))))
def test_the_same_of_ipv6(topology: Topology, protocol: Protocol, port: int, far: IPv6Address) -> None:
    check_passage(topology, protocol, port, far, DB6)


def check_passage(topology: Topology, protocol: Protocol, port: int, far: Address, own: Address) -> None:
    """Packets between the database and another end, both ways."""
    made = blueprint(topology)
    number = port if protocol in (Protocol.TCP, Protocol.UDP) else None
    vpc = topology.vpcs[0]
    db = endpoints.in_vpc(vpc)[0]
    held = [group for group in vpc.groups if group.name in db.groups]
    into, out = Asked(far, own, protocol, number), Asked(own, far, protocol, number)
    expected = not held or any(allows(topology, group, rule, far, into) for group in held
                               for rule in group.policy.ingress)
    assert passes(made, into, True) is expected
    assert Judge(topology).lets(db, into, True) is expected
    expected = not held or any(group.policy.egress is None for group in held) or any(
        allows(topology, group, rule, far, out) for group in held for rule in group.policy.egress or ())
    assert passes(made, out, False) is expected
    assert Judge(topology).lets(db, out, False) is expected


@given(st.lists(rules, max_size=12))
def test_rules_that_a_packet_can_both_match_have_different_numbers(some: list[Rule]) -> None:
    lines = [one for one in incoming((Group("g", Policy(tuple(some))),)).lines if one.number]
    for at, one in enumerate(lines):
        others = [other for other in lines[:at] if meet(one.rule, other.rule)]
        assert all(one.number != other.number for other in others)
    assert all(one.number <= len(lines) for one in lines)


@pytest.mark.parametrize(("one", "other", "is_shared"), [
    (Rule(Protocol.TCP, Action.ALLOW, None), Rule(Protocol.UDP, Action.ALLOW, None), True),
    (Rule(Protocol.TCP, Action.ALLOW, Ports(80, 90)), Rule(Protocol.TCP, Action.ALLOW, Ports(91, 91)), True),
    (Rule(Protocol.TCP, Action.ALLOW, Ports(80, 90)), Rule(Protocol.TCP, Action.ALLOW, Ports(90, 91)), False),
    (Rule(Protocol.TCP, Action.ALLOW, Ports(80, 90)), Rule(Protocol.TCP, Action.ALLOW), False),
    (Rule(Protocol.ALL, Action.ALLOW), Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)), False),
    (Rule(Protocol.ALL, Action.ALLOW), Rule(Protocol.ICMP, Action.ALLOW), False)])
def test_only_rules_that_match_no_packet_both_share_a_number(one: Rule, other: Rule, is_shared: bool) -> None:
    for pair in ((one, other), (other, one)):
        named = tuple(replace(rule, group=f"g{number}") for number, rule in enumerate(pair))
        numbers = [line.number for line in incoming((Group("g", Policy(named)),)).lines]
        assert numbers == [1, 1 if is_shared else 2]


def test_rules_for_different_ports_share_numbers_and_too_many_for_one_are_refused() -> None:
    def of(count: int, port: int) -> Direction:
        return incoming((Group("g", Policy(tuple(
            Rule(Protocol.TCP, Action.ALLOW, Ports(port + number // MOST, port + number // MOST), None, "",
                 f"g{number % MOST}") for number in range(count)))),))

    fits = of(2 * MOST, 80)
    assert max(one.number for one in fits.lines) == MOST
    group_rules.check(fits, "x")
    many = tuple(Group(f"g{number}") for number in range(MOST + 1))
    policy = Policy(tuple(Rule(Protocol.TCP, Action.ALLOW, None, None, "", one.name) for one in many))
    topology = network((*many, Group("web", policy)), {"db": ("web",)})
    with pytest.raises(VpcctlError, match="a/s/db would have too many rules that name groups"):
        check_groups(Topology(), topology)


def test_each_family_has_the_rules_that_are_for_it() -> None:
    ping, echo = (Rule(protocol, Action.ALLOW, group="web") for protocol in (Protocol.ICMP, Protocol.ICMPV6))
    near = Rule(Protocol.TCP, Action.ALLOW, None, IPv4Network("10.0.1.0/24"))
    direction = incoming([Group("g", Policy((ping, echo, near, replace(near, network=PARTS[0]))))])
    for family, protocol, network in ((Family.INET, Protocol.ICMP, "10.0.1.0/24"),
                                      (Family.INET6, Protocol.ICMPV6, str(PARTS[0]))):
        assert [test.protocol for test in direction.tests(family)] == [protocol]
        rules = [rule for rule in ingress_filter(direction, family).rules if "g:ingress" in rule]
        assert [("-m mark" in rule, network in rule) for rule in rules] == [(False, True), (True, False)]


def test_many_rules_for_addresses_become_a_tree_before_those_for_groups() -> None:
    many = tuple(Rule(Protocol.TCP, Action.ALLOW, Ports(n, n), IPv4Network(f"10.1.{n % 200}.0/24"))
                 for n in range(1, MANY + 100))
    ping = Rule(Protocol.ICMP, Action.ALLOW, None, None, "", "g")
    found = ingress_filter(incoming((Group("g", Policy((ping, *many))),)))
    assert found.inner
    *_, tree, marked_rule, last = found.rules
    assert tree.startswith("-j VPCCTL-IN-")
    assert "-m mark --mark 0x1000000/0xff000000" in marked_rule
    assert last == "-m comment --comment vpcctl:groups:ingress.default -j DROP"


def test_the_mark_keeps_the_bits_of_others() -> None:
    assert group_rules.MASK & ((1 << 24) - 1) == 0
    held = Held({"web": frozenset({WEB})}, {INCOMING: incoming((Group("g", Policy((Rule(
        Protocol.ALL, Action.ALLOW, None, None, "", "web"),))),)).tests()})
    for source, mark in ((WEB, 0x01345678), (APP, 0x00345678)):
        packet = Packet(Protocol.TCP, Flow(source, DB, None, Ports(80, 80)), mark=0xFF345678)
        assert marked(held, INCOMING, packet, "eth0").mark == mark
        beside = replace(held, interface="vpc0")
        assert marked(beside, INCOMING, packet, "vpc0").mark == mark
        assert marked(beside, INCOMING, packet, "eth0").mark == packet.mark


@given(made(Group))
def test_rules_in_words_are_read_back(group: Group) -> None:
    def plain(found: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(replace(rule, description="") for rule in found)

    held = group.policy
    bare = replace(held, description="", ingress=plain(held.ingress),
                   egress=None if held.egress is None else plain(held.egress))
    assert from_words(in_words(held)) == bare
    assert all(len(line) <= 128 and '"' not in line for line in in_words(held))


@pytest.mark.parametrize("lines", [
    (), ("egress",), ("egress open", "x"), ("egress open", "ingress tcp 80"),
    ("egress open", "ingress tcp 0x any"),
    ("egress open", "egress tcp 80 any"), ("egress as listed", "ingress sctp any any"),
    ("egress open", "ingress tcp 80-80 any"), ("egress open", "ingress tcp 80 10.0.0.1/8")])
def test_words_that_are_not_ours_are_no_rules(lines: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever it says
        from_words(lines)


@given(st.sets(st.integers(0, 60)))
def test_addresses_are_packed_and_unpacked(numbers: set[int]) -> None:
    addresses = {IPv4Address("10.0.0.250") + number for number in numbers}
    assert in_spans(spans(addresses)) == addresses
    assert spans({WEB, APP, FAR}) == "10.0.1.5-10.0.1.6 172.16.1.4"
    sixth = {PARTS[0][250 + number] for number in numbers}
    assert in_spans(spans(sixth)) == sixth
    assert spans({WEB6, APP6, FAR6}) == "fd0a:0:0:101::5-fd0a:0:0:101::6 fd0b:0:0:101::4"


def hook(found: Marking, chain: str) -> str:
    """The hook at which nft has a chain."""
    is_in = chain == INCOMING
    return ("prerouting" if is_in else "postrouting") if found.forwards else "input" if is_in else "output"


def listing(found: Marking) -> list[dict[str, Any]]:
    """The table as nft lists it."""
    chains = {"incoming": found.incoming, "outgoing": found.outgoing}
    return [{"metainfo": {}}, {"table": {"family": found.family.nft, "name": "vpcctl"}},
            *({"set": {"name": f"group-{one.group}", "elem": sorted(map(str, in_spans(one.spans)))}}
              for one in found.members),
            *(item for name, tests in chains.items() if tests for item in (
                {"chain": {"name": name, "type": "filter", "hook": hook(found, name),
                           "prio": -160 if found.forwards else -10,
                           "policy": "accept"}},
                *({"rule": {"chain": name, "expr": one}} for one in (
                    *table._first(name, found.interface),
                    *(table._expression(found.family, name, test) for test in tests)))))]


STANDS: dict[Stand, dict[str, Any]] = {Stand.ENDS: {}, Stand.LINK: {"forwards": True, "interface": "eth0"}}


@given(networks(), st.sampled_from(Stand))
def test_a_table_is_read_as_it_was_made(topology: Topology, stand: Stand) -> None:
    for one in blueprint(topology):
        if isinstance(one, Marking):
            one = replace(one, **STANDS[stand])  # noqa: PLW2901
            held = table_of(listing(one), one.family)
            assert held is not None
            assert held.tests == {name: tests for name, tests in (
                ("incoming", one.incoming), ("outgoing", one.outgoing)) if tests}
            assert (held.interface, held.stand) == (one.interface, stand)
            assert held.members == {found.group: in_spans(found.spans) for found in one.members}


TABLE = Marking("a-s.db", (Members("web", "10.0.1.5"),), incoming((Group("g", Policy((
    Rule(Protocol.TCP, Action.ALLOW, Ports(80, 90), None, "", "web"),))),)).tests())


@pytest.mark.parametrize("change", [
    lambda listed: listed.append({"rule": {"chain": "incoming", "expr": [{"accept": None}]}}),
    lambda listed: listed.insert(4, {"rule": {"chain": "incoming", "expr": [{"drop": None}]}}),
    lambda listed: listed[3]["chain"].update(prio=0),
    lambda listed: listed.append({"chain": {"name": "outgoing", "type": "filter", "hook": "output",
                                            "prio": -160, "policy": "accept"}}),
    lambda listed: listed[3]["chain"].update(name="others"),
    lambda listed: listed.append({"counter": {}}),
    lambda listed: listed[2]["set"].update(elem=["x"]),
    lambda listed: listed[6]["rule"]["expr"].pop(1),
    lambda listed: listed[6]["rule"]["expr"].append({"log": None}),
])
def test_a_table_that_somebody_changed_is_not_ours(change: Any) -> None:
    listed = listing(TABLE)
    assert table_of(listed) is not None
    change(listed)
    found = table_of(listed)
    assert found is None or found.tests["incoming"] != TABLE.incoming


def test_marks_come_before_the_table_that_asks_for_them() -> None:
    tables = {stand: replace(TABLE, **words) for stand, words in STANDS.items()}
    for stand, one in tables.items():
        held = table_of(listing(one))
        assert held is not None
        assert held.stand is stand
        kernel: Any = SimpleNamespace(ip_table=lambda *_, one=one: listing(one))
        assert one.check(kernel, {}) is None
        for other in tables.values():
            assert other is one or other.check(kernel, {}) == changed("its rules differ")


def test_members_that_come_and_go_are_elements_and_nothing_else() -> None:
    more = replace(TABLE, members=(Members("web", "10.0.1.5-10.0.1.6"),))
    (step,) = more.change(TABLE)
    assert step.text == "add element ip vpcctl group-web { 10.0.1.6 }\n"  # type: ignore[attr-defined]
    (step,) = TABLE.change(more)
    assert step.text == "delete element ip vpcctl group-web { 10.0.1.6 }\n"  # type: ignore[attr-defined]
    assert TABLE.change(TABLE) == ()
    (step,) = replace(TABLE, incoming=TABLE.incoming * 2).change(TABLE)
    assert "delete table ip vpcctl" in step.text  # type: ignore[attr-defined]


def test_what_many_machines_share_is_worked_out_once() -> None:
    topology = network((Group("web", Policy()),), {"db": ("web",), "web": ("web",)})
    found = Groups(topology, {})
    assert found.directions(topology.vpcs[0], ("web",)) is found.directions(topology.vpcs[0], ("web",))


# Who names whom.

NAMED = network((Group("web"), Group("data", Policy(tuple(
    Rule(Protocol.TCP, Action.ALLOW, None, None, "", name) for name in ("web", "b/ops", "data")))),
    Group("idle")), {"db": ("data",)}, ops=())


@pytest.mark.parametrize(("which", "says"), [
    (Called("a", "data"), "group 'data' of VPC 'a' is in use: its members are a/s/db"),
    (Called("a", "web"), "group 'web' of VPC 'a' is in use: its name is in the rules of data (ingress[0])"),
    (Called("b", "ops"), "group 'ops' of VPC 'b' is in use: its name is in the rules of a/data (ingress[1])"),
    (Called("a", "wep"), "group 'wep' does not exist in VPC 'a'"), (Called("a", "idle"), "")])
def test_a_group_in_use_is_not_deleted(which: Called, says: str) -> None:
    try:
        groups.check_unused(NAMED, which)
        said = ""
    except VpcctlError as error:
        said = error.message
    assert said == says


def test_rules_become_stale_with_what_they_name() -> None:
    assert list(groups.stale(NAMED)) == []
    alone = replace(NAMED, peerings=())
    (use,) = groups.stale(alone)
    assert (str(use.by), use.place, str(use.of)) == ("a/data", "ingress[1]", "b/ops")
    (told,) = check_groups(NAMED, alone)
    assert told.startswith("ingress[1] of group 'data' of VPC 'a' matches nobody now: group 'b/ops'")
    assert check_groups(alone, alone) == []
    assert [use.place for use in groups.stale(NAMED.without_vpc("b"))] == ["ingress[1]"]


def test_a_group_can_be_named_only_where_ports_are_guarded() -> None:
    with pytest.raises(VpcctlError, match=r"group 'data' of VPC 'a' can't name group 'web' \(ingress\[0\]\)"):
        check_groups(Topology(), replace(NAMED, guarded=False))
    plain = network((Group("web"),), {"db": ("web",)})
    assert check_groups(Topology(), replace(plain, guarded=False)) == []


# Files.

def load(tmp_path: Path, content: object) -> Group:
    file = tmp_path / "group.json"
    file.write_text(json.dumps(content))
    return files.load_group(file, "web")


@given(made(Group))
def test_a_group_is_written_and_read_back(group: Group) -> None:
    document = files.group_to_document(group)
    network = {"version": 2, "vpcs": {"v": {"cidr": "10.0.0.0/16", "groups": {
        group.name: document, **{name: {} for name in ("web", "data") if name != group.name}}}}}
    found = Reader(Document("x", network), Path()).read().topology.vpcs[0].group(group.name)
    assert found == group


TCP = {"protocol": "tcp", "action": "allow"}


@pytest.mark.parametrize(("content", "says"), [
    ({"ingress": [{**TCP, "action": "deny"}]}, "ingress[0].action: a group only allows"),
    ({"ingress": [{**TCP, "action": "Allow"}]}, 'ingress[0].action: "Allow" is not allow'),
    ({"ingress": [{"protocol": "tcp"}]}, "the rule has no action"),
    ({"default": "allow"}, "default: the default of a group is deny"),
    ({"subnet": "10.0.1.0/24"}, "a group is not for a subnet"),
    ({"ingress": [{**TCP, "source": "group:"}]}, 'ingress[0].source: "group:" is not a group'),
    ({"ingress": [{**TCP, "source": "group:a/b/c"}]}, "is not a group"),
    ({"ingress": [{**TCP, "source": "group:A"}]}, "is not a group"),
    ({"ingress": [{**TCP, "destination": "group:web"}]}, "an ingress rule has no destination"),
    ({"egress": [{**TCP, "destination": "groups:web"}]}, "is not a network"),
    ({"ingress": {}}, "ingress is a list of rules"),
])
def test_a_file_that_is_no_group_is_refused(tmp_path: Path, content: object, says: str) -> None:
    with pytest.raises(BadInput) as refused:
        load(tmp_path, content)
    assert says in refused.value.message


def test_a_policy_of_a_subnet_may_be_a_group_s(tmp_path: Path) -> None:
    group = load(tmp_path, {"default": "deny", "ingress": [{**TCP, "port": 80}]})
    assert group == Group("web", Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)),)))
    file = tmp_path / "policy.json"
    file.write_text(json.dumps({"ingress": [{**TCP, "source": "group:web"}]}))
    with pytest.raises(BadInput, match="a subnet's policy can't name a group"):
        files.load(file, IPv4Network("10.0.1.0/24"))


VPC = {"cidr": "10.0.0.0/16", "groups": {"web": {"ingress": [{**TCP, "source": "group:data"}]}, "data": {}},
       "subnets": {"s": {"cidr": "10.0.1.0/24", "groups": ["web"], "instances": {"m": {"groups": ["data"]}}}}}


@pytest.mark.parametrize(("way", "value", "says"), [
    (("groups", "data"), None, "vpcs.v.groups.data"),
    (("groups",), {"web": {"ingress": [{**TCP, "source": "group:date"}]}, "data": {}},
     "vpcs.v.groups.web: ingress[0]: group 'date' does not exist in VPC 'v'"),
    (("subnets", "s", "groups"), ["wep"], "vpcs.v.subnets.s.groups: group 'wep' does not exist in VPC 'v'"),
    (("subnets", "s", "instances", "m", "groups"), ["x"], "vpcs.v.subnets.s.instances.m.groups: group 'x'"),
    (("subnets", "s", "groups"), "web", 'vpcs.v.subnets.s.groups: "web" is not a list of groups'),
    (("subnets", "s", "bare"), True, "a bare subnet has no machine of its own, which could be in groups"),
    (("groups", "web"), "", '"" is not a path'),
])
def test_a_topology_that_names_what_is_not_there_is_refused(way: tuple[str, ...], value: object,
                                                            says: str) -> None:
    vpc = json.loads(json.dumps(VPC))
    place = vpc
    for step in way[:-1]:
        place = place[step]
    place[way[-1]] = value
    with pytest.raises(BadInput) as refused:
        Reader(Document("x", {"version": 2, "vpcs": {"v": vpc}}), Path()).read()
    assert says in refused.value.message


def test_version_1_of_a_file_has_no_groups() -> None:
    with pytest.raises(BadInput, match="version 1 of the format has no groups"):
        Reader(Document("x", {"version": 1, "vpcs": {"v": VPC}}), Path()).read()


def test_a_group_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({"ingress": [{**TCP, "source": "group:web"}]}))
    vpc = {**VPC, "groups": {"web": {}, "data": "data.json"}}
    found = Reader(Document("x", {"version": 2, "vpcs": {"v": vpc}}), tmp_path).read().topology.vpcs[0]
    assert [group.policy.ingress[0].group for group in found.groups[1:]] == ["web"]


def test_the_groups_of_a_whole_network_have_all_that_there_is() -> None:
    assert {use.of.seen_from(use.by.vpc) for use in groups.uses(FULL)} == {"data", "web", "vpc2/ops"}


def members_of(topology: Topology, space: str = "a-s.db") -> dict[str, frozenset[IPv4Address]]:
    """The sets in a machine's namespace."""
    (found,) = (one for one in blueprint(topology) if isinstance(one, Marking) and one.namespace == space)
    return {one.group: in_spans(one.spans) for one in found.members}


def test_the_members_of_a_peer_s_group_count_as_long_as_it_is_a_peer() -> None:
    topology = network(NAMED.vpcs[0].groups, {"db": ("data",), "web": ("web",)})
    assert members_of(topology) == {"b/ops": {FAR}, "web": {WEB}, "data": {DB}}
    assert members_of(replace(topology, peerings=()))["b/ops"] == frozenset()
    assert members_of(topology.without_vpc("b"))["b/ops"] == frozenset()


def test_a_member_counts_with_all_its_addresses() -> None:
    vpc = NAMED.vpcs[0]
    subnet = vpc.subnets[0].with_machine(Machine("web", (WEB, IPv4Address("10.0.1.50")), groups=("web",)))
    assert members_of(NAMED.with_vpc(vpc.with_subnet(subnet)))["web"] == {WEB, IPv4Address("10.0.1.50")}


def test_a_group_that_only_names_itself_can_be_deleted() -> None:
    own = Group("own", Policy((Rule(Protocol.ALL, Action.ALLOW, None, None, "", "own"),)))
    groups.check_unused(network((own,), {}), Called("a", "own"))


def test_groups_are_listed_in_order_and_apart_where_somebody_else_made_the_namespace() -> None:
    named = tuple(Rule(Protocol.ALL, Action.ALLOW, group=name) for name in "hcgafbed")
    topology = network((Group("in", Policy(named)),), {"db": ("in",)})
    guest = Machine("box", (IPv4Address("10.0.1.9"),), Attachment("docker:box"), groups=("in",))
    vpc = topology.vpcs[0]
    topology = topology.with_vpc(vpc.with_subnet(vpc.subnets[0].with_machine(guest)))
    found = list(Marking.among(blueprint(topology)))
    assert {one.namespace: one.attached for one in found} == {"a-s.db": False, "a-s.box": True}
    assert {"".join(each.group for each in one.members) for one in found} == {"abcdefgh"}
