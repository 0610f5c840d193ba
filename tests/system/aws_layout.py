"""Random networks of route tables, ACLs and groups, on paper and as a file; a seed makes each again."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from random import Random
from typing import Any

from aws_paper import (
    EVERYWHERE,
    Acl,
    AclRule,
    Gateway,
    Group,
    GroupRule,
    Layout,
    Machine,
    Ports,
    Route,
    Subnet,
    Vpc,
)

ANY_PORT, HIGH_PORTS, LOW_PORTS = Ports(), Ports(1024, 65535), Ports(1, 1023)
PORTS = (Ports(80, 80), Ports(8080, 8080), Ports(53, 53), LOW_PORTS, HIGH_PORTS, ANY_PORT)
"""Each range holds all the ports that clients choose, or none: so paper knows the fate of the answer."""

PROTOCOLS = ("tcp", "tcp", "udp", "icmp", "all")
STARTS = ("10.0", "10.1", "172.16")
LIKELY = 0.7


def make(seed: int) -> Layout:
    """A network of one to three VPCs, some of them peered."""
    random = Random(seed)  # noqa: S311 - a test wants the same again
    names = [f"v{number}" for number in range(random.choice((1, 2, 2, 3)))]
    peerings = frozenset(frozenset(pair) for pair in combinations(names, 2) if random.random() < LIKELY)
    ranges = {name: IPv4Network(f"{start}.0.0/16") for name, start in zip(names, STARTS)}  # noqa: B905
    return Layout({name: _vpc(random, name, ranges, peerings) for name in names}, peerings)


def _vpc(random: Random, name: str, ranges: dict[str, IPv4Network],
         peerings: frozenset[frozenset[str]]) -> Vpc:
    cidr = ranges[name]
    peers = [(other, ranges[other]) for other in ranges if frozenset((name, other)) in peerings]
    members = ["g0", *(f"{other}/g0" for other, _ in peers)]
    groups = {f"g{number}": _group(random, [*ranges.values()], members)
              for number in range(random.randint(1, 3))}
    acls = {f"a{number}": _acl(random, list(ranges.values())) for number in range(random.randint(0, 2))}
    built_in = tuple(Route(its, f"peer:{other}") for other, its in peers)
    gateways = {"nat1": Gateway("pub", IPv4Address(int(cidr.network_address) + 9 * 256 + 250))}
    tables = {"main": built_in, "public": (*built_in, Route(EVERYWHERE, "internet"))}
    tables |= {f"t{number}": _table(random, peers) for number in range(random.randint(1, 2))}
    subnets = {f"s{number}": _subnet(random, cidr, number, tables, acls, groups)
               for number in range(1, random.randint(2, 3) + 1)}
    subnets["pub"] = _subnet(random, cidr, 9, {"public": ()}, acls, groups)
    return Vpc(cidr, random.random() < LIKELY, subnets, tables, acls, groups, gateways)


def _subnet(random: Random, cidr: IPv4Network, number: int, tables: dict[str, Any], acls: dict[str, Acl],
            groups: dict[str, Group]) -> Subnet:
    start = int(cidr.network_address) + number * 256
    machines = {f"m{place}": Machine(IPv4Address(start + 3 + place), tuple(
        name for name in groups if random.random() < 0.4)) for place in (1, 2)}
    acl = random.choice(["", *acls]) if random.random() < LIKELY else ""
    return Subnet(IPv4Network((start, 24)), random.choice(list(tables)), acl, machines)


def _table(random: Random, peers: list[tuple[str, IPv4Network]]) -> tuple[Route, ...]:
    routes = []
    if random.random() < 0.8:
        routes.append(Route(EVERYWHERE, random.choice(("internet", "nat:nat1", "nat:nat1", "blackhole"))))
    if random.random() < 0.3:
        routes.append(Route(IPv4Network("8.8.8.0/24"), random.choice(("internet", "nat:nat1", "blackhole"))))
    for other, its in peers:
        if random.random() < LIKELY:
            part = random.choice((its, its, *list(its.subnets(new_prefix=24))[1:3]))
            routes.append(Route(part, f"peer:{other}"))
    return tuple(routes)


def _acl(random: Random, ranges: list[IPv4Network]) -> Acl:
    return Acl(_acl_rules(random, ranges), _acl_rules(random, ranges))


def _acl_rules(random: Random, ranges: list[IPv4Network]) -> tuple[AclRule, ...]:
    rules = [_acl_rule(random, 100 * number, ranges) for number in range(1, random.randint(1, 4) + 1)]
    if random.random() < LIKELY:
        rules.append(AclRule(900, "all", ANY_PORT, EVERYWHERE, allows=True))
    random.shuffle(rules)
    return tuple(rules)


def _acl_rule(random: Random, number: int, ranges: list[IPv4Network]) -> AclRule:
    protocol, ports = _what(random)
    return AclRule(number, protocol, ports, _far(random, ranges), random.random() < 0.6)


def _group(random: Random, ranges: list[IPv4Network], groups: list[str]) -> Group:
    egress = _group_rules(random, ranges, groups) if random.random() < 0.3 else None
    return Group(_group_rules(random, ranges, groups), egress)


def _group_rules(random: Random, ranges: list[IPv4Network], groups: list[str]) -> tuple[GroupRule, ...]:
    rules = []
    for _ in range(random.randint(1, 3)):
        far: IPv4Network | str = random.choice(groups) if random.random() < 0.3 else _far(random, ranges)
        rules.append(GroupRule(*_what(random), far))
    return tuple(rules)


def _what(random: Random) -> tuple[str, Ports]:
    protocol = random.choice(PROTOCOLS)
    return protocol, random.choice(PORTS) if protocol in ("tcp", "udp") else ANY_PORT


def _far(random: Random, ranges: list[IPv4Network]) -> IPv4Network:
    one = random.choice(ranges)
    parts = list(one.subnets(new_prefix=24))
    return random.choice((EVERYWHERE, EVERYWHERE, one, parts[1], parts[2], parts[9]))


def document(layout: Layout) -> dict[str, Any]:
    """The topology file for it."""
    return {"version": 2, "vpcs": {name: _vpc_keys(vpc) for name, vpc in layout.vpcs.items()},
            "peerings": [sorted(pair) for pair in layout.peerings]}


def _vpc_keys(vpc: Vpc) -> dict[str, Any]:
    return {
        "cidr": str(vpc.cidr), "nat": vpc.has_internet,
        "groups": {name: _group_keys(group) for name, group in vpc.groups.items()},
        "acls": {name: {"ingress": [_acl_keys(rule, "source") for rule in acl.ingress],
                        "egress": [_acl_keys(rule, "destination") for rule in acl.egress]}
                 for name, acl in vpc.acls.items()},
        "route_tables": {name: {"routes": {str(route.to): route.via for route in routes}}
                         for name, routes in vpc.tables.items() if name not in ("main", "public")},
        "nat_gateways": {name: {"subnet": one.subnet, "address": str(one.address)}
                         for name, one in vpc.gateways.items()},
        "subnets": {name: _subnet_keys(subnet) for name, subnet in vpc.subnets.items()},
    }


def _subnet_keys(subnet: Subnet) -> dict[str, Any]:
    keys: dict[str, Any] = {"cidr": str(subnet.cidr), "bare": True, "route_table": subnet.table}
    if subnet.acl:
        keys["acl"] = subnet.acl
    keys["instances"] = {name: {"address": str(one.address), "groups": list(one.groups)}
                         for name, one in subnet.machines.items()}
    return keys


def _group_keys(group: Group) -> dict[str, Any]:
    keys = {"ingress": [_group_rule_keys(rule, "source") for rule in group.ingress]}
    if group.egress is not None:
        keys["egress"] = [_group_rule_keys(rule, "destination") for rule in group.egress]
    return keys


def _group_rule_keys(rule: GroupRule, end: str) -> dict[str, Any]:
    far = f"group:{rule.far}" if isinstance(rule.far, str) else str(rule.far)
    return {**_what_keys(rule.protocol, rule.ports), "action": "allow", end: far}


def _acl_keys(rule: AclRule, end: str) -> dict[str, Any]:
    return {"number": rule.number, **_what_keys(rule.protocol, rule.ports),
            "action": "allow" if rule.allows else "deny", end: str(rule.far)}


def _what_keys(protocol: str, ports: Ports) -> dict[str, Any]:
    keys: dict[str, Any] = {"protocol": protocol}
    if protocol in ("tcp", "udp") and ports != ANY_PORT:
        keys["port"] = ports.first if ports.first == ports.last else f"{ports.first}-{ports.last}"
    return keys
