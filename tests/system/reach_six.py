"""IPv6 for random networks: prefixes, policies and ACLs of both families, groups, and damage to all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import reach_world
from reach_world import World

LOCAL, ROUTED = "fd00:{}:0:1", "2001:db8:{}:1"
"""Prefixes that only the host knows, and those that are routed to it; without the last two digits."""

INTERNET6 = "2001:4860:4860::8888"
FORGET = "for one in $(ls /run/netns); do ip -6 -n $one neigh flush all; done; ip -6 neigh flush all"
"""What is known of neighbours beside permanent entries lasts some seconds only."""

_TOOLS = ((r"\biptables", "ip6tables"), (r"bridge-nf-call-ip6?tables", "bridge-nf-call-ip6tables"),
          (r"-p icmp\b", "-p ipv6-icmp"), (r"--icmp-type", "--icmpv6-type"),
          (r"icmp-host-prohibited", "icmp6-adm-prohibited"),
          (r"--src-range \S+", "--src-range fd00:0:0:101::1-fd00:0:0:101::9"),
          (r"\bip( -n \S+)? (route|rule|addr|neigh)\b", r"ip -6\1 \2"))


class World6(World):
    """The same network, with the addresses that its machines have by IPv6."""

    @property
    def addresses(self) -> list[str]:
        """The address of each subnet's own machine, as in `subnets`."""
        return [f"{self.topology['vpcs'][vpc]['subnets'][name]['ipv6'].removesuffix('/64')}2"
                for vpc, name in self.subnets]

    @property
    def machines(self) -> dict[str, str]:
        """The address of each machine by its name."""
        own = {f"{vpc}/{name}": address for (vpc, name), address in
               zip(self.subnets, self.addresses, strict=True)}
        more = {f"{vpc}/{name}/{one}": f"{subnet['ipv6'].removesuffix('/64')}{held.get('number', 4):x}"
                for vpc, made in self.topology["vpcs"].items() for name, subnet in made["subnets"].items()
                for one, held in self.further(subnet)}
        return own | more

    @staticmethod
    def further(subnet: dict[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
        """The further machines of a subnet, and which number each has there."""
        for name, one in subnet.get("instances", {}).items():
            chosen = str(one.get("address", "")).rpartition(".")[2]
            yield name, {"number": int(chosen)} if chosen else {}

    def network(self) -> str:
        """An address or a network that is about."""
        address = self.random.choice([*self.addresses, INTERNET6])
        prefix = self.random.choice((16, 48, 56, 64, 127, 128))
        return f"{address}/{prefix}" if prefix == 128 else f"{self.start(address, prefix)}/{prefix}"

    @staticmethod
    def start(address: str, prefix: int) -> str:
        """The first address of the network of that length around an address."""
        from ipaddress import IPv6Network

        return str(IPv6Network((address, prefix), strict=False).network_address)

    @property
    def routers(self) -> dict[str, str]:
        """The address of each VPC's router."""
        return {name: f"{vpc['ipv6'].removesuffix('/56')}1" for name, vpc in self.topology["vpcs"].items()}

    @property
    def hosts(self) -> dict[str, str]:
        """The host's address, as each VPC has it."""
        return {name: address.removesuffix("1") + "2" for name, address in self.routers.items()}


def make(seed: int, harm: int) -> World6:
    """The network of that seed, with IPv6, and damage to what is of IPv6."""
    plain = reach_world.make(seed, 0)
    random = Random(f"{seed} six")  # noqa: S311 - a test wants the same again
    world = World6(random, plain.topology)
    world.topology["version"] = 2
    for number, vpc in enumerate(world.topology["vpcs"].values()):
        form = ROUTED if random.random() < 0.3 else LOCAL
        vpc["ipv6"] = f"{form.format(number)}00::/56"
        _add_groups(vpc, random)
        for place, subnet in enumerate(vpc["subnets"].values(), 1):
            subnet["ipv6"] = f"{form.format(number)}{place:02x}::/64"
        for policy in _policies(vpc):
            _widen(policy, world)
    for name, vpc in world.topology["vpcs"].items():
        for table in vpc.get("route_tables", {}).values():
            table["routes"] |= _routes(world, name)
    for _ in range(harm):
        world.damage.append(_sixth(random.choice(DAMAGE)(world)))
    world.routed = random.random() < 0.5
    return world


def _add_groups(vpc: dict[str, Any], random: Random) -> None:
    """Two machines that groups govern, in some of the VPCs."""
    if random.random() < 0.5:
        return
    rules = [{"protocol": "tcp", "port": 80, "action": "allow", "source": "group:b"},
             {"protocol": random.choice(("icmpv6", "icmp", "all")), "action": "allow",
              **random.choice(({}, {"source": "group:b"}))},
             {"protocol": "udp", "port": 53, "action": "allow"}]
    vpc["groups"] = {"a": {"ingress": random.sample(rules, 2)},
                     "b": {"ingress": [rules[1]], "egress": [{"protocol": "all", "action": "allow"}]}}
    start = vpc["cidr"].removesuffix(".0.0/16")
    for subnet, group, at in (("s1", "a", 1), ("pub", "b", 9)):
        vpc["subnets"][subnet].setdefault("instances", {})[f"m{group}"] = {
            "address": f"{start}.{at}.77", "groups": [group]}


def _routes(world: World6, name: str) -> dict[str, str]:
    """What leads to the internet and to peers by IPv6, whole or in part, and to nowhere."""
    random, vpcs = world.random, world.topology["vpcs"]
    ways = ["internet", "egress-only", "instance:box/b", "blackhole"]
    found = {"::/0": random.choice(ways)} if random.random() < 0.8 else {}
    for pair in world.topology["peerings"]:
        peer = next((one for one in pair if name in pair and one != name), "")
        if peer and random.random() < 0.8:
            whole = vpcs[peer]["ipv6"]
            found[random.choice((whole, whole.replace("00::/56", "01::/64")))] = random.choice(
                (f"peer:{peer}", f"peer:{peer}", "instance:box/b", "blackhole"))
    if random.random() < 0.3:
        found["2001:4860::/32"] = random.choice(ways)
    return found


def _policies(vpc: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from (subnet["firewall"] for subnet in vpc["subnets"].values() if "firewall" in subnet)
    yield from vpc.get("acls", {}).values()


def _widen(policy: dict[str, Any], world: World6) -> None:
    """Rules of IPv6, where those were of IPv4."""
    for direction, far in (("ingress", "source"), ("egress", "destination")):
        for rule in policy.get(direction, ()):
            if rule["protocol"] == "icmp" and world.random.random() < 0.8:
                rule["protocol"] = "icmpv6"
            if far in rule and rule["protocol"] != "icmp" and world.random.random() < 0.8:
                rule[far] = world.random.choice(("fd00::/16", "fd00:0:0:100::/56", "fd00:1:0:100::/56",
                                                 "2001:db8::/32", "fd00:0:0:101::/64", "::/0"))
            elif far in rule and rule["protocol"] == "icmpv6":
                del rule[far]


def _sixth(command: str) -> str:
    for old, new in _TOOLS:
        command = re.sub(old, new, command)
    return command


def _within(namespace: str, command: str) -> str:
    return f"ip netns exec {namespace} sh -c '{command}'" if namespace else command


def _route(world: World) -> str:
    random, namespace = world.random, world.namespace()
    ip = f"ip -n {namespace}" if namespace else "ip"
    if random.random() < 0.6:
        kind = random.choice(("blackhole", "unreachable", "prohibit", "throw"))
        return f"{ip} route add {kind} {world.network()}"
    assert isinstance(world, World6)
    gateway = random.choice(list(world.routers.values()))
    return f"{ip} route replace {world.network()} via {gateway}"


def _route_gone(world: World) -> str:
    """Any route of a namespace, the n-th."""
    namespace = world.namespace()
    ip = f"ip -n {namespace}" if namespace else "ip"
    return f"{ip} route del $({ip} route show | sed -n {world.random.randint(1, 6)}p | " \
        "sed 's/ linkdown//; s/ pref .*//')"


def _address(world: World) -> str:
    """An address lost, of a machine or of the end of a cable; or one that another has."""
    random = world.random
    if random.random() < 0.4:
        vpc, subnet = random.choice(world.subnets)
        return f"ip -n {vpc}-{subnet} addr flush dev eth0"
    if random.random() < 0.5:
        vpc = random.choice(world.vpcs)
        device = random.choice(("uplink", f"br-{vpc}", "pcx-v0", "pcx-v1"))
        return f"ip -n {vpc} addr flush dev {device} scope {random.choice(('link', 'link', 'global'))}"
    namespace = world.namespace()
    ip = f"ip -n {namespace}" if namespace else "ip"
    return f"{ip} addr add {random.choice(world.addresses)}/128 dev lo nodad"


def _setting(world: World) -> str:
    random = world.random
    key = random.choice(("conf.all.forwarding=0", "conf.all.forwarding=0", "conf.all.forwarding=1",
                         "icmp.echo_ignore_all=1", "conf.eth0.disable_ipv6=1", "conf.uplink.disable_ipv6=1",
                         "conf.br-v0.disable_ipv6=1", "conf.pcx-v1.disable_ipv6=1",
                         "conf.lo.disable_ipv6=1"))
    return _within(world.namespace(), f"sysctl -qw net.ipv6.{key}")


def _sent_on(world: World) -> str:
    random = world.random
    device = random.choice(("eth0", *(f"vpc-{vpc}" for vpc in world.vpcs), "all"))
    key, value = random.choice((("force_forwarding", 0), ("force_forwarding", 0), ("force_forwarding", 1)))
    return f"sysctl -qw net.ipv6.conf.{device}.{key}={value}"


def _neighbours(world: World) -> str:
    """A permanent entry lost, at either end, perhaps without the guard that drops questions about it."""
    random = world.random
    vpc, subnet = random.choice(world.subnets)
    lost = random.choice((f"ip -n {vpc} neigh flush dev br-{vpc} nud permanent",
                          f"ip -n {vpc}-{subnet} neigh flush dev eth0 nud permanent",
                          f"ip -n {vpc} neigh del {random.choice(world.addresses)} dev br-{vpc}"))
    more = random.choice(("", f"; ip netns exec {vpc} nft delete table bridge vpcctl",
                          f"; ip -n {vpc} link set s-{subnet} type bridge_slave mcast_flood on proxy_arp off",
                          f"; ip netns exec {vpc} nft delete table bridge vpcctl; "
                          f"ip -n {vpc} link set s-{subnet} type bridge_slave mcast_flood on proxy_arp off"))
    return f"{lost}{more}"


def _discovery(world: World) -> str:
    """Rules that stop questions about neighbours, and their answers."""
    random = world.random
    chain = random.choice(("INPUT", "OUTPUT", "PREROUTING"))
    table = "-t mangle " if chain == "PREROUTING" else ""
    kind = random.choice(("135", "136", "neighbour-solicitation", "neighbour-advertisement"))
    return _within(random.choice([*world.vpcs, ""]),
                   f"iptables {table}-I {chain} -p icmp -m icmp6 --icmpv6-type {kind} -j DROP")


DAMAGE: tuple[Callable[[World], str], ...] = (
    *(one for one in reach_world.DAMAGE if one not in (
        reach_world._route, reach_world._route_gone, reach_world._address, reach_world._setting,
        reach_world._link_setting, reach_world._gone)),
    _route, _route_gone, _route_gone, _address, _address, _setting, _setting, _sent_on, _neighbours,
    _neighbours, _discovery, reach_world._gone)
