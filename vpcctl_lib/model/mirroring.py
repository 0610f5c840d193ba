"""Mirrors: which machines get copies of which, and what is wrong with them; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from vpcctl_lib.errors import BadInput, VpcctlError, quoted
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_machine, find_subnet, find_vpc
from vpcctl_lib.model.mirrors import LAST_VNI, PORT, Mirror
from vpcctl_lib.model.policies import AclRule, Action, Policy, Protocol, Rule
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc


class Mirrored(NamedTuple):
    """A mirror, and the machine whose packets it copies."""

    site: Site
    mirror: Mirror

    @property
    def target(self) -> Site:
        """The place of the machine that gets the copies."""
        return Site(self.site.vpc, *self.mirror.to.split("/"))

    @property
    def deletion(self) -> str:
        """The command that deletes it."""
        instance = f" --instance {self.site.machine}" if self.site.machine else ""
        return (f"vpcctl mirror delete --vpc {self.site.vpc} --subnet {self.site.subnet}{instance} "
                f"--to {self.mirror.to}")


def parse_target(text: str) -> str:
    """A machine as a mirror names it; BadInput if it can't be one."""
    parts = text.split("/")
    if len(parts) > 2 or not all(map(naming.is_name, parts)):
        raise BadInput(f"{quoted(repr(text))} is not a machine of the VPC",
                       "write SUBNET/NAME, or SUBNET for a subnet's own machine")
    return text


def check_vni(vni: int) -> int:
    """Refuse what is no number of a VXLAN."""
    if not 1 <= vni <= LAST_VNI:
        raise BadInput(f"{vni} is not a VNI", f"use a number from 1 to {LAST_VNI}")
    return vni


def in_vpc(vpc: Vpc) -> Iterator[Mirrored]:
    """All mirrors of a VPC."""
    for subnet in vpc.subnets:
        for machine in subnet.machines:
            yield from (Mirrored(Site(vpc.name, subnet.name, machine.name), one) for one in machine.mirrors)


def settled(before: Topology, after: Topology) -> Topology:
    """With a VNI for each: the one that it had, else the lowest that is free in its VPC."""
    for vpc in after.vpcs:
        if any(not one.mirror.vni for one in in_vpc(vpc)):
            after = after.with_vpc(_numbered(vpc, before.vpc(vpc.name)))
    return after


def _numbered(vpc: Vpc, before: Vpc | None) -> Vpc:
    had = {(one.site, one.mirror.to): one.mirror.vni for one in in_vpc(before)} if before else {}
    taken = {one.mirror.vni for one in in_vpc(vpc)}
    for site, mirror in list(in_vpc(vpc)):
        if mirror.vni:
            continue
        vni = had.get((site, mirror.to), 0)
        if not vni or vni in taken:
            vni = next(number for number in range(1, LAST_VNI) if number not in taken)
        taken.add(vni)
        vpc = with_mirrors(vpc, site, tuple(
            replace(one, vni=vni) if one.to == mirror.to else one for one in mirrors_of(vpc, site)))
    return vpc


def mirrors_of(vpc: Vpc, site: Site) -> tuple[Mirror, ...]:
    """Those of a machine."""
    subnet = vpc.subnet(site.subnet)
    machine = subnet.machine(site.machine) if subnet else None
    return machine.mirrors if machine else ()


def with_mirrors(vpc: Vpc, site: Site, mirrors: tuple[Mirror, ...]) -> Vpc:
    """The VPC with these mirrors of a machine instead of those that it has."""
    subnet = vpc.subnet(site.subnet)
    machine = subnet.machine(site.machine) if subnet else None
    if subnet is None or machine is None:
        return vpc
    return vpc.with_subnet(subnet.with_machine(replace(machine, mirrors=mirrors)))


def check(before: Topology, after: Topology) -> None:
    """Refuse what can't be, and that a machine goes which gets copies."""
    for vpc in after.vpcs:
        for one in in_vpc(vpc):
            if _machine(after, one.target) is None and _machine(before, one.target) is not None:
                raise VpcctlError(f"{one.target} gets a copy of the packets of {one.site}",
                                  f"delete that mirror first: {one.deletion}")
        check_vpc(after, vpc)


def _machine(topology: Topology, site: Site) -> Machine | None:
    vpc = topology.vpc(site.vpc)
    subnet = vpc.subnet(site.subnet) if vpc else None
    return subnet.machine(site.machine) if subnet else None


def check_vpc(topology: Topology, vpc: Vpc) -> None:
    """Refuse mirrors of a VPC that can't be."""
    numbers: dict[int, Mirrored] = {}
    for one in in_vpc(vpc):
        check_one(topology, one)
        twin = numbers.setdefault(one.mirror.vni, one)
        if one.mirror.vni and twin is not one:
            raise VpcctlError(f"VNI {one.mirror.vni} is that of the mirror of {twin.site} to "
                              f"{twin.mirror.to}", "choose another, or none: then a free one is found")


def check_one(topology: Topology, one: Mirrored) -> None:
    """Refuse a mirror to what does not exist, to the machine itself, or plain to a virtual machine."""
    _, subnet = find_subnet(topology, one.target.vpc, one.target.subnet)
    target = find_machine(subnet, one.target)
    if one.target == one.site:
        raise VpcctlError(f"{one.site} can't get a copy of its own packets", "choose another machine")
    if one.mirror.plain and target.tap:
        raise VpcctlError(f"{one.target} is a virtual machine behind a tap, where no plain copies arrive",
                          "leave out --plain: VXLAN arrives")
    if one.mirror.plain and not topology.guarded and topology.guarded is not None:
        raise VpcctlError("plain copies need nft, which this host lacks", "leave out --plain, or install "
                          "nftables")


def deaf(topology: Topology, one: Mirrored) -> str:
    """What keeps copies from the programs of their target, in words; empty if nothing does."""
    vpc = find_vpc(topology, one.site.vpc)
    _, subnet = find_subnet(topology, one.target.vpc, one.target.subnet)
    machine = find_machine(subnet, one.target)
    if one.mirror.plain:
        return ""
    acl = vpc.acl(subnet.acl)
    if acl and not _lets_in(vpc, sorted(acl.ingress, key=lambda rule: rule.number), Action.DENY):
        return f"network ACL '{acl.name}' of subnet '{subnet.name}' lets no"
    policies = _policies(vpc, subnet, machine)
    if policies and not any(_lets_in(vpc, one.ingress, one.default) for one in policies):
        return "its groups let no" if machine.groups else f"the policy of subnet '{subnet.name}' lets no"
    return ""


def _policies(vpc: Vpc, subnet: Subnet, machine: Machine) -> list[Policy]:
    if machine.groups:
        return [group.policy for group in vpc.groups if group.name in machine.groups]
    return [subnet.policy] if subnet.policy else []


def _lets_in(vpc: Vpc, rules: tuple[Rule, ...] | list[AclRule], default: Action) -> bool:
    """Whether the first of these rules that is about VXLAN from the router allows it."""
    router = addressing.gateway(vpc.cidr)
    for rule in rules:
        if rule.protocol in (Protocol.ALL, Protocol.UDP) \
                and (rule.ports is None or rule.ports.first <= PORT <= rule.ports.last) \
                and (rule.network is None or router in rule.network) and not getattr(rule, "group", ""):
            return rule.action is Action.ALLOW
    return default is Action.ALLOW
