"""A VPC's router: its namespace with the bridge, the machines' ports, its routes and rules; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Network, IPv6Network

from vpcctl_lib.blueprint.links import altname, mtu
from vpcctl_lib.firewall.rules import router_forward, router_input, router_mangle, router_nat
from vpcctl_lib.kernel import sysctls
from vpcctl_lib.kernel.sysctls import Profile
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routing import EVERYWHERE, LAST, NOWHERE, opens, routed
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.resources import (
    Address,
    Altname,
    Bridge,
    Chain,
    Guard,
    Neighbour,
    Port,
    Resource,
    Route,
    Settings,
    Station,
    Switching,
    Veth,
)
from vpcctl_lib.resources.guard import FORM, FORM6
from vpcctl_lib.resources.guarded import Range, comment, packed


def router(vpc: Vpc) -> Iterator[Resource]:
    """What is in the VPC's namespace: its ends of the cables, its bridge, its route table."""
    mark = naming.owner(vpc.name)
    bridge = naming.device("br-", vpc.name)
    yield Settings(vpc.name, profile=(Profile.ROUTER.dual if vpc.ipv6 else Profile.ROUTER).value)
    yield Port(vpc.name, "lo", mark)
    yield Port(vpc.name, naming.UPLINK, mark, mtu=mtu(vpc))
    yield Address(vpc.name, naming.UPLINK, addressing.interface(addressing.router_end(vpc.link), 31))
    yield Bridge(vpc.name, bridge, naming.mac(vpc.name))
    yield Port(vpc.name, bridge, mark)
    yield from altname(vpc.name, "br-", vpc.name)
    yield Address(vpc.name, bridge, addressing.interface(addressing.gateway(vpc.cidr), vpc.cidr.prefixlen))
    # A VPC has one gateway: its machines reach it by a route of its own, wherever they are.
    for network in vpc.cidrs:
        yield Route(vpc.name, network, bridge)
    if vpc.nat or vpc.is_published:
        yield Route(vpc.name, EVERYWHERE, naming.UPLINK, addressing.host_end(vpc.link))
    yield Route(vpc.name, EVERYWHERE, NOWHERE, metric=LAST)
    if vpc.ipv6:
        # Imported late, here and below: most networks have no IPv6.
        from vpcctl_lib.blueprint import dual

        yield from dual.router(vpc, vpc.ipv6)


def port(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """The cable to a machine, and its end on the bridge."""
    return _port(vpc, one, naming.device("br-", vpc.name))


def cable(vpc: Vpc, one: Endpoint) -> tuple[Veth, Port]:
    """The cable to a machine, and the settings of its end on the bridge."""
    guest = naming.guest_mark(one.interface, one.attached.source) if one.attached else \
        naming.GATEWAY_MARK if one.translates else naming.TAP_MARK + one.tap if one.tap else ""
    return (Veth(vpc.name, one.port, one.namespace, one.interface),
            Port(vpc.name, one.port, one.site.owner + guest, naming.device("br-", vpc.name)))


def _port(vpc: Vpc, one: Endpoint, bridge: str) -> Iterator[Resource]:
    yield from cable(vpc, one)
    full = naming.port_altname(one.site.subnet, one.site.machine)
    if full:
        yield Altname(vpc.name, one.port, full)
    yield Switching(vpc.name, one.port, bridge)


def switching(vpc: Vpc) -> Iterator[Resource]:
    """The settings of the bridge, once it has ports."""
    bridge = naming.device("br-", vpc.name)
    yield Settings(vpc.name, sysctls.bridge(bridge), device=bridge)
    if vpc.ipv6:
        from vpcctl_lib.blueprint import dual

        yield from dual.bridge(vpc, vpc.ipv6)


def neighbours(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """A machine's addresses, as its router has them."""
    bridge = naming.device("br-", vpc.name)
    yield from (Neighbour(vpc.name, bridge, address, one.mac) for address in one.ipv4)
    yield from (Neighbour(vpc.name, bridge, address, one.mac) for address in one.ipv6)


def routes(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """The router's routes of IPv6 to a machine: its addresses are alone on the bridge."""
    bridge = naming.device("br-", vpc.name)
    return (Route(vpc.name, IPv6Network(address), bridge) for address in one.ipv6)


def station(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """A machine's place on the bridge."""
    yield Station(vpc.name, one.port, naming.device("br-", vpc.name), one.mac)


def guard(lines: Sequence[str], vpc: str, ranges: Sequence[Range], quotes: bool, dhcp: bool,
          has_ipv6: bool, inside: tuple[IPv4Network, ...]) -> Iterator[Resource]:
    """The guard of the bridge's ports: each may send only as its machine. The lines are the machines."""
    form = FORM6 if has_ipv6 else FORM
    yield Guard(vpc, (), form, quotes, tuple(ranges), "\n".join(lines), dhcp, has_ipv6, inside)


def guarded(_: Vpc, subnet: Subnet, one: Endpoint) -> str:
    """A machine as the guard has it."""
    return packed(one.port, one.mac, (*one.ipv4, *one.ipv6), comment(subnet, one.forwards))


def ranges(vpc: Vpc) -> tuple[Range, ...]:
    """The subnets without machines."""
    return tuple(Range(subnet.name, str(subnet.cidr), subnet.type.value, str(subnet.ipv6 or ""))
                 for subnet in vpc.subnets if not subnet.machines)


def rules(topology: Topology, vpc: Vpc) -> Iterator[Resource]:
    """Its firewall, and its own NAT if the host has no route to it."""
    yield Chain(vpc.name, "filter", "INPUT", router_input(topology, vpc), policy="DROP")
    *passing, refusing = router_forward(topology, vpc)
    inward, arriving, leaving = _openings(topology, vpc)
    yield Chain(vpc.name, "filter", "FORWARD", (*passing, *inward, refusing), policy="DROP")
    if vpc.nat or inward:
        yield Chain(vpc.name, "mangle", "FORWARD", router_mangle(vpc))
    if vpc.nat and not routed(topology, vpc):
        leaving = (*leaving, *router_nat(vpc))
    if leaving or (vpc.nat and not routed(topology, vpc)):
        yield Chain(vpc.name, "nat", "POSTROUTING", leaving)
    if arriving:
        yield Chain(vpc.name, "nat", "PREROUTING", arriving)
    if vpc.ipv6:
        from vpcctl_lib.blueprint import dual

        yield from dual.firewall(topology, vpc)


def _openings(topology: Topology, vpc: Vpc) -> tuple[tuple[str, ...], ...]:
    """For what comes from outside: what is let in, and what is translated as it arrives and as it leaves."""
    if not opens(topology):
        return (), (), ()
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint.openings import inward, translated

    return inward(topology, vpc), *translated(topology, vpc)
