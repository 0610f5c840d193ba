"""What the host should have by the record: separates what was never opened from what was broken; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.kernel.saves import Words, words
from vpcctl_lib.model import naming
from vpcctl_lib.model.addressing import Address, Family, gateway
from vpcctl_lib.model.addressing6 import host_end, router
from vpcctl_lib.model.endpoints import Endpoint, endpoint, everywhere, in_subnet, in_vpc
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.reach.routes import PolicyRule
from vpcctl_lib.reach.routes import Route as Line
from vpcctl_lib.reach.scene import Namespace as Held
from vpcctl_lib.resources import Acls, Chain, Port, Resource, Route

BUILTIN_POLICY = "ACCEPT"
NAMED = 10
"""So many subnets or machines are named where one is looked for."""


class Intent:
    """The record, queried by place."""

    def __init__(self, topology: Topology, family: Family = Family.INET) -> None:
        """Rules, and what follows from them, are those for packets of a family."""
        self.topology = topology
        self.family = family

    @cached_property
    def _resources(self) -> list[Resource]:
        return blueprint(self.topology)

    @cached_property
    def namespaces(self) -> frozenset[str]:
        """The names of all our namespaces."""
        return frozenset(one.space or one.guest for one in self._resources) - {""}

    @cached_property
    def _chains(self) -> dict[tuple[str, str, str], Chain]:
        return {(one.namespace, one.table, one.name): one
                for chain in Chain.among(self._resources) if chain.family is self.family
                for one in (chain, *chain.inner_chains())}

    @cached_property
    def _ports(self) -> frozenset[tuple[str, str]]:
        return frozenset((one.namespace, one.device) for one in Port.among(self._resources))

    @cached_property
    def _routes(self) -> Mapping[str, list[Route]]:
        found: dict[str, list[Route]] = {}
        for one in Route.among(self._resources):
            found.setdefault(one.namespace, []).append(one)
        return found

    @cached_property
    def _leads(self) -> frozenset[tuple[str, int, str, str]]:
        """Our lines of `ip rule`: namespace, priority, incoming link and table."""
        if not any(vpc.route_tables for vpc in self.topology.vpcs):
            return frozenset()
        # Imported late: most networks have only the built-in tables.
        from vpcctl_lib.resources import WayRule

        return frozenset((one.namespace, one.priority, one.incoming, one.name)
                         for one in WayRule.among(self._resources) if one.family is self.family)

    def leads(self, namespace: str, rule: PolicyRule) -> bool:
        """Whether a line of `ip rule` is ours: it leads to a route table of a person's own."""
        return (namespace, rule.priority, rule.incoming, rule.table) in self._leads

    @cached_property
    def _slots(self) -> Mapping[tuple[str, str], list[Words]]:
        """The host's rules by table and chain."""
        found: dict[tuple[str, str], list[Words]] = {}
        for slot in filter(None, (one.slot for one in self._resources)):
            family, *place = slot.place
            if family is self.family:
                found.setdefault((place[0], place[1]), []).append(slot.rule)
        return found

    @cached_property
    def _sixth(self) -> Mapping[str, list[str]]:
        """The links that have IPv6, by namespace."""
        # Imported late, here and below: most networks have no IPv6.
        from vpcctl_lib.resources import Ipv6

        found: dict[str, list[str]] = {}
        for one in Ipv6.among(self._resources) if self.family is Family.INET6 else ():
            found.setdefault(one.namespace, []).append(one.device)
        return found

    def sixth(self, namespace: str) -> Sequence[str]:
        """The links of a namespace that have IPv6."""
        return self._sixth.get(namespace, ())

    @cached_property
    def forwards6(self) -> frozenset[str]:
        """The host's links that send IPv6 on."""
        from vpcctl_lib.resources import Forwarding6

        return frozenset(one.device for one in Forwarding6.among(self._resources))

    @cached_property
    def _subnets(self) -> Mapping[str, tuple[Vpc, Subnet]]:
        return {one.namespace: (vpc, subnet) for vpc in self.topology.vpcs for subnet in vpc.subnets
                for one in in_subnet(vpc, subnet)}

    @cached_property
    def _machines(self) -> Mapping[str, Endpoint]:
        return {one.namespace: one for one in everywhere(self.topology)}

    @cached_property
    def _held(self) -> Mapping[tuple[str, object], str]:
        """The namespace that has an address, by VPC and address."""
        return {(vpc.name, held.ip): one.namespace for vpc in self.topology.vpcs for one in in_vpc(vpc)
                for held in one.addresses}

    def subnet(self, namespace: str) -> tuple[Vpc, Subnet] | None:
        """The subnet whose machine a namespace is."""
        return self._subnets.get(namespace)

    def machine(self, namespace: str) -> Endpoint | None:
        """The machine whose namespace it is."""
        return self._machines.get(namespace)

    def is_subnet(self, namespace: str) -> bool:
        """Whether a namespace is a subnet's."""
        return self.subnet(namespace) is not None

    def interface(self, namespace: str) -> str:
        """What a machine's end of its cable is called."""
        return next((one.interface for one in everywhere(self.topology) if one.namespace == namespace),
                    naming.INSTANCE)

    def vpc_of(self, near: Vpc | None, address: Address) -> Vpc | None:
        """The VPC with that address, seen from another one: itself, else a peer, else any other."""
        known = [near, *self.topology.peers_of(near.name)] if near else []
        ranked = [*known, *self.topology.vpcs]
        return next((vpc for vpc in ranked if vpc.holds(address)), None)

    def namespace_at(self, near: Vpc | None, address: Address) -> str | None:
        """The namespace of an address's machine, or else of the first in its subnet, seen from a VPC."""
        vpc = self.vpc_of(near, address)
        if vpc is None:
            return None
        held = self._held.get((vpc.name, address))
        near_by = (endpoint(vpc, subnet, machine) for subnet in vpc.subnets if _holds(subnet, address)
                   for machine in subnet.machines[:1])
        return held or next((one.namespace for one in near_by), None)

    def nobody_at(self, near: Vpc | None, address: Address) -> str:
        """The message for an address that no machine has by the record; empty if one has it."""
        vpc = self.vpc_of(near, address)
        if vpc is None or address in routers(vpc) or (vpc.name, address) in self._held:
            return ""
        subnet = next((one for one in vpc.subnets if _holds(one, address)), None)
        if subnet is not None:
            return f"no machine has the address {address}: {_machines(vpc, subnet, self.family)}"
        parts = ((one.name, one.cidr if self.family is Family.INET else one.ipv6) for one in vpc.subnets)
        held = ", ".join(f"{name} {part}" for name, part in islice(parts, NAMED))
        more = ", …" if len(vpc.subnets) > NAMED else ""
        return (f"no machine has the address {address}: no subnet of VPC '{vpc.name}' contains it "
                f"({held or 'it has none'}{more})")

    def route(self, namespace: str, address: Address) -> Route | None:
        """The recorded route to an address."""
        found = [one for one in self._routes.get(namespace, ()) if address in one.destination]
        return max(found, key=lambda one: (one.destination.prefixlen, -one.metric), default=None)

    def holds(self, route: Route, held: Held) -> bool:
        """Whether the kernel still has a recorded route."""
        return any(one.network == route.destination and one.device == route.device for one in held.routes)

    def made(self, namespace: str, route: Line) -> bool:
        """Whether a route that the kernel has is a recorded one."""
        return any((one.destination, one.device, one.via) == (route.network, route.device, route.gateway)
                   for one in self._routes.get(namespace, ()))

    def acls(self, namespace: str) -> Acls | None:
        """The network ACLs of a VPC as recorded."""
        return next((one for one in Acls.among(self._resources) if one.namespace == namespace), None)

    def is_ours(self, title: str) -> bool:
        """Whether a place is one of our namespaces, or the host."""
        return title == "host" or title in self.namespaces

    def has_link(self, namespace: str, device: str) -> bool:
        """Whether a link is ours."""
        return (namespace, device) in self._ports

    def chain(self, namespace: str, table: str, name: str) -> Chain | None:
        """The chain as recorded."""
        return self._chains.get((namespace, table, name))

    def rules(self, namespace: str, table: str, name: str) -> list[Words]:
        """The rules of a chain as recorded, in a form that can be compared."""
        chain = self.chain(namespace, table, name)
        slots = () if namespace else self._slots.get((table, name), ())
        return [*map(words, chain.rules if chain else ()), *slots]

    def chains_of(self, namespace: str) -> list[tuple[str, str]]:
        """Each table and chain there in which rules of ours are recorded."""
        slots = () if namespace else self._slots
        return [*((table, name) for where, table, name in self._chains if where == namespace), *slots]

    def has_rule(self, namespace: str, table: str, name: str, rule: str) -> bool:
        """Whether a rule is ours; an empty rule asks for the chain's policy."""
        if rule:
            return words(rule) in self.rules(namespace, table, name)
        chain = self.chain(namespace, table, name)
        return chain is not None and chain.policy not in ("", BUILTIN_POLICY)


def routers(vpc: Vpc) -> tuple[Address, ...]:
    """The addresses of a VPC's router for its machines, and of the host for its VPC."""
    return (gateway(vpc.cidr), *((router(vpc.ipv6), host_end(vpc.ipv6)) if vpc.ipv6 else ()))


def _holds(subnet: Subnet, address: Address) -> bool:
    return address in subnet.cidr or (subnet.ipv6 is not None and address in subnet.ipv6)


def _machines(vpc: Vpc, subnet: Subnet, family: Family) -> str:
    """The addresses in a subnet, in words."""
    held = [str(address) for one in in_subnet(vpc, subnet) if (address := one.at(family))]
    name = f"{vpc.name}/{subnet.name}"
    if len(held) < 2:
        return f"the only one in {name} has {held[0]}" if held else f"{name} has no machine"
    return f"those in {name} have {', '.join(held[:NAMED])}{', …' if len(held) > NAMED else ''}"
