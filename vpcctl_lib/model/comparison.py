"""Two topologies held against each other: what is added, changed and removed, and why; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import Enum

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import OWN, Machine, Nat, Policy, Rule, Subnet, Topology, Vpc

Rules = Sequence[Rule] | None


class Sign(Enum):
    """What happens to a thing."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "-"


@frozen
class Difference:
    """One line of a plan."""

    sign: Sign
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.sign.value} {self.what}: {self.why}"


def compare(old: Topology, new: Topology) -> list[Difference]:
    """The way from one to the other, VPC by VPC."""
    return [*_vpcs(old, new), *_peerings(old, new)]


def _vpcs(old: Topology, new: Topology) -> Iterator[Difference]:
    for vpc in old.vpcs:
        if new.vpc(vpc.name) is None:
            yield Difference(Sign.REMOVE, f"vpc {vpc.name}", f"{vpc.cidr} and all in it is not in the file")
    for vpc in new.vpcs:
        before = old.vpc(vpc.name)
        if before is None:
            yield Difference(Sign.ADD, f"vpc {vpc.name}", f"{vpc.cidr} is not there yet")
            before = Vpc(vpc.name, vpc.cidr)
        elif before.cidr != vpc.cidr:
            yield Difference(Sign.CHANGE, f"vpc {vpc.name}", f"cidr {before.cidr} becomes {vpc.cidr}")
        yield from _nat(vpc.name, before.nat, vpc.nat)
        yield from _subnets(before, vpc)


def _nat(vpc: str, old: Nat | None, new: Nat | None) -> Iterator[Difference]:
    if old == new:
        return
    if new is None:
        yield Difference(Sign.REMOVE, f"nat of {vpc}", "the file has none")
    elif old is None:
        yield Difference(Sign.ADD, f"nat of {vpc}", f"out of {_uplink(new)}")
    else:
        yield Difference(Sign.CHANGE, f"nat of {vpc}", f"{_uplink(old)} becomes {_uplink(new)}")


def _uplink(nat: Nat) -> str:
    return f"auto ({nat.interface})" if nat.follows else nat.interface


def _subnets(old: Vpc, new: Vpc) -> Iterator[Difference]:
    for subnet in old.subnets:
        if new.subnet(subnet.name) is None:
            name = f"{old.name}/{subnet.name}"
            yield Difference(Sign.REMOVE, f"subnet {name}", f"{subnet.cidr} is not in the file")
    for subnet in new.subnets:
        name = f"{new.name}/{subnet.name}"
        before = old.subnet(subnet.name)
        if before is None:
            told = f"{subnet.type.value} {subnet.cidr} is not there yet"
            yield Difference(Sign.ADD, f"subnet {name}", told)
            before = Subnet(subnet.name, subnet.cidr, subnet.type, machines=_bare(subnet))
        elif (before.cidr, before.type) != (subnet.cidr, subnet.type):
            was = f"{before.type.value} {before.cidr} becomes {subnet.type.value} {subnet.cidr}"
            yield Difference(Sign.CHANGE, f"subnet {name}", was)
        yield from _policy(name, before, subnet)
        yield from _machines(name, before, subnet)


def _policy(name: str, old: Subnet, new: Subnet) -> Iterator[Difference]:
    if old.policy == new.policy:
        return
    if new.policy is None:
        yield Difference(Sign.REMOVE, f"firewall of {name}", "the file has none: the subnet opens")
    elif old.policy is None:
        rules = (*new.policy.ingress, *(new.policy.egress or ()))
        yield Difference(Sign.ADD, f"firewall of {name}", f"{_count(rules)}, none before")
    else:
        yield Difference(Sign.CHANGE, f"firewall of {name}", ", ".join(_parts(old.policy, new.policy)))


def _parts(old: Policy, new: Policy) -> Iterator[str]:
    """What of a policy is another now."""
    yield from _rules("ingress", old.ingress, new.ingress)
    yield from _rules("egress", old.egress, new.egress)
    if old.default is not new.default:
        yield f"default {old.default.value} becomes {new.default.value}"
    if old.description != new.description:
        yield "its description differs"


def _rules(direction: str, old: Rules, new: Rules) -> Iterator[str]:
    if old == new:
        return
    if old is None or new is None:
        yield f"{direction}: {_told(old)} → {_told(new)}"
    elif _undescribed(old) == _undescribed(new):
        yield f"{direction}: descriptions differ"
    else:
        yield f"{direction}: rules differ ({len(old)} → {len(new)})"


def _told(rules: Rules) -> str:
    # None is not nothing: only where there is a list, what is not in it meets the default.
    return "open" if rules is None else _count(rules)


def _count(rules: Sequence[Rule]) -> str:
    return "1 rule" if len(rules) == 1 else f"{len(rules)} rules"


def _undescribed(rules: Sequence[Rule]) -> list[Rule]:
    return [replace(rule, description="") for rule in rules]


def _bare(subnet: Subnet) -> tuple[Machine, ...]:
    """Its own machine, if it has one, with nothing in it."""
    return (OWN,) if subnet.machine() else ()


def _machines(subnet: str, old: Subnet, new: Subnet) -> Iterator[Difference]:
    for machine in old.machines:
        if new.machine(machine.name) is None:
            yield Difference(Sign.REMOVE, f"machine {_site(subnet, machine)}", "it is not in the file")
    for machine in new.machines:
        name, before = _site(subnet, machine), old.machine(machine.name)
        if before is None:
            yield Difference(Sign.ADD, f"machine {name}", "it is not there yet")
            before = Machine(machine.name, machine.addresses, machine.namespace)
        elif (before.addresses, before.namespace) != (machine.addresses, machine.namespace):
            yield Difference(Sign.CHANGE, f"machine {name}", "its addresses or its namespace differ")
        yield from _workloads(name, before, machine)


def _site(subnet: str, machine: Machine) -> str:
    return f"{subnet}/{machine.name}" if machine.name else subnet


def _workloads(name: str, old: Machine, new: Machine) -> Iterator[Difference]:
    for workload in old.workloads:
        if new.workload(workload.name) is None:
            yield Difference(Sign.REMOVE, f"workload {name}/{workload.name}", "it is not in the file")
    for workload in new.workloads:
        before = old.workload(workload.name)
        if before is None:
            yield Difference(Sign.ADD, f"workload {name}/{workload.name}", "it is not there yet")
        elif before != workload:
            yield Difference(Sign.CHANGE, f"workload {name}/{workload.name}", "its command or options differ")


def _peerings(old: Topology, new: Topology) -> Iterator[Difference]:
    for peering in old.peerings:
        if peering not in new.peerings:
            yield Difference(Sign.REMOVE, f"peering {peering.vpc1} - {peering.vpc2}", "it is not in the file")
    for peering in new.peerings:
        if peering not in old.peerings:
            yield Difference(Sign.ADD, f"peering {peering.vpc1} - {peering.vpc2}", "it is not there yet")
