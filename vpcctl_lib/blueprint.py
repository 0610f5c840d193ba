"""From the topology to the resources that make it true, in the order in which they are made; pure.

The order lets consecutive steps share a command: all namespaces, all cables, then namespace by namespace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from vpcctl_lib.firewall.rules import (
    host_forward,
    host_guard,
    host_guard_in,
    host_guard_out,
    host_input,
    host_nat,
    router_forward,
    router_input,
    router_mangle,
    router_nat,
)
from vpcctl_lib.kernel import sysctls
from vpcctl_lib.kernel.sysctls import Profile
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.routing import EVERYWHERE, LAST, NOWHERE, routed
from vpcctl_lib.model.topology import Peering, Subnet, SubnetType, Topology, Variant, Vpc
from vpcctl_lib.resources import (
    Address,
    Altname,
    Bridge,
    Chain,
    File,
    Folder,
    Forwarding,
    Guard,
    Member,
    Namespace,
    Neighbour,
    Port,
    Program,
    Resource,
    Route,
    Settings,
    SingleRule,
    Station,
    Switching,
    Veth,
)
from vpcctl_lib.resources.guard import FORM as GUARD_FORM
from vpcctl_lib.resources.operations import HOST
from vpcctl_lib.resources.rules import packed

if TYPE_CHECKING:
    from vpcctl_lib.firewall.filter_rules import Filter

NAMESPACE_FILES = "/etc/netns"
"""ip-netns(8): files in /etc/netns/NAME stand in for those of /etc under `ip netns exec NAME`."""

JUMPS = (("filter", "FORWARD", naming.HOST_FORWARD), ("filter", "INPUT", naming.HOST_INPUT),
         ("mangle", "PREROUTING", naming.HOST_GUARD), ("mangle", "POSTROUTING", naming.HOST_GUARD_OUT))
"""From where on the host the chains of ours are jumped to."""

JUMP_IN = ("security", "INPUT", naming.HOST_GUARD_IN)
"""Not with iptables-legacy, whose kernels may lack that table."""


def blueprint(topology: Topology) -> list[Resource]:
    """All resources, each once and after those that it needs."""
    return list(_resources(topology))


def _resources(topology: Topology) -> Iterator[Resource]:
    yield from _namespaces(topology)
    for vpc in topology.vpcs:
        yield from _cable(vpc, routed(topology, vpc))
    for vpc in topology.vpcs:
        yield from _router(vpc)
        if topology.guarded:
            members = tuple(_member(vpc, subnet) for subnet in vpc.subnets)
            yield Guard(vpc.name, members, GUARD_FORM, bool(topology.quotes))
    for peering in topology.peerings:
        yield from _peering(topology, peering)
    for vpc in topology.vpcs:
        yield from _router_rules(topology, vpc)
    for vpc in topology.vpcs:
        peers = tuple(peer.cidr for peer in topology.peers_of(vpc.name))
        for subnet in vpc.subnets:
            yield from _instance(vpc, subnet, peers)
    yield from _host(topology)
    for vpc in topology.vpcs:
        for subnet in vpc.subnets:
            yield from _programs(vpc, subnet)


def _namespaces(topology: Topology) -> Iterator[Resource]:
    for vpc in topology.vpcs:
        yield Namespace(vpc.name, naming.owner(vpc.name))
        for subnet in vpc.subnets:
            namespace = naming.subnet_namespace(vpc.name, subnet.name)
            yield Namespace(namespace, naming.owner(vpc.name, subnet.name))


def _cable(vpc: Vpc, routed: bool) -> Iterator[Resource]:
    """The host's end, and the host's route to the VPC."""
    device = naming.device("vpc-", vpc.name)
    mark = naming.owner(vpc.name)
    yield Veth(HOST, device, vpc.name, naming.UPLINK)
    yield Port(HOST, device, mark, mtu=_mtu(vpc))
    yield from _altname(HOST, "vpc-", vpc.name)
    yield Address(HOST, device, addressing.interface(addressing.host_end(vpc.link), 31))
    if routed:
        yield Route(HOST, vpc.cidr, device, addressing.router_end(vpc.link))


def _altname(namespace: str, prefix: str, name: str) -> Iterator[Resource]:
    """The readable name, where the kernel's is too short for it."""
    full = naming.altname(prefix, name)
    if full:
        yield Altname(namespace, naming.device(prefix, name), full)


def _mtu(vpc: Vpc) -> int:
    return min(1500, vpc.nat.mtu) if vpc.nat else 1500


def _router(vpc: Vpc) -> Iterator[Resource]:
    """The VPC's namespace: its ends of the cables, its bridge, its route table."""
    mark = naming.owner(vpc.name)
    bridge = naming.device("br-", vpc.name)
    yield Settings(vpc.name, profile=Profile.ROUTER.value)
    yield Port(vpc.name, "lo", mark)
    yield Port(vpc.name, naming.UPLINK, mark, mtu=_mtu(vpc))
    yield Address(vpc.name, naming.UPLINK, addressing.interface(addressing.router_end(vpc.link), 31))
    yield Bridge(vpc.name, bridge, naming.mac(vpc.name))
    yield Port(vpc.name, bridge, mark)
    yield from _altname(vpc.name, "br-", vpc.name)
    yield Address(vpc.name, bridge, addressing.interface(addressing.gateway(vpc.cidr), vpc.cidr.prefixlen))
    if vpc.nat:
        yield Route(vpc.name, EVERYWHERE, naming.UPLINK, addressing.host_end(vpc.link))
    yield Route(vpc.name, EVERYWHERE, NOWHERE, metric=LAST)
    for subnet in vpc.subnets:
        port = naming.device("s-", subnet.name)
        namespace = naming.subnet_namespace(vpc.name, subnet.name)
        yield Veth(vpc.name, port, namespace, naming.INSTANCE)
        owner = naming.owner(vpc.name, subnet.name)
        yield Port(vpc.name, port, owner, bridge)
        yield from _altname(vpc.name, "s-", subnet.name)
        yield Switching(vpc.name, port, bridge)
        yield Neighbour(vpc.name, bridge, addressing.instance(subnet.cidr), _mac(vpc, subnet))
    yield Settings(vpc.name, sysctls.bridge(bridge), device=bridge)
    for subnet in vpc.subnets:
        yield Station(vpc.name, naming.device("s-", subnet.name), bridge, _mac(vpc, subnet))


def _mac(vpc: Vpc, subnet: Subnet) -> str:
    return naming.instance_mac(vpc.name, addressing.instance(subnet.cidr))


def _member(vpc: Vpc, subnet: Subnet) -> Member:
    return Member(naming.device("s-", subnet.name), _mac(vpc, subnet), addressing.instance(subnet.cidr),
                  f"{subnet.cidr} {subnet.type.value}")


def _peering(topology: Topology, peering: Peering) -> Iterator[Resource]:
    """An unnumbered cable between two routers: each end has its VPC's gateway address."""
    one, other = topology.vpc(peering.vpc1), topology.vpc(peering.vpc2)
    if one is None or other is None:
        return
    ends = [(one, other), (other, one)]
    devices = [naming.device("pcx-", far.name) for _, far in ends]
    yield Veth(one.name, devices[0], other.name, devices[1])
    mark = naming.peering_owner(peering.vpc1, peering.vpc2)
    for (near, far), device in zip(ends, devices, strict=True):
        beyond = addressing.gateway(far.cidr)
        yield Port(near.name, device, mark)
        yield from _altname(near.name, "pcx-", far.name)
        yield Address(near.name, device, addressing.interface(addressing.gateway(near.cidr), 32), peer=beyond)
        yield Route(near.name, far.cidr, device, beyond)


def _instance(vpc: Vpc, subnet: Subnet, peers: Iterable[IPv4Network]) -> Iterator[Resource]:
    """The subnet's namespace: its end of the cable, its routes (those to peers too), its firewall."""
    namespace = naming.subnet_namespace(vpc.name, subnet.name)
    mark = naming.owner(vpc.name, subnet.name)
    router = addressing.gateway(vpc.cidr)
    yield Settings(namespace, profile=Profile.SUBNET.value)
    yield Port(namespace, "lo", mark)
    yield Port(namespace, naming.INSTANCE, mark, mac=_mac(vpc, subnet))
    address = addressing.interface(addressing.instance(subnet.cidr), subnet.cidr.prefixlen)
    # Nobody but the gateway is on the link, so that it is the only neighbour: the guard switches the rest.
    yield Address(namespace, naming.INSTANCE, address, routed=False)
    yield Route(namespace, IPv4Network(router), naming.INSTANCE)
    for destination in (vpc.cidr, EVERYWHERE, *peers):
        yield Route(namespace, destination, naming.INSTANCE, router)
    yield Neighbour(namespace, naming.INSTANCE, router, naming.mac(vpc.name))
    if subnet.policy:
        # Imported late: the command lines of most changes have no policy in sight.
        from vpcctl_lib.firewall.filter_rules import egress_filter, ingress_filter

        yield _filter(namespace, "INPUT", ingress_filter(subnet.policy))
        if subnet.policy.egress is not None:
            yield _filter(namespace, "OUTPUT", egress_filter(subnet.policy))


def _filter(namespace: str, chain: str, found: Filter) -> Chain:
    return Chain(namespace, "filter", chain, found.rules, inner=packed(found.inner))


def _router_rules(topology: Topology, vpc: Vpc) -> Iterator[Resource]:
    yield Chain(vpc.name, "filter", "INPUT", router_input(topology, vpc), policy="DROP")
    yield Chain(vpc.name, "filter", "FORWARD", router_forward(topology, vpc), policy="DROP")
    if vpc.nat:
        yield Chain(vpc.name, "mangle", "FORWARD", router_mangle())
        if not routed(topology, vpc):
            yield Chain(vpc.name, "nat", "POSTROUTING", router_nat(vpc))


def _host(topology: Topology) -> Iterator[Resource]:
    """What the host itself needs: its chains, jumps from the top to them, and NAT."""
    if not topology.vpcs:
        return
    reached = [(vpc, routed(topology, vpc)) for vpc in topology.vpcs]
    yield Chain(HOST, "filter", naming.HOST_FORWARD, host_forward(reached))
    yield Chain(HOST, "filter", naming.HOST_INPUT, host_input(reached))
    yield Chain(HOST, "mangle", naming.HOST_GUARD, host_guard(reached))
    yield Chain(HOST, "mangle", naming.HOST_GUARD_OUT, host_guard_out(reached))
    has_security = topology.iptables is not Variant.LEGACY
    if has_security:
        yield Chain(HOST, "security", naming.HOST_GUARD_IN, host_guard_in(reached))
    for table, chain, own in (*JUMPS, *([JUMP_IN] if has_security else [])):
        yield SingleRule(table, chain, f"-m comment --comment {_jump_mark(own, topology)} -j {own}", top=True)
    has_nat = any(vpc.nat for vpc in topology.vpcs)
    if has_nat:
        yield Chain(HOST, "nat", naming.HOST_NAT, host_nat(reached))
        # At the end: where others exempt something of theirs from NAT, their rules stand first.
        jump = f"-m comment --comment {naming.host_mark()} -j {naming.HOST_NAT}"
        yield SingleRule("nat", "POSTROUTING", jump)
    yield from _resolvers(topology)
    if has_nat:
        yield Forwarding()


def _jump_mark(own: str, topology: Topology) -> str:
    """With what forwarding was before, in the jump for what is forwarded: a lost record leaves that."""
    if own != naming.HOST_FORWARD or topology.forwarding is None:
        return naming.host_mark()
    return f'"{naming.host_mark(topology.forwarding)}"'


def _resolvers(topology: Topology) -> Iterator[Resource]:
    """Names resolve where NAT lets the questions out."""
    asking = [(vpc, subnet, vpc.nat.resolvers) for vpc in topology.vpcs if vpc.nat and vpc.nat.resolvers
              for subnet in vpc.subnets if subnet.type is SubnetType.PUBLIC]
    if asking:
        yield Folder(NAMESPACE_FILES)
    for vpc, subnet, resolvers in asking:
        folder = f"{NAMESPACE_FILES}/{naming.subnet_namespace(vpc.name, subnet.name)}"
        mark = naming.owner(vpc.name, subnet.name)
        servers = "".join(f"nameserver {server}\n" for server in resolvers)
        yield Folder(folder)
        yield File(f"{folder}/resolv.conf", f"# {mark}\n{servers}")


def _programs(vpc: Vpc, subnet: Subnet) -> Iterator[Resource]:
    namespace = naming.subnet_namespace(vpc.name, subnet.name)
    for workload in subnet.workloads:
        log = f"logs/{vpc.name}/{subnet.name}/{workload.name}.log"
        mark = f"{vpc.name}/{subnet.name}/{workload.name}"
        address = str(addressing.instance(subnet.cidr)) if workload.port else ""
        yield Program(namespace, mark, log, workload.argv, workload.port, address, vpc.link, workload.user,
                      workload.pids, workload.memory, workload.upkeep)
