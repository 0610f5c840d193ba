"""A machine: its namespace, its end of the cable, its routes, its policy, its programs; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from vpcctl_lib.kernel.sysctls import Profile
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import (
    Address,
    Chain,
    Namespace,
    Neighbour,
    Port,
    Program,
    Resource,
    Route,
    Settings,
)
from vpcctl_lib.resources.rules import packed

if TYPE_CHECKING:
    from vpcctl_lib.blueprint.groups import Groups
    from vpcctl_lib.firewall.filter_rules import Filter


def namespaces(machines: Sequence[Endpoint]) -> Iterator[Resource]:
    """The namespaces that we make."""
    return (Namespace(one.namespace, one.site.owner) for one in machines if one.is_ours)


def inside(vpc: Vpc, one: Endpoint, peers: Iterable[IPv4Network]) -> Iterator[Resource]:
    """What is in its namespace: its end of the cable, its routes (also those to peers)."""
    router = addressing.gateway(vpc.cidr)
    yield Settings(one.namespace, profile=(Profile.FORWARDER if one.forwards else Profile.SUBNET).value)
    yield Port(one.namespace, "lo", one.site.owner)
    yield Port(one.namespace, naming.INSTANCE, one.site.owner, mac=one.mac)
    # The gateway is the only neighbour on the link: the guard switches the rest.
    for address in one.addresses:
        if isinstance(address, IPv4Interface):
            yield Address(one.namespace, naming.INSTANCE, address, routed=False)
    yield Route(one.namespace, addressing.single(router), naming.INSTANCE)
    for destination in (vpc.cidr, EVERYWHERE, *peers):
        yield Route(one.namespace, destination, naming.INSTANCE, router)
    yield Neighbour(one.namespace, naming.INSTANCE, router, naming.mac(vpc.name))


def firewall(vpc: Vpc, one: Endpoint, groups: Groups | None) -> Iterator[Resource]:
    """Its groups' rules if it is in any, else its subnet's policy, if there is one."""
    if one.groups and groups:
        yield from groups.inside(vpc, one)
    elif one.policy:
        # Imported late: most changes have no policy in sight.
        from vpcctl_lib.firewall.filter_rules import egress_filter, ingress_filter

        yield _filter(one.namespace, "INPUT", ingress_filter(one.policy))
        if one.policy.egress is not None:
            yield _filter(one.namespace, "OUTPUT", egress_filter(one.policy))


def _filter(namespace: str, chain: str, found: Filter) -> Chain:
    return Chain(namespace, "filter", chain, found.rules, inner=packed(found.inner))


def programs(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """The workloads that run in it."""
    for workload in one.workloads:
        mark = f"{one.site}/{workload.name}"
        address = str(one.address) if workload.port else ""
        yield Program(one.namespace, mark, f"logs/{mark}.log", workload.argv, workload.port, address,
                      vpc.link, workload.user, workload.pids, workload.memory, workload.upkeep)
