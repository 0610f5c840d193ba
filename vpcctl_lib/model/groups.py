"""Security groups: who is in one, whom its rules name, and what is wrong with them; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_vpc, nearest
from vpcctl_lib.model.policies import Group, Policy, Rule
from vpcctl_lib.model.topology import Machine, Topology, Vpc

INGRESS, EGRESS = "ingress", "egress"


class Called(NamedTuple):
    """A group's VPC and its name."""

    vpc: str
    name: str

    def __str__(self) -> str:
        return f"{self.vpc}/{self.name}"

    def seen_from(self, vpc: str) -> str:
        """What a rule of that VPC calls it."""
        return self.name if vpc == self.vpc else str(self)


class Use(NamedTuple):
    """A rule that names a group."""

    by: Called
    """The group that has the rule."""

    place: str
    """Such as `ingress[0]`."""

    of: Called
    """The group that the rule names."""


def called(vpc: str, text: str) -> Called:
    """What a rule of a VPC's group means: a group of its own, or `VPC/NAME`."""
    far, slash, name = text.partition("/")
    return Called(far, name) if slash else Called(vpc, text)


def rules_of(policy: Policy) -> Iterator[tuple[str, Rule]]:
    """Its rules, each with its place."""
    for direction, rules in ((INGRESS, policy.ingress), (EGRESS, policy.egress or ())):
        yield from ((f"{direction}[{number}]", rule) for number, rule in enumerate(rules))


def uses(topology: Topology) -> Iterator[Use]:
    """Every rule that names a group."""
    for vpc in topology.vpcs:
        yield from uses_in(vpc)


def uses_in(vpc: Vpc) -> Iterator[Use]:
    """Every rule of a VPC's groups that names a group."""
    for group in vpc.groups:
        for place, rule in rules_of(group.policy):
            if rule.group:
                yield Use(Called(vpc.name, group.name), place, called(vpc.name, rule.group))


def stale(topology: Topology) -> Iterator[Use]:
    """The rules that match nobody, as the group that they name is not there or not in a peer."""
    for vpc in topology.vpcs:
        found = list(uses_in(vpc))
        reached = {one.name: one for one in (vpc, *topology.peers_of(vpc.name))} if found else {}
        yield from (use for use in found
                    if use.of.vpc not in reached or reached[use.of.vpc].group(use.of.name) is None)


def sites(vpc: Vpc, name: str) -> list[Site]:
    """The machines in a group."""
    return [Site(vpc.name, subnet.name, machine.name) for subnet in vpc.subnets
            for machine in subnet.machines if name in machine.groups]


def find_group(topology: Topology, vpc_name: str, name: str) -> tuple[Vpc, Group]:
    """The group of that name with its VPC; VpcctlError with the nearest right name if there is none."""
    vpc = find_vpc(topology, vpc_name)
    check_known(vpc_name, name, [one.name for one in vpc.groups])
    return vpc, next(one for one in vpc.groups if one.name == name)


def joined(machine: Machine, names: Iterable[str]) -> Machine:
    """The machine in these groups, too."""
    return replace(machine, groups=tuple(sorted({*machine.groups, *names})))


def left(machine: Machine, name: str) -> Machine:
    """The machine in all its groups but that one."""
    return replace(machine, groups=tuple(one for one in machine.groups if one != name))


def check_known(vpc: str, name: str, known: Collection[str], place: str = "") -> None:
    """Refuse a group that its VPC does not have; `place` is that of the rule which names it."""
    if name not in known:
        where = f"{place}: " if place else ""
        raise VpcctlError(f"{where}group '{name}' does not exist in VPC '{vpc}'", nearest(
            name, known, f"create it: vpcctl group create --vpc {vpc} --name …"))


def check_reached(topology: Topology, vpc: Vpc, policy: Policy) -> None:
    """Refuse a rule that would match nobody: its group is unknown, or its VPC no peer."""
    peers = {peer.name: peer for peer in topology.peers_of(vpc.name)}
    for place, rule in rules_of(policy):
        if not rule.group:
            continue
        of = called(vpc.name, rule.group)
        if of.vpc != vpc.name and of.vpc not in peers:
            find_vpc(topology, of.vpc)
            raise VpcctlError(f"{place}: VPCs '{vpc.name}' and '{of.vpc}' are not peered",
                              f"vpcctl peer create --vpc1 {vpc.name} --vpc2 {of.vpc}")
        find_group(topology, *of)


def check_unused(topology: Topology, which: Called) -> None:
    """Refuse to delete a group with members, or one that another group's rules name."""
    vpc, _ = find_group(topology, *which)
    members = [str(site) for site in sites(vpc, which.name)]
    named = [f"{use.by.seen_from(vpc.name)} ({use.place})" for use in uses(topology)
             if use.of == which and use.by != which]
    told = f"group '{which.name}' of VPC '{vpc.name}' is in use"
    if members:
        raise VpcctlError(f"{told}: its members are {some(members)}", "let them leave: vpcctl group leave "
                          f"--vpc {vpc.name} --subnet … --name {which.name}")
    if named:
        raise VpcctlError(f"{told}: its name is in the rules of {some(named)}",
                          "apply policies without it to those groups first")


MOST_NAMED = 10


def some(names: list[str]) -> str:
    """The first of many names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
