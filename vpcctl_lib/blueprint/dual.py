"""IPv6 of the VPCs that have it: links, addresses, routes, rules; pure.

Nobody looks for neighbours: each machine knows only its router, and the router each machine. Only the two
ends of a cable between routers, or to the host, look for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from vpcctl_lib.blueprint.host import JUMP_IN, JUMPS
from vpcctl_lib.blueprint.parts import Openings
from vpcctl_lib.firewall import dual as rules
from vpcctl_lib.model import addressing6, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.addressing6 import EVERYWHERE
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routing import GUEST, opens6
from vpcctl_lib.model.topology import Peering, Topology, Variant, Vpc
from vpcctl_lib.resources import Address, Chain, Ipv6, Resource, Route, SingleRule
from vpcctl_lib.resources.addresses import KERNELS_METRIC
from vpcctl_lib.resources.operations import HOST

ENDS = (IPv6Address("fe80::1"), IPv6Address("fe80::2"))
"""Of a cable, its first end's and its second's."""


def end(namespace: str, device: str, number: int) -> Iterator[Resource]:
    """A link with IPv6 and its address there; without one, the kernel forwards nothing out of it."""
    yield Ipv6(namespace, device, with_lo=device == naming.UPLINK)
    yield Address(namespace, device, IPv6Interface((ENDS[number], 64)), routed=False)


def far_end(vpc: Vpc, peer: Vpc) -> IPv6Address:
    """The peer's end of the cable between two routers."""
    return ENDS[vpc.name < peer.name]


def cable(vpc: Vpc) -> Iterator[Resource]:
    """The host's end, and the host's route to the VPC."""
    if vpc.ipv6 is None:
        return
    prefix = vpc.ipv6
    device = naming.device("vpc-", vpc.name)
    yield from end(HOST, device, 0)
    own = IPv6Interface(addressing6.host_end(prefix))
    yield Address(HOST, device, own, routed=False)
    yield Route(HOST, prefix, device, ENDS[1])
    if vpc.is_published6:
        # Imported late: most networks have none.
        from vpcctl_lib.resources import Localnet6

        yield Localnet6(device, KERNELS_METRIC + vpc.link)


def router(vpc: Vpc, prefix: IPv6Network) -> Iterator[Resource]:
    """The router's end of that cable, and its ways to the host and the internet."""
    yield from end(vpc.name, naming.UPLINK, 1)
    yield Route(vpc.name, IPv6Network(addressing6.host_end(prefix)), naming.UPLINK, ENDS[0])
    if vpc.nat or vpc.is_published6:
        yield Route(vpc.name, EVERYWHERE, naming.UPLINK, ENDS[0])


def bridge(vpc: Vpc, prefix: IPv6Network) -> Iterator[Resource]:
    """The router's addresses on its bridge. Its own one says which prefix the VPC has."""
    device = naming.device("br-", vpc.name)
    yield from end(vpc.name, device, 0)
    own = IPv6Interface((addressing6.router(prefix), prefix.prefixlen))
    yield Address(vpc.name, device, own, routed=False)


def inside(prefix: IPv6Network, one: Endpoint, peers: Iterable[IPv6Network]) -> Iterator[Resource]:
    """A machine's addresses and routes: everything goes to its router."""
    router, device = addressing6.router(prefix), one.interface
    for address in () if one.tap else one.ipv6:
        yield Address(one.namespace, device, IPv6Interface(address), routed=False)
    # By itself, the kernel would send from the one that was added last.
    source = one.ipv6[0] if len(one.ipv6) > 1 and not one.tap else None
    yield Route(one.namespace, IPv6Network(router), device, source=source)
    # Its owner's default route must not take what is for the VPC.
    for destination in () if one.is_ours else (prefix, *peers):
        yield Route(one.namespace, destination, device, router, source=source)
    yield Route(one.namespace, EVERYWHERE, device, router, 0 if one.is_ours else GUEST, source=source)


def tap(one: Endpoint) -> Iterator[Resource]:
    """A virtual machine's router, and what may pass it: before that, there is no IPv6 behind the tap."""
    yield _chain(one.namespace, "raw", "PREROUTING", rules.tap_raw(one, ENDS[0]))
    yield from end(one.namespace, one.tap, 0)


def peering(topology: Topology, peering: Peering) -> Iterator[Resource]:
    """The cable between two routers, if both have IPv6."""
    one, other = topology.vpc(peering.vpc1), topology.vpc(peering.vpc2)
    for number, (near, far) in enumerate(((one, other), (other, one))):
        if near and far and near.ipv6 and far.ipv6:
            device = naming.device("pcx-", far.name)
            yield from end(near.name, device, number)
            yield Route(near.name, far.ipv6, device, far_end(near, far))


def firewall(topology: Topology, vpc: Vpc) -> Iterator[Resource]:
    """The router's rules."""
    yield _chain(vpc.name, "filter", "INPUT", rules.router_input(topology, vpc), "DROP")
    *passing, refusing = rules.router_forward(topology, vpc)
    yield _chain(vpc.name, "filter", "FORWARD", (*passing, *_let_in(vpc), refusing), "DROP")
    raw = rules.router_raw(topology, vpc)
    if raw:
        yield _chain(vpc.name, "raw", "PREROUTING", raw)
    mangle = rules.router_mangle(vpc)
    if mangle:
        yield _chain(vpc.name, "mangle", "FORWARD", mangle)


def _let_in(vpc: Vpc) -> Iterator[str]:
    if not vpc.is_published6:
        return iter(())
    # Imported late: most networks have none.
    from vpcctl_lib.firewall.publishing import into_router

    return into_router(vpc, Family.INET6)


def host(topology: Topology) -> Iterator[Resource]:
    """The host's chains, and the jumps to them: before anything in a VPC has IPv6, and until nothing has."""
    vpcs = [vpc for vpc in topology.vpcs if vpc.ipv6]
    first = _openings(topology)
    # Before the chain that leads to them.
    yield from first.chains
    yield _chain(HOST, "filter", naming.HOST_FORWARD, (*first.forward, *rules.host_forward(vpcs)))
    yield _chain(HOST, "filter", naming.HOST_INPUT, (*first.inward, *rules.host_input(vpcs)))
    yield _chain(HOST, "mangle", naming.HOST_GUARD, rules.host_guard(vpcs, first.guard))
    yield _chain(HOST, "mangle", naming.HOST_GUARD_OUT, (*first.guard_out, *rules.host_guard_out(vpcs)))
    has_security = topology.iptables is not Variant.LEGACY
    if has_security:
        yield _chain(HOST, "security", naming.HOST_GUARD_IN, rules.host_guard_in(vpcs))
    jump = f"-m comment --comment {naming.host_mark()} -j"
    for table, chain, match, own in (*JUMPS, *([JUMP_IN] if has_security else [])):
        yield SingleRule(table, chain, f"{match}{jump} {own}", top=True, family=Family.INET6)
    nat = rules.host_nat(vpcs)
    if nat:
        yield _chain(HOST, "nat", naming.HOST_NAT, nat)
        yield SingleRule("nat", "POSTROUTING", f"{jump} {naming.HOST_NAT}", family=Family.INET6)
    yield from first.jumps


def _openings(topology: Topology) -> Openings:
    if not opens6(topology):
        return Openings()
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint.openings import openings6

    return openings6(topology)


def forwarding(topology: Topology) -> Iterator[Resource]:
    """What has the host send on what comes in by these links, once all rules are there."""
    # Imported late: most VPCs with IPv6 have no NAT.
    from vpcctl_lib.resources import Forwarding6, Whole6

    leaving = [vpc for vpc in topology.vpcs if vpc.nat and rules.public(vpc)]
    passed = [vpc for vpc in topology.vpcs if vpc in leaving or vpc.is_published6]
    if topology.whole6:
        yield from [Whole6()] if passed else []
        return
    yield from (Forwarding6(naming.device("vpc-", vpc.name), own=True) for vpc in passed)
    links = (*(vpc.nat.interface for vpc in leaving if vpc.nat), *topology.entrances)
    yield from map(Forwarding6, dict.fromkeys(links))


def _chain(namespace: str, table: str, name: str, rules: tuple[str, ...], policy: str = "") -> Chain:
    return Chain(namespace, table, name, rules, policy, family=Family.INET6)
