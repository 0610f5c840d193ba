"""Random networks, and what people do to them by hand; a seed makes each again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

CIDRS = ("10.0", "10.1", "172.16")
PORTS = (80, 8080)
RULE_TARGETS = ("DROP", "DROP", "ACCEPT", "ACCEPT", "RETURN", "REJECT --reject-with icmp-host-prohibited",
                "LOG", "USER", "-g USER")


@dataclass
class World:
    """A topology as `apply` takes it, and shell commands that damage it."""

    random: Random
    topology: dict[str, Any] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    routed: bool = False
    """Whether the internet has routes to the VPCs' own addresses."""

    @property
    def vpcs(self) -> list[str]:
        """Its VPCs, and so the namespaces of their routers."""
        return list(self.topology["vpcs"])

    @property
    def subnets(self) -> list[tuple[str, str]]:
        """VPC and subnet of each."""
        return [(vpc, subnet) for vpc, one in self.topology["vpcs"].items() for subnet in one["subnets"]
                if not one["subnets"][subnet].get("bare")]

    @property
    def addresses(self) -> list[str]:
        """The address of each subnet, as in `subnets`."""
        return [self.topology["vpcs"][vpc]["subnets"][name]["cidr"].replace(".0/24", ".2")
                for vpc, name in self.subnets]

    @property
    def machines(self) -> dict[str, str]:
        """The address of each machine by its name."""
        places = zip(self.subnets, self.addresses, strict=True)
        own = {f"{vpc}/{name}": address for (vpc, name), address in places}
        boxes = {f"{vpc}/box/b": one["subnets"]["box"]["cidr"].replace(".0/24", ".4")
                 for vpc, one in self.topology["vpcs"].items() if "box" in one["subnets"]}
        return own | boxes

    @property
    def listening(self) -> list[str]:
        """The machines, and what else a packet may be led to: NAT gateways and routers."""
        return [*self.machines, *self.vpcs, *(f"{vpc}/pub/nat1" for vpc, one in self.topology["vpcs"].items()
                                              if "nat_gateways" in one)]

    def namespace(self) -> str:
        """Any namespace; the host now and then."""
        inner = [f"{vpc}-{subnet}" for vpc, subnet in self.subnets]
        return self.random.choice([*inner, *self.vpcs, *self.vpcs, ""])

    def network(self) -> str:
        """An address or a network that is about."""
        address = self.random.choice([*self.addresses, "8.8.8.8"])
        prefix = self.random.choice((8, 16, 24, 30, 32))
        octets = address.split(".")
        return f"{address}/{prefix}" if prefix > 24 else ".".join(octets[:3]) + f".0/{prefix}"


def make(seed: int, harm: int) -> World:
    """A network, and so many pieces of damage."""
    world = World(Random(seed))  # noqa: S311 - a test wants the same again
    _build(world)
    _add_acls(world, Random(f"{seed} acls"))  # noqa: S311 - a test wants the same again
    ways = Random(f"{seed} routes")  # noqa: S311 - a test wants the same again
    _add_routes(world, ways)
    _add_cidrs(world, Random(f"{seed} cidrs"))  # noqa: S311 - a test wants the same again
    _add_box_policies(world, Random(f"{seed} boxes"))  # noqa: S311 - a test wants the same again
    for _ in range(harm):
        world.damage.append(world.random.choice(DAMAGE)(world))
    if harm > 1:
        world.damage.append(_way(world, ways))
    ports = Random(f"{seed} ports")  # noqa: S311 - a test wants the same again
    if harm and ports.random() < 0.5:
        world.damage.append(_port(world, ports))
    return world


def _build(world: World) -> None:
    random = world.random
    vpcs: dict[str, Any] = {}
    for number in range(random.choice((1, 2, 2, 3))):
        start = CIDRS[number]
        subnets = {f"s{n}": _subnet(random, f"{start}.{n}.0/24") for n in range(1, random.randint(2, 3))}
        subnets["pub"] = {"cidr": f"{start}.9.0/24", "type": "public"}
        vpcs[f"v{number}"] = {"cidr": f"{start}.0.0/16", "subnets": subnets, "nat": random.random() < 0.6}
    names = list(vpcs)
    pairs = [[one, other] for n, one in enumerate(names) for other in names[n + 1:]]
    world.topology = {"version": 1, "vpcs": vpcs,
                      "peerings": [pair for pair in pairs if random.random() < 0.6]}


def _subnet(random: Random, cidr: str) -> dict[str, Any]:
    subnet: dict[str, Any] = {"cidr": cidr, "type": random.choice(("public", "private"))}
    if random.random() < 0.4:
        policy: dict[str, Any] = {"default": random.choice(("deny", "deny", "allow"))}
        policy["ingress"] = [_policy_rule(random, "source") for _ in range(random.randint(0, 3))]
        if random.random() < 0.4:
            policy["egress"] = [_policy_rule(random, "destination") for _ in range(random.randint(1, 3))]
        subnet["firewall"] = policy
    return subnet


def _add_acls(world: World, random: Random) -> None:
    """Network ACLs for some of the subnets; drawn apart, so that all else of a seed stays as it was."""
    for vpc in world.topology["vpcs"].values():
        if random.random() < 0.4:
            world.topology["version"] = 2
            vpc["acls"] = {name: {"ingress": _acl_rules(random, "source"),
                                  "egress": _acl_rules(random, "destination")} for name in ("a", "b")}
            for subnet in vpc["subnets"].values():
                if random.random() < 0.5:
                    subnet["acl"] = random.choice(("a", "b"))


def _add_routes(world: World, random: Random) -> None:
    """Route tables, NAT gateways and middleboxes for some of the VPCs, drawn apart as well."""
    for name, vpc in world.topology["vpcs"].items():
        if random.random() < 0.5:
            continue
        world.topology["version"] = 2
        start = vpc["cidr"].removesuffix(".0.0/16")
        vpc["subnets"]["box"] = {"cidr": f"{start}.8.0/24", "type": random.choice(("public", "private")),
                                 "bare": True, "instances": {"b": {"forwards": True}}}
        vpc["nat_gateways"] = {"nat1": {"subnet": "pub"}}
        pairs = [pair for pair in world.topology["peerings"] if name in pair]
        peers = [other for pair in pairs for other in pair if other != name]
        vpc["route_tables"] = {table: {"routes": _routes(world, random, peers)}
                               for table in ("t1", "t2", *(("main",) if random.random() < 0.3 else ()))}
        for subnet in ("s1", "s2"):
            if subnet in vpc["subnets"] and random.random() < 0.8:
                vpc["subnets"][subnet]["route_table"] = random.choice(("t1", "t2"))
                # The table says it.
                del vpc["subnets"][subnet]["type"]
        if vpc["subnets"]["box"]["type"] == "private":
            vpc["route_tables"].pop("main", None)


def _add_cidrs(world: World, random: Random) -> None:
    """Second CIDRs for some of the VPCs, each with a subnet, and routes of peers to them."""
    for number, (name, vpc) in enumerate(world.topology["vpcs"].items()):
        if random.random() < 0.6:
            continue
        world.topology["version"] = 2
        start = f"192.168.{16 * number}"
        vpc["cidrs"] = [f"{start}.0/20"]
        has_table = "route_tables" in vpc and random.random() < 0.5
        edge = {"route_table": random.choice(("t1", "t2"))} if has_table else \
            {"type": random.choice(("public", "private"))}
        vpc["subnets"]["far"] = {"cidr": f"{start}.0/24", **edge}
        pairs = [pair for pair in world.topology["peerings"] if name in pair]
        for peer in (world.topology["vpcs"][other] for pair in pairs for other in pair if other != name):
            for table in peer.get("route_tables", {}).values():
                if random.random() < 0.6:
                    table["routes"][random.choice((f"{start}.0/20", f"{start}.0/25"))] = random.choice(
                        (f"peer:{name}", f"peer:{name}", "instance:box/b", "blackhole"))


def _add_box_policies(world: World, random: Random) -> None:
    """Policies for some of the middleboxes, which decide about what these forward."""
    for vpc in world.topology["vpcs"].values():
        if "box" in vpc["subnets"] and random.random() < 0.6:
            policy = {"default": random.choice(("deny", "allow")), "ingress": [
                _policy_rule(random, "source") for _ in range(random.randint(1, 3))]}
            if random.random() < 0.5:
                policy["egress"] = [_policy_rule(random, "destination") for _ in range(random.randint(1, 3))]
            vpc["subnets"]["box"]["firewall"] = policy


def _routes(world: World, random: Random, peers: list[str]) -> dict[str, str]:
    """What leads to the internet and to peers, whole or in part, and to nowhere."""
    ways = ["internet", "nat:nat1", "nat:nat1", "instance:box/b", "instance:box/b", "blackhole"]
    found = {"0.0.0.0/0": random.choice(ways)} if random.random() < 0.8 else {}
    for peer in peers:
        cidr = world.topology["vpcs"][peer]["cidr"]
        if random.random() < 0.8:
            found[random.choice((cidr, cidr.replace(".0.0/16", ".1.0/24")))] = random.choice(
                (f"peer:{peer}", f"peer:{peer}", "instance:box/b", "nat:nat1", "blackhole"))
    if random.random() < 0.3:
        found["8.8.8.0/24"] = random.choice(ways)
    return found


def _acl_rules(random: Random, far: str) -> list[dict[str, Any]]:
    """Rules that let most through, answers too."""
    rules = [{**_policy_rule(random, far), "number": 10 * number + 1}
             for number in range(random.randint(0, 4))]
    if random.random() < 0.7:
        rules.append({"number": 90, "protocol": "tcp", "action": "allow", "port": "1024-65535"})
    if random.random() < 0.7:
        rules.append({"number": 100, "protocol": random.choice(("all", "all", "icmp")), "action": "allow"})
    return rules


def _policy_rule(random: Random, far: str) -> dict[str, Any]:
    protocol = random.choice(("tcp", "udp", "icmp", "all"))
    rule: dict[str, Any] = {"protocol": protocol, "action": random.choice(("allow", "allow", "deny"))}
    if protocol in ("tcp", "udp") and random.random() < 0.7:
        rule["port"] = random.choice((80, 53, "1-1024", "8000-9000"))
    if random.random() < 0.4:
        rule[far] = random.choice(("10.0.0.0/16", "10.0.9.0/24", "172.16.0.0/16", "10.0.0.0/8"))
    return rule


def _within(namespace: str, command: str) -> str:
    return f"ip netns exec {namespace} sh -c '{command}'" if namespace else command


def _ip(namespace: str) -> str:
    return f"ip -n {namespace}" if namespace else "ip"


def _match(world: World, chain: str) -> str:
    """Conditions of a rule, some of them never true."""
    random = world.random
    parts = []
    if random.random() < 0.5:
        parts.append(f"{random.choice(('', '! '))}{random.choice(('-s', '-d'))} {world.network()}")
    if random.random() < 0.4 and chain in ("INPUT", "FORWARD", "PREROUTING"):
        parts.append(f"{random.choice(('', '! '))}-i {random.choice(LINKS)}")
    parts.append(random.choice(PROTOCOL_MATCHES))
    if random.random() < 0.3:
        parts.append(random.choice(OTHER_MATCHES))
    return " ".join(filter(None, parts))


LINKS = ("eth0", "br-+", "uplink", "pcx-+", "vpc-+")
PROTOCOL_MATCHES = (
    "", "", "-p icmp", "-p tcp", "-p udp", "! -p tcp", "-p tcp --dport 80", "-p tcp ! --dport 80",
    "-p udp --dport 53", "-p tcp -m multiport --dports 22,80,8000:9000", "-p tcp --sport 1024:65535",
    "-p icmp --icmp-type echo-request", "-p icmp --icmp-type echo-reply", "-p tcp --tcp-flags SYN,ACK SYN",
    "-p tcp --syn",
    "-p tcp --tcp-flags ALL NONE", "-p udp --sport 53", "-p tcp -m multiport --ports 80,443",
    "-p tcp --tcp-flags SYN,ACK SYN,ACK")
OTHER_MATCHES = (
    "-m conntrack --ctstate NEW", "-m conntrack --ctstate ESTABLISHED", "-m conntrack --ctstate INVALID",
    "-m conntrack --ctstate NEW,RELATED", "-m conntrack ! --ctstate ESTABLISHED", "-m state --state NEW",
    "-m comment --comment \"a b\"", "-m mark --mark 7", "-m mark ! --mark 7", "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --dst-type LOCAL", "-m addrtype --src-type UNICAST", "-m conntrack --ctstate UNTRACKED",
    "-m iprange --src-range 10.0.1.0-10.0.1.9")


def _rule(world: World) -> str:
    """A rule at a random place of a chain."""
    random = world.random
    namespace = world.namespace()
    chain = random.choice(("INPUT", "OUTPUT", "FORWARD"))
    target = random.choice(RULE_TARGETS)
    jump = target if target.startswith("-g") else f"-j {target}"
    place = random.choice((f"-A {chain}", f"-I {chain}", f"-I {chain} 2"))
    verdict = random.choice(("DROP", "ACCEPT"))
    user = f"iptables -N USER 2>/dev/null; iptables -A USER {_match(world, '')} -j {verdict};"
    line = f"iptables {place} {_match(world, chain)} {jump}"
    return _within(namespace, f"{user} {line}" if "USER" in target else line)


def _rule_gone(world: World) -> str:
    chain = world.random.choice(("INPUT", "FORWARD", "OUTPUT"))
    return _within(world.namespace(), f"iptables -D {chain} {world.random.randint(1, 4)}")


def _policy(world: World) -> str:
    chain = world.random.choice(("INPUT", "FORWARD", "OUTPUT"))
    return _within(world.namespace(), f"iptables -P {chain} {world.random.choice(('DROP', 'ACCEPT'))}")


def _flush(world: World) -> str:
    chain = world.random.choice(("INPUT", "FORWARD", "OUTPUT", ""))
    return _within(world.namespace(), f"iptables -F {chain}")


def _raw(world: World) -> str:
    chain = world.random.choice(("PREROUTING", "OUTPUT"))
    target = world.random.choice(("NOTRACK", "DROP", "CT --notrack"))
    return _within(world.namespace(), f"iptables -t raw -A {chain} {_match(world, chain)} -j {target}")


def _mangle(world: World) -> str:
    chain = world.random.choice(("PREROUTING", "OUTPUT", "FORWARD", "INPUT", "POSTROUTING"))
    target = world.random.choice(("MARK --set-mark 7", "MARK --set-mark 7", "MARK --or-mark 2", "DROP"))
    return _within(world.namespace(), f"iptables -t mangle -A {chain} {_match(world, chain)} -j {target}")


def _nat(world: World) -> str:
    random = world.random
    address = random.choice(world.addresses)
    kind = random.choice((
        "POSTROUTING {} -j MASQUERADE", f"POSTROUTING {{}} -j SNAT --to-source {address}",
        f"PREROUTING {{}} -j DNAT --to-destination {address}",
        f"OUTPUT {{}} -j DNAT --to-destination {address}",
        "PREROUTING -p tcp --dport 8080 {} -j REDIRECT --to-ports 80"))
    condition = random.choice(("", f"-s {world.network()}", f"-d {world.network()}"))
    return _within(world.namespace(), f"iptables -t nat -A {kind.format(condition)}")


def _nat_off(world: World) -> str:
    return "iptables -t nat -F POSTROUTING"


def _route_gone(world: World) -> str:
    """Any route of a namespace, the n-th."""
    ip = _ip(world.namespace())
    return f"{ip} route del $({ip} route show | sed -n {world.random.randint(1, 4)}p | sed 's/ linkdown//')"


def _route(world: World) -> str:
    random = world.random
    namespace = world.namespace()
    kind = random.choice(("blackhole", "unreachable", "prohibit", "throw"))
    if random.random() < 0.6:
        return f"{_ip(namespace)} route add {kind} {world.network()}"
    gateway = world.topology["vpcs"][random.choice(world.vpcs)]["cidr"].replace("0.0/16", "0.1")
    return f"{_ip(namespace)} route replace {world.network()} via {gateway}"


def _ip_rule(world: World) -> str:
    random = world.random
    selector = random.choice((f"from {world.network()}", f"to {world.network()}", "fwmark 7", "iif eth0",
                              f"not from {world.network()}", "iif lo", "ipproto udp"))
    action = random.choice(("lookup 77", "blackhole", "unreachable", "lookup main", "prohibit",
                            "lookup main suppress_prefixlength 0"))
    ip = _ip(world.namespace())
    return f"{ip} route add blackhole {world.network()} table 77; {ip} rule add {selector} {action}"


def _link(world: World) -> str:
    ip = _ip(world.namespace())
    names = f"{ip} -o link show | grep -v \" lo:\" | sed \"s/^[0-9]*: //; s/[@:].*//\""
    return f"{ip} link set $({names} | sed -n {world.random.randint(1, 5)}p) down"


def _unplug(world: World) -> str:
    vpc, subnet = world.random.choice(world.subnets)
    return f"ip -n {vpc} link set s-{subnet} nomaster"


def _address(world: World) -> str:
    namespace = world.namespace()
    if world.random.random() < 0.7:
        vpc, subnet = world.random.choice(world.subnets)
        return f"ip -n {vpc}-{subnet} addr flush dev eth0 scope global"
    return f"{_ip(namespace)} addr add {world.random.choice(world.addresses)}/32 dev lo"


SETTINGS: tuple[Callable[[Random], str], ...] = (
    lambda _: "net.ipv4.ip_forward=0", lambda _: "net.ipv4.ip_forward=0",
    lambda random: f"net.ipv4.conf.all.rp_filter={random.choice((1, 2))}",
    lambda _: "net.ipv4.icmp_echo_ignore_all=1", lambda _: "net.bridge.bridge-nf-call-iptables=1",
    lambda _: "net.ipv4.conf.all.accept_local=1", lambda _: "net.ipv4.conf.all.arp_ignore=1",
)


def _setting(world: World) -> str:
    return _within(world.namespace(), f"sysctl -qw {world.random.choice(SETTINGS)(world.random)}")


def _link_setting(world: World) -> str:
    random = world.random
    key = random.choice(("forwarding=0", "forwarding=0", "rp_filter=1", "rp_filter=2", "accept_local=1"))
    device = random.choice(("eth0", "uplink", "br-v0", "br-v1", "pcx-v1", "vpc-v0", "default"))
    return _within(world.namespace(), f"sysctl -qw net.ipv4.conf.{device}.{key}")


def _legacy(world: World) -> str:
    chain = world.random.choice(("INPUT", "OUTPUT", "FORWARD"))
    return _within(world.namespace(), f"iptables-legacy -A {chain} {_match(world, chain)} -j DROP")


def _acl(world: World) -> str:
    """A subnet's ACL no longer asked in one direction, or that of none; or its network taken for another."""
    vpc, subnet = world.random.choice(world.subnets)
    table = "bridge vpcctl-acls"
    return _within(vpc, world.random.choice((
        f"nft delete element {table} in {{ \"s-{subnet}\" }}", f"nft flush map {table} out",
        f"nft delete element {table} out {{ \"s-{subnet}\" }}", f"nft delete table {table}",
        f"nft flush set {table} inside", f"nft flush map {table} subnets")))


def _way(world: World, random: Random) -> str:
    """What leads packets to route tables is lost, in part or whole, or a middlebox stops."""
    vpc = random.choice(world.vpcs)
    if "route_tables" not in world.topology["vpcs"][vpc]:
        return "true"
    namespace, command = random.choice((
        (vpc, "ip rule del pref 10001"), (vpc, "ip route del default table 1001"),
        (vpc, "ip route flush table 1002"), (vpc, "nft flush map bridge vpcctl-routes origin"),
        (vpc, "nft delete table bridge vpcctl-routes"), (vpc, "iptables -t raw -F"),
        (f"{vpc}-box.b", "sysctl -qw net.ipv4.ip_forward=0"), (f"{vpc}-pub.nat1", "iptables -t nat -F"),
        (f"{vpc}-box.b", "iptables -P FORWARD DROP")))
    return _within(namespace, command)


def _port(world: World, random: Random) -> str:
    """What a bridge floods, whom it knows, or who answers for others' addresses."""
    vpc, subnet = random.choice(world.subnets)
    port = f"ip link set s-{subnet} type bridge_slave"
    first = f"$(bridge fdb show dev s-{subnet} | grep -m1 static | cut -d\" \" -f1)"
    return _within(vpc, "; ".join(random.sample((
        f"{port} flood on", f"{port} bcast_flood on", f"{port} proxy_arp off", f"{port} proxy_arp off",
        "nft delete table bridge vpcctl", f"ip neigh flush dev br-{vpc} nud permanent",
        f"bridge fdb del {first} dev s-{subnet} master",
        f"ip neigh del {random.choice(world.addresses)} dev br-{vpc}"), random.randint(1, 3))))


def _gone(world: World) -> str:
    subnets = [f"{vpc}-{subnet}" for vpc, subnet in world.subnets]
    return f"gone {world.random.choice([*world.vpcs, *subnets])}"


DAMAGE: tuple[Callable[[World], str], ...] = (
    _rule, _rule, _rule, _rule, _rule_gone, _policy, _flush, _raw, _mangle, _nat, _nat, _nat_off, _route_gone,
    _route_gone, _route, _ip_rule, _link, _unplug, _address, _setting, _setting, _link_setting, _legacy,
    _gone, _acl)
