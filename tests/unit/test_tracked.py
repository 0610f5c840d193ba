"""Connections older than the rules: which are forgotten, which are kept."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network

import pytest

from vpcctl_lib.engine.shall import Shall
from vpcctl_lib.engine.step import Step, ready
from vpcctl_lib.engine.tracked import tended
from vpcctl_lib.kernel import proc
from vpcctl_lib.kernel.conntrack import Table
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.record.codec import written
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import (
    Address,
    Chain,
    Marking,
    Namespace,
    Operations,
    Resource,
    Route,
    SingleRule,
    name_of,
)
from vpcctl_lib.resources.marking import Members
from vpcctl_lib.resources.tracking import Disown, Forget, Keep, Release

OUT = "-s 10.0.1.0/24 -o uplink -m comment --comment vpcctl:vpc1/public -j ACCEPT"
NAT = Chain(
    "",
    "nat",
    "VPCCTL-NAT",
    (
        "-s 10.0.0.0/16 -o eth0 -j MASQUERADE",
        "-d 10.0.0.0/8 -j RETURN",
        "-s 10.9.0.0/16 -o eth1 -j MASQUERADE --random",
    ),
)
POLICY = Chain("vpc1-web", "filter", "INPUT", ("-j ACCEPT",))
EGRESS = Chain("vpc1-web", "filter", "OUTPUT", ("-j ACCEPT",))
ROUTER = Chain("vpc1", "filter", "FORWARD", (OUT, "-j DROP"))
NEAR = (
    Route("", IPv4Network("10.0.0.0/16"), device="vpc-vpc1"),
    Address("", "vpc-vpc1", IPv4Interface("169.254.64.0/31")),
    Route("", IPv4Network("0.0.0.0/0"), device="eth0"),
    Route("vpc1", IPv4Network("172.16.0.0/16"), device="pcx-vpc2"),
    Address("vpc1", "br-vpc1", IPv4Interface("10.0.0.1/16")),
)
WORK = tuple(Namespace("x", "vpcctl:x").make())


def step(verb: Verb, resource: Resource, old: Resource | None = None) -> Step:
    return Step(verb, Entry(resource), ready(WORK), tuple, Entry(old) if old else None)


def added(
    *steps: Step, shall: tuple[Resource, ...] = (*NEAR, NAT), broken: tuple[Resource, ...] = ()
) -> list[tuple[Operations, Operations]]:
    """What is put before and behind the work of each step."""
    found = tended(steps, Shall(shall), [one.key for one in broken])
    assert [(one.verb, one.entry) for one in found] == [(one.verb, one.entry) for one in steps]
    return [(one.work[: one.work.index(WORK[0])], one.work[one.work.index(WORK[0]) + 1 :]) for one in found]


FORGET = (Forget("", ("10.0.0.0/16", "10.9.0.0/16"), ("10.0.0.0/16", "169.254.64.0/31")),)


@pytest.mark.parametrize("verb", [Verb.MAKE, Verb.CHANGE])
def test_nat_on_the_host_forgets_what_began_without_it(verb: Verb) -> None:
    rule = SingleRule("nat", "POSTROUTING", "-j VPCCTL-NAT")
    assert added(step(verb, NAT)) == [((), FORGET)]
    # Once, behind the last of what translates.
    assert added(step(verb, NAT), step(verb, rule)) == [((), ()), ((), FORGET)]


def test_other_rules_forget_nothing() -> None:
    assert added(step(Verb.MAKE, SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD"))) == [((), ())]
    assert added(step(Verb.MAKE, Chain("", "filter", "VPCCTL-FORWARD", NAT.rules))) == [((), ())]
    assert added(step(Verb.UNMAKE, NAT)) == [((), ())]
    assert added(step(Verb.MAKE, NAT), shall=NEAR) == [((), ())], "nothing is translated any more"


def test_a_namespace_that_is_new_has_no_connections() -> None:
    inside = Chain("vpc1", "nat", "POSTROUTING", NAT.rules)
    space = Namespace("vpc1", "vpcctl:vpc1")
    forgets = (Forget("vpc1", ("10.0.0.0/16", "10.9.0.0/16"), ("172.16.0.0/16", "10.0.0.0/16")),)
    shall = (*NEAR, inside)
    assert added(step(Verb.MAKE, inside), shall=shall) == [((), forgets)]
    assert added(step(Verb.MAKE, space), step(Verb.MAKE, inside), shall=shall) == [((), ()), ((), ())]
    assert added(step(Verb.CHANGE, space), step(Verb.MAKE, inside), shall=shall) == [((), ()), ((), forgets)]
    assert added(step(Verb.UNMAKE, space), step(Verb.MAKE, inside), shall=shall) == [((), ()), ((), forgets)]


def test_a_policy_keeps_what_is_open_while_it_is_made() -> None:
    keep = (Keep("vpc1-web"),)
    assert added(step(Verb.MAKE, POLICY)) == [(keep, keep)]
    assert added(step(Verb.MAKE, POLICY), step(Verb.MAKE, EGRESS)) == [(keep, ()), ((), keep)]
    # One that is changed has tracked all along, but where somebody took it away.
    assert added(step(Verb.CHANGE, POLICY)) == [((), ())]
    assert added(step(Verb.CHANGE, POLICY), broken=(POLICY,)) == [(keep, keep)]
    assert added(step(Verb.MAKE, Namespace("vpc1-web", "vpcctl:vpc1/web")), step(Verb.MAKE, POLICY)) == [
        ((), ()),
        ((), ()),
    ]


def test_a_policy_and_nat_at_once() -> None:
    keep = (Keep("vpc1-web"),)
    assert added(step(Verb.MAKE, POLICY), step(Verb.MAKE, NAT)) == [(keep, keep), ((), FORGET)]


def test_a_subnet_that_may_get_out_no_more_loses_what_it_has_open() -> None:
    closed = replace(ROUTER, rules=("-j DROP",))
    forgets = (Forget("vpc1", ("10.0.1.0/24",), ("172.16.0.0/16", "10.0.0.0/16"), whole=True),)
    assert added(step(Verb.CHANGE, closed, ROUTER)) == [((), forgets)]
    assert added(step(Verb.CHANGE, ROUTER, ROUTER)) == [((), ())]
    assert added(step(Verb.CHANGE, ROUTER, closed)) == [((), ())]
    assert added(step(Verb.UNMAKE, closed, ROUTER)) == [((), ())]
    keep = (Keep("vpc1"),)
    assert added(step(Verb.MAKE, closed, ROUTER)) == [(keep, keep)]
    on_host = replace(ROUTER, namespace=""), replace(closed, namespace="")
    assert added(step(Verb.CHANGE, on_host[1], on_host[0])) == [((), ())], "the host's are not ours to end"
    # With what translates in the same plan, each has its own.
    assert added(step(Verb.CHANGE, closed, ROUTER), step(Verb.MAKE, NAT)) == [((), forgets), ((), FORGET)]


def test_what_is_no_chain_has_nobody_to_shut_out() -> None:
    rule = SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD")
    assert added(step(Verb.CHANGE, rule, ROUTER)) == [((), ())]
    assert added(step(Verb.CHANGE, ROUTER, rule)) == [((), ())]


def test_who_gets_the_address_of_a_deleted_machine_has_none_of_its_connections() -> None:
    db = Marking("vpc1-db", (Members("web", "10.0.1.4-10.0.1.6"),))
    link = Address("vpc1-web1", "eth0", IPv4Interface("10.0.1.4/24"), routed=False)
    gone = step(Verb.UNMAKE, link)
    ends = (Disown(("vpc1-db",), ("10.0.1.4",)),)
    assert added(gone, shall=(*NEAR, db)) == [((), ends)], "it may have been in a group before"
    assert added(gone, shall=NEAR) == [((), ())], "nobody's rules name groups"
    router = step(Verb.UNMAKE, replace(link, routed=True))
    assert added(router, shall=(db,)) == [((), ())], "no machine gets it"
    assert added(gone, step(Verb.MAKE, link), shall=(db,)) == [((), ()), ((), ())], "it comes back"
    heir = step(Verb.MAKE, replace(link, namespace="vpc1-web2"))
    assert added(gone, heir, shall=(db,)) == [((), ends), ((), ())], "its heir's own are not there yet"
    assert added(step(Verb.CHANGE, db, db), shall=(db,)) == [((), ())], "who only leaves keeps what is open"
    told = str(Disown(("vpc1-db", "vpc1-app"), ("10.0.1.4",)))
    assert "for space in vpc1-db vpc1-app; do\n  ip netns exec $space conntrack -D -s 10.0.1.4 || :\n" in told


PORTS = Chain("", "nat", "VPCCTL-PORTS", (
    "-p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.0.1.4:80",
    "-p udp -m udp --dport 53 -j DNAT --to-destination 10.0.1.4:53"))
MOVED = replace(PORTS, rules=(PORTS.rules[0].replace(".4:", ".5:"), PORTS.rules[1]))
INNER = replace(PORTS, namespace="vpc1", name="PREROUTING", rules=PORTS.rules[:1])


def test_connections_by_a_port_that_leads_elsewhere_are_released_once_all_rules_are_there() -> None:
    both = (Release("", (("tcp", 8080), ("udp", 53))),)
    assert added(step(Verb.MAKE, PORTS)) == [((), both)]
    assert added(step(Verb.UNMAKE, PORTS)) == [((), both)]
    assert added(step(Verb.CHANGE, MOVED, PORTS)) == [((), (Release("", (("tcp", 8080),)),))]
    assert added(step(Verb.CHANGE, PORTS, PORTS)) == [((), ())]
    assert added(step(Verb.MAKE, PORTS, PORTS)) == [((), both)], "it was gone in between"
    rule = SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD")
    assert added(step(Verb.MAKE, PORTS), step(Verb.MAKE, rule)) == [((), ()), ((), both)]
    # After what the last step does about its own.
    assert added(step(Verb.MAKE, PORTS), step(Verb.MAKE, NAT)) == [((), ()), ((), (*FORGET, *both))]


def test_each_namespace_has_its_own_connections_to_release() -> None:
    inner = Release("vpc1", (("tcp", 8080),))
    outer = Release("", (("tcp", 8080), ("udp", 53)))
    assert added(step(Verb.MAKE, PORTS), step(Verb.MAKE, INNER)) == [((), ()), ((), (outer, inner))]
    # A namespace that goes takes them along; one that is made or stays does not.
    space = Namespace("vpc1", "vpcctl:vpc1")
    assert added(step(Verb.UNMAKE, INNER), step(Verb.UNMAKE, space)) == [((), ()), ((), ())]
    assert added(step(Verb.UNMAKE, INNER), step(Verb.CHANGE, space)) == [((), ()), ((), (inner,))]
    away = step(Verb.UNMAKE, Namespace("vpc2", "vpcctl:vpc2"))
    assert added(step(Verb.UNMAKE, INNER), away) == [((), ()), ((), (inner,))]


def test_who_is_disowned_comes_in_order_behind_the_last_removal_with_a_command() -> None:
    db = Marking("vpc1-db", (Members("web", "10.0.1.4-10.0.1.6"),))
    links = [Address(f"vpc1-web{last}", "eth0", IPv4Interface(f"10.0.1.{last}/24"), routed=False)
             for last in (9, 3, 7, 5, 8, 4)]
    going = [step(Verb.UNMAKE, link) for link in links]
    ends = (Disown(("vpc1-db",), tuple(f"10.0.1.{last}" for last in (3, 4, 5, 7, 8, 9))),)
    assert added(*going, shall=(db,)) == [*[((), ())] * 5, ((), ends)]
    silent = Step(Verb.UNMAKE, Entry(links[-1]), tuple, tuple, None)
    found = tended([*going[:-1], silent], Shall((db,)), ())
    assert [one.work for one in found] == [*[WORK] * 4, (*WORK, *ends), ()]
    assert tended([silent], Shall((db,)), ()) == (silent,), "nothing that has a command goes"


def test_a_policy_of_ipv6_keeps_what_is_open_of_both_families() -> None:
    six = replace(POLICY, family=Family.INET6)
    assert added(step(Verb.MAKE, six)) == [((Keep("vpc1-web", False),), (Keep("vpc1-web", False),))]


def test_what_is_wanted_is_read_where_somebody_looks() -> None:
    space = Namespace("vpc1", "vpcctl:vpc1")
    (entry,) = Entry.on([written(space, name_of(space))])
    assert [Shall([entry])[0], *Shall([entry])] == [space, space]
    assert Shall([*Entry.on(['{"kind": "of another version"}'])]).tables() == []


def test_only_tables_are_looked_at() -> None:
    kept = Marking("vpc1-db", (Members("web", "10.0.1.4"),)), Namespace("vpc1", "vpcctl:vpc1")
    entries = [*Entry.on(written(one, name_of(one)) for one in kept)]
    assert Shall(entries).tables() == [("vpc1-db", "vpcctl", Family.INET)]
    assert ["resource" in vars(one) for one in entries] == [True, False]


@pytest.mark.parametrize(("count", "asked"), [("0", 0), ("1", 1), (None, 1)])
def test_where_nothing_is_tracked_no_entry_is_looked_for(
    count: str | None, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dumps: list[Table] = []
    monkeypatch.setattr(Table, "_all", lambda table: dumps.append(table) or ())
    monkeypatch.setattr(proc, "setting", {"net/netfilter/nf_conntrack_count": count}.get)
    with Table() as table:
        assert table.forget(lambda _: True) == 0
    assert len(dumps) == asked
