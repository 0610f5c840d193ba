"""Golden plans: the exact commands of the common changes, as text files in the folder golden.

A change of the program that changes a plan shows here, command by command. When it is meant, write them anew
with `VPCCTL_REWRITE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/test_golden_plans.py` and read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

import pytest

from vpcctl_lib.blueprint import blueprint, parts
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.addressing6 import part
from vpcctl_lib.model.flowlogs import FlowLog, Form, Traffic
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.outside import Elastic, Pool, Publish, Transport
from vpcctl_lib.model.policies import Acl, AclRule, Action, Group, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.topology import (
    Attachment,
    Machine,
    Nat,
    Peering,
    Subnet,
    SubnetType,
    Topology,
    Variant,
    Vpc,
)
from vpcctl_lib.model.workloads import Restart, Upkeep, Workload
from vpcctl_lib.record.document import DEFAULT_FOLDER
from vpcctl_lib.resources.base import Place

GOLDEN = Path(__file__).parent / "golden"

PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC)
PRIVATE = Subnet("private", IPv4Network("10.0.2.0/24"))
LATE = Subnet("late", IPv4Network("10.0.9.0/24"), SubnetType.PUBLIC)
NAT = Nat("eth0", 1500, (IPv4Address("9.9.9.9"),))
ALLOW_WEB = Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80))
POLICY = Policy((ALLOW_WEB, Rule(Protocol.ICMP, Action.DENY)), (ALLOW_WEB,))
WORKLOADS = (Workload("webserver-80", port=80), Workload("worker", ("sleep", "infinity")))
KEPT = Workload("kept", ("sleep", "infinity"), upkeep=Upkeep(
    ("A=1", "B=two words"), "/srv", "INT", 0, Restart.ON_FAILURE, 64 << 10))

EMPTY = Vpc("vpc1", IPv4Network("10.0.0.0/16"))
PLAIN = replace(EMPTY, subnets=(PUBLIC, PRIVATE))
OPEN = replace(PLAIN, nat=NAT)
GUARDED = PLAIN.with_subnet(replace(PUBLIC, policy=POLICY))
PEER = Vpc("vpc2", IPv4Network("172.16.0.0/16"), link=1,
           subnets=(Subnet("web", IPv4Network("172.16.1.0/24")),))
TWIN = Vpc("production-europe-west", IPv4Network("10.0.0.0/16"), link=1, subnets=(PUBLIC,))


def running(workloads: tuple[Workload, ...]) -> Subnet:
    """The public subnet with programs in its own machine."""
    return replace(PUBLIC, machines=(Machine(workloads=workloads),))


FULL = OPEN.with_subnet(replace(PUBLIC, policy=POLICY, machines=(Machine(workloads=WORKLOADS),)))
CROWD = OPEN.with_subnet(replace(PUBLIC, policy=POLICY, machines=(
    *PUBLIC.machines, Machine("web1", (IPv4Address("10.0.1.4"),), workloads=WORKLOADS),
    Machine("a-name-that-is-hashed", (IPv4Address("10.0.1.5"), IPv4Address("10.0.1.6"))))))
LIMITED, SLOWER = (OPEN.with_subnet(replace(PUBLIC, machines=(Machine(bandwidth=rate),)))
                   for rate in ("100mbit", "2500kbit"))
COPIED_ONCE = OPEN.with_subnet(replace(PUBLIC, machines=(Machine(mirrors=(Mirror("private", 1),)),)))
COPIED = COPIED_ONCE.with_subnet(replace(PRIVATE, machines=(Machine(mirrors=(Mirror("public", 2, True),)),)))
COPIED_SLOWLY = COPIED.with_subnet(replace(PUBLIC, machines=(
    Machine(mirrors=(Mirror("private", 1),), bandwidth="1mbit"),)))
MIDDLEBOX = OPEN.with_subnet(replace(PUBLIC, machines=(
    *PUBLIC.machines, Machine("box", (IPv4Address("10.0.1.4"),), forwards=True))))
ASKED = MIDDLEBOX.with_subnet(replace(MIDDLEBOX.subnets[0], policy=POLICY))
PEERING = (Peering("vpc1", "vpc2"),)

FROM_WEB = Rule(Protocol.TCP, Action.ALLOW, Ports(5432, 5432), group="web")
GROUPED = replace(PLAIN, groups=(
    Group("web"), Group("data", Policy((FROM_WEB, Rule(Protocol.ICMP, Action.ALLOW, group="vpc2/ops")), ()))))


def joined(vpc: Vpc) -> Vpc:
    """The VPC with the public subnet's own machine in web, and the private one's in both."""
    for subnet, names in ((PUBLIC, ("web",)), (PRIVATE, ("data", "web"))):
        vpc = vpc.with_subnet(replace(subnet, machines=(Machine(groups=names),)))
    return vpc


WIDER = joined(GROUPED).with_subnet(replace(PUBLIC, machines=(
    Machine(groups=("web",)), Machine("web1", (IPv4Address("10.0.1.4"),), groups=("web",)))))

FRONT = IPv4Address("203.0.113.2")
FRONT6 = IPv6Address("2001:db8::2")
PORTS = Machine(publishes=(Publish(8080, 80), Publish(5353, 53, Transport.UDP)))
PUBLISHED = OPEN.with_subnet(replace(PUBLIC, machines=(PORTS,)))
POOL = (Pool(IPv4Network("198.51.100.0/28"), "eth0"),)
ADDRESS = IPv4Address("198.51.100.1")
LATE_PEER = Subnet("late", IPv4Network("172.16.7.0/24"), SubnetType.PUBLIC)
WEB_ACL = Acl("web", (
    AclRule(90, Protocol.ALL, Action.DENY, None, IPv4Network("10.9.0.0/16")),
    AclRule(100, Protocol.TCP, Action.ALLOW, Ports(80, 90), IPv4Network("10.0.2.7/32"))),
    (AclRule(100, Protocol.UDP, Action.ALLOW, Ports(53, 53)), AclRule(110, Protocol.ICMP, Action.ALLOW)))
EDGED = replace(PLAIN, acls=(WEB_ACL, Acl("spare")))
ASSOCIATED = EDGED.with_subnet(replace(PUBLIC, acl="web"))
MORE_EDGED = EDGED.with_subnet(replace(PUBLIC, acl="web", machines=(
    *PUBLIC.machines, Machine("web1", (IPv4Address("10.0.1.4"),)))))
ANYWHERE = IPv4Network("0.0.0.0/0")
GATEWAY = replace(OPEN, nat_gateways=(NatGateway("nat1", "public", IPv4Address("10.0.1.5")),))
ROUTED = replace(GATEWAY, route_tables=(RouteTable("main", 1, (VpcRoute(ANYWHERE, Via.NAT, "nat1"),)),))
BOXED = replace(MIDDLEBOX, route_tables=(RouteTable("app", 2, (
    VpcRoute(IPv4Network("10.9.0.0/16"), Via.BLACKHOLE),
    VpcRoute(IPv4Network("172.16.0.0/16"), Via.INSTANCE, "public/box"))),)).with_subnet(
        replace(PRIVATE, route_table="app"))

THIRD = Vpc("vpc3", IPv4Network("192.168.0.0/16"), link=2)
TO_BOXES = RouteTable("app", 2, (
    VpcRoute(ANYWHERE, Via.INSTANCE, "private/wall"),
    VpcRoute(IPv4Network("10.8.0.0/13"), Via.BLACKHOLE),
    VpcRoute(IPv4Network("10.9.0.0/16"), Via.INSTANCE, "public/box"),
    VpcRoute(IPv4Network("10.20.0.0/16"), Via.INSTANCE, "public/idle"),
    VpcRoute(IPv4Network("10.30.0.0/16"), Via.NAT, "vpc2")))
SOMEWHERE = IPv4Network("198.51.100.0/24")
TO_NOBODY = RouteTable("idle", 4, (VpcRoute(IPv4Network("10.20.0.0/16"), Via.INSTANCE, "public/idle"),
                                   VpcRoute(SOMEWHERE, Via.INTERNET)))
TO_WEB = RouteTable("web", 3, (
    VpcRoute(ANYWHERE, Via.INTERNET), VpcRoute(IPv4Network("172.16.0.0/16"), Via.PEER, "vpc2"),
    VpcRoute(IPv4Network("192.168.0.0/16"), Via.PEER, "vpc3")))
TO_BOX = RouteTable("out", 5, (VpcRoute(ANYWHERE, Via.INSTANCE, "public/box"),))
BOXES = replace(OPEN, route_tables=(TO_BOXES, TO_WEB, TO_NOBODY, TO_BOX), subnets=(
    replace(LATE, route_table="idle"), Subnet("behind", IPv4Network("10.0.4.0/24"), route_table="out"),
    replace(PUBLIC, route_table="web", machines=(
        Machine("box", (IPv4Address("10.0.1.4"),), forwards=True),
        Machine("idle", (IPv4Address("10.0.1.5"),)))),
    replace(PRIVATE, machines=(Machine("wall", (IPv4Address("10.0.2.4"),), forwards=True),)),
    Subnet("app", IPv4Network("10.0.3.0/24"), route_table="app",
           machines=(Machine(publishes=(Publish(8080, 80), Publish(5353, 53, Transport.UDP))),))))
CUT_OFF = replace(PEER, route_tables=(replace(TO_WEB, routes=TO_WEB.routes[:1]),)).with_subnet(
    replace(PEER.subnets[0], route_table="web"))
ALL_PEERED = (*PEERING, Peering("vpc1", "vpc3"), Peering("vpc2", "vpc3"))
TO_NAT = RouteTable("main", 1, (
    VpcRoute(ANYWHERE, Via.NAT, "nat1"), VpcRoute(SOMEWHERE, Via.NAT, "nat1")))
ANSWERING = replace(ROUTED, route_tables=(TO_NAT,), subnets=(
    replace(PUBLIC, machines=(Machine(publishes=(Publish(80, 80),)),)), replace(PRIVATE, machines=(PORTS,))))
SENT_ON = ANSWERING.with_subnet(replace(PRIVATE, machines=(
    PORTS, Machine("box", (IPv4Address("10.0.2.4"),), forwards=True))))
UNUSED = replace(PUBLISHED, route_tables=(RouteTable("spare", 1),))
AT_FRONT = Machine(publishes=(Publish(8080, 80, listen=FRONT),))
LISTENING = OPEN.with_subnet(replace(PUBLIC, machines=(AT_FRONT,)))
NEAR_RESOLVERS = replace(NAT, resolvers=(IPv4Address("169.254.169.253"), IPv4Address("9.9.9.9")))

NAMED = replace(OPEN, dns=Dns(records=(Record("db", (IPv4Address("10.0.2.9"),)),)))
ALIASED = replace(NAMED, dns=Dns("corp.internal", (IPv4Address("1.1.1.1"),),
                                 (Record("www", cname="public"),)))
VIRTUAL = NAMED.with_subnet(replace(PUBLIC, machines=(Machine("vm", (IPv4Address("10.0.1.4"),), tap="vm0"),)))
NAMED_PEER = replace(PEER, dns=Dns())

GUEST = Machine("guest", (IPv4Address("10.0.1.9"),), Attachment("docker:web", interface="vpc0"))
GUESTS = replace(NAMED, subnets=(replace(PUBLIC, policy=POLICY, machines=(*PUBLIC.machines, GUEST)), PRIVATE))
TAPPED = OPEN.with_subnet(replace(PUBLIC, policy=POLICY, machines=(
    *PUBLIC.machines, Machine("vm", (IPv4Address("10.0.1.8"),), tap="tap0"))))
SECOND = IPv4Network("10.7.0.0/16")
WIDE = replace(NAMED, cidrs=(SECOND,), dhcp=Dhcp((ADDRESS, FRONT))).with_subnet(
    Subnet("far", IPv4Network("10.7.1.0/24"), machines=(
        Machine(), Machine("web1", (IPv4Address("10.7.1.4"),))))
).with_subnet(Subnet("bare", IPv4Network("10.7.2.0/24"), machines=()))
EDGED_NAMED = replace(EDGED, dns=Dns(), dhcp=Dhcp())

PREFIX = IPv6Network("fd12:3456:789a:100::/56")
PUBLIC6 = replace(PUBLIC, ipv6=IPv6Network("fd12:3456:789a:101::/64"))
PRIVATE6 = replace(PRIVATE, ipv6=IPv6Network("fd12:3456:789a:102::/64"))
DUAL = replace(PLAIN, ipv6=PREFIX, subnets=(PUBLIC6, PRIVATE6))
DUAL_OPEN = replace(DUAL, nat=replace(NAT, mtu=1200))
OF_ITS_OWN = IPv6Network("2a01:4f8:0:100::/56")
DUAL_LED = replace(DUAL_OPEN, ipv6=OF_ITS_OWN, subnets=(
    replace(PUBLIC, ipv6=IPv6Network("2a01:4f8:0:101::/64")), PRIVATE))
DUAL_PORTS = DUAL_OPEN.with_subnet(replace(PUBLIC6, machines=(PORTS,)))
DUAL_LISTENING = DUAL.with_subnet(replace(PUBLIC6, machines=(
    Machine(publishes=(Publish(8080, 80, listen=FRONT6),)),)))
DUAL_PEER = replace(PEER, ipv6=IPv6Network("fd12:3456:789b::/56"), subnets=(
    replace(PEER.subnets[0], ipv6=IPv6Network("fd12:3456:789b:1::/64")),))
DUAL_PUBLISHED = Topology((DUAL_PORTS, DUAL_PEER), front=FRONT, front6=FRONT6, entrances=("eth0", "lan"))
DUAL_TABLED = replace(DUAL_OPEN, route_tables=(RouteTable("app", 1),), subnets=(
    PUBLIC6, replace(PRIVATE6, route_table="app")))
BOX = Machine("box", (IPv4Address("10.0.1.4"),), forwards=True)
ANYWHERE6, SOMEWHERE6 = IPv6Network("::/0"), IPv6Network("2001:db8:5::/48")
PEER6 = IPv6Network("fd12:3456:789b::/56")
BY_BOX = RouteTable("app", 1, (
    VpcRoute(ANYWHERE6, Via.INSTANCE, "public/box"), VpcRoute(SOMEWHERE6, Via.BLACKHOLE),
    VpcRoute(IPv6Network("2001:db8:6::/48"), Via.INSTANCE, "public/idle"),
    VpcRoute(IPv4Network("10.9.0.0/16"), Via.INSTANCE, "public/box")))
WEB6 = RouteTable("web", 2, (
    VpcRoute(ANYWHERE6, Via.INTERNET), VpcRoute(ANYWHERE, Via.INTERNET), VpcRoute(PEER6, Via.PEER, "vpc2"),
    VpcRoute(IPv6Network("fd12:3456:789c::/56"), Via.PEER, "vpc3")))
SOME6 = RouteTable("some", 3, (VpcRoute(SOMEWHERE6, Via.INTERNET), VpcRoute(ANYWHERE6, Via.EGRESS)))
ONE6, OTHER6 = (tuple(part(prefix, number) for number in range(1, 5)) for prefix in (OF_ITS_OWN, PREFIX))


def tabled(vpc: Vpc, parts: tuple[IPv6Network, ...]) -> Vpc:
    """The VPC with a subnet for each of three route tables with routes of IPv6, and one more."""
    box, idle = BOX, Machine("idle", (IPv4Address("10.0.1.5"),))
    return replace(vpc, route_tables=(BY_BOX, WEB6, SOME6), subnets=(
        replace(PUBLIC, ipv6=parts[0], route_table="web", machines=(box, idle)),
        replace(PRIVATE, ipv6=parts[1], route_table="app"),
        Subnet("some", IPv4Network("10.0.3.0/24"), SubnetType.PUBLIC, route_table="some", ipv6=parts[2]),
        replace(LATE, ipv6=parts[3])))


POLICY6 = Policy((ALLOW_WEB, Rule(Protocol.TCP, Action.ALLOW, Ports(22, 22), IPv6Network("2001:db8::/32"))),
                 (Rule(Protocol.ICMPV6, Action.DENY), Rule(Protocol.TCP, Action.ALLOW)))
DUAL_ROUTED = tabled(DUAL_OPEN, OTHER6)
DUAL_LED_BACK = DUAL_ROUTED.with_subnet(replace(DUAL_ROUTED.subnets[1], machines=(PORTS,)))
DUAL_GUARDED = DUAL.with_subnet(replace(PUBLIC6, policy=POLICY6, machines=(*PUBLIC.machines, GUEST, BOX)))
DUAL_NAMED = replace(DUAL_PEER, dns=Dns()).with_subnet(
    Subnet("bare", IPv4Network("172.16.2.0/24"), machines=(), ipv6=IPv6Network("fd12:3456:789b:2::/64")))
DUAL_VIRTUAL = replace(DUAL_OPEN, nat_gateways=GATEWAY.nat_gateways).with_subnet(replace(
    PRIVATE6, machines=(Machine("vm", (IPv4Address("10.0.2.8"),), tap="tap0"),)))
IN_BOTH = ("data", "web")
DUAL_GROUPED = replace(DUAL, groups=(
    Group("web", Policy((ALLOW_WEB,), ())),
    Group("data", Policy((FROM_WEB, Rule(Protocol.ICMP, Action.ALLOW, group="web")), (FROM_WEB,)))), subnets=(
        replace(PUBLIC6, machines=(Machine(groups=("web",)), replace(GUEST, groups=IN_BOTH),
                                   replace(BOX, groups=IN_BOTH))),
        replace(PRIVATE6, machines=(Machine(groups=IN_BOTH),))))
OF_THE_SAME_NAME = replace(DUAL_PEER, groups=(Group("web", Policy((FROM_WEB,))),)).with_subnet(
    replace(DUAL_PEER.subnets[0], machines=(Machine(groups=("web",)),)))

LOGS = (FlowLog(), FlowLog("public", "web1", Traffic.REJECT, 10, Form.JSON))
LOGGED = replace(CROWD, flow_logs=LOGS)
OF_PUBLIC = (FlowLog("public"), FlowLog("private", interval=1))
DUAL_LOGGED = replace(DUAL_GROUPED, dns=Dns(), acls=(WEB_ACL,), nat=NAT, nat_gateways=GATEWAY.nat_gateways)
OPENED = joined(GROUPED).with_subnet(replace(PUBLIC, policy=Policy((ALLOW_WEB,)), machines=(
    Machine(), Machine("box", (IPv4Address("10.0.1.4"),), groups=("web",), forwards=True))))

PLANS: dict[str, tuple[Topology, Topology]] = {
    "flow-log-create": (Topology((CROWD, PEER)), Topology((LOGGED, PEER))),
    "flow-log-delete": (Topology((LOGGED, PEER)), Topology((CROWD, PEER))),
    "flow-log-of-subnets-with-ipv6-and-groups": (
        Topology((DUAL_LOGGED,)), Topology((replace(DUAL_LOGGED, flow_logs=OF_PUBLIC[:1]),))),
    "flow-log-of-open-groups-and-a-policy": (
        Topology((OPENED,)), Topology((replace(OPENED, flow_logs=OF_PUBLIC),))),
    "flow-log-where-ports-are-not-guarded": (
        Topology((EDGED,), guarded=False), Topology((replace(EDGED, flow_logs=LOGS[:1]),), guarded=False)),
    "vpc-create": (Topology(), Topology((EMPTY,))),
    "vpc-create-second": (Topology((PLAIN,)), Topology((PLAIN, PEER))),
    "vpc-create-over-a-route-of-the-host": (Topology(), Topology((replace(EMPTY, routed=False),))),
    "vpc-create-long-name": (Topology(), Topology((replace(EMPTY, name="production-europe-west"),))),
    "machines": (Topology((OPEN,)), Topology((CROWD,))),
    "machines-delete": (Topology((CROWD,)), Topology((OPEN,))),
    "machine-bandwidth": (Topology((OPEN,)), Topology((LIMITED,))),
    "machine-bandwidth-other": (Topology((LIMITED,)), Topology((SLOWER,))),
    "machine-bandwidth-none": (Topology((LIMITED,)), Topology((OPEN,))),
    "mirrors": (Topology((OPEN,)), Topology((COPIED,))),
    "mirrors-one-less": (Topology((COPIED,)), Topology((COPIED_ONCE,))),
    "mirrors-and-a-bandwidth": (Topology((COPIED,)), Topology((COPIED_SLOWLY,))),
    "mirrors-none": (Topology((COPIED_ONCE,)), Topology((OPEN,))),
    "machine-that-forwards": (Topology((OPEN,)), Topology((MIDDLEBOX,))),
    "machine-that-forwards-by-a-policy": (Topology((MIDDLEBOX,)), Topology((ASKED,))),
    "nat-gateway-create": (Topology((OPEN,)), Topology((GATEWAY,))),
    "nat-gateway-delete": (Topology((GATEWAY,)), Topology((OPEN,))),
    "route-table-add-route": (Topology((GATEWAY,)), Topology((ROUTED,))),
    "route-table-delete-route": (Topology((ROUTED,)), Topology((GATEWAY,))),
    "route-table-associate": (Topology((MIDDLEBOX, PEER), PEERING), Topology((BOXED, PEER), PEERING)),
    "route-table-whose-peer-goes": (Topology((BOXED, PEER), PEERING), Topology((BOXED, PEER))),
    "route-tables-of-several-middleboxes": (
        Topology((OPEN, PEER, THIRD), ALL_PEERED),
        Topology((BOXES, CUT_OFF, THIRD), ALL_PEERED, front=FRONT)),
    "route-table-beside-published-ports": (
        Topology((PUBLISHED,), front=FRONT), Topology((UNUSED,), front=FRONT)),
    "nat-gateway-beside-published-ports": (
        Topology((GATEWAY,), front=FRONT), Topology((ANSWERING,), front=FRONT)),
    "nat-gateway-and-middlebox-beside-published-ports": (
        Topology((ANSWERING,), front=FRONT), Topology((SENT_ON,), front=FRONT)),
    "publish-add-at-one-address": (Topology((OPEN,)), Topology((LISTENING,), front=FRONT)),
    "publish-add-beside-an-elastic-address": (
        Topology((OPEN,), front=FRONT, pools=POOL, eips=(Elastic(ADDRESS, "vpc1", "public"),)),
        Topology((PUBLISHED,), front=FRONT, pools=POOL, eips=(Elastic(ADDRESS, "vpc1", "public"),))),
    "pool-add": (Topology((OPEN, PEER)), Topology((OPEN, PEER), pools=POOL)),
    "eip-associate-with-a-resolver-among-refused": (
        Topology((replace(OPEN, nat=NEAR_RESOLVERS), replace(TWIN, nat=NEAR_RESOLVERS)), pools=POOL),
        Topology((replace(OPEN, nat=NEAR_RESOLVERS), replace(TWIN, nat=NEAR_RESOLVERS)), pools=POOL,
                 eips=(Elastic(ADDRESS, "vpc1", "public"), Elastic(ADDRESS + 1, TWIN.name, "public")))),
    "ipv6-nat-enable-with-a-prefix-that-is-routed": (
        Topology((replace(DUAL_LED, nat=None), DUAL_PEER)),
        Topology((DUAL_LED, replace(DUAL_PEER, nat=NAT)))),
    "vpc-delete": (Topology((EMPTY,)), Topology()),
    "vpc-delete-with-everything": (Topology((FULL, PEER), PEERING), Topology((PEER,))),
    "vpc-delete-first-of-two-that-overlap": (
        Topology((PLAIN, replace(TWIN, nat=NAT))), Topology((replace(TWIN, nat=NAT),))),
    "subnet-add": (Topology((EMPTY,)), Topology((EMPTY.with_subnet(PUBLIC),))),
    "subnet-add-where-ports-are-not-guarded": (
        Topology((PLAIN,), guarded=False), Topology((PLAIN.with_subnet(LATE),), guarded=False)),
    "guard-where-nft-was-installed": (Topology((PLAIN,), guarded=False), Topology((PLAIN,))),
    "nat-enable-with-a-resolver-among-refused": (
        Topology((PLAIN,)),
        Topology((replace(PLAIN, nat=replace(NAT, resolvers=(IPv4Address("169.254.169.253"),))),))),
    "subnet-add-after-nat-and-peering": (
        Topology((OPEN, PEER), PEERING), Topology((OPEN.with_subnet(LATE), PEER), PEERING)),
    "subnet-set-private": (
        Topology((OPEN,)), Topology((OPEN.with_subnet(replace(PUBLIC, type=SubnetType.PRIVATE)),))),
    "subnet-set-public": (
        Topology((OPEN.with_subnet(replace(PUBLIC, type=SubnetType.PRIVATE)),)), Topology((OPEN,))),
    "subnet-delete": (Topology((FULL,)), Topology((FULL.without_subnet("public"),))),
    "nat-enable": (Topology((PLAIN,)), Topology((OPEN,))),
    "nat-enable-small-mtu": (Topology((PLAIN,)), Topology((replace(PLAIN, nat=replace(NAT, mtu=1400)),))),
    "nat-enable-on-a-second-vpc": (
        Topology((OPEN, PEER)), Topology((OPEN, replace(PEER, nat=NAT)))),
    "nat-enable-where-cidrs-overlap": (
        Topology((PLAIN, TWIN)), Topology((PLAIN, replace(TWIN, nat=NAT)))),
    "nat-disable": (Topology((OPEN,)), Topology((PLAIN,))),
    "nat-disable-small-mtu": (Topology((replace(PLAIN, nat=replace(NAT, mtu=1400)),)), Topology((PLAIN,))),
    "peer-create": (Topology((PLAIN, PEER)), Topology((PLAIN, PEER), PEERING)),
    "peer-delete": (Topology((PLAIN, PEER), PEERING), Topology((PLAIN, PEER))),
    "firewall-apply": (Topology((PLAIN,)), Topology((GUARDED,))),
    "firewall-apply-again": (
        Topology((GUARDED,)), Topology((PLAIN.with_subnet(replace(PUBLIC, policy=Policy((ALLOW_WEB,)))),))),
    "firewall-clear": (Topology((GUARDED,)), Topology((PLAIN,))),
    "deploy": (Topology((PLAIN,)), Topology((PLAIN.with_subnet(running(WORKLOADS)),))),
    "deploy-looked-after": (Topology((PLAIN,)),
                            Topology((PLAIN.with_subnet(running((KEPT,))),))),
    "group-create": (Topology((PLAIN, PEER), PEERING), Topology((GROUPED, PEER), PEERING)),
    "group-join": (Topology((GROUPED, PEER), PEERING), Topology((joined(GROUPED), PEER), PEERING)),
    "group-join-one-more": (Topology((joined(GROUPED), PEER), PEERING), Topology((WIDER, PEER), PEERING)),
    "group-apply": (
        Topology((joined(GROUPED), PEER), PEERING),
        Topology((joined(GROUPED).with_group(Group("data", Policy((ALLOW_WEB, FROM_WEB)))), PEER), PEERING)),
    "group-leave": (Topology((joined(GROUPED), PEER), PEERING), Topology((GROUPED, PEER), PEERING)),
    "group-of-a-peer-whose-peering-goes": (
        Topology((joined(GROUPED), PEER), PEERING), Topology((joined(GROUPED), PEER))),
    "publish-add": (Topology((OPEN, PEER)), Topology((PUBLISHED, PEER), front=FRONT)),
    "publish-add-one-more": (
        Topology((PUBLISHED, PEER), front=FRONT),
        Topology((PUBLISHED.with_subnet(replace(PRIVATE, machines=(Machine(publishes=(Publish(81, 81),)),))),
                  PEER), front=FRONT)),
    "publish-add-where-cidrs-overlap": (
        Topology((PLAIN, TWIN)),
        Topology((PLAIN, TWIN.with_subnet(replace(PUBLIC, machines=(PORTS,)))))),
    "publish-delete": (Topology((PUBLISHED, PEER), front=FRONT), Topology((OPEN, PEER))),
    "vpc-delete-with-published-ports": (Topology((PUBLISHED, PEER), front=FRONT), Topology((PEER,))),
    "eip-associate": (
        Topology((OPEN, PEER), front=FRONT, pools=POOL, eips=(Elastic(ADDRESS),)),
        Topology((OPEN, PEER), front=FRONT, pools=POOL, eips=(Elastic(ADDRESS, "vpc1", "public"),))),
    "eip-associate-where-cidrs-overlap": (
        Topology((PLAIN, replace(TWIN, nat=NAT)), front=FRONT, pools=POOL),
        Topology((PLAIN, replace(TWIN, nat=NAT)), front=FRONT, pools=POOL,
                 eips=(Elastic(ADDRESS, TWIN.name, "public"),))),
    "eip-move": (
        Topology((OPEN, replace(PEER.with_subnet(LATE_PEER), nat=NAT)), front=FRONT, pools=POOL,
                 eips=(Elastic(ADDRESS, "vpc1", "public"),)),
        Topology((OPEN, replace(PEER.with_subnet(LATE_PEER), nat=NAT)), front=FRONT, pools=POOL,
                 eips=(Elastic(ADDRESS, "vpc2", "late"),))),
    "eip-dissociate": (
        Topology((OPEN, PEER), front=FRONT, pools=POOL, eips=(Elastic(ADDRESS, "vpc1", "public"),)),
        Topology((OPEN, PEER), front=FRONT, pools=POOL, eips=(Elastic(ADDRESS),))),
    "acl-create": (Topology((PLAIN,)), Topology((EDGED,))),
    "acl-apply": (Topology((ASSOCIATED,)), Topology((ASSOCIATED.with_acl(replace(WEB_ACL, egress=())),))),
    "acl-associate": (Topology((EDGED,)), Topology((ASSOCIATED,))),
    "acl-associated-subnet-gets-a-machine": (Topology((ASSOCIATED,)), Topology((MORE_EDGED,))),
    "acl-delete": (Topology((EDGED,)), Topology((PLAIN,))),
    "dns-enable": (Topology((GUARDED,)), Topology((replace(GUARDED, dns=Dns()),))),
    "dns-enable-another-domain": (Topology((NAMED,)), Topology((ALIASED,))),
    "dns-of-another-machine": (Topology((NAMED,)), Topology((replace(CROWD, dns=NAMED.dns),))),
    "dns-of-a-peer": (Topology((NAMED, NAMED_PEER)), Topology((NAMED, NAMED_PEER), PEERING)),
    "dns-enable-where-a-peer-has-none": (
        Topology((OPEN, PEER), PEERING), Topology((replace(OPEN, dns=Dns()), PEER), PEERING)),
    "dhcp-enable": (Topology((NAMED,)), Topology((replace(NAMED, dhcp=Dhcp((ADDRESS,), 43200)),))),
    "dhcp-enable-beside-a-virtual-machine": (
        Topology((VIRTUAL,)), Topology((replace(VIRTUAL, dhcp=Dhcp()),))),
    "dns-disable": (Topology((ALIASED,)), Topology((OPEN,))),
    "dhcp-of-a-second-cidr": (Topology((NAMED, NAMED_PEER), PEERING), Topology((WIDE, NAMED_PEER), PEERING)),
    "cidr-add": (Topology((OPEN, PEER), PEERING), Topology((replace(OPEN, cidrs=(SECOND,)), PEER), PEERING)),
    "attach": (Topology((NAMED, PEER), PEERING), Topology((GUESTS, PEER), PEERING)),
    "tap-create": (Topology((OPEN, PEER), PEERING), Topology((TAPPED, PEER), PEERING)),
    "ipv6-enable": (Topology((OPEN, DUAL_PEER)), Topology((DUAL_OPEN, DUAL_PEER))),
    "ipv6-enable-with-the-older-iptables": (
        Topology((PLAIN,), iptables=Variant.LEGACY), Topology((DUAL,), iptables=Variant.LEGACY)),
    "ipv6-nat-enable": (Topology((DUAL, DUAL_PEER)), Topology((DUAL_OPEN, DUAL_PEER))),
    "ipv6-publish-add": (Topology((DUAL_OPEN, DUAL_PEER)), DUAL_PUBLISHED),
    "ipv6-publish-add-at-one-address": (
        Topology((DUAL, DUAL_PEER)),
        Topology((DUAL_LISTENING, DUAL_PEER), entrances=("eth0",))),
    "ipv6-publish-delete": (DUAL_PUBLISHED, Topology((DUAL_OPEN, DUAL_PEER))),
    "ipv6-enable-with-published-ports": (Topology((PUBLISHED, DUAL_PEER), front=FRONT), DUAL_PUBLISHED),
    "ipv6-publish-add-beside-route-tables": (
        Topology((DUAL_ROUTED, DUAL_PEER, THIRD), ALL_PEERED),
        Topology((DUAL_LED_BACK, DUAL_PEER, THIRD), ALL_PEERED, front=FRONT, front6=FRONT6,
                 entrances=("eth0",))),
    "ipv6-peer-create": (Topology((DUAL, DUAL_PEER)), Topology((DUAL, DUAL_PEER), PEERING)),
    "ipv6-peer-create-beside-a-route-table": (
        Topology((DUAL_TABLED, DUAL_PEER)), Topology((DUAL_TABLED, DUAL_PEER), PEERING)),
    "ipv6-route-tables-of-a-prefix-that-is-routed": (
        Topology((DUAL_LED, DUAL_PEER, THIRD), ALL_PEERED),
        Topology((tabled(DUAL_LED, ONE6), DUAL_PEER, THIRD), ALL_PEERED)),
    "ipv6-route-tables": (Topology((DUAL_OPEN, DUAL_PEER, THIRD), ALL_PEERED),
                          Topology((DUAL_ROUTED, DUAL_PEER, THIRD), ALL_PEERED)),
    "ipv6-peer-create-with-one-that-has-none": (Topology((DUAL, PEER)), Topology((DUAL, PEER), PEERING)),
    "ipv6-firewall-apply-and-attach": (
        Topology((DUAL, DUAL_PEER), PEERING), Topology((DUAL_GUARDED, DUAL_PEER), PEERING)),
    "ipv6-groups": (Topology((DUAL, DUAL_PEER)), Topology((DUAL_GROUPED, OF_THE_SAME_NAME))),
    "ipv6-dns-enable": (Topology((DUAL, DUAL_PEER)), Topology((DUAL, DUAL_NAMED))),
    "ipv6-of-virtual-machines-but-not-of-nat-gateways": (
        Topology((DUAL_OPEN,)), Topology((DUAL_VIRTUAL,))),
    "groups-where-ports-are-not-guarded": (
        Topology((PLAIN,), guarded=False), Topology((joined(GROUPED),), guarded=False)),
    "acl-create-where-dns-answers": (
        Topology((replace(PLAIN, dns=Dns()),)),
        Topology((EDGED_NAMED.with_subnet(replace(PUBLIC, acl="web")),))),
    "dns-enable-beside-network-acls": (Topology((EDGED,)), Topology((replace(EDGED, dns=Dns()),))),
    "nat-enable-where-cidrs-overlap-and-nothing-is-public": (
        Topology((PLAIN, replace(TWIN, subnets=(PRIVATE,)))),
        Topology((PLAIN, replace(TWIN, nat=NAT, subnets=(PRIVATE,))))),
    "ipv6-disable": (Topology((DUAL_OPEN,)), Topology((OPEN,))),
    "deploy-stop": (Topology((PLAIN.with_subnet(running(WORKLOADS)),)), Topology((PLAIN,))),
}


@pytest.fixture
def plan(bare_host: Path) -> Callable[[Topology, Topology], str]:
    """What the commands are from one topology to another, where forwarding was off at first."""

    def text(before: Topology, after: Topology) -> str:
        before, after = map(_guarded, (before, after))
        (bare_host / "ip_forward").write_text("0")
        made = difference((), blueprint(before)).after
        if any(vpc.nat for vpc in before.vpcs):
            (bare_host / "ip_forward").write_text("1")
        found = commands(difference(made, blueprint(after)), DEFAULT_FOLDER, Runner())
        return "".join(f"{command}\n" for command in found).replace(str(netns.NAMES), "/run/netns")

    return text


def _guarded(topology: Topology) -> Topology:
    """As on a host with nft, unless the plan says otherwise."""
    if not topology.vpcs or topology.guarded is not None:
        return topology
    return replace(topology, guarded=True, quotes=True)


@pytest.mark.parametrize("name", PLANS)
def test_each_thing_has_a_key_of_its_own_and_stands_in_what_is_there(name: str) -> None:
    made: set[Hashable] = set()
    places: set[Place] = set()
    for one in blueprint(_guarded(PLANS[name][1])):
        assert one.key not in made
        links = {place for place in one.stands_in if place[0] and place[1] != "lo" and " " not in place[1]}
        assert links <= places, str(one)
        made.add(one.key)
        places |= one.places
    keys = [part.key for part in parts(_guarded(PLANS[name][1]))]
    assert len({*keys}) == len(keys)


@pytest.mark.parametrize("name", PLANS)
def test_the_commands(name: str, plan: Callable[[Topology, Topology], str]) -> None:
    file = GOLDEN / f"{name}.txt"
    found = plan(*PLANS[name])
    if os.environ.get("VPCCTL_REWRITE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        file.write_text(found)
    assert found == file.read_text()


def test_no_plan_is_forgotten_in_the_folder() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(PLANS)
