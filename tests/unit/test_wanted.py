"""What a topology needs, from the record where nothing has changed: the same plan as from everything anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.dear import DEAR
from tests.fields import FULL, Field, changes, each_field
from tests.topologies import topologies
from tests.unit import test_fields
from vpcctl_lib.blueprint import Frames, blueprint, routers
from vpcctl_lib.engine.plan import Plan, _names, difference
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.engine.wanted import wanted
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.policies import Acl, Action, Group, Policy, Protocol, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, Topology, Vpc
from vpcctl_lib.record import store as store_module
from vpcctl_lib.record.codec import written
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import Forwarding, Guard, Marking, Resource, name_of

pytestmark = pytest.mark.usefixtures("bare_host")

FIRST = IPv4Address("10.0.1.10")
BARE = Subnet("web", IPv4Network("10.0.1.0/24"), machines=tuple(
    Machine(f"m{number}", (FIRST + number,)) for number in range(3)))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(BARE,))
NEW = Machine("new", (FIRST + 9,))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One that seals every record, however small."""
    monkeypatch.setattr(store_module, "MANY", 1)
    return Store(tmp_path)


def recorded(store: Store, topology: Topology) -> State:
    """The record once the topology is there, as the next command reads it."""
    shall = wanted(State(), topology)
    store.save(State(topology, difference((), shall.all).after, parts=shall.parts))
    return Store(store.folder).load()


def told(plan: Plan) -> list[str]:
    return commands(plan, Path("/var/lib/vpcctl"), Runner())


@given(topologies(), topologies())
@settings(DEAR, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_plan_is_that_of_everything_anew(store: Store, one: Topology, other: Topology) -> None:
    state = recorded(store, one)
    shall = wanted(state, other)
    assert sum(shall.parts) == len(shall.all)
    plan = difference(state.ledger, shall.all)
    whole = difference(difference((), blueprint(one)).after, blueprint(other))
    assert plan.after == whole.after
    assert plan.before == whole.before
    assert [(step.verb, step.entry, step.old) for step in plan.steps] \
        == [(step.verb, step.entry, step.old) for step in whole.steps]
    assert told(plan) == told(whole)
    assert plan.under_way() == whole.under_way()


@pytest.mark.parametrize("subnet", [
    BARE.with_machine(NEW), BARE.without_machine("m1"), replace(BARE, machines=(NEW, *BARE.machines)),
    BARE.with_machine(replace(BARE.machines[1], forwards=True)), replace(BARE, machines=BARE.machines[::-1]),
    replace(BARE, policy=Policy()), replace(BARE, machines=()),
    Subnet("late", IPv4Network("10.0.2.0/24"), machines=())])
def test_what_one_change_in_a_subnet_needs(store: Store, subnet: Subnet) -> None:
    one, other = Topology((VPC,), guarded=True), Topology((VPC.with_subnet(subnet),), guarded=True)
    state = recorded(store, one)
    plan = difference(state.ledger, wanted(state, other).all)
    assert told(plan) == told(difference(difference((), blueprint(one)).after, blueprint(other)))
    assert plan.steps


def test_what_does_not_change_is_not_looked_at(store: Store) -> None:
    other = replace(VPC, name="vpc2", cidr=IPv4Network("10.1.0.0/16"), link=1, subnets=())
    state = recorded(store, Topology((VPC, other)))
    shall = wanted(state, state.topology.with_vpc(VPC.with_subnet(BARE.with_machine(NEW))))
    difference(state.ledger, shall.all)
    looked_at = [str(entry.resource) for entry in state.ledger if "resource" in vars(entry)]
    assert looked_at, "what follows from a whole VPC or from all of them"
    assert not [one for one in looked_at if "web.m" in one or "br-vpc2" in one]


DNS = Dns("a.internal", (FIRST,), (Record("db", (FIRST,)),))
RICH = replace(VPC, dns=DNS, dhcp=Dhcp(), acls=(Acl("edge"),), route_tables=(RouteTable("app", 1),),
               nat_gateways=(NatGateway("nat1", "late", FIRST),), flow_logs=(FlowLog(),),
               subnets=(replace(BARE, acl="edge", route_table="app"),))


@pytest.mark.parametrize("other", [
    replace(RICH, acls=(Acl("edge"), Acl("late"))), replace(RICH, dhcp=Dhcp(lease=600)),
    replace(RICH, route_tables=(RouteTable("app", 2),)), replace(RICH, nat_gateways=()),
    replace(RICH, dns=replace(DNS, records=())), replace(RICH, dns=replace(DNS, forward=())),
    replace(RICH, flow_logs=()), RICH.with_subnet(replace(RICH.subnets[0], acl="")),
    RICH.with_subnet(replace(RICH.subnets[0], route_table=""))])
def test_a_machine_stays_as_it_is_while_something_else_of_its_vpc_changes(other: Vpc) -> None:
    assert [*Frames().seats(RICH)] == [*Frames().seats(other)]
    assert [*Frames().seats(RICH)] != [*Frames().seats(replace(other, cidrs=(IPv4Network("10.9.0.0/16"),)))]


def test_what_is_around_a_machine_is_the_same_object_each_time() -> None:
    frames, twin = Frames(), replace(VPC, name="vpc2", subnets=(replace(BARE, acl="edge"),))
    first, others = [*frames.seats(VPC)], [*frames.seats(twin)]
    [*frames.seats(replace(twin, name="vpc3", subnets=(replace(BARE, policy=Policy()),)))]
    again = [*frames.seats(replace(VPC))]
    assert all(one.vpc is first[0].vpc and one.subnet is first[0].subnet for one in again)
    assert others[0].vpc is not first[0].vpc


OF_PEER = Group("web", Policy((Rule(Protocol.TCP, Action.ALLOW, None, None, "", "vpc2/web"),)))


def grouped(name: str, link: int, network: str) -> Vpc:
    """A VPC with a machine in its group."""
    subnet = Subnet("web", IPv4Network(f"{network}.1.0/24"), machines=(
        Machine("", (IPv4Address(f"{network}.1.4"),), groups=("web",)),))
    return Vpc(name, IPv4Network(f"{network}.0.0/16"), link, subnets=(subnet,), groups=(OF_PEER,))


GROUPED = Topology((grouped("vpc1", 0, "10.0"), grouped("vpc2", 1, "10.1"), grouped("vpc3", 2, "10.1")),
                   (Peering("vpc1", "vpc2"),), guarded=True)


@pytest.mark.parametrize("other", [
    replace(GROUPED, peerings=(Peering("vpc1", "vpc3"),)), replace(GROUPED, guarded=False),
    replace(GROUPED, vpcs=tuple(replace(vpc, groups=(), subnets=()) for vpc in GROUPED.vpcs)),
    GROUPED.with_vpc(replace(GROUPED.vpcs[1], groups=(OF_PEER, Group("late"))))])
def test_machines_in_groups_follow_what_changes_around_them(other: Topology) -> None:
    """The peers have the same addresses, so that only their names tell whose members count."""
    for before, after in ((GROUPED, other), (other, GROUPED)):
        shall = wanted(State(), before)
        state = State(before, difference((), shall.all).after, parts=shall.parts)
        assert of(wanted(state, after).all) == blueprint(after)


def test_another_vpc_s_groups_change_nothing_of_a_machine() -> None:
    shall = wanted(State(), GROUPED)
    state = State(GROUPED, difference((), shall.all).after, parts=shall.parts)
    late = GROUPED.with_vpc(replace(GROUPED.vpcs[1], groups=(OF_PEER, Group("late"))))
    assert not [one for one in wanted(state, late).all if isinstance(one, Marking)
                and one.namespace.startswith("vpc1-")]


def of(needs: Sequence[Resource | Entry]) -> list[Resource]:
    return [one.resource if isinstance(one, Entry) else one for one in needs]


@cache
def full() -> State:
    """The record of the network that has everything."""
    shall = wanted(State(), FULL)
    return State(FULL, difference((), shall.all).after, parts=shall.parts)


@each_field
def test_a_change_of_any_field_is_seen(field: Field) -> None:
    changed = changes(field)[0]
    assert of(wanted(full(), changed).all) == test_fields.resources(changed)


def test_what_stays_before_and_behind_a_change_is_not_looked_at(store: Store) -> None:
    several = replace(BARE, machines=tuple(Machine(f"m{number}", (FIRST + number,)) for number in range(5)))
    alone = Machine("x", (IPv4Address("10.1.1.4"),))
    other = replace(VPC, name="vpc2", cidr=IPv4Network("10.1.0.0/16"), link=1, subnets=(
        replace(BARE, cidr=IPv4Network("10.1.1.0/24"), machines=(alone,)),))
    state = recorded(store, Topology((replace(VPC, subnets=(several,)), other), guarded=True))
    machines = tuple(replace(one, forwards=one.name == "m1") for one in several.machines)
    changed = replace(several, machines=machines)
    shall = wanted(state, state.topology.with_vpc(replace(VPC, subnets=(changed,))))
    difference(state.ledger, shall.all)
    looked_at = [str(entry.resource) for entry in state.ledger if "resource" in vars(entry)]
    assert not [one for one in looked_at if any(f"web.m{number}" in one for number in (0, 2, 3, 4))]
    assert not [one for one in looked_at if "guard" in one and "vpc2" in one]


def test_what_is_deleted_is_all_that_is_looked_at(store: Store) -> None:
    state = recorded(store, Topology((VPC,)))
    shall = wanted(state, Topology((VPC.with_subnet(BARE.without_machine("m1")),)))
    plan = difference(state.ledger, shall.all)
    assert plan.under_way()
    assert {str(one) for one in plan.gone()} == {"namespace vpc1-web.m1"}
    looked_at = [str(entry.resource) for entry in state.ledger if "resource" in vars(entry)]
    assert not [one for one in looked_at if "web.m2" in one and not one.startswith("namespace")]


def test_what_stands_in_what_goes_is_made_anew_though_nobody_looked_at_it(store: Store) -> None:
    """In two places of several names each: addresses of two bridges, in which neighbours stand."""
    other = replace(VPC, name="vpc2", cidr=IPv4Network("10.1.0.0/16"), link=1, subnets=(
        Subnet("web", IPv4Network("10.1.1.0/24"), machines=(Machine("x", (IPv4Address("10.1.1.4"),)),)),))
    state = recorded(store, Topology((VPC, other)))
    stays = [entry for entry in state.ledger if entry.kind != "address" or '"br-vpc' not in entry.line]
    assert len(stays) == len(state.ledger) - 2
    assert not [entry for entry in state.ledger if "resource" in vars(entry)]
    plan = difference(state.ledger, stays)
    made = [str(step.entry.resource) for step in plan.steps if step.verb is Verb.MAKE]
    assert {"neighbour 10.0.1.10 on br-vpc1 in vpc1", "neighbour 10.1.1.4 on br-vpc2 in vpc2"} <= {*made}


def test_the_guard_of_many_machines_looks_only_at_the_new_one(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    state = recorded(store, Topology((VPC,), guarded=True))
    looked_at, line = [], routers.guarded

    def noted(vpc: Vpc, subnet: Subnet, one: Endpoint) -> str:
        looked_at.append(one.site.machine)
        return line(vpc, subnet, one)

    monkeypatch.setattr(routers, "guarded", noted)
    other = state.topology.with_vpc(VPC.with_subnet(BARE.with_machine(NEW)))
    shall = wanted(state, other)
    assert looked_at == ["new"]
    (guard,) = (one for one in shall.all if isinstance(one, Guard))
    assert guard in blueprint(other)


def test_a_machine_in_no_group_changes_nothing_of_those_that_are(store: Store) -> None:
    rule = Rule(Protocol.TCP, Action.ALLOW, None, None, "", "web")
    group = Group("web", Policy((rule,)))
    members = replace(BARE, machines=tuple(replace(one, groups=("web",)) for one in BARE.machines))
    grouped = replace(VPC, groups=(group,), subnets=(members,))
    state = recorded(store, Topology((grouped,), guarded=True))
    shall = wanted(state, state.topology.with_vpc(grouped.with_subnet(members.with_machine(NEW))))
    difference(state.ledger, shall.all)
    looked_at = [str(entry.resource) for entry in state.ledger if "resource" in vars(entry)]
    assert not [one for one in looked_at if "web.m" in one]
    joined = members.with_machine(replace(NEW, groups=("web",)))
    more = wanted(state, state.topology.with_vpc(grouped.with_subnet(joined)))
    plan = difference(state.ledger, more.all)
    assert sum(isinstance(step.entry.resource, Marking) for step in plan.steps) == len(joined.machines)


@given(topologies())
@DEAR
def test_a_line_names_every_place_that_its_resource_stands_in(topology: Topology) -> None:
    for resource in blueprint(topology):
        line = written(resource, name_of(resource))
        assert all(_names([place]).search(line) for place in resource.stands_in), line


def test_after_another_version_of_vpcctl_everything_is_compared(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    state = recorded(store, Topology((VPC,)))
    assert state.parts
    monkeypatch.setattr("vpcctl_lib.record.seal.program", lambda: "another")
    other = Store(store.folder).load()
    assert other == state
    assert not other.parts
    assert all("resource" in vars(entry) for entry in other.ledger)
    assert wanted(other, other.topology).all == blueprint(other.topology)


def test_what_was_found_on_the_host_before_a_restart_is_made_again(store: Store) -> None:
    nat = Topology((replace(VPC, nat=Nat("eth0")),))
    state = recorded(store, nat)
    number = next(at for at, entry in enumerate(state.ledger) if entry.kind == "forwarding")
    assert wanted(state, nat).all[number] == Forwarding(), "and not its entry, which may be of another boot"
