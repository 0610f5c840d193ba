"""The topology as what a picture shows of it; pure."""

from __future__ import annotations

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import addressing, endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Policy, Subnet, SubnetType, Topology, Vpc, Workload


@frozen
class SubnetNode:
    """A subnet; `policy` tells in a few words what is in force, and is empty where nothing is."""

    name: str
    cidr: str
    address: str
    public: bool
    policy: str
    workloads: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The word for its kind."""
        return "public" if self.public else "private"


@frozen
class VpcNode:
    """A VPC; `uplink` is the interface that its NAT leads to, empty without NAT."""

    name: str
    cidr: str
    gateway: str
    bridge: str
    uplink: str
    peers: tuple[str, ...]
    subnets: tuple[SubnetNode, ...]


@frozen
class Graph:
    """VPCs, and the peerings between them."""

    vpcs: tuple[VpcNode, ...]
    peerings: tuple[tuple[str, str], ...]

    @property
    def uplinks(self) -> tuple[str, ...]:
        """The interfaces that some NAT leads to, in the order in which they come up."""
        return tuple(dict.fromkeys(vpc.uplink for vpc in self.vpcs if vpc.uplink))


def graph(topology: Topology) -> Graph:
    """The graph of a topology."""
    names = {vpc.name for vpc in topology.vpcs}
    peerings = tuple((one.vpc1, one.vpc2) for one in topology.peerings if {one.vpc1, one.vpc2} <= names)
    return Graph(tuple(_vpc(topology, vpc) for vpc in topology.vpcs), peerings)


def _vpc(topology: Topology, vpc: Vpc) -> VpcNode:
    return VpcNode(
        vpc.name, str(vpc.cidr), str(addressing.gateway(vpc.cidr)), naming.device("br-", vpc.name),
        vpc.nat.interface if vpc.nat else "", tuple(peer.name for peer in topology.peers_of(vpc.name)),
        tuple(_subnet(vpc, one) for one in sorted(vpc.subnets, key=_rank)),
    )


def _rank(subnet: Subnet) -> bool:
    return subnet.type is not SubnetType.PUBLIC


def _subnet(vpc: Vpc, subnet: Subnet) -> SubnetNode:
    machines = endpoints.in_subnet(vpc, subnet)
    return SubnetNode(
        subnet.name, str(subnet.cidr), ", ".join(str(one.address) for one in machines),
        subnet.type is SubnetType.PUBLIC, _told(subnet.policy),
        tuple(_program(one, workload) for one in machines for workload in one.workloads),
    )


def _program(one: Endpoint, workload: Workload) -> str:
    return f"{one.site.machine}/{workload.name}" if one.site.machine else workload.name


def _told(policy: Policy | None) -> str:
    if policy is None:
        return ""
    outward = "out open" if policy.egress is None else f"{len(policy.egress)} out"
    return f"policy: {len(policy.ingress)} in, {outward}"
