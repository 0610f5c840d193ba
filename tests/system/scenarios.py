"""The commands that the fault tests walk, each on the host that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Any

VPC1 = ("vpc create --name vpc1 --cidr 10.0.0.0/16",)
SUBNET = (*VPC1, "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
NAT = (*SUBNET, "nat enable --vpc vpc1")
WEB = "deploy webserver --vpc vpc1 --subnet public --port 8080"
RUN = "deploy run --vpc vpc1 --subnet public --name worker -- sleep infinity"
KEPT = ("deploy run --vpc vpc1 --subnet public --name kept --env A=1 --workdir /usr --stop-signal INT "
        "--stop-timeout 1s --restart always --log-max 64K -- sleep infinity")
VPC2 = ("vpc create --name vpc2 --cidr 172.16.0.0/16",
        "subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public")
PEERED = (*NAT, *VPC2, "peer create --vpc1 vpc1 --vpc2 vpc2")
TWIN = (*NAT, "vpc create --name twin --cidr 10.0.0.0/16",
        "subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
WIDER = "vpc set --name vpc1 --add-cidr 10.1.0.0/16"
NARROWER = "vpc set --name vpc1 --remove-cidr 10.1.0.0/16"
SIX = "vpc set --name vpc1 --ipv6 auto"
FOUR = "vpc set --name vpc1 --no-ipv6"
DUAL = (*PEERED, "vpc set --name vpc2 --ipv6 auto")
FAR = "subnet add --vpc vpc1 --name far --cidr 10.1.1.0/24 --type public"
POLICY = "firewall apply --vpc vpc1 --subnet public --policy {policy}"
TREE = "firewall apply --vpc vpc1 --subnet public --policy {tree}"
OTHER_TREE = "firewall apply --vpc vpc1 --subnet public --policy {other-tree}"
MORE = "subnet add --vpc vpc1 --name more --cidr 10.0.2.0/24 --type public"
MACHINE = "instance add --vpc vpc1 --subnet public --name web1 --address 10.0.1.9 --forwards"
GUEST = "instance attach --vpc vpc1 --subnet public --name lab --netns /run/netns/other --interface vpc0"
VIRTUAL = "instance attach --vpc vpc1 --subnet public --name lab --tap vm0"
GONE = "instance detach --vpc vpc1 --subnet public --name lab"
JOB = "deploy run --vpc vpc1 --subnet public --instance web1 --name job -- sleep infinity"
GROUP = "group create --vpc vpc1 --name web"
RULES = "group apply --vpc vpc1 --name web --policy {group}"
JOIN = "group join --vpc vpc1 --subnet public --name web"
MEMBERS = (*SUBNET, GROUP, RULES, JOIN, MACHINE, f"{JOIN} --instance web1")
PUBLISH = "publish add --vpc vpc1 --subnet public --port 8080:80"
UNPUBLISH = "publish delete --port 8080"
POOL = "eip pool add 198.51.100.0/28"
ALLOCATE = "eip allocate"
ASSOCIATE = "eip associate --address 198.51.100.0 --vpc vpc1 --subnet public"
ELASTIC = (*NAT, *VPC2, POOL, ALLOCATE, ASSOCIATE)
LIMIT = "instance set --vpc vpc1 --subnet public --bandwidth 100mbit"
MIRROR = "mirror create --vpc vpc1 --subnet public --to more"
COPIES = (*SUBNET, MORE, MIRROR, "mirror create --vpc vpc1 --subnet more --to public --plain")
UNMIRROR = "mirror delete --vpc vpc1 --subnet public"
DNS = "dns enable --vpc vpc1"
RECORD = "dns add --vpc vpc1 --name db --address 10.0.1.77"
ALIAS = "dns add --vpc vpc1 --name www --cname db"
NAMED = (*PEERED, DNS, "dns enable --vpc vpc2 --domain corp.internal", RECORD)
DHCP = "dhcp enable --vpc vpc1 --lease 12h"
LOG = "flow-log create --vpc vpc1 --interval 1"
LOGGED = (*SUBNET, LOG)
ACL = "acl create --vpc vpc1 --name edge"
EDGE = "acl apply --vpc vpc1 --name edge --rules {acl}"
EDGES = (*SUBNET, ACL, EDGE, "acl associate --vpc vpc1 --subnet public --name edge")
GATEWAY = "nat-gateway create --vpc vpc1 --subnet public --name nat1"
TABLE = "route-table create --vpc vpc1 --name app"
ROUTE = "route-table add-route --vpc vpc1 --name app --to 0.0.0.0/0 --via nat:nat1"
BOX = "route-table add-route --vpc vpc1 --name app --to 172.16.0.0/16 --via instance:public/web1"
USE = "route-table associate --vpc vpc1 --subnet more --name app"
ROUTED = (*PEERED, MORE, GATEWAY, TABLE, ROUTE)
OUT6 = "route-table add-route --vpc vpc1 --name app --to ::/0 --via egress-only"
BOX6 = "route-table add-route --vpc vpc1 --name app --to 2600::/16 --via instance:public/web1"
ROUTED6 = (*DUAL, SIX, MORE, TABLE, OUT6)
APPLIED = (*NAT, POLICY, RUN, WEB, MORE, *VPC2)
UNIT = "restore --install-unit --unit-dir /run"
NO_UNIT = "restore --remove-unit --unit-dir /run"


def _many(first: int) -> dict[str, Any]:
    """A policy that becomes a tree of chains."""
    return {"ingress": [{"port": first + number, "protocol": "tcp", "action": "allow",
                         "source": f"10.0.{number}.0/24"} for number in range(80)]}


NETWORK = """\
version: 1
vpcs:
  vpc1:
    cidr: 10.0.0.0/16
    nat: {interface: eth0}
    subnets:
      public:
        cidr: 10.0.1.0/24
        type: public
        firewall: {ingress: [{port: 80, protocol: tcp, action: allow}]}
        workloads:
          webserver-80: {webserver: 80}
          worker: {run: [sleep, infinity], restart: on-failure, env: {A: 1}, stop_timeout: 1s}
      fresh: {cidr: 10.0.3.0/24, type: public}
  vpc2: {cidr: 172.16.0.0/16, nat: true, subnets: {public: {cidr: 172.16.1.0/24}}}
peerings:
  - [vpc1, vpc2]
"""
"""Against APPLIED: subnet, workload, NAT and peering more; subnet and workload less; another policy."""

FILES: dict[str, Any] = {
    "policy": {"ingress": [{"port": 8080, "protocol": "tcp", "action": "allow"}], "egress": []},
    "group": {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow", "source": "group:web"}]},
    "other-group": {"ingress": [{"port": 81, "protocol": "tcp", "action": "allow", "source": "group:web"}],
                    "egress": [{"protocol": "icmp", "action": "allow", "destination": "group:web"}]},
    "acl": {"ingress": [{"number": 100, "port": 80, "protocol": "tcp", "action": "allow"}], "egress": []},
    "other-acl": {"ingress": [], "egress": [{"number": 7, "protocol": "icmp", "action": "deny"}]},
    "tree": _many(1000), "other-tree": _many(2000), "network": NETWORK,
    "alone": "version: 1\nvpcs:\n  vpc2: {cidr: 172.16.0.0/20, subnets: {public: {cidr: 172.16.1.0/24}}}\n",
}
"""What commands read, by the names that they have in them."""

FLUSH = """
sysctl -qw net.ipv4.ip_forward=0
iptables-save | grep -ve '--comment "*vpcctl:' -e '-j VPCCTL-' -e ^:VPCCTL | iptables-restore
"""
FLUSH6 = """
ip6tables-save | grep -ve '--comment "*vpcctl:' -e '-j VPCCTL-' -e ^:VPCCTL | ip6tables-restore
"""
DISTURB = "ip netns del vpc1-public; ip link del vpc-vpc1" + FLUSH
REBOOT = """
ip netns pids vpc1-public | xargs kill -9 || true  # the first takes others along
ip link del vpc-vpc1; ip link del vpc-vpc2
for name in vpc1 vpc1-public vpc2 vpc2-public; do ip netns del $name; done""" + FLUSH
LOSE = "cd /var/lib/vpcctl && head -c 200 state.json.bak >state.json"
COLLECTOR_GONE = """ip netns pids vpcctl.flow-logs | xargs kill -9 || true
ip netns del vpcctl.flow-logs; rm -r /run/vpcctl"""
UNKNOWN = "sysctl -qw net.ipv4.ip_forward=0; rm -f /var/lib/vpcctl/state.json*.lost-*"


@dataclass(frozen=True)
class Scenario:
    """A command, and the ones before it on an empty host."""

    command: str
    before: tuple[str, ...]
    case: str = ""
    """What tells it from others of the same command."""

    damage: str = ""
    """A script that gives `restore` something to do; it runs before the command."""

    crash: str = ""
    """A command that is killed half-way before this one."""

    back: tuple[str, ...] = ()
    """What takes back that which is no part of the network."""

    by_hand: str = ""
    """A script that puts right what no deleted VPC takes with it."""

    @property
    def words(self) -> str:
        """The command's own name, without its options."""
        return " ".join(takewhile(lambda word: word[0].isalpha(), self.command.split()))

    @property
    def name(self) -> str:
        """What the tests call it."""
        return f"{self.words} ({self.case})" if self.case else self.words

    @property
    def mends(self) -> bool:
        """Whether it finds something broken, and what it mended before a failure stays so."""
        return bool(self.damage or self.crash)


SCENARIOS = (
    Scenario(VPC2[0], NAT),
    Scenario("vpc create --name twin --cidr 10.200.0.0/16 --allow-overlap", NAT, "overlap"),
    Scenario("vpc delete --name vpc1", (*PEERED, WEB, POLICY, GUEST)),
    Scenario("vpc delete --name vpc1", (*TWIN, "nat enable --vpc twin"), "overlap"),
    Scenario("vpc delete --name vpc1", (*PEERED, RUN), "half-made", crash="vpc delete --name vpc1"),
    Scenario(WIDER, (*PEERED, GUEST)),
    Scenario(WIDER, (*ROUTED, USE, MACHINE, BOX, PUBLISH), "route tables"),
    Scenario(WIDER, PEERED, "half-made", crash=WIDER),
    Scenario(NARROWER, (*PEERED, WIDER), "less"),
    Scenario(NARROWER, (*PEERED, WIDER), "less, half-made", crash=NARROWER),
    Scenario(FAR, (*PEERED, WIDER), "in a further CIDR"),
    Scenario("restore", (*PEERED, WIDER), "a further CIDR", damage=REBOOT),
    Scenario(SIX, (*DUAL, GUEST), "IPv6"),
    Scenario(SIX, DUAL, "IPv6, half-made", crash=SIX),
    Scenario(FOUR, (*DUAL, SIX, GUEST), "no IPv6"),
    Scenario(MORE, (*DUAL, SIX), "IPv6"),
    Scenario("restore", (*DUAL, SIX), "IPv6", damage=REBOOT),
    Scenario(SIX, (*DUAL, VIRTUAL), "IPv6 of a tap"),
    Scenario(FOUR, (*DUAL, SIX, VIRTUAL), "no IPv6 of a tap"),
    Scenario(MORE, PEERED),
    Scenario(MORE, NAT, "half-made", crash=MORE),
    Scenario("subnet add --vpc vpc1 --name range --cidr 10.0.4.0/24 --bare", NAT),
    Scenario(MACHINE, (*PEERED, POLICY)),
    Scenario(MACHINE, SUBNET, "half-made", crash=MACHINE),
    Scenario("instance delete --vpc vpc1 --subnet public --name web1", (*PEERED, POLICY, MACHINE, JOB)),
    Scenario(GUEST, (*PEERED, POLICY)),
    Scenario(GUEST, (*SUBNET, POLICY), "half-made", crash=GUEST),
    Scenario(GONE, (*PEERED, POLICY, GUEST)),
    Scenario(VIRTUAL, (*PEERED, POLICY), "a tap"),
    Scenario(VIRTUAL, (*SUBNET, POLICY), "half-made tap", crash=VIRTUAL),
    Scenario(GONE, (*PEERED, POLICY, VIRTUAL), "a tap"),
    Scenario(VIRTUAL, (*DUAL, SIX, POLICY), "a tap with IPv6"),
    Scenario("restore", (*SUBNET, POLICY, GUEST), "unmounted", damage="ip netns del vpc1-public.lab"),
    Scenario(LIMIT, PEERED),
    Scenario(LIMIT, SUBNET, "half-made", crash=LIMIT),
    Scenario(LIMIT.replace("100m", "10m"), (*SUBNET, LIMIT), "another bandwidth"),
    Scenario(LIMIT.replace("100mbit", "none"), (*SUBNET, LIMIT), "no bandwidth"),
    Scenario("restore", (*SUBNET, LIMIT), "bandwidth", damage="ip -n vpc1 link del s-public"),
    Scenario(MIRROR, (*PEERED, MORE, LIMIT)),
    Scenario(MIRROR, (*SUBNET, MORE), "half-made", crash=MIRROR),
    Scenario(COPIES[-1], COPIES[:-1], "plain"),
    Scenario(UNMIRROR, COPIES),
    Scenario("restore", COPIES, "mirrors", damage="ip -n vpc1 link del copy1; ip -n vpc1 link del copy2"),
    Scenario("restore --from-kernel", (*COPIES, LIMIT), "mirrors from the kernel", damage=LOSE,
             by_hand=UNKNOWN),
    Scenario("subnet set --vpc vpc1 --name public --type private", (*PEERED, MORE, RUN)),
    Scenario("subnet delete --vpc vpc1 --name public", (*PEERED, RUN)),
    Scenario("nat enable --vpc vpc1", (*SUBNET, *VPC2)),
    Scenario("nat enable --vpc vpc1", (*SUBNET, SIX), "IPv6"),
    Scenario("nat enable --vpc twin", TWIN, "overlap"),
    Scenario("nat disable --vpc vpc1", NAT),
    Scenario(PEERED[-1], PEERED[:-1]),
    Scenario("peer delete --vpc1 vpc2 --vpc2 vpc1", PEERED),
    Scenario(POLICY, SUBNET),
    Scenario(OTHER_TREE, (*SUBNET, TREE), "tree of chains"),
    Scenario("firewall allow --vpc vpc1 --subnet public --protocol tcp --port 80", SUBNET),
    Scenario("firewall deny --vpc vpc1 --subnet public --protocol icmp", (*SUBNET, POLICY)),
    Scenario(GROUP, SUBNET),
    Scenario(RULES, MEMBERS[:-3] + MEMBERS[-2:-1]),
    Scenario(RULES.replace("{group}", "{other-group}"), MEMBERS, "members"),
    Scenario(JOIN, (*SUBNET, POLICY, GROUP, RULES)),
    Scenario(MEMBERS[-1], MEMBERS[:-1], "one more"),
    Scenario(JOIN, (*SUBNET, GROUP, RULES), "half-made", crash=JOIN),
    Scenario("group leave --vpc vpc1 --subnet public --name web", (*MEMBERS, POLICY)),
    Scenario("group delete --vpc vpc1 --name web", (*SUBNET, GROUP, RULES)),
    Scenario(PUBLISH, (*SUBNET, *VPC2)),
    Scenario(PUBLISH, (*TWIN, "nat enable --vpc twin"), "overlap"),
    Scenario(PUBLISH, NAT, "half-made", crash=PUBLISH),
    Scenario(UNPUBLISH, (*NAT, PUBLISH)),
    Scenario(PUBLISH, (*DUAL, SIX), "IPv6"),
    Scenario(PUBLISH, (*SUBNET, SIX), "IPv6, half-made", crash=PUBLISH),
    Scenario(UNPUBLISH, (*NAT, SIX, PUBLISH), "IPv6"),
    Scenario(SIX, (*NAT, PUBLISH), "published"),
    Scenario(FOUR, (*NAT, SIX, PUBLISH), "published"),
    Scenario("restore", (*DUAL, SIX, PUBLISH), "published by IPv6", damage=REBOOT + FLUSH6),
    Scenario("vpc delete --name vpc1", (*PEERED, PUBLISH), "published"),
    Scenario(POOL, NAT),
    Scenario("eip pool delete 198.51.100.0/28", (*NAT, POOL)),
    Scenario(ALLOCATE, (*NAT, POOL)),
    Scenario("eip release --address 198.51.100.0", (*NAT, POOL, ALLOCATE)),
    Scenario(ASSOCIATE, ELASTIC[:-1]),
    Scenario(ASSOCIATE, ELASTIC[:-1], "half-made", crash=ASSOCIATE),
    Scenario(f"{ASSOCIATE} --instance web1", (*ELASTIC, MACHINE), "moves"),
    Scenario("eip dissociate --address 198.51.100.0", ELASTIC),
    Scenario("vpc delete --name vpc1", (*ELASTIC, *PEERED[-1:], PUBLISH), "with an elastic address"),
    Scenario(ACL, SUBNET),
    Scenario(EDGE, EDGES[:-2]),
    Scenario(EDGE.replace("{acl}", "{other-acl}"), EDGES, "at an edge"),
    Scenario(EDGES[-1], EDGES[:-1]),
    Scenario(EDGES[-1], EDGES[:-1], "half-made", crash=EDGES[-1]),
    Scenario("acl dissociate --vpc vpc1 --subnet public", EDGES),
    Scenario("acl delete --vpc vpc1 --name edge", EDGES[:-1]),
    Scenario(MACHINE, EDGES, "behind an ACL"),
    Scenario("restore", (*EDGES, MACHINE), "ACLs", damage="ip netns exec vpc1 nft flush ruleset"),
    Scenario(GATEWAY, NAT),
    Scenario(GATEWAY, NAT, "half-made", crash=GATEWAY),
    Scenario("nat-gateway delete --vpc vpc1 --name nat1", (*NAT, GATEWAY)),
    Scenario(TABLE, (*NAT, MORE)),
    Scenario("route-table delete --vpc vpc1 --name app", (*NAT, TABLE)),
    Scenario(ROUTE, (*NAT, MORE, GATEWAY, TABLE, USE)),
    Scenario(BOX, (*ROUTED, USE, MACHINE), "middlebox"),
    Scenario("route-table delete-route --vpc vpc1 --name app --to 0.0.0.0/0", (*ROUTED, USE)),
    Scenario(USE, (*ROUTED, MACHINE, BOX)),
    Scenario(USE, ROUTED, "half-made", crash=USE),
    Scenario("route-table dissociate --vpc vpc1 --subnet more", (*ROUTED, USE)),
    Scenario("peer delete --vpc1 vpc1 --vpc2 vpc2", (*ROUTED, USE, MACHINE, BOX), "route tables"),
    Scenario("restore", (*ROUTED, USE), "route tables", damage=REBOOT),
    Scenario(OUT6, (*DUAL, SIX, MORE, TABLE, USE), "IPv6"),
    Scenario(BOX6, (*ROUTED6, USE, MACHINE), "middlebox of IPv6"),
    Scenario("route-table delete-route --vpc vpc1 --name app --to ::/0", (*ROUTED6, USE), "IPv6"),
    Scenario(USE, (*ROUTED6, MACHINE, BOX6), "IPv6"),
    Scenario(USE, ROUTED6, "IPv6, half-made", crash=USE),
    Scenario("restore", (*ROUTED6, USE), "route tables of IPv6", damage=REBOOT + FLUSH6),
    Scenario(DNS, (*PEERED, POLICY)),
    Scenario(DNS, SUBNET, "half-made", crash=DNS),
    Scenario(f"{DNS} --domain other.internal --forward 1.1.1.1", NAMED, "another domain"),
    Scenario(RECORD, NAMED[:-1]),
    Scenario(ALIAS, NAMED, "alias"),
    Scenario("dns delete --vpc vpc1 --name db", NAMED),
    Scenario("dns disable --vpc vpc1", NAMED),
    Scenario(DHCP, NAMED),
    Scenario(DHCP, (*SUBNET, DNS), "half-made", crash=DHCP),
    Scenario("dhcp disable --vpc vpc1", (*NAMED, DHCP)),
    Scenario(DHCP, (*NAMED, VIRTUAL), "a tap"),
    Scenario(MACHINE, (*NAMED, DHCP), "with a lease"),
    Scenario(MACHINE, NAMED, "with a name"),
    Scenario("peer delete --vpc1 vpc1 --vpc2 vpc2", NAMED, "with names"),
    Scenario("vpc delete --name vpc1", NAMED, "with names"),
    Scenario("restore", NAMED, "names", damage=REBOOT + "\nrm -r /run/vpcctl"),
    Scenario("restore --from-kernel", NAMED, "names from the kernel", damage=LOSE, by_hand=UNKNOWN),
    Scenario(LOG, (*EDGES, POLICY)),
    Scenario(LOG, SUBNET, "half-made", crash=LOG),
    Scenario("flow-log delete --vpc vpc1", (*EDGES, LOG)),
    Scenario(POLICY, LOGGED, "with a flow log"),
    Scenario(MACHINE, LOGGED, "with a flow log"),
    Scenario("vpc delete --name vpc1", LOGGED, "with a flow log"),
    Scenario("restore", (*PEERED, LOG), "flow logs", damage=f"{REBOOT}\n{COLLECTOR_GONE}"),
    Scenario("restore --from-kernel", LOGGED, "flow logs from the kernel", damage=LOSE, by_hand=UNKNOWN),
    Scenario("firewall clear --vpc vpc1 --subnet public", (*SUBNET, POLICY)),
    Scenario(WEB, SUBNET),
    Scenario(RUN, SUBNET),
    Scenario(KEPT, SUBNET, "looked after"),
    Scenario("deploy stop --vpc vpc1 --subnet public --name worker", (*SUBNET, RUN)),
    Scenario("apply -f {network}", APPLIED),
    Scenario("apply --prune -f {alone}", PEERED, "prune"),
    Scenario("restore", (*NAT, RUN, KEPT), damage=DISTURB),
    Scenario("restore", (*PEERED, RUN, POLICY), "reboot", damage=REBOOT),
    Scenario("restore --from-kernel", (*PEERED, POLICY, RUN), "from the kernel",
             damage=LOSE, by_hand=UNKNOWN),
    Scenario(UNIT, (), "write the unit", back=(NO_UNIT,), by_hand=f"vpcctl {NO_UNIT}"),
    Scenario(NO_UNIT, (UNIT,), "remove the unit", back=(UNIT,), by_hand=f"vpcctl {NO_UNIT}"),
)
