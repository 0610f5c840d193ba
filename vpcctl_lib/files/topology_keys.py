"""The keys of a topology, a line for each: a file is read and written by this table, and its schema made."""

from __future__ import annotations

from vpcctl_lib.files import attached_values as attached
from vpcctl_lib.files import flow_values as flows
from vpcctl_lib.files import name_values as names
from vpcctl_lib.files import routing_values as routing
from vpcctl_lib.files import topology_values as values
from vpcctl_lib.files import traffic_values as traffic
from vpcctl_lib.files.acl_keys import ACL
from vpcctl_lib.files.documents import Place
from vpcctl_lib.files.elastic_values import EIPS, POOLS
from vpcctl_lib.files.ipv6_values import SUBNET_PREFIX, VPC_PREFIX
from vpcctl_lib.files.keys import Key, Kind, Reading, by_name
from vpcctl_lib.files.policy_keys import GROUP, POLICY
from vpcctl_lib.files.publish_values import PUBLISHES, check_vpcs
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.names import Dhcp, Dns
from vpcctl_lib.model.routes import NatGateway, RouteTable
from vpcctl_lib.model.topology import Machine, Nat, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

VERSIONS = (1, 2)
"""Of the format of topology files."""

NO_CIDR = ("it has no cidr", "write for example cidr: 10.0.0.0/16")

WORKLOAD = Kind("workload", "a workload", Workload, "A web server of vpcctl's own, or a program.", (
    Key("webserver", values.WEBSERVER, "The port of a web server named webserver-PORT.", ("port",)),
    Key("run", values.PROGRAM, "The program and its arguments, a list of words.", ("argv",)),
    Key("user", values.USER, "The user that it runs as. One of the VPC's own if missing.", of="run"),
    Key("pids", values.PROCESSES, "The most processes that it may have.", blank=True, listed=1),
    Key("memory", values.MEMORY, "The most memory that it may have, such as 64M.", blank=True, listed=1),
    Key("env", values.ENVIRONMENT, "Environment variables by name.", ("upkeep.env",), blank=True, of="run"),
    Key("workdir", values.WORKDIR, "The folder that it starts in, an absolute path.", ("upkeep.workdir",),
        blank=True, of="run"),
    Key("stop_signal", values.SIGNAL, "The signal that asks it to end. TERM if missing.",
        ("upkeep.stop_signal",), blank=True, of="run"),
    Key("stop_timeout", values.TIMEOUT, "How long it may take to end before it is killed, such as 10s.",
        ("upkeep.stop_timeout",), blank=True, listed=3),
    Key("restart", values.RESTART, "When it is started again after it has ended.", ("upkeep.restart",),
        blank=True, listed=2),
    Key("log_max", values.LOG_SIZE, "The size at which its log is rotated, such as 10M.",
        ("upkeep.log_max",), blank=True, listed=3),
), named="workload", either={"webserver": "a web server", "run": "a program"},
    either_hint="write {webserver: 80} or {run: [sleep, infinity]}")

INSTANCE = Kind("instance", "an instance", Machine, "A machine besides the subnet's own, with a namespace.", (
    Key("address", values.ADDRESSES, "Its address, or a list of them. The lowest free one if missing.",
        ("addresses",), blank=True),
    Key("groups", values.GROUPS, "The groups of its VPC that it is in.", blank=True),
    Key("forwards", values.FLAG, "Whether it may send and get packets of others."),
    Key("container", attached.CONTAINER, "The container that it is, such as web or docker:web.",
        ("attached.container",)),
    Key("netns", attached.NETNS, "The path of the network namespace of somebody else's that it is.",
        ("attached.path",)),
    Key("interface", attached.LINK, "What its link is called there. eth0 if missing.",
        ("attached.interface",)),
    Key("tap", attached.TAP, "The tap in its namespace that a virtual machine opens, such as vm0."),
    Key("bandwidth", traffic.BANDWIDTH, "The most that it sends, and gets, such as 100mbit."),
    Key("mirrors", traffic.MIRRORS, "The machines that get a copy of its packets.", blank=True),
    Key("workloads", by_name(WORKLOAD, "workloads by name"), "Its programs, by name.", blank=True),
    Key("publish", PUBLISHES, "The ports of the host that lead to it, such as 8080:80.", ("publishes",),
        blank=True),
), named="machine", rules=attached.ONE_NAMESPACE)

ROUTE_TABLE = Kind("route_table", "a route table", RouteTable, "Where the packets of its subnets go.", (
    Key("routes", routing.ROUTES, "Targets by destination: internet, nat:NAME, peer:VPC, "
        "instance:SUBNET/NAME or blackhole.", blank=True),
), named="route table", found={"number": "a free number is found for each"})

NAT_GATEWAY = Kind("nat_gateway", "a NAT gateway", NatGateway, "The way out for private subnets.", (
    Key("subnet", routing.SUBNET, "The public subnet that it is in.",
        required=("it has no subnet", "write for example subnet: public")),
    Key("address", routing.ADDRESS, "Its address. The lowest free one if missing."),
), named="NAT gateway")

SUBNET = Kind("subnet", "a subnet", Subnet, "A part of a VPC's CIDR, with a namespace of its own.", (
    Key("cidr", values.SUBNET_CIDR, "A part of the VPC's CIDR, from /16 to /29.", required=NO_CIDR),
    Key("ipv6", SUBNET_PREFIX, "Its /64 of the VPC's prefix. The lowest free one if missing.", since=2),
    Key("type", values.TYPE, "NAT serves public subnets only.", kept=True),
    Key("route_table", routing.ROUTE_TABLE, "Its route table, which says its type. By its type if missing.",
        since=2),
    Key("firewall", values.or_path(POLICY), "Its policy, or the path of a policy's file. Open if missing.",
        ("policy",), blank=True),
    Key("workloads", by_name(WORKLOAD, "workloads by name"), "The programs of its own machine, by name.",
        ("machines.workloads",), blank=True),
    Key("groups", values.GROUPS, "The groups of its VPC that its own machine is in.", ("machines.groups",),
        blank=True, since=2),
    Key("acl", values.ACL_NAME, "The network ACL of its VPC at its edge. Open if missing.", since=2),
    Key("publish", PUBLISHES, "The ports of the host that lead to its own machine, such as 8080:80.",
        ("machines.publishes",), blank=True, since=2),
    Key("bandwidth", traffic.BANDWIDTH, "The most that its own machine sends, and gets, such as 100mbit.",
        ("machines.bandwidth",), since=2),
    Key("mirrors", traffic.MIRRORS, "The machines that get a copy of its own machine's packets.",
        ("machines.mirrors",), blank=True, since=2),
    Key("bare", values.BARE, "Whether it has no machine of its own.", ("machines.",), since=2),
    Key("instances", by_name(INSTANCE, "instances by name", values.check_machines),
        "More machines, by name.", ("machines",), blank=True, since=2),
), named="subnet")

NAT = Kind("nat", "NAT", Nat, "The way out for public subnets.", (
    Key("interface", values.UPLINK, "A link of the host, or auto: restore then follows the way out.",
        ("interface", "follows"), required=True),
), found={"mtu": "it is the interface's", "resolvers": "they are the host's"},
    hint="write true, or {interface: eth0}")

DNS = Kind("dns", "DNS", Dns, "Names for machines, and the way to everybody else's.", (
    Key("domain", names.DOMAIN, "The end of all names in it. VPC.internal if missing."),
    Key("forward", names.SERVERS, "The servers that it asks for other names. Those of the host if missing.",
        blank=True),
    Key("records", names.RECORDS, "Names of your own: an address, several, or another name in the VPC.",
        blank=True),
), hint="write true, or {domain: corp.internal}")


DHCP = Kind("dhcp", "DHCP", Dhcp, "Addresses for machines that ask for theirs.", (
    Key("ntp", names.TIMES, "The time servers that it tells machines of.", blank=True),
    Key("lease", names.LEASE, "How long a lease lasts, such as 12h. An hour if missing."),
), hint="write true, or {lease: 12h}")


FLOW_LOG = Kind("flow_log", "a flow log", FlowLog, "Records of the packets of machines.", (
    Key("subnet", flows.SUBNET, "The subnet that it is of. The whole VPC if missing."),
    Key("instance", flows.INSTANCE, "The machine of that subnet. All of them if missing."),
    Key("traffic", flows.TRAFFIC, "Which packets: all, accept or reject. All if missing."),
    Key("interval", flows.INTERVAL, "Seconds between records of a flow, from 1 to 600. 60 if missing."),
    Key("format", flows.FORMAT, "v2, as in AWS, or json. v2 if missing."),
), rules={"if": {"required": ["instance"]}, "then": {"required": ["subnet"]}})


def _check_vpcs(vpcs: tuple[Vpc, ...], place: Place, here: Reading) -> None:
    check_vpcs(vpcs, place, here)
    names.check_vpcs(vpcs, place, here)
    for vpc in vpcs:
        flows.check(vpc.subnets, vpc.flow_logs, place.named(vpc.name))


VPC = Kind("vpc", "a VPC", Vpc, "An isolated network.", (
    Key("cidr", values.VPC_CIDR, "Its addresses, from /16 to /28, of a private range.", required=NO_CIDR),
    Key("cidrs", values.VPC_CIDRS, "More of its addresses, as a list: its secondary CIDRs.", blank=True,
        since=2),
    Key("ipv6", VPC_PREFIX, "Its IPv6 prefix, a /56, or auto. Without it there is no IPv6 in it.", since=2),
    Key("allow_overlap", values.NO_OVERLAP, "Whether the host may have its own route to these addresses.",
        ("routed",), listed=1),
    Key("nat", values.or_flag(NAT), "The way out for public subnets. true is the link that packets leave by.",
        blank=True),
    Key("dns", names.or_flag(DNS, Dns()), "Names for its machines. true is a server with VPC.internal.",
        blank=True, since=2),
    Key("dhcp", names.or_flag(DHCP, Dhcp()), "Addresses for machines that ask. It needs dns.", blank=True,
        since=2),
    Key("groups", by_name(GROUP, "groups by name", values.check_groups, values.from_path(GROUP)),
        "Its security groups, by name: each a group, or the path of a policy's file.", blank=True, since=2),
    Key("acls", by_name(ACL, "network ACLs by name", None, values.from_path(ACL)),
        "Its network ACLs, by name: each an ACL, or the path of its file.", blank=True, since=2),
    Key("route_tables", by_name(ROUTE_TABLE, "route tables by name", routing.check_tables),
        "Its route tables, by name; of main and public the routes that are added.", blank=True, since=2),
    Key("nat_gateways", by_name(NAT_GATEWAY, "NAT gateways by name"), "Its NAT gateways, by name.",
        blank=True, since=2),
    Key("flow_logs", flows.listed(FLOW_LOG), "Its flow logs, as a list.", blank=True, since=2),
    Key("subnets", by_name(SUBNET, "subnets by name", values.check_subnets), "Its subnets, by name.",
        blank=True),
), named="VPC", found={"link": "a free number is found for each cable"}, rules=names.DHCP_NEEDS_DNS)

TOPOLOGY = Kind("topology", "a topology", Topology, "A whole network, for `vpcctl apply`.", (
    Key("version", values.version(VERSIONS), "The version of this format.", (), required=True),
    Key("vpcs", by_name(VPC, "VPCs by name", _check_vpcs), "The VPCs, by name.", blank=True, kept=True),
    Key("eip_pools", POOLS, "Addresses outside that machines may get: the host's link of each CIDR.",
        ("pools",), blank=True, since=2),
    Key("eips", EIPS, "Elastic addresses, each with the machine that has it: VPC/SUBNET/NAME.", blank=True,
        since=2),
    Key("peerings", values.PEERINGS, "Pairs of VPCs that are routed to each other.", blank=True),
), found={"iptables": "it is the kind that the host uses", "guarded": "it is what nft can do here",
          "quotes": "it is what nft can do here", "forwarding": "it is what the host had set",
          "front": "it is the host's address towards the internet",
          "front6": "it is the host's address of IPv6 towards the internet",
          "entrances": "they are the host's links with addresses of IPv6",
          "whole6": "it is what the host's kernel needs"})
