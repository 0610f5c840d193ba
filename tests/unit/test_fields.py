"""No field of the model is lost: in a file, a comparison, a plan, the record, a picture, or as a name."""

from __future__ import annotations

import inspect
import json
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from functools import cache
from io import BytesIO
from ipaddress import IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from tests.dear import examples
from tests.fields import (
    FIELDS,
    FULL,
    IN_TURN,
    TOGETHER,
    Field,
    at,
    changes,
    classes,
    each_field,
    is_possible,
    made,
    places,
    together,
    with_changes,
    without,
)
from tests.topologies import topologies
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.files import documents
from vpcctl_lib.files.topology import Reader, TopologyFile, to_document
from vpcctl_lib.graph import Format, draw, graph
from vpcctl_lib.graph.text import plain
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model import (
    endpoints,
    flowlogs,
    kinds,
    mirrors,
    names,
    naming,
    outside,
    policies,
    routes,
    topology,
    workloads,
)
from vpcctl_lib.model.comparison import compare
from vpcctl_lib.model.policies import Acl, AclRule, Group, Policy, Rule
from vpcctl_lib.model.routes import RouteTable
from vpcctl_lib.model.tables import settled
from vpcctl_lib.model.topology import Nat, Peering, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.codec import decode, written
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import Address, Resource

pytestmark = pytest.mark.usefixtures("bare_host")

FOUND = {
    Field(Vpc, "link"): "a free number is found for each cable",
    Field(RouteTable, "number"): "a free number is found for each",
    Field(Nat, "mtu"): "it is the interface's",
    Field(Nat, "resolvers"): "they are the host's",
    Field(Topology, "iptables"): "it is the kind that the host uses",
    Field(Topology, "guarded"): "it is what nft can do here",
    Field(Topology, "quotes"): "it is what nft can do here",
    Field(Topology, "forwarding"): "it is what the host had set",
    Field(Topology, "front"): "it is the host's address towards the internet",
    Field(Topology, "front6"): "it is the host's address of IPv6 towards the internet",
    Field(Topology, "entrances"): "they are the host's links with addresses of IPv6",
    Field(Topology, "whole6"): "it is what the host's kernel needs",
}
"""Nobody asks for these, as they are found on the host: no file has them, and no comparison needs them."""

NOT_COMPARED = {**{field: why for field, why in FOUND.items() if field.kind is not Nat},
                Field(Vpc, "routed"): "it lets a VPC be made; of one that is there it changes nothing"}
"""Any difference in a NAT is one, as it is looked up anew."""

WITHOUT_EFFECT = {
    Field(Nat, "follows"): "it is for a later `restore`",
    Field(Policy, "description"): "it is for people",
    Field(Rule, "description"): "it is for people",
    Field(Acl, "description"): "it is for people",
    Field(AclRule, "description"): "it is for people",
}
"""Nothing in the kernel depends on these."""

COUNTED = "of a policy it shows how many rules there are"
NAMED = "of a workload it shows the name"
NOT_DRAWN = {
    **FOUND,
    Field(Vpc, "routed"): "every VPC has its cable",
    Field(Nat, "follows"): "it shows where NAT leads now",
    Field(Policy, "default"): COUNTED,
    Field(Policy, "description"): COUNTED,
    **{field: COUNTED for field in FIELDS if field.kind in (*classes(Rule), AclRule)},
    **{field: NAMED for field in FIELDS if field.kind in classes(Workload)
       and field not in (Field(Workload, "name"), Field(Workload, "port"))},
}
"""What no graph shows; a web server's port is in its name."""

NOT_IN_VALUES = {
    **{Field(Policy, name): "they tell whether there is a policy" for name in ("ingress", "egress")},
    Field(Group, "policy"): "they tell that there is a group",
    **{Field(Acl, name): "they tell that there is a network ACL" for name in ("ingress", "egress")},
}
"""What the pictures show, and the values for programs do not."""


def test_every_class_of_the_model_is_part_of_a_topology() -> None:
    there = {kind for module in (topology, flowlogs, mirrors, names, outside, policies, routes, workloads)
             for _, kind in inspect.getmembers(module, inspect.isclass)
             if is_dataclass(kind) and kind.__module__ == module.__name__}
    assert there == set(classes())


@pytest.mark.parametrize("table", [FOUND, NOT_COMPARED, WITHOUT_EFFECT, NOT_DRAWN])
def test_exceptions_are_of_fields_that_there_are(table: dict[Field, str]) -> None:
    assert table.keys() <= set(FIELDS)


@each_field
def test_a_change_is_a_possible_network(field: Field) -> None:
    for changed in changes(field):
        assert is_possible(changed)
        assert changed != FULL


# Some fields seldom vary: that takes hundreds of topologies.
@pytest.mark.slow
def test_topologies_are_drawn_with_every_field_varied() -> None:
    first: dict[Field, Any] = {}
    unvaried = set(FIELDS)

    def all_are_varied(topology: Topology) -> bool:
        for _, value in places(topology):
            for field in {Field(type(value), one.name) for one in fields(value)} & unvaried:
                found = getattr(value, field.name)
                if first.setdefault(field, found) != found:
                    unvaried.remove(field)
        return not unvaried

    with suppress(NoSuchExample):
        find(topologies(), all_are_varied,
             settings=settings(max_examples=1000, phases=[Phase.generate], database=None, derandomize=True))
    assert not unvaried


def file_of(topology: Topology) -> TopologyFile:
    """What `apply` reads in the file that `export` writes."""
    text = documents.written(to_document(topology))
    return Reader(documents.read_stream(BytesIO(text.encode()), "export"), Path()).read()


def asked(file: TopologyFile) -> Topology:
    """The network that a file asks for, with nothing in it that the host decides."""
    return replace(file.topology, vpcs=tuple(map(_asked, file.topology.vpcs)))


def _asked(vpc: Vpc) -> Vpc:
    nat = vpc.nat and replace(vpc.nat, interface="" if vpc.nat.follows else vpc.nat.interface)
    return replace(vpc, link=0, nat=nat)


def without_found(topology: Topology) -> Topology:
    """The network with nothing in it that the host decides: `auto` is not an interface's name."""
    vpcs = (replace(vpc, nat=replace(vpc.nat, interface="") if vpc.nat and vpc.nat.follows else vpc.nat)
            for vpc in topology.vpcs)
    return without(replace(topology, vpcs=tuple(vpcs)), FOUND)


@examples(25)
@given(topologies())
def test_what_is_exported_is_read_back(topology: Topology) -> None:
    assert asked(file_of(topology)) == without_found(topology)


@pytest.mark.parametrize("field", IN_TURN, ids=str)
def test_what_a_file_has_is_read_back(field: Field | None) -> None:
    for network in with_changes(field):
        assert asked(file_of(network)) == without_found(network)


@each_field
def test_a_file_has_every_field_that_a_person_asks_for(field: Field) -> None:
    for changed in changes(field):
        assert (to_document(changed) == to_document(FULL)) == (field in FOUND)


@TOGETHER
def test_each_field_is_changed_in_some_network_with_others() -> None:
    assert all(is_possible(one.network) and one.values for one in together())
    assert {Field(type(at(FULL, way)), name) for one in together() for way, name in one.values} == {*FIELDS}
    assert all(getattr(at(one.network, way), name) == value != getattr(at(FULL, way), name)
               for one in together() for (way, name), value in one.values.items())


@examples(25)
@given(topologies())
def test_nothing_differs_from_itself(topology: Topology) -> None:
    assert compare(topology, topology) == []


@each_field
def test_a_comparison_tells_of_every_field(field: Field) -> None:
    for changed in changes(field):
        assert bool(compare(FULL, changed)) == bool(compare(changed, FULL)) == (field not in NOT_COMPARED)


@each_field
def test_the_record_keeps_every_field(field: Field) -> None:
    for changed in changes(field):
        assert written(changed) != written(FULL)
        assert decode(Topology, json.loads(written(changed))) == changed


@cache
def resources(topology: Topology) -> list[Resource]:
    """What the network needs, computed once for all tests of its fields."""
    return blueprint(topology)


@cache
def ledger(topology: Topology) -> tuple[Entry, ...]:
    """What is recorded once the network is there."""
    return difference((), resources(topology)).after


@each_field
def test_a_plan_carries_every_field_to_the_kernel(field: Field) -> None:
    for changed in changes(field):
        there = difference(ledger(FULL), resources(changed))
        assert bool(there.steps) == (field not in WITHOUT_EFFECT)
        # No tool is given a word that it would misread.
        assert not there.steps or commands(there, Path("/state"), Runner())


@pytest.mark.parametrize("field", IN_TURN, ids=str)
def test_a_plan_leads_back(field: Field | None) -> None:
    for changed in with_changes(field):
        there = difference(ledger(FULL), resources(changed))
        back = difference(there.after, resources(FULL))
        assert bool(back.steps) == bool(there.steps)
        assert not back.steps or commands(back, Path("/state"), Runner())
        assert back.after == ledger(FULL)


def test_what_is_there_needs_no_plan() -> None:
    assert [entry.resource for entry in ledger(FULL)] == resources(FULL)
    assert difference(ledger(FULL), resources(FULL)).steps == ()


@cache
def drawings(topology: Topology) -> list[str]:
    """The network in every format; values for programs last."""
    found = graph(topology)
    return [*(draw(found, form) for form in Format), str(plain(found))]


@each_field
def test_every_graph_shows_every_field(field: Field) -> None:
    for changed in changes(field):
        *texts, values = [one != other for one, other in zip(drawings(FULL), drawings(changed), strict=True)]
        assert set(texts) == {field not in NOT_DRAWN}
        assert values == (field not in NOT_DRAWN and field not in NOT_IN_VALUES)


LONG = "production-europe-west"
SHORT = (naming.device(prefix, LONG).removeprefix(prefix) for prefix in ("vpc-", "s-"))
ALIKE = ("a", "b", "a-b", "b-a", LONG, *SHORT)
"""Names that, put together or made short, are others of them."""


def crowded(draw: st.DrawFn, home: Any) -> Any:
    """The home with more things, whose names are alike, too, of each kind that takes names in the kernel."""
    for kind in kinds.inside(type(home)):
        if kind.model is not Subnet and kind.takes:
            names = draw(st.lists(st.sampled_from(ALIKE), unique=True, max_size=2))
            nothing = {inner.field: st.just(()) for inner in kinds.inside(kind.model) if inner.several}
            more = [draw(made(kind.model, name=st.just(name), **nothing)) for name in names]
            if kind.seat is not None:
                # They are in a subnet, which is not their home.
                more = [replace(one, subnet=draw(st.sampled_from(home.subnets)).name, address=None)
                        for one in more if home.subnets]
            home = kind.put(home, (*kind.things(home), *more))
    return addressed(home) if isinstance(home, Subnet) else home


def addressed(subnet: Subnet) -> Subnet:
    """The subnet with addresses of its own for each further machine."""
    bare = replace(subnet, machines=tuple(replace(one, addresses=()) for one in subnet.machines))
    return endpoints.addressed(bare, None)


@st.composite
def crowds(draw: st.DrawFn) -> Topology:
    """Networks whose things have names that are alike, all of them peers."""
    vpcs = []
    names = draw(st.lists(st.sampled_from(ALIKE), unique=True, min_size=1, max_size=3))
    for number, (name, cidr) in enumerate(zip(names, IPv4Network("10.0.0.0/8").subnets(8), strict=False)):
        inner = draw(st.lists(st.sampled_from(ALIKE), unique=True, max_size=2))
        subnets = tuple(crowded(draw, Subnet(one, part))
                        for one, part in zip(inner, cidr.subnets(8), strict=False))
        vpcs.append(crowded(draw, Vpc(name, cidr, number, subnets=subnets)))
    found = Topology(tuple(vpcs), tuple(Peering.between(*pair) for pair in combinations(sorted(names), 2)))
    return settled(Topology(), found)


def things(topology: Topology) -> list[object]:
    """All that the kernel is to hold: whatever others stand in, and what is known by a key."""
    resources = blueprint(topology)
    return [*(place for one in resources if not isinstance(one, Address) for place in one.places),
            *(one.key for one in resources)]


def check_names(topology: Topology) -> None:
    """Two things have one name in the kernel if and only if that is refused."""
    found = things(topology)
    assert (kinds.collision(topology) is None) == (len(set(found)) == len(found))


@examples(100)
@given(crowds())
def test_two_things_have_one_name_in_the_kernel_if_and_only_if_that_is_refused(topology: Topology) -> None:
    check_names(topology)
