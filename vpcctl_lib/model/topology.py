"""What the person asked for: VPCs, subnets, machines, NAT and peerings, as frozen values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.kinds import Kind, register
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.outside import Elastic, Pool, Publish
from vpcctl_lib.model.policies import Acl, Group, Policy
from vpcctl_lib.model.routes import MAIN, PUBLIC, NatGateway, RouteTable
from vpcctl_lib.model.workloads import Workload


class SubnetType(Enum):
    """NAT serves public subnets."""

    PUBLIC = "public"
    PRIVATE = "private"


@frozen
class Attachment:
    """A machine's namespace that somebody else made, and our link in it; neither if it is one of ours."""

    container: str = ""
    """RUNTIME:NAME, as in docker:web."""

    path: str = ""
    """That of the namespace."""

    interface: str = naming.INSTANCE
    """What our link is called in it."""

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self.container or self.path)

    @property
    def source(self) -> str:
        """The container, or the path."""
        return self.container or self.path

    def __str__(self) -> str:
        return f"{self.source} by {self.interface}" if self else ""


@frozen
class Machine:
    """Something with an address in a subnet, and a namespace; the subnet's own machine has no name."""

    name: str = ""
    addresses: tuple[IPv4Address | IPv6Address, ...] = ()
    """Those chosen; without any it has the subnet's second host address."""

    attached: Attachment = Attachment()
    forwards: bool = False
    """Whether it may send packets of others, as a middlebox does (AWS: no source/destination check)."""

    workloads: tuple[Workload, ...] = ()
    groups: tuple[str, ...] = ()
    """The groups of its VPC that it is in, sorted; in none, its subnet's policy decides."""

    publishes: tuple[Publish, ...] = ()
    """The ports of the host that lead to it."""

    tap: str = ""
    """The tap in its namespace behind which a virtual machine has its addresses; without one, it has them."""

    bandwidth: str = ""
    """The most that it sends, and the most that it gets, such as 100mbit; empty: as much as there is."""

    mirrors: tuple[Mirror, ...] = ()
    """Who gets a copy of its packets."""

    @property
    def source(self) -> str:
        """What it is attached to, in words; empty if its programs are vpcctl's own."""
        return f"tap {self.tap}" if self.tap else str(self.attached)

    def workload(self, name: str) -> Workload | None:
        """The workload of that name, if there is one."""
        return next((workload for workload in self.workloads if workload.name == name), None)


OWN = Machine()


@frozen
class Subnet:
    """A part of a VPC's CIDR, and the machines in it; its policy is theirs."""

    name: str
    cidr: IPv4Network
    type: SubnetType = SubnetType.PRIVATE
    policy: Policy | None = None
    machines: tuple[Machine, ...] = (OWN,)
    acl: str = ""
    """The network ACL at its edge; without one everything passes."""

    route_table: str = ""
    """A route table of its VPC's own; with none, its type says which: `public`, or `main`."""

    ipv6: IPv6Network | None = None
    """Its /64 of its VPC's prefix, if that has one."""

    @property
    def table(self) -> str:
        """The name of the route table that it has."""
        return self.route_table or (PUBLIC if self.type is SubnetType.PUBLIC else MAIN)

    def machine(self, name: str = "") -> Machine | None:
        """The machine of that name, by default the subnet's own, if there is one."""
        return next((machine for machine in self.machines if machine.name == name), None)

    def without_machine(self, name: str) -> Subnet:
        """This subnet without the machine of that name."""
        return replace(self, machines=tuple(one for one in self.machines if one.name != name))

    def with_machine(self, machine: Machine) -> Subnet:
        """This subnet with that machine added, or replacing the one of the same name."""
        kept = [machine if old.name == machine.name else old for old in self.machines]
        return replace(self, machines=tuple(kept if machine in kept else [*kept, machine]))


@frozen
class Nat:
    """The uplink that public subnets masquerade behind, and what was found there when NAT was enabled."""

    interface: str
    mtu: int = 1500
    resolvers: tuple[IPv4Address, ...] = ()
    follows: bool = False
    """Whether `restore` moves it to the link that is then the way out (`--interface auto`)."""


@frozen
class Vpc:
    """An isolated network; `link` numbers its /31 to the host, `routed`: the host may have a route to it."""

    name: str
    cidr: IPv4Network
    link: int = 0
    routed: bool = True
    nat: Nat | None = None
    subnets: tuple[Subnet, ...] = ()
    groups: tuple[Group, ...] = ()
    acls: tuple[Acl, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    nat_gateways: tuple[NatGateway, ...] = ()
    cidrs: tuple[IPv4Network, ...] = ()
    """Its secondary CIDRs, sorted."""

    ipv6: IPv6Network | None = None
    """Its prefix, a /56; without one there is no IPv6 in it."""
    dns: Dns | None = None
    dhcp: Dhcp | None = None
    flow_logs: tuple[FlowLog, ...] = ()

    @property
    def networks(self) -> tuple[IPv4Network, ...]:
        """All of its CIDRs, the first one first: its addresses are those in any of them."""
        return (self.cidr, *self.cidrs)

    def holds(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address is in one of its CIDRs, or in its prefix of IPv6."""
        return any(address in network for network in self.networks) \
            or (self.ipv6 is not None and address in self.ipv6)

    def meets(self, other: Vpc) -> bool:
        """Whether any of its CIDRs overlaps one of another VPC's."""
        return addressing.shared(self.networks, other.networks) is not None

    def acl(self, name: str) -> Acl | None:
        """The network ACL of that name, if there is one."""
        return next((acl for acl in self.acls if acl.name == name), None)

    def with_acl(self, acl: Acl) -> Vpc:
        """This VPC with that network ACL added, or replacing the one of the same name."""
        kept = [acl if old.name == acl.name else old for old in self.acls]
        return replace(self, acls=tuple(kept if acl in kept else [*kept, acl]))

    def group(self, name: str) -> Group | None:
        """The group of that name, if there is one."""
        return next((group for group in self.groups if group.name == name), None)

    def with_group(self, group: Group) -> Vpc:
        """This VPC with that group added, or replacing the one of the same name."""
        kept = [group if old.name == group.name else old for old in self.groups]
        return replace(self, groups=tuple(kept if group in kept else [*kept, group]))

    @property
    def is_mirrored(self) -> bool:
        """Whether packets of machines of it are copied."""
        return any(machine.mirrors for subnet in self.subnets for machine in subnet.machines)

    @property
    def is_published(self) -> bool:
        """Whether ports of the host lead to machines of it, by IPv4."""
        return any(one.is_of(Family.INET) for _, one in self._publishes)

    @property
    def is_published6(self) -> bool:
        """The same by IPv6."""
        return self.ipv6 is not None and any(one.is_of(Family.INET6) for _, one in self._publishes)

    @property
    def has_ports(self) -> bool:
        """Whether any lead to machines of it, also at an address of a family that it lacks."""
        return any(self._publishes)

    @property
    def _publishes(self) -> Iterator[tuple[Machine, Publish]]:
        return ((machine, one) for subnet in self.subnets for machine in subnet.machines
                for one in machine.publishes)

    def subnet(self, name: str) -> Subnet | None:
        """The subnet of that name, if there is one."""
        return next((subnet for subnet in self.subnets if subnet.name == name), None)

    def with_subnet(self, subnet: Subnet) -> Vpc:
        """This VPC with that subnet added, or replacing the one of the same name."""
        kept = [subnet if old.name == subnet.name else old for old in self.subnets]
        return replace(self, subnets=tuple(kept if subnet in kept else [*kept, subnet]))

    def without_subnet(self, name: str) -> Vpc:
        """This VPC without the subnet of that name, and without what is in it."""
        return replace(self, subnets=tuple(subnet for subnet in self.subnets if subnet.name != name),
                       nat_gateways=tuple(one for one in self.nat_gateways if one.subnet != name),
                       flow_logs=tuple(one for one in self.flow_logs if one.subnet != name))


@frozen
class Peering:
    """Two VPCs that are routed to each other; the names are kept in sorted order."""

    vpc1: str
    vpc2: str

    @classmethod
    def between(cls, one: str, other: str) -> Peering:
        """The peering of the two, whichever is named first."""
        first, second = sorted((one, other))
        return cls(first, second)

    def other(self, name: str) -> str:
        """The VPC at the far end, seen from the one named."""
        return self.vpc2 if name == self.vpc1 else self.vpc1


class Variant(Enum):
    """The two kinds of iptables, as `iptables --version` names them."""

    NFT = "nft"
    LEGACY = "legacy"

    @property
    def other(self) -> Variant:
        """The other kind."""
        return Variant.LEGACY if self is Variant.NFT else Variant.NFT


@frozen
class Topology:
    """Everything that was asked for on this host, in order.

    `iptables` is the kind that was in use for the first VPC; it has our rules until the last VPC is gone.
    `guarded` is whether this host can guard the ports of bridges; None if that is not known yet.
    `forwarding` is what the host's ip_forward was before the first NAT; None without NAT, or if unknown.
    """

    vpcs: tuple[Vpc, ...] = ()
    peerings: tuple[Peering, ...] = ()
    iptables: Variant | None = None
    guarded: bool | None = None
    quotes: bool | None = None
    """Whether that guard matches what ICMP errors quote, which needs a newer nft."""
    forwarding: str | None = None
    front: IPv4Address | None = None
    """The host's address towards the internet: with it, machines meet those that the host's ports lead to."""

    pools: tuple[Pool, ...] = ()
    eips: tuple[Elastic, ...] = ()
    front6: IPv6Address | None = None
    """As `front`, of IPv6."""

    entrances: tuple[str, ...] = ()
    """The links of the host by which IPv6 comes to its ports, if any lead to machines."""

    whole6: bool = False
    """Whether the host forwards all of IPv6 for this: its kernel can't for single links."""

    def vpc(self, name: str) -> Vpc | None:
        """The VPC of that name, if there is one."""
        return next((vpc for vpc in self.vpcs if vpc.name == name), None)

    def peers_of(self, name: str) -> Iterator[Vpc]:
        """The VPCs peered with the one named."""
        for peering in self.peerings:
            if name in (peering.vpc1, peering.vpc2):
                peer = self.vpc(peering.other(name))
                if peer is not None:
                    yield peer

    def with_vpc(self, vpc: Vpc) -> Topology:
        """This topology with that VPC added, or replacing the one of the same name."""
        kept = [vpc if old.name == vpc.name else old for old in self.vpcs]
        return replace(self, vpcs=tuple(kept if vpc in kept else [*kept, vpc]))

    def without_vpc(self, name: str) -> Topology:
        """This topology without that VPC and its peerings."""
        return replace(
            self, vpcs=tuple(vpc for vpc in self.vpcs if vpc.name != name),
            peerings=tuple(peering for peering in self.peerings if name not in (peering.vpc1, peering.vpc2)))


register(
    Kind(Vpc, Topology, "vpcs", "vpc", title="VPC", in_kernel=naming.vpc_names),
    Kind(Nat, Vpc, "nat", "nat"),
    Kind(Dns, Vpc, "dns", "dns", title="DNS"),
    Kind(Dhcp, Vpc, "dhcp", "dhcp", title="DHCP"),
    Kind(Record, Dns, "records", "record"),
    Kind(FlowLog, Vpc, "flow_logs", "flow log", option="flow_log"),
    Kind(Group, Vpc, "groups", "group"),
    Kind(Acl, Vpc, "acls", "acl", title="network ACL"),
    Kind(RouteTable, Vpc, "route_tables", "route table", option="route_table"),
    Kind(NatGateway, Vpc, "nat_gateways", "NAT gateway", option="nat_gateway",
         in_kernel=naming.machine_names, seat=lambda one: (one.subnet, one.name)),
    Kind(Subnet, Vpc, "subnets", "subnet"),
    Kind(Policy, Subnet, "policy", "firewall"),
    Kind(Machine, Subnet, "machines", "machine", "instances", "instance", in_kernel=naming.machine_names,
         given=lambda subnet: (OWN,) if subnet.machine() else ()),
    Kind(Workload, Machine, "workloads", "workload"),
    Kind(Publish, Machine, "publishes", "publish", title="port"),
    Kind(Mirror, Machine, "mirrors", "mirror", named=lambda one: one.to),
    Kind(Pool, Topology, "pools", "pool", title="pool"),
    Kind(Elastic, Topology, "eips", "eip", title="elastic address"),
    Kind(Peering, Topology, "peerings", "peering", named=lambda one: f"{one.vpc1} - {one.vpc2}"),
)
