"""A machine: its namespace, its end of the cable, its routes, its policy, its programs; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from vpcctl_lib.kernel import sysctls
from vpcctl_lib.kernel.sysctls import Profile
from vpcctl_lib.model import addressing, addressing6, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routing import EVERYWHERE, GUEST
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import (
    Address,
    Namespace,
    Neighbour,
    Port,
    Program,
    Resource,
    Route,
    Settings,
)

if TYPE_CHECKING:
    from vpcctl_lib.blueprint.groups import Groups


def namespaces(machines: Sequence[Endpoint]) -> Iterator[Resource]:
    """Their namespaces: those that we make, and those that others made."""
    return (Namespace(one.namespace, one.site.owner) if one.is_ours else _attached(one) for one in machines)


def _attached(one: Endpoint) -> Resource:
    # Imported late: most networks have none.
    from vpcctl_lib.resources.attached import Attached

    return Attached(one.namespace, one.site.owner, one.attached.container, one.attached.path, one.interface)


def inside(vpc: Vpc, one: Endpoint, peers: Sequence[IPv4Network | IPv6Network],
           resolvers: Iterable[IPv4Address] = ()) -> Iterator[Resource]:
    """What is in its namespace: its end of the cable, its routes (also those to peers)."""
    router = addressing.gateway(vpc.cidr)
    yield from _settings(one)
    yield Port(one.namespace, one.interface, one.site.owner, mac=one.mac)
    # The gateway is the only neighbour on the link: the guard switches the rest.
    for address in () if one.tap else one.addresses:
        if isinstance(address, IPv4Interface):
            yield Address(one.namespace, one.interface, address, routed=False)
    route = partial(Route, one.namespace, device=one.interface, addressed=not one.tap)
    yield route(addressing.single(router))
    for destination in (*vpc.networks, EVERYWHERE, *(far for far in peers if isinstance(far, IPv4Network))):
        metric = 0 if one.is_ours or destination != EVERYWHERE else GUEST
        yield route(destination, via=router, metric=metric)
    if not one.is_ours:
        # Its owner's default route must not take the answers to the host.
        beyond = (addressing.host_end(vpc.link), *(one for one in resolvers if not vpc.holds(one)))
        yield from (route(addressing.single(to), via=router) for to in beyond)
    if vpc.ipv6 and one.ipv6:
        from vpcctl_lib.blueprint import dual

        yield from dual.inside(vpc.ipv6, one, [far for far in peers if isinstance(far, IPv6Network)])
    yield Neighbour(one.namespace, one.interface, router, naming.mac(vpc.name))
    if vpc.ipv6 and one.ipv6:
        yield Neighbour(one.namespace, one.interface, addressing6.router(vpc.ipv6), naming.mac(vpc.name))
    if one.tap:
        # Imported late: most VPCs have no virtual machine.
        from vpcctl_lib.blueprint.taps import tap

        yield from tap(vpc, one)


def firewall(vpc: Vpc, one: Endpoint, groups: Groups | None,
             resolvers: Sequence[IPv4Address] = (), family: Family = Family.INET) -> Iterator[Resource]:
    """Its groups' rules if it is in any, else its subnet's policy, if there is one."""
    if one.translates:
        # Imported late: most VPCs have none.
        from vpcctl_lib.blueprint.gateways import inside as gateway

        yield from gateway(vpc, one)
    elif one.groups and groups:
        yield from groups.inside(vpc, one, resolvers, family)
    elif one.policy:
        # Imported late: most changes have no policy in sight.
        from vpcctl_lib.blueprint.filters import incoming, outgoing
        from vpcctl_lib.firewall.filter_rules import egress_filter, ingress_filter

        alone = not one.ipv6
        yield from incoming(one, ingress_filter(one.policy, family, alone), family)
        if one.policy.egress is not None:
            yield from outgoing(one, egress_filter(one.policy, family, alone), resolvers, family)


def _settings(one: Endpoint) -> Iterator[Resource]:
    """Those of the whole namespace, and the mark on it; of somebody else's, only those of our link."""
    if one.is_ours:
        kind = Profile.TAP if one.tap else Profile.FORWARDER if one.forwards else Profile.SUBNET
        yield Settings(one.namespace, profile=(kind.dual if one.ipv6 else kind).value)
    else:
        yield Settings(one.namespace, sysctls.guest(one.interface, bool(one.ipv6)), device=one.interface)
    if one.ipv6:
        # Imported late, here and below: most networks have no IPv6.
        from vpcctl_lib.resources import Ipv6

        yield Ipv6(one.namespace, one.interface, with_lo=one.is_ours)
    if one.is_ours:
        yield Port(one.namespace, "lo", one.site.owner)


def programs(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """The workloads that run in it."""
    for workload in one.workloads:
        mark = f"{one.site}/{workload.name}"
        address = str(one.address) if workload.port else ""
        yield Program(one.namespace, mark, f"logs/{mark}.log", workload.argv, workload.port, address,
                      vpc.link, workload.user, workload.pids, workload.memory, workload.upkeep)
