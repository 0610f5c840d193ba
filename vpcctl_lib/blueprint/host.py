"""The host's part: its end of each VPC's cable, its chains, the jumps to them, NAT and name servers; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vpcctl_lib.blueprint.links import altname, mtu
from vpcctl_lib.blueprint.parts import Openings
from vpcctl_lib.firewall.rules import (
    BEGUN,
    genuine,
    host_answers,
    host_forward,
    host_guard,
    host_guard_from,
    host_guard_in,
    host_guard_out,
    host_input,
    host_nat,
    host_refused,
    outward,
)
from vpcctl_lib.model import addressing, endpoints, naming
from vpcctl_lib.model.routing import forwards, opens, routed
from vpcctl_lib.model.topology import Subnet, SubnetType, Topology, Variant, Vpc
from vpcctl_lib.resources import (
    Address,
    Chain,
    File,
    Folder,
    Forwarding,
    Port,
    Resource,
    Route,
    SingleRule,
    Veth,
)
from vpcctl_lib.resources.operations import HOST

NAMESPACE_FILES = "/etc/netns"
"""ip-netns(8): files in /etc/netns/NAME replace those of /etc under `ip netns exec NAME`."""


JUMPS = (("filter", "FORWARD", "", naming.HOST_FORWARD), ("filter", "INPUT", "", naming.HOST_INPUT),
         ("mangle", "PREROUTING", "", naming.HOST_GUARD),
         ("mangle", "POSTROUTING", f"{BEGUN} ", naming.HOST_GUARD_OUT))
"""The host's chains with jumps to ours, and which packets these lead there."""

JUMP_IN = ("security", "INPUT", "", naming.HOST_GUARD_IN)
"""Not with iptables-legacy, whose kernels may lack that table."""


def cable(vpc: Vpc, routed: bool) -> Iterator[Resource]:
    """The host's end, and the host's route to the VPC."""
    device = naming.device("vpc-", vpc.name)
    mark = naming.owner(vpc.name)
    yield Veth(HOST, device, vpc.name, naming.UPLINK)
    yield Port(HOST, device, mark, mtu=mtu(vpc))
    yield from altname(HOST, "vpc-", vpc.name)
    yield Address(HOST, device, addressing.interface(addressing.host_end(vpc.link), 31))
    if routed:
        for network in vpc.networks:
            yield Route(HOST, network, device, addressing.router_end(vpc.link))
    if vpc.is_published:
        # Imported late: most networks have none.
        from vpcctl_lib.resources import Localnet

        yield Localnet(device)


def host(topology: Topology) -> Iterator[Resource]:
    """What the host itself needs: its chains, jumps from the top to them, and NAT."""
    if not topology.vpcs:
        return
    reached = [(vpc, routed(topology, vpc)) for vpc in topology.vpcs]
    first = _openings(topology, reached)
    # Before the chain that leads to them.
    yield from first.chains
    yield Chain(HOST, "filter", naming.HOST_REFUSED, host_refused(reached))
    yield Chain(HOST, "filter", naming.HOST_FORWARD, (
        *first.sent, *host_answers(reached), *first.forward, *host_forward(reached)))
    yield Chain(HOST, "filter", naming.HOST_INPUT, (*first.inward, *host_input(reached)))
    yield from _guard(reached, first)
    has_security = topology.iptables is not Variant.LEGACY
    if has_security:
        yield Chain(HOST, "security", naming.HOST_GUARD_IN, host_guard_in(reached))
    for table, chain, match, own in (*JUMPS, *([JUMP_IN] if has_security else [])):
        mark = f"-m comment --comment {_jump_mark(own, topology)}"
        yield SingleRule(table, chain, f"{match}{mark} -j {own}", top=True)
    has_nat = any(vpc.nat for vpc in topology.vpcs)
    if has_nat:
        yield Chain(HOST, "nat", naming.HOST_NAT, host_nat(reached))
        # At the end: if others exempt something of theirs from NAT, their rules come first.
        jump = f"-m comment --comment {naming.host_mark()} -j {naming.HOST_NAT}"
        yield SingleRule("nat", "POSTROUTING", jump)
    yield from first.jumps
    yield from _resolvers(topology)
    if forwards(topology):
        yield Forwarding()


def _guard(reached: Sequence[tuple[Vpc, bool]], first: Openings) -> Iterator[Resource]:
    yield Chain(HOST, "mangle", naming.HOST_GUARD_FROM, (
        *genuine(reached), *first.genuine, *first.guard, *host_guard_from(reached)))
    yield Chain(HOST, "mangle", naming.HOST_GUARD, (*first.suspect, *host_guard(reached)))
    yield Chain(HOST, "mangle", naming.HOST_GUARD_OUT, (
        *outward(reached), *first.guard_out, *host_guard_out(reached)))


def _openings(topology: Topology, reached: Sequence[tuple[Vpc, bool]]) -> Openings:
    if not opens(topology):
        return Openings()
    # Imported late: most networks have none.
    from vpcctl_lib.blueprint.openings import openings

    return openings(topology, reached)


def _jump_mark(own: str, topology: Topology) -> str:
    """The jump for forwarded packets also records the previous ip_forward: it survives a lost record."""
    if own != naming.HOST_FORWARD or topology.forwarding is None:
        return naming.host_mark()
    return f'"{naming.host_mark(topology.forwarding)}"'


def _asks(vpc: Vpc, subnet: Subnet) -> bool:
    """Whether a subnet's packets to the internet have a way."""
    if not vpc.route_tables:
        return subnet.type is SubnetType.PUBLIC
    # Imported late: most VPCs have only the built-in tables.
    from vpcctl_lib.model.tables import gets_out

    return gets_out(vpc, subnet)


def _resolvers(topology: Topology) -> Iterator[Resource]:
    """The files for name resolution, if DNS answers queries or NAT lets them out."""
    files = [(one, text) for vpc in topology.vpcs if vpc.dns or (vpc.nat and vpc.nat.resolvers)
             for subnet in vpc.subnets if (text := _servers(vpc, subnet))
             for one in endpoints.in_subnet(vpc, subnet)]
    if files:
        yield Folder(NAMESPACE_FILES)
    for one, text in files:
        folder = f"{NAMESPACE_FILES}/{one.namespace}"
        yield Folder(folder)
        yield File(f"{folder}/resolv.conf", f"# {one.site.owner}\n{text}")


def _servers(vpc: Vpc, subnet: Subnet) -> str:
    """What its machines ask for names."""
    outside = vpc.nat.resolvers if vpc.nat else ()
    if vpc.dns:
        # Imported late: most VPCs have no DNS.
        from vpcctl_lib.blueprint.names import resolv_conf

        return resolv_conf(vpc, subnet, outside)
    return "".join(f"nameserver {server}\n" for server in outside) if _asks(vpc, subnet) else ""
