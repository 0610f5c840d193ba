"""Golden plans: the exact commands of the common changes, as text files in the folder golden.

A change of the program that changes a plan shows here, command by command. When it is meant, write them anew
with `VPCCTL_REWRITE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/test_golden_plans.py` and read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.outside import Elastic, Pool, Publish, Transport
from vpcctl_lib.model.policies import Acl, AclRule, Action, Group, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable, Via, VpcRoute
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Restart, Upkeep, Workload
from vpcctl_lib.record.document import DEFAULT_FOLDER

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

NAMED = replace(OPEN, dns=Dns(records=(Record("db", (IPv4Address("10.0.2.9"),)),)))
ALIASED = replace(NAMED, dns=Dns("corp.internal", (IPv4Address("1.1.1.1"),),
                                 (Record("www", cname="public"),)))
VIRTUAL = NAMED.with_subnet(replace(PUBLIC, machines=(Machine("vm", (IPv4Address("10.0.1.4"),), tap="vm0"),)))
NAMED_PEER = replace(PEER, dns=Dns())

PLANS: dict[str, tuple[Topology, Topology]] = {
    "vpc-create": (Topology(), Topology((EMPTY,))),
    "vpc-create-second": (Topology((PLAIN,)), Topology((PLAIN, PEER))),
    "vpc-create-over-a-route-of-the-host": (Topology(), Topology((replace(EMPTY, routed=False),))),
    "vpc-create-long-name": (Topology(), Topology((replace(EMPTY, name="production-europe-west"),))),
    "machines": (Topology((OPEN,)), Topology((CROWD,))),
    "machines-delete": (Topology((CROWD,)), Topology((OPEN,))),
    "machine-that-forwards": (Topology((OPEN,)), Topology((MIDDLEBOX,))),
    "machine-that-forwards-by-a-policy": (Topology((MIDDLEBOX,)), Topology((ASKED,))),
    "nat-gateway-create": (Topology((OPEN,)), Topology((GATEWAY,))),
    "nat-gateway-delete": (Topology((GATEWAY,)), Topology((OPEN,))),
    "route-table-add-route": (Topology((GATEWAY,)), Topology((ROUTED,))),
    "route-table-delete-route": (Topology((ROUTED,)), Topology((GATEWAY,))),
    "route-table-associate": (Topology((MIDDLEBOX, PEER), PEERING), Topology((BOXED, PEER), PEERING)),
    "route-table-whose-peer-goes": (Topology((BOXED, PEER), PEERING), Topology((BOXED, PEER))),
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
    "dhcp-enable": (Topology((NAMED,)), Topology((replace(NAMED, dhcp=Dhcp((ADDRESS,), 43200)),))),
    "dhcp-enable-beside-a-virtual-machine": (
        Topology((VIRTUAL,)), Topology((replace(VIRTUAL, dhcp=Dhcp()),))),
    "dns-disable": (Topology((ALIASED,)), Topology((OPEN,))),
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
        return "".join(f"{command}\n"
                       for command in commands(difference(made, blueprint(after)), DEFAULT_FOLDER, Runner()))

    return text


def _guarded(topology: Topology) -> Topology:
    """As on a host with nft, unless the plan says otherwise."""
    if not topology.vpcs or topology.guarded is not None:
        return topology
    return replace(topology, guarded=True, quotes=True)


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
