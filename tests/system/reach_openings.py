"""What lets the outside in, in random networks: published ports, elastic addresses, and damage to both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from host import UPLINK, UPLINK6
from reach_world import World

ELASTIC = "198.51.100."
POOL = f"{ELASTIC}0/28"
HOST_PORTS = ("8080", "8081", "5353/udp")
"""Those of the host that may lead to machines; programs of the host's own listen there, too."""

TO = {"8080": ("80", "8080"), "8081": ("8080", "80"), "5353/udp": ("53",)}
MOST_EIPS = 5


def add(world: World, seed: int, harm: int) -> None:
    """Published ports and elastic addresses for some of the machines and NAT gateways, perhaps damaged.

    Drawn apart, so that all else of a seed stays as it was.
    """
    random = Random(f"{seed} openings")  # noqa: S311 - a test wants the same again
    _add(world, random)
    for _ in range(min(harm, random.randint(0, 2))):
        world.damage.append(random.choice(DAMAGE)(world, random))


def _add(world: World, random: Random) -> None:
    places = list(_machines(world.topology))
    for port in HOST_PORTS:
        if random.random() < 0.5:
            _publish(random.choice(places)[1], port, random)
    names = [name for name, _ in places] + [f"{vpc}/pub/nat1" for vpc, one in world.topology["vpcs"].items()
                                            if "nat_gateways" in one]
    random.shuffle(names)
    # Those in public subnets work; the others are idle.
    names.sort(key=lambda name: random.random() < 0.5 and not _is_public(world.topology, name))
    given: list[str | None] = [*names[:random.randint(0, min(MOST_EIPS, len(names)))], None]
    world.topology |= {"version": 2, "eip_pools": {POOL: "eth0"},
                       "eips": {f"{ELASTIC}{number}": name for number, name in enumerate(given, 1)}}
    world.routed = random.random() < 0.5


def add_six(world: World, seed: int, harm: int) -> None:
    """Published ports of both families, and damage to what is of IPv6: elastic addresses are of IPv4."""
    random = Random(f"{seed} openings by IPv6")  # noqa: S311 - a test wants the same again
    places = [one for _, one in _machines(world.topology)]
    for port in HOST_PORTS:
        if random.random() < 0.7:
            _publish(random.choice(places), port, random, f"[{UPLINK6}]")
    for _ in range(min(harm, random.randint(0, 2))):
        world.damage.append(random.choice(DAMAGE6)(world, random))


def _machines(topology: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each with what the file says of it."""
    for vpc, one in topology["vpcs"].items():
        for name, subnet in one["subnets"].items():
            if not subnet.get("bare"):
                yield f"{vpc}/{name}", subnet
            yield from ((f"{vpc}/{name}/{machine}", held)
                        for machine, held in subnet.get("instances", {}).items())


def _is_public(topology: dict[str, Any], name: str) -> bool:
    vpc, subnet, *_ = name.split("/")
    return bool(topology["vpcs"][vpc]["subnets"][subnet].get("type") == "public")


def _publish(machine: dict[str, Any], port: str, random: Random, address: str = UPLINK) -> None:
    number, _, protocol = port.partition("/")
    at = f"{address}:" if random.random() < 0.3 else ""
    suffix = f"/{protocol}" if protocol else ""
    machine.setdefault("publish", []).append(f"{at}{number}:{random.choice(TO[port])}{suffix}")


def _flush(chain: str, table: str = "filter", tool: str = "iptables") -> Callable[[World, Random], str]:
    return lambda _, __: f"{tool} -t {table} -F {chain}"


def _in_router(command: str) -> Callable[[World, Random], str]:
    return lambda world, random: f"ip netns exec {random.choice(world.vpcs)} {command}"


def _address(world: World, random: Random) -> str:
    return random.choice(list(world.topology["eips"]))


def _translated(world: World, random: Random) -> str:
    """Somebody else's port, or a rule that leads what is for an elastic address elsewhere."""
    of = random.choice((_address(world, random), UPLINK))
    return f"iptables -t nat -I PREROUTING -d {of} -p tcp -j DNAT --to-destination " \
        f"{random.choice(world.addresses)}:80"


DAMAGE: tuple[Callable[[World, Random], str], ...] = (
    _flush("VPCCTL-PUBLISH", "nat"), _flush("VPCCTL-PORTS", "nat"), _flush("VPCCTL-SOURCES", "nat"),
    _flush("VPCCTL-PUBLISHED"), _flush("VPCCTL-ELASTIC"), _flush("VPCCTL-ELASTIC-TO"),
    _flush("VPCCTL-GUARD-OUT", "mangle"), _flush("VPCCTL-FORWARD"),
    _in_router("iptables -t nat -F PREROUTING"), _in_router("iptables -t nat -F POSTROUTING"),
    _in_router("iptables -D FORWARD 3"), _in_router("sysctl -qw net.ipv4.conf.uplink.rp_filter=1"),
    lambda world, random: f"ip neigh del proxy {_address(world, random)} dev eth0",
    lambda world, random: f"ip route del {_address(world, random)}",
    lambda world, random: f"ip route replace blackhole {_address(world, random)}",
    lambda world, random: f"ip addr add {_address(world, random)}/32 dev lo",
    lambda world, random: f"sysctl -qw net.ipv4.conf.eth0.rp_filter={random.choice((1, 2))}",
    lambda world, random: f"sysctl -qw net.ipv4.conf.{random.choice(('eth0', 'vpc-v0'))}.forwarding=0",
    lambda world, random: f"iptables -I FORWARD -i eth0 -p {random.choice(('tcp', 'udp', 'icmp'))} -j DROP",
    lambda world, random: "iptables -P FORWARD DROP", _translated, _translated)


def _translated6(world: World, random: Random) -> str:
    return f"ip6tables -t nat -I PREROUTING -d {UPLINK6} -p tcp -j DNAT --to-destination " \
        f"[{random.choice(world.addresses)}]:80"


DAMAGE6: tuple[Callable[[World, Random], str], ...] = (
    *(_flush(chain, table, "ip6tables") for chain, table in (
        ("VPCCTL-PUBLISH", "nat"), ("VPCCTL-PORTS", "nat"), ("VPCCTL-SOURCES", "nat"),
        ("VPCCTL-PUBLISHED", "filter"), ("VPCCTL-GUARD-OUT", "mangle"), ("VPCCTL-FORWARD", "filter"))),
    _in_router("ip6tables -D FORWARD 3"), _in_router("ip -6 route del default"),
    _in_router("ip6tables -t mangle -F PREROUTING"),
    lambda world, random: f"sysctl -qw net.ipv6.conf.{random.choice(('eth0', 'vpc-v0'))}.force_forwarding=0",
    lambda world, random: f"ip6tables -I FORWARD -i eth0 -p {random.choice(('tcp', 'udp'))} -j DROP",
    lambda world, random: "ip6tables -P FORWARD DROP", _translated6)
