"""The routes: the host's to a VPC, and a VPC's own, as AWS shows a route table; pure."""

from __future__ import annotations

from ipaddress import IPv4Network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Topology, Vpc

EVERYWHERE = IPv4Network("0.0.0.0/0")
NOWHERE, LAST = "lo", 2**32 - 1
"""Where a router sends packets that match no other route, and the metric that puts it last: its FORWARD
refuses the packet on the way there. Without a route the kernel itself would answer, but only once a second
to each sender (ip_error() of net/ipv4/route.c; net.ipv4.route.error_cost belongs to the host alone)."""

GUEST = 30320
"""The metric of the default route in a namespace that somebody else made: one of its owner's comes first."""

LOCAL, NAT = "local", "nat"


@frozen
class TableRow:
    """A line of a VPC's route table: `local`, `nat`, or the cable to a peer."""

    destination: IPv4Network
    target: str


def routed(topology: Topology, vpc: Vpc) -> bool:
    """Whether the host has routes to the VPC's CIDRs: of VPCs that overlap, only to those of the first one.

    All of a VPC's CIDRs have the same answer, so its packets have one way on the host.
    """
    earlier = topology.vpcs[:topology.vpcs.index(vpc)]
    return vpc.routed and not any(other.routed and other.meets(vpc) for other in earlier)


def opens(topology: Topology) -> bool:
    """Whether there may be something that leads into a VPC from outside."""
    return bool(topology.pools) or any(vpc.is_published for vpc in topology.vpcs)


def opens6(topology: Topology) -> bool:
    """Whether ports of the host lead into a VPC by IPv6."""
    return any(vpc.is_published6 for vpc in topology.vpcs)


def forwards6(topology: Topology) -> bool:
    """Whether the host may have to forward packets of IPv6."""
    return any(vpc.ipv6 and (vpc.nat or vpc.is_published6) for vpc in topology.vpcs)


def forwards(topology: Topology) -> bool:
    """Whether the host forwards packets: NAT, or a port of it that leads into a VPC, needs that."""
    return any(vpc.nat or vpc.is_published for vpc in topology.vpcs)


def route_table(topology: Topology, vpc: Vpc) -> list[TableRow]:
    """The routes of a VPC's subnets; reads no other VPC than its peers."""
    outward = [TableRow(EVERYWHERE, NAT)] if vpc.nat else []
    peers = (TableRow(network, naming.device("pcx-", peer.name)) for peer in topology.peers_of(vpc.name)
             for network in peer.networks)
    return [*(TableRow(network, LOCAL) for network in vpc.networks), *outward, *peers]
