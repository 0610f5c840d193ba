"""Machines in groups: their rules, the members that these name, and what their router lists; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from ipaddress import IPv4Address

from vpcctl_lib.blueprint import filters
from vpcctl_lib.firewall.group_rules import (
    Direction,
    egress_filter,
    incoming,
    ingress_filter,
    outgoing,
)
from vpcctl_lib.firewall.group_words import in_words
from vpcctl_lib.model.addressing import Address, Family, spans
from vpcctl_lib.model.endpoints import Endpoint, Stand
from vpcctl_lib.model.groups import Called, called
from vpcctl_lib.model.policies import Group
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources import Marking, Resource, Roster
from vpcctl_lib.resources.marking import Members
from vpcctl_lib.resources.roster import Listed

Machines = Mapping[str, Sequence[Endpoint]]
"""By VPC."""


class Groups:
    """All groups of a topology; what many machines share is worked out once.

    `machines` are those in groups: the others change nothing about them.
    """

    def __init__(self, topology: Topology, machines: Machines) -> None:
        self._topology = topology
        self._machines = machines
        self._parts: dict[tuple[str, tuple[str, ...]], tuple[Direction, Direction | None]] = {}

    def __eq__(self, other: object) -> bool:
        """Whether every machine would get the same."""
        return isinstance(other, Groups) and self._source == other._source

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def _source(self) -> tuple[object, ...]:
        """All that what a machine gets follows from, besides the machine itself and its VPC's groups."""
        return self._topology.peerings, bool(self._topology.guarded), self._machines

    @cached_property
    def _members(self) -> Mapping[tuple[Called, Family], str]:
        """The addresses of each family in each group."""
        held: dict[Called, list[Endpoint]] = {}
        for vpc, machines in self._machines.items():
            for one in machines:
                for name in one.groups:
                    held.setdefault(Called(vpc, name), []).append(one)
        return {(which, family): spans(address for one in found for address in _addresses(one, family))
                for which, found in held.items() for family in Family}

    def directions(self, vpc: Vpc, names: tuple[str, ...]) -> tuple[Direction, Direction | None]:
        """What a machine in these groups lets in and out; None if that is open."""
        key = (vpc.name, names)
        if key not in self._parts:
            found: list[Group] = [group for group in vpc.groups if group.name in names]
            self._parts[key] = (incoming(found), outgoing(found))
        return self._parts[key]

    def inside(self, vpc: Vpc, one: Endpoint, resolvers: Sequence[IPv4Address] = (),
               family: Family = Family.INET) -> Iterator[Resource]:
        """What is in the namespace of a machine in groups for packets of a family."""
        into, out = self.directions(vpc, one.groups)
        tests = into.tests(family), out.tests(family) if out else ()
        if any(tests) and self._topology.guarded:
            named = sorted({test.group for direction in tests for test in direction})
            members = tuple(Members(name, self._seen(vpc, name, family)) for name in named)
            yield Marking(one.namespace, members, *tests, attached=bool(one.attached),
                          interface="" if one.stand is Stand.ENDS else one.interface,
                          forwards=one.stand is Stand.LINK, family=family)
        yield from filters.incoming(one, ingress_filter(into, family), family)
        if out is not None:
            yield from filters.outgoing(one, egress_filter(out, family), resolvers, family)

    def _seen(self, vpc: Vpc, name: str, family: Family) -> str:
        """The members of a group that a rule of a VPC names: of another VPC only as long as it is a peer."""
        which = called(vpc.name, name)
        peers = {vpc.name, *(peer.name for peer in self._topology.peers_of(vpc.name))}
        return self._members.get((which, family), "") if which.vpc in peers else ""

    def roster(self, vpc: Vpc) -> Iterator[Resource]:
        """The list that the router keeps."""
        if vpc.groups and self._topology.guarded:
            yield Roster(vpc.name, tuple(
                Listed(group.name, in_words(group.policy),
                       tuple(one.port for one in self._machines[vpc.name] if group.name in one.groups))
                for group in vpc.groups))


def _addresses(one: Endpoint, family: Family) -> tuple[Address, ...]:
    return one.ipv4 if family is Family.INET else one.ipv6
