"""From one topology to another: what is made, changed and unmade, in which order, and nothing twice."""

from __future__ import annotations

import random
from collections.abc import Hashable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dear import DEAR
from tests.topologies import topologies
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import Plan, difference
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.topology import Attachment, Machine, Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.document import DEFAULT_FOLDER
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import (
    EMPTY,
    MISSING,
    Address,
    Chain,
    Condition,
    Counting,
    Fault,
    Forwarding,
    Guard,
    Namespace,
    Program,
    Resource,
    Route,
    Settings,
    SingleRule,
    Tap,
    Veth,
    changed,
)
from vpcctl_lib.resources.addresses import addressed
from vpcctl_lib.resources.attached import Attached
from vpcctl_lib.resources.links import GROUP
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.operations import Ip, Set
from vpcctl_lib.resources.processes import EmptyNamespaces
from vpcctl_lib.resources.tracking import Forget, Keep

pytestmark = pytest.mark.usefixtures("bare_host")

WEB = Subnet("web", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(WEB,))
OTHER = Vpc("vpc2", IPv4Network("172.16.0.0/16"), link=1)
ONE = Topology((VPC,))
RICH = Topology((replace(VPC, nat=Nat("eth0"), subnets=(
    replace(WEB, policy=Policy(default=Action.DENY),
            machines=(Machine(workloads=(Workload("worker", ("sleep", "9")),)),)),
    Subnet("db", IPv4Network("10.0.2.0/24")))), OTHER), (Peering("vpc1", "vpc2"),), guarded=True)


def made(topology: Topology) -> tuple[Entry, ...]:
    """The ledger once the topology is there."""
    return difference((), blueprint(topology)).after


def between(before: Topology, after: Topology) -> Plan:
    return difference(made(before), blueprint(after))


def named(plan: Plan, verb: Verb, covered: bool = False) -> list[str]:
    """What has steps of that kind; `covered`: also what goes with something else, without a command."""
    return [str(step.entry.resource) for step in plan.steps if step.verb is verb and (step.work or covered)]


def check_what_is_there_needs_nothing(topology: Topology) -> None:
    assert between(topology, topology).steps == ()


def check_every_resource_has_a_key_of_its_own(topology: Topology) -> None:
    keys = [resource.key for resource in blueprint(topology)]
    assert len(set(keys)) == len(keys)


def check_every_resource_comes_after_its_homes(topology: Topology) -> None:
    there: set[tuple[str, str]] = set()
    # Before a virtual machine, links have no addresses with which their routes could go.
    plain = {one.namespace for one in blueprint(topology) if isinstance(one, Tap)}
    for resource in blueprint(topology):
        found = {place for place in resource.homes if place[1] != "lo"
                 and not (place[0] in plain and place == addressed(place[0], place[1].partition(" ")[0]))}
        assert found <= there, resource
        there |= resource.places


@given(topologies())
@DEAR
def test_any_topology(topology: Topology) -> None:
    """In one, as to draw the topology takes most of the time."""
    check_what_is_there_needs_nothing(topology)
    check_every_resource_has_a_key_of_its_own(topology)
    check_every_resource_comes_after_its_homes(topology)


def check_the_way(plan: Plan, other: Topology) -> None:
    assert [entry.resource for entry in plan.after] == blueprint(other)
    assert difference(plan.after, blueprint(other)).steps == ()
    verbs = {verb: {step.entry.resource.key for step in plan.steps if step.verb is verb} for verb in Verb}
    before, after = ({entry.resource.key for entry in ledger} for ledger in (plan.before, plan.after))
    anew = verbs[Verb.MAKE] & verbs[Verb.UNMAKE]
    assert verbs[Verb.MAKE] == after - before | anew
    assert verbs[Verb.UNMAKE] == before - after | anew
    assert verbs[Verb.CHANGE] <= (before & after) - anew


def check_unmaking_comes_first_and_what_stays_keeps_its_facts(one: Topology, other: Topology) -> None:
    facts = {"pid": "7"}
    ledger = [replace(entry, found=facts) for entry in made(one)]
    plan = difference(ledger, blueprint(other))
    anew = {step.entry.resource.key for step in plan.steps if step.verb is Verb.MAKE}
    shall = blueprint(other)
    # A chain to which rules led until this change goes once they are gone.
    order = [step.verb is not Verb.UNMAKE for step in plan.steps
             if not (step.verb is Verb.UNMAKE and step.entry.resource.makes_way(shall))]
    assert order == sorted(order)
    stays = {entry.resource.key for entry in ledger}
    for entry in plan.after:
        resource = entry.resource
        if resource.key in stays:
            assert entry.found == (resource.kept(facts) if resource.key in anew else facts)


def check_all_that_may_exist_is_written_down_before_the_first_step(plan: Plan) -> None:
    written = {entry.resource.key: entry.under_way for entry in plan.under_way()}
    assert written.keys() == {entry.resource.key for entry in (*plan.before, *plan.after)}
    assert {key: verb for key, verb in written.items() if verb} == {
        step.entry.resource.key: step.verb for step in plan.steps}


@given(topologies(), topologies())
@DEAR
def test_from_any_topology_to_any_other(one: Topology, other: Topology) -> None:
    plan = between(one, other)
    check_the_way(plan, other)
    check_unmaking_comes_first_and_what_stays_keeps_its_facts(one, other)
    check_all_that_may_exist_is_written_down_before_the_first_step(plan)


@pytest.mark.parametrize("other", [
    ONE, Topology((VPC, OTHER)), RICH, replace(RICH, peerings=()), replace(RICH, guarded=False),
    replace(RICH, vpcs=(replace(RICH.vpcs[0], cidr=IPv4Network("10.0.0.0/15")), *RICH.vpcs[1:])),
    replace(RICH, vpcs=tuple(replace(vpc, link=vpc.link + 4, nat=None) for vpc in RICH.vpcs)),
    replace(RICH, vpcs=(replace(RICH.vpcs[0], subnets=(replace(WEB, cidr=IPv4Network("10.0.7.0/24")),)),
                        *RICH.vpcs[1:])),
], ids=range(8))
def test_from_two_peers_with_everything_in_them_to_another_network_and_back(other: Topology) -> None:
    for before, after in ((RICH, other), (other, RICH)):
        check_the_way(between(before, after), after)
        check_unmaking_comes_first_and_what_stays_keeps_its_facts(before, after)
        check_all_that_may_exist_is_written_down_before_the_first_step(between(before, after))


def test_a_new_vpc_is_made_and_nothing_else_is_touched() -> None:
    plan = between(ONE, Topology((VPC, OTHER)))
    assert named(plan, Verb.UNMAKE) == []
    assert named(plan, Verb.CHANGE) == ["chain VPCCTL-REFUSED of table filter on the host",
                                        "chain VPCCTL-FORWARD of table filter on the host",
                                        "chain VPCCTL-INPUT of table filter on the host",
                                        "chain VPCCTL-GUARD-FROM of table mangle on the host",
                                        "chain VPCCTL-GUARD of table mangle on the host",
                                        "chain VPCCTL-GUARD-OUT of table mangle on the host",
                                        "chain VPCCTL-GUARD-IN of table security on the host"]
    assert named(plan, Verb.MAKE)[0] == "namespace vpc2"
    assert not any("vpc1" in name for name in named(plan, Verb.MAKE))


def test_what_goes_with_its_namespace_needs_no_command() -> None:
    plan = between(ONE, Topology())
    assert named(plan, Verb.UNMAKE)[:2] == ["namespace vpc1-web", "namespace vpc1"], "emptied of processes"
    work = [operation for step in plan.steps for operation in step.work if isinstance(operation, Ip)]
    assert {operation.words[0] for operation in work} == {"link", "netns"}, "no address, no route"
    assert [operation.words for operation in work[-2:]] == [
        ("netns", "del", "vpc1-web"), ("netns", "del", "vpc1")]


def test_programs_end_first_then_all_that_lives_in_the_namespaces() -> None:
    busy = replace(WEB, machines=(Machine(workloads=(Workload("worker", ("sleep", "9")),)),))
    plan = between(Topology((replace(VPC, subnets=(busy,)),)), Topology())
    assert isinstance(plan.steps[0].entry.resource, Program)
    assert plan.steps[1].work == (EmptyNamespaces(("vpc1-web", "vpc1")),)


def test_a_program_that_is_another_now_ends_and_begins_anew() -> None:
    one, other = (Topology((replace(VPC, subnets=(replace(WEB, machines=(Machine(workloads=(
        Workload("worker", ("sleep", seconds)),)),)),)),)) for seconds in "89")
    steps = between(one, other).steps
    assert [(step.verb, type(step.entry.resource)) for step in steps] == [
        (Verb.UNMAKE, Program), (Verb.MAKE, Program)]


@given(topologies(), st.randoms(use_true_random=False))
@DEAR
def test_what_stands_in_a_thing_goes_before_it_wherever_the_ledger_has_the_two(
        topology: Topology, dice: random.Random) -> None:
    check_that_what_stands_in_a_thing_goes_before_it(topology, dice)


@pytest.mark.parametrize("seed", range(5))
def test_so_it_is_of_two_peers_with_everything_in_them(seed: int) -> None:
    check_that_what_stands_in_a_thing_goes_before_it(RICH, random.Random(seed))  # noqa: S311 - no secret


def check_that_what_stands_in_a_thing_goes_before_it(topology: Topology, dice: random.Random) -> None:
    ledger = list(made(topology))
    dice.shuffle(ledger)
    # What clears the way comes before all that is unmade.
    unmade = [step.entry.resource for step in difference(ledger, ()).steps
              if step.undo == step.entry.resource.make]
    assert len(unmade) == len(ledger)
    assert {one.key for one in unmade} == {entry.resource.key for entry in ledger}
    gone: set[tuple[str, str]] = set()
    for resource in unmade:
        assert not resource.stands_in & gone, resource
        gone |= resource.places


def test_peers_lose_their_routes_and_keep_the_rest() -> None:
    subnet = Subnet("db", IPv4Network("172.16.1.0/24"))
    peered = Topology((VPC, replace(OTHER, subnets=(subnet,))), (Peering("vpc1", "vpc2"),))
    plan = between(peered, peered.without_vpc("vpc1"))
    gone = named(plan, Verb.UNMAKE, covered=True)
    assert "cable pcx-vpc2 in vpc1 to pcx-vpc1 in vpc2" in gone
    assert "route 10.0.0.0/16 via 172.16.0.1 dev eth0 in vpc2-db" in gone
    assert not any("namespace vpc2" in name for name in gone)
    assert "chain FORWARD of table filter in vpc2" in named(plan, Verb.CHANGE)


def test_a_changed_policy_is_written_over_the_old_one() -> None:
    strict, loose = (replace(WEB, policy=policy) for policy in (Policy(), Policy(default=Action.ALLOW)))
    old, new = (Topology((replace(VPC, subnets=(subnet,)),)) for subnet in (strict, loose))
    (step,) = between(old, new).steps
    assert step.verb is Verb.CHANGE
    assert step.undo() == between(new, old).steps[0].work


def test_what_counts_flows_changes_before_the_rules_and_behind_them() -> None:
    def logged(port: int) -> Topology:
        policy = Policy((Rule(Protocol.UDP, Action.ALLOW, Ports(port, port)),))
        return Topology((replace(VPC, subnets=(replace(WEB, policy=policy),), flow_logs=(FlowLog(),)),))

    plan = between(logged(53), logged(54))
    kinds = [type(step.entry.resource) for step in plan.steps]
    assert kinds[0] is kinds[-1] is Counting
    assert Chain in kinds[1:-1]
    assert {step.verb for step in plan.steps} == {Verb.CHANGE}


def test_a_subnet_added_after_nat_and_peering_gets_its_share() -> None:
    joined = Topology((replace(VPC, nat=Nat("eth0")), OTHER), (Peering("vpc1", "vpc2"),))
    late = Subnet("late", IPv4Network("10.0.9.0/24"), SubnetType.PUBLIC)
    vpc = joined.vpcs[0].with_subnet(late)
    plan = between(joined, joined.with_vpc(vpc))
    assert "route 172.16.0.0/16 via 10.0.0.1 dev eth0 in vpc1-late" in named(plan, Verb.MAKE)
    assert "chain VPCCTL-POSTROUTING of table nat on the host" in named(plan, Verb.CHANGE)
    assert "chain FORWARD of table filter in vpc1" in named(plan, Verb.CHANGE)


def find(ledger: tuple[Entry, ...], kind: type[Resource], text: str = "") -> Entry:
    return next(entry for entry in ledger if isinstance(entry.resource, kind) and text in str(entry.resource))


def test_what_is_missing_is_made_and_what_is_changed_is_mended() -> None:
    ledger = made(ONE)
    route, chain = find(ledger, Route), find(ledger, Chain, "FORWARD of table filter in vpc1")
    faults = {route.resource.key: MISSING, chain.resource.key: changed("flushed")}
    plan = difference(ledger, blueprint(ONE), faults)
    assert [(step.verb, step.entry.resource) for step in plan.steps] == [
        (Verb.MAKE, route.resource), (Verb.CHANGE, chain.resource)]


def test_a_broken_cable_is_made_anew_with_all_that_is_plugged_into_it() -> None:
    ledger = made(ONE)
    cable = find(ledger, Veth, "s-web")
    plan = difference(ledger, blueprint(ONE), {cable.resource.key: changed("its other end is gone")})
    assert plan.steps[-1].verb is Verb.MAKE
    assert named(plan, Verb.UNMAKE) == [str(cable.resource)]
    made_anew = named(plan, Verb.MAKE)
    assert made_anew[0] == str(cable.resource)
    assert "link eth0 in vpc1-web" in made_anew
    assert "route default via 10.0.0.1 dev eth0 in vpc1-web" in made_anew
    assert not any("bridge" in name or "namespace" in name for name in made_anew)


def test_a_remedy_runs_before_the_making() -> None:
    ledger = made(ONE)
    cable = find(ledger, Veth, "s-web").resource
    away = Ip("vpc1-web", ("link", "del", "eth0"))
    plan = difference(ledger, blueprint(ONE), {cable.key: Fault(Condition.CHANGED, "", (away,))})
    assert any(away in step.work for step in plan.steps if step.verb is Verb.UNMAKE)


def test_what_is_changed_in_place_gets_its_remedy_too() -> None:
    ledger = made(ONE)
    settings = find(ledger, Settings).resource
    on = Set("vpc1", (("net.ipv4.conf.uplink.forwarding", "1"),))
    plan = difference(ledger, blueprint(ONE), {settings.key: Fault(Condition.CHANGED, "", (on,))})
    assert [(step.verb, step.work[0]) for step in plan.steps] == [(Verb.CHANGE, on)]


def test_a_guard_that_somebody_changed_is_loaded_as_a_whole() -> None:
    ledger = made(RICH)
    guard = find(ledger, Guard).resource
    plan = difference(ledger, blueprint(RICH), {guard.key: changed("a machine is missing")})
    assert [(step.verb, step.work) for step in plan.steps] == [(Verb.CHANGE, guard.make())]


def test_a_guard_from_a_record_of_an_earlier_version_is_the_same() -> None:
    ledger = made(RICH)
    entry = find(ledger, Guard)
    assert entry.resource.packed
    assert entry.resource.machines
    old = replace(entry.resource, members=entry.resource.machines, packed="")
    assert (old.text(), list(old.lines)) == (entry.resource.text(), list(entry.resource.lines))
    plan = difference([replace(entry, resource=old) if one is entry else one for one in ledger],
                      blueprint(RICH))
    assert [(step.verb, step.work) for step in plan.steps] == [(Verb.CHANGE, ())]
    assert [one.resource for one in plan.after] == [one.resource for one in ledger]


def test_somebody_elses_thing_of_our_name_is_never_touched() -> None:
    ledger = made(ONE)
    namespace = find(ledger, Namespace)
    foreign = {namespace.resource.key: Fault(Condition.FOREIGN, "no mark")}
    with pytest.raises(VpcctlError, match="namespace vpc1 is not the one vpcctl made"):
        difference(ledger, (), foreign)
    empty = {namespace.resource.key: EMPTY}
    with pytest.raises(VpcctlError, match="it is empty"):
        difference(ledger, (), empty)
    half_made = [replace(entry, under_way=Verb.MAKE) for entry in ledger]
    assert difference(half_made, (), empty).steps


def test_a_namespace_that_is_made_anew_takes_its_cable_along() -> None:
    ledger = made(ONE)
    inner = find(ledger, Namespace, "vpc1-web")
    half_made = [replace(entry, under_way=Verb.MAKE) for entry in ledger]
    plan = difference(half_made, blueprint(ONE), {inner.resource.key: EMPTY})
    assert "cable s-web in vpc1 to eth0 in vpc1-web" in named(plan, Verb.MAKE)


@pytest.mark.parametrize("verb", Verb)
def test_an_entry_that_a_crash_left_twice_is_one(verb: Verb) -> None:
    ledger = made(ONE)
    plan = difference((*ledger, replace(find(ledger, Veth, "s-web"), under_way=verb)), blueprint(ONE))
    assert (plan.steps, plan.after) == ((), ledger)
    gone = difference(plan.before, ())
    assert named(gone, Verb.UNMAKE, covered=True).count("cable s-web in vpc1 to eth0 in vpc1-web") == 1


def test_what_is_given_as_its_entry_is_made_and_mended_too() -> None:
    ledger = made(ONE)
    route, chain = find(ledger, Route), find(ledger, Chain, "FORWARD of table filter in vpc1")
    faults = {route.resource.key: MISSING, chain.resource.key: changed("flushed")}
    plan = difference(ledger, ledger, faults)
    assert [(step.verb, step.entry.resource) for step in plan.steps] == [
        (Verb.MAKE, route.resource), (Verb.CHANGE, chain.resource)]
    assert plan.after == ledger


@pytest.mark.parametrize("verb", [None, *Verb])
def test_what_is_in_something_that_is_gone_is_left_alone(verb: Verb | None) -> None:
    ledger = [replace(entry, under_way=verb) for entry in made(ONE)]
    address = find(tuple(ledger), Address, "vpc1-web").resource
    gone = {address.key: Fault(Condition.GONE, "its namespace is gone")}
    assert difference(ledger, blueprint(ONE), gone).steps == ()


def test_facts_of_a_namespace_of_others_hold_until_it_is_named_anew() -> None:
    guest = Machine("guest", (IPv4Address("10.0.1.9"),), Attachment(path="/run/netns/guest"))
    topology = Topology((replace(VPC, subnets=(WEB.with_machine(guest),)),))
    facts = {"identity": "4:7"}
    ledger = tuple(replace(entry, found=facts) for entry in made(topology))
    name, route = find(ledger, Attached).resource, find(ledger, Route).resource
    for fault, held in (({route.key: MISSING}, facts), ({name.key: MISSING}, {}),
                        ({name.key: changed("it leads elsewhere")}, {})):
        plan = difference(ledger, blueprint(topology), fault)
        assert find(plan.after, Attached).found == held
        assert find(plan.after, Route).found == facts


def test_routes_do_not_wait_for_their_address_to_take_them_along() -> None:
    moved = replace(WEB, cidr=IPv4Network("10.0.9.0/24"))
    plan = between(ONE, Topology((replace(VPC, subnets=(moved,)),)))
    assert "route default via 10.0.0.1 dev eth0 in vpc1-web" in named(plan, Verb.UNMAKE)


AWAY = Nft("vpc1-web", "add table ip filter\ndelete table ip filter\n")
GUARDED = Topology((replace(VPC, subnets=(replace(WEB, policy=Policy(egress=(), default=Action.DENY)),)),))


def blind(resource: Resource, remedy: tuple[Nft, ...] = ()) -> dict[Hashable, Fault]:
    return {resource.key: Fault(Condition.UNREADABLE, "its table can't be read", remedy, "vpc1-web")}


def test_one_remedy_of_two_chains_is_done_once_and_before_both() -> None:
    ledger = made(GUARDED)
    chains = [entry.resource for entry in ledger
              if isinstance(entry.resource, Chain) and entry.resource.namespace == "vpc1-web"]
    assert [chain.name for chain in chains] == ["INPUT", "OUTPUT"]
    plan = difference(ledger, blueprint(GUARDED), {**blind(chains[0], (AWAY,)), **blind(chains[1], (AWAY,))})
    assert [step.verb for step in plan.steps] == [Verb.CHANGE, Verb.CHANGE]
    assert [operation for step in plan.steps for operation in step.work] == \
        [Keep("vpc1-web"), AWAY, *chains[0].change(chains[0]), *chains[1].change(chains[1]), Keep("vpc1-web")]


def test_a_rule_that_a_chain_takes_over_goes_when_packets_come_to_that() -> None:
    """An older vpcctl had its rules in POSTROUTING itself: no connection begins without one of the two."""
    nat = Topology((replace(VPC, nat=Nat("eth0"), subnets=(replace(WEB, type=SubnetType.PUBLIC),)),))
    shall = blueprint(nat)
    chain, jump = (one for one in shall if isinstance(one, (Chain, SingleRule)) and one.table == "nat")
    assert isinstance(chain, Chain)
    old = [SingleRule("nat", "POSTROUTING", rule.removesuffix(" --random-fully")) for rule in chain.rules]
    ledger = tuple(entry for entry in made(nat) if entry.resource not in (chain, jump))
    steps = difference((*ledger, *map(Entry, old)), shall).steps
    assert [(step.verb, step.entry.resource) for step in steps] == \
        [(Verb.MAKE, chain), (Verb.MAKE, jump), *((Verb.UNMAKE, rule) for rule in old)]
    assert isinstance(steps[1].work[-1], Forget)


def test_a_rule_for_a_subnet_that_is_private_now_goes_first() -> None:
    old = SingleRule("nat", "POSTROUTING", "-s 10.0.9.0/24 -o eth0 -j MASQUERADE")
    nat = Topology((replace(VPC, nat=Nat("eth0"), subnets=(replace(WEB, type=SubnetType.PUBLIC),)),))
    steps = difference((*made(GUARDED), Entry(old)), blueprint(nat)).steps
    assert old in [step.entry.resource for step in steps if step.verb is Verb.UNMAKE]
    assert steps[-1].entry.resource != old


def test_what_can_t_be_read_nor_mended_is_left_alone() -> None:
    ledger = made(GUARDED)
    faults = {key: fault for entry in ledger for key, fault in blind(entry.resource).items()}
    assert difference(ledger, blueprint(GUARDED), faults).steps == ()
    assert named(difference(ledger, (), faults), Verb.UNMAKE, covered=True)


def test_a_namespace_that_may_be_another_s_is_not_made_anew() -> None:
    space = Namespace("vpc1-web", "vpcctl:vpc1/web")
    ledger = [replace(entry, under_way=Verb.MAKE if entry.resource == space else None) for entry in made(ONE)]
    with pytest.raises(VpcctlError, match="namespace vpc1-web might be another's"):
        difference(ledger, blueprint(ONE), blind(space))


def test_what_may_be_there_is_undone() -> None:
    step = difference((), blueprint(ONE)).steps[0]
    assert step.took_effect(Fault(Condition.UNREADABLE, "its links can't be read"))


def test_what_goes_breaks_what_stands_in_it_wherever_the_ledger_has_the_two() -> None:
    """As a crash leaves it: the old address last, the new one not made yet, the neighbour still there."""
    moved = replace(ONE, vpcs=(replace(ONE.vpcs[0], cidr=IPv4Network("10.0.0.0/20")),))
    old, new = (find(made(topology), Address, "br-vpc1") for topology in (ONE, moved))
    ledger = (*made(moved), replace(old, under_way=Verb.UNMAKE))
    plan = difference(ledger, blueprint(moved), {new.resource.key: MISSING})
    assert "neighbour 10.0.1.2 on br-vpc1 in vpc1" in named(plan, Verb.MAKE)


def test_a_router_goes_with_all_the_cables_made_from_it_in_one_command() -> None:
    plan = between(Topology((VPC, OTHER)), Topology((OTHER,)))
    spaces = [step for step in plan.steps if isinstance(step.entry.resource, Namespace) and step.work]
    work = [str(operation) for step in spaces for operation in step.work]
    assert work[1] == str(Ip("vpc1", ("link", "del", "group", GROUP)))
    assert [line for line in work if "link del" in line] == [work[1]], "and none of another's"
    assert not [step for step in plan.steps if isinstance(step.entry.resource, Veth) and step.work
                and step.entry.resource.namespace]
    # Where something is broken, cables go one by one.
    ledger = made(ONE)
    cable = find(ledger, Veth, "s-web").resource
    plan = difference(ledger, (), {cable.key: changed("its other end is gone")})
    assert not any("group" in str(operation) for step in plan.steps for operation in step.work)


def test_a_cable_of_a_router_that_stays_goes_by_itself() -> None:
    without = Topology((replace(VPC, subnets=()),))
    plan = between(ONE, without)
    assert not any("group" in str(operation) for step in plan.steps for operation in step.work)
    assert named(plan, Verb.UNMAKE)[0] == "namespace vpc1-web"


def test_another_s_thing_in_the_place_of_what_was_about_to_be_made_was_never_ours() -> None:
    ledger = made(ONE)
    route = find(ledger, Route, "on the host").resource
    foreign = {route.key: Fault(Condition.FOREIGN, "another's")}

    def begun(verb: Verb) -> list[Entry]:
        return [replace(entry, under_way=verb) if entry.resource == route else entry for entry in ledger]

    plan = difference(begun(Verb.MAKE), (), foreign)
    assert str(route) not in named(plan, Verb.UNMAKE, covered=True)
    assert route not in [entry.resource for entry in plan.before]
    for verb in (Verb.CHANGE, Verb.UNMAKE):
        with pytest.raises(VpcctlError, match="is not the one vpcctl made: another's") as caught:
            difference(begun(verb), (), foreign)
        assert caught.value.hint == "rename or remove it, then run: vpcctl restore"
    # It may be empty, as a making that was cut short leaves it.
    namespace = find(ledger, Namespace).resource
    half_made = [replace(entry, under_way=Verb.MAKE) for entry in ledger]
    plan = difference(half_made, (), {namespace.key: EMPTY})
    assert str(namespace) in named(plan, Verb.UNMAKE, covered=True)


def test_what_can_t_be_read_is_mended_if_it_was_being_made_and_others_faults_stay() -> None:
    ledger = made(GUARDED)
    chain, route = find(ledger, Chain, "vpc1-web").resource, find(ledger, Route).resource
    faults = {**blind(chain), route.key: MISSING}
    assert named(difference(ledger, blueprint(GUARDED), faults), Verb.MAKE) == [str(route)]
    begun = [replace(entry, under_way=Verb.CHANGE) if entry.resource == chain else entry for entry in ledger]
    plan = difference(begun, blueprint(GUARDED), faults)
    assert (named(plan, Verb.CHANGE), named(plan, Verb.MAKE)) == ([str(chain)], [str(route)])
    # What was being made and came out otherwise is ours, and mended.
    begun = [replace(entry, under_way=Verb.MAKE) if entry.resource == chain else entry for entry in ledger]
    plan = difference(begun, blueprint(GUARDED), {chain.key: changed("a rule is missing")})
    assert (named(plan, Verb.CHANGE), named(plan, Verb.MAKE)) == ([str(chain)], [])


def test_what_outlived_its_facts_is_surveyed_and_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    nat = Topology((replace(VPC, nat=Nat("eth0")),))
    ledger = made(nat)
    forwarding = find(ledger, Forwarding)
    asked: list[Runner] = []

    def survey(self: Forwarding, runner: Runner) -> dict[str, str]:
        asked.append(runner)
        return {"net.ipv4.ip_forward": "0", "identity": "now"}

    monkeypatch.setattr(Forwarding, "survey", survey)
    old = [replace(entry, found={"net.ipv4.ip_forward": "1", "identity": "before"})
           if entry == forwarding else entry for entry in ledger]
    runner = Runner()
    plan = difference(old, blueprint(nat), runner=runner)
    assert [(step.verb, step.entry.resource) for step in plan.steps] == [(Verb.MAKE, Forwarding())]
    assert find(plan.after, Forwarding).found == {"net.ipv4.ip_forward": "0", "identity": "now"}
    assert [one is runner for one in asked] == [True]
    difference((), blueprint(nat))
    assert isinstance(asked[-1], Runner)


def test_an_undo_breaks_nothing_again_and_puts_rules_back() -> None:
    nat = Topology((replace(VPC, nat=Nat("eth0")),))
    ledger = made(nat)
    rule, route = find(ledger, SingleRule).resource, find(ledger, Route).resource
    away = Ip("", ("route", "del", "x"))
    faults = {rule.key: changed("it stands too low"), route.key: Fault(Condition.CHANGED, "", (away,))}
    undo = {step.entry.resource: step for step in difference(ledger, (), faults).steps
            if step.verb is Verb.UNMAKE}
    assert undo[rule].undo() == rule.make() != ()
    assert (undo[route].work[-1], undo[route].undo()) == (away, ())


def test_what_was_half_made_and_is_whole_is_half_made_no_more() -> None:
    ledger = [replace(entry, under_way=Verb.MAKE) for entry in made(ONE)]
    plan = difference(ledger, blueprint(ONE))
    assert (plan.steps, plan.after) == ((), made(ONE))


def test_what_is_under_way_is_written_down_once() -> None:
    plan = between(ONE, Topology((replace(VPC, cidr=IPv4Network("10.0.0.0/15")),)))
    entries = plan.under_way()
    keys = [entry.resource.key for entry in entries]
    assert len(keys) == len(set(keys))
    verbs = {str(entry.resource): entry.under_way for entry in entries}
    assert verbs["address 10.0.0.1/15 on br-vpc1 in vpc1"] is Verb.MAKE
    assert verbs["address 10.0.0.1/16 on br-vpc1 in vpc1"] is Verb.UNMAKE
    assert verbs["namespace vpc1"] is None


def test_a_rule_at_the_top_or_in_a_namespace_is_taken_over_by_nobody() -> None:
    nat = Topology((replace(VPC, nat=Nat("eth0")),))
    shall = blueprint(nat)
    chain = next(one for one in shall if isinstance(one, Chain) and one.table == "nat")
    steps = difference([Entry(SingleRule("nat", "POSTROUTING", chain.rules[0], top=True))], shall).steps
    assert steps[0].verb is Verb.UNMAKE
    inside = [replace(one, namespace="vpc1") if one == chain else one for one in shall]
    steps = difference([Entry(SingleRule("nat", "POSTROUTING", chain.rules[0]))], inside).steps
    assert steps[0].verb is Verb.UNMAKE
    steps = difference([Entry(SingleRule("nat", "POSTROUTING", chain.rules[0]))], shall).steps
    assert steps[-1].verb is Verb.UNMAKE


def test_a_plan_without_a_step_says_nothing() -> None:
    made = difference((), blueprint(ONE)).after
    assert commands(difference(made, blueprint(ONE)), DEFAULT_FOLDER, Runner()) == []
