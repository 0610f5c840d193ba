"""What security groups decide about a packet by the record: why not, and which membership helps; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.endpoints import Endpoint, in_vpc
from vpcctl_lib.model.groups import Called, called
from vpcctl_lib.model.policies import Action, Group, Policy, Protocol, Rule, concerns, family_of
from vpcctl_lib.model.topology import Topology, Vpc


@frozen
class Packet:
    """The first packet of a connection, between machines or with the outside."""

    source: Address
    destination: Address
    protocol: Protocol
    port: int | None

    @property
    def family(self) -> Family:
        """That of both ends."""
        return family_of(self.source)


@frozen
class Refusal:
    """Why, and the machine that would have to join a group, if that would help."""

    why: str
    who: Endpoint | None = None
    group: str = ""


class Judge:
    """Answers by the record."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def refusal(self, one: Endpoint, packet: Packet, is_ingress: bool) -> Refusal | None:
        """Why a machine's groups do not let a packet in or out; None if it is in none, or they do."""
        if not one.groups or self.lets(one, packet, is_ingress):
            return None
        far = self._at(one, packet.source if is_ingress else packet.destination)
        verb, word = ("from", "ingress") if is_ingress else ("to", "egress")
        what = f"{packet.protocol.value} port {packet.port}" if packet.port else packet.protocol.value
        first = Refusal("")
        for group, rule in self._rules(one, is_ingress):
            if not rule.group or not _matches(rule, packet):
                continue
            of = called(one.site.vpc, rule.group)
            told = (f"{_name(one)}'s group '{group.name}' allows {what} {verb} group "
                    f"'{rule.group}'; {_name(far) if far else 'the other end'} is not in it")
            first = first if first.why else Refusal(told)
            if far and far.site.vpc == of.vpc and self._helps(far, of, packet):
                return Refusal(told, far, of.name)
        names = ", ".join(f"'{name}'" for name in one.groups)
        return first if first.why else Refusal(f"{_name(one)} is in {names}, and no {word} rule there allows "
                                               f"{what} {verb} {_name(far) if far else 'there'}")

    def lets(self, one: Endpoint, packet: Packet, is_ingress: bool) -> bool:
        """Whether a machine lets the packet in, or out: by its groups, else by its subnet's policy."""
        if not one.groups:
            return _decided(one.policy, packet, is_ingress)
        groups = self._groups(one)
        if not is_ingress and any(group.policy.egress is None for group in groups):
            return True
        far = self._at(one, packet.source if is_ingress else packet.destination)
        return any(_matches(rule, packet) and self._is_far(one, rule, far, packet, is_ingress)
                   for _, rule in self._rules(one, is_ingress))

    def _is_far(self, one: Endpoint, rule: Rule, far: Endpoint | None, packet: Packet,
                is_ingress: bool) -> bool:
        if rule.group:
            return far is not None and called(one.site.vpc, rule.group) in (
                Called(far.site.vpc, name) for name in far.groups)
        return rule.network is None or (packet.source if is_ingress else packet.destination) in rule.network

    def _helps(self, far: Endpoint, of: Called, packet: Packet) -> bool:
        """Whether the packet passes both ends once the far one has joined: its new groups decide about it."""
        groups = tuple(sorted({*far.groups, of.name}))
        vpc = self._topology.vpc(far.site.vpc)
        if vpc is None:
            return False
        topology = self._topology.with_vpc(_with_groups(vpc, far, groups))
        judge = Judge(topology)
        ends = {one.site: one for one in (judge._at(far, packet.source), judge._at(far, packet.destination))
                if one}
        return all(judge.lets(one, packet, packet.destination in one.ips) for one in ends.values())

    def _groups(self, one: Endpoint) -> list[Group]:
        vpc = self._topology.vpc(one.site.vpc)
        return [group for group in vpc.groups if group.name in one.groups] if vpc else []

    def _rules(self, one: Endpoint, is_ingress: bool) -> Iterator[tuple[Group, Rule]]:
        for group in self._groups(one):
            rules: Sequence[Rule] = group.policy.ingress if is_ingress else group.policy.egress or ()
            yield from ((group, rule) for rule in rules)

    def _at(self, near: Endpoint, address: Address) -> Endpoint | None:
        """The machine with that address, in the VPC of another one or in a peer."""
        own = self._topology.vpc(near.site.vpc)
        vpcs = [*([own] if own else []), *self._topology.peers_of(near.site.vpc)]
        return next((one for vpc in vpcs if vpc.holds(address)
                     for one in in_vpc(vpc) if address in one.ips), None)


def _name(one: Endpoint) -> str:
    return one.site.machine or str(one.site)


def _matches(rule: Rule, packet: Packet) -> bool:
    """Whether its protocol and ports fit."""
    if rule.protocol not in (Protocol.ALL, packet.protocol) or not concerns(rule, packet.family):
        return False
    ports = rule.ports
    return ports is None or (packet.port is not None and ports.first <= packet.port <= ports.last)


def _decided(policy: Policy | None, packet: Packet, is_ingress: bool) -> bool:
    """What a subnet's policy decides: the first rule that matches."""
    if policy is None or (not is_ingress and policy.egress is None):
        return True
    far = packet.source if is_ingress else packet.destination
    for rule in policy.ingress if is_ingress else policy.egress or ():
        if _matches(rule, packet) and (rule.network is None or far in rule.network):
            return rule.action is Action.ALLOW
    return policy.default is Action.ALLOW


def _with_groups(vpc: Vpc, who: Endpoint, groups: tuple[str, ...]) -> Vpc:
    subnet = vpc.subnet(who.site.subnet)
    machine = subnet.machine(who.site.machine) if subnet else None
    if subnet is None or machine is None:
        return vpc
    return vpc.with_subnet(subnet.with_machine(replace(machine, groups=groups)))
