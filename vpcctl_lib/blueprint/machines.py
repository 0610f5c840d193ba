"""A machine: its namespace, its end of the cable, its routes, its policy, its programs; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from vpcctl_lib.blueprint.parts import Seat
from vpcctl_lib.kernel.sysctls import Profile
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.routing import EVERYWHERE
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
    from vpcctl_lib.firewall.filter_rules import Filter


def namespace(seat: Seat) -> Iterator[Resource]:
    """Its namespace, if we make it."""
    if seat.endpoint.is_ours:
        yield Namespace(seat.endpoint.namespace, seat.endpoint.site.owner)


def inside(seat: Seat, peers: Iterable[IPv4Network]) -> Iterator[Resource]:
    """What is in its namespace: its end of the cable, its routes (also those to peers), its firewall."""
    vpc, one = seat.vpc, seat.endpoint
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
    if one.policy:
        # Imported late: most changes have no policy in sight.
        from vpcctl_lib.firewall.filter_rules import egress_filter, ingress_filter

        yield _filter(one.namespace, "INPUT", ingress_filter(one.policy))
        if one.policy.egress is not None:
            yield _filter(one.namespace, "OUTPUT", egress_filter(one.policy))


def _filter(namespace: str, chain: str, found: Filter) -> Chain:
    return Chain(namespace, "filter", chain, found.rules, inner=packed(found.inner))


def programs(seat: Seat) -> Iterator[Resource]:
    """The workloads that run in it."""
    one = seat.endpoint
    for workload in one.workloads:
        mark = f"{one.site}/{workload.name}"
        address = str(one.address) if workload.port else ""
        yield Program(one.namespace, mark, f"logs/{mark}.log", workload.argv, workload.port, address,
                      seat.vpc.link, workload.user, workload.pids, workload.memory, workload.upkeep)
