"""`reach` says what real packets do: random networks, damaged by hand, asked and tried pair by pair."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import reach_openings
import reach_six
import reach_world
from host import CHECKOUT, SILENCE, UPLINK, UPLINK6, Answer, Host
from probes import REACHED
from reach_openings import ELASTIC, HOST_PORTS
from reach_six import World6
from reach_world import World

BATCH = Path(__file__).with_name("reach_batch.py")
PROBE = """
import sys
from ipaddress import IPv4Address
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.probe import send
print(send(sys.argv[1], IPv4Address(sys.argv[2]), Protocol.ICMP, None, 0.5).name)
"""
LONG = bool(os.environ.get("VPCCTL_LONG"))
FIRST = int(os.environ.get("VPCCTL_SEED", "1"))
WORLDS = int(os.environ.get("VPCCTL_WORLDS", 80 if LONG else 3))
PER_END = 40 if LONG else 24
LEAST = {"inet": 10_000, "inet6": 3_000}
"""As many pairs a long run compares, by family."""

SETTLE_SECONDS = 1.2
"""The kernel may take a second to let a link know that its other end went down (net/core/link_watch.c)."""

AT_ONCE = 240
ANSWERED_BY_OTHERS = ("DIVERTED", "OVERLAPPING_CIDR")
MOST_UNKNOWN = 0.01


ARRIVED = re.compile(r"\w+ (?P<source>\S+) → \S+ has arrived")
"""The hop with which reach ends at a machine."""

OUTSIDE = {"host": "", "internet": "internet"}
"""The namespaces of the ends that are no machines."""

HOMES = ("8.8.8.8", reach_six.INTERNET6)
"""From where on the internet `reach --from internet` asks."""


@dataclass(frozen=True)
class Pair:
    """From a machine, the host or the internet to a target, as `reach` takes it and as a probe does."""

    start: str
    to: str
    protocol: str
    port: int
    target: str

    @property
    def namespace(self) -> str:
        """Where it is sent from."""
        return OUTSIDE.get(self.start, space(self.start))

    @property
    def source(self) -> str:
        """The address that it is sent from, if the kernel does not choose it."""
        return HOMES[self.is_six] if self.start == "internet" else ""

    @property
    def is_six(self) -> bool:
        """Whether it is by IPv6."""
        return self.target.count(":") > 1


def space(machine: str) -> str:
    """The namespace of VPC/SUBNET or VPC/SUBNET/NAME."""
    return machine.replace("/", "-", 1).replace("/", ".")


def pairs(world: World) -> list[Pair]:
    """All pairs of the world, or as many from each end as there is time for."""
    found = []
    for start in (*world.machines, *OUTSIDE):
        targets = _targets6(world, start) if isinstance(world, World6) else _targets(world, start)
        own = [Pair(start, to, *how, f"[{address}]{suffix}" if suffix and ":" in address
                    else f"{address}{suffix}") for to, address in targets for *how, suffix in _ways(to)]
        found += world.random.sample(own, min(PER_END, len(own)))
    return found


def _targets(world: World, start: str) -> Iterator[tuple[str, str]]:
    """Names, as reach takes them, and addresses."""
    yield from ((address, address) for address in (*world.topology["eips"], UPLINK))
    if start == "internet" and not world.routed:
        return
    yield from ((name, address) for name, address in world.machines.items() if name != start)
    for vpc, one in world.topology["vpcs"].items():
        yield vpc, one["cidr"].replace("0.0/16", "0.1")
    if start not in OUTSIDE:
        yield "internet", "8.8.8.8"


def _targets6(world: World6, start: str) -> Iterator[tuple[str, str]]:
    """The same by IPv6, where elastic addresses lead nowhere."""
    yield UPLINK6, UPLINK6
    if start == "internet" and not world.routed:
        return
    yield from ((name, address) for name, address in world.machines.items() if name != start)
    yield from world.routers.items()
    if start not in OUTSIDE:
        yield "internet", reach_six.INTERNET6
        yield "host", world.hosts[start.partition("/")[0]]


def _ways(to: str) -> list[tuple[str, int, str]]:
    ping = [("icmp", 0, "")]
    if to == "internet":
        return [*ping, ("tcp", 80, ":80"), ("udp", 53, ":53/udp")]
    if to in (UPLINK, UPLINK6):
        return [*ping, ("tcp", 8080, ":8080"), ("tcp", 8081, ":8081"), ("udp", 5353, ":5353/udp")]
    if "/" not in to and "." not in to and ":" not in to:
        return ping
    return [*ping, ("tcp", 80, ":80"), ("tcp", 8080, ":8080"), ("udp", 53, ":53/udp")]


def build(host: Host, world: World) -> None:
    """The network, a service in each machine and on the host, then the damage."""
    host.do("apply -f", host.write("world.yaml", world.topology))
    at = "::" if isinstance(world, World6) else "0.0.0.0"  # noqa: S104 - in namespaces
    services = {name: host.listen(name, "80", "8080", "53/udp", address=at)
                for name in map(space, world.listening)}
    host.listen("", "80", "53/udp", *HOST_PORTS, address=at)
    for vpc in world.topology["vpcs"].values() if world.routed and isinstance(world, World6) else ():
        host.sh(f"ip -n internet route add {vpc['ipv6']} via {UPLINK6}")
    for cidr in ("10.0.0.0/8", "172.16.0.0/12") if world.routed else ():
        host.sh(f"ip -n internet route add {cidr} via {UPLINK}")
    for command in world.damage:
        if command.startswith("gone "):
            remove(host, command.split()[1], services)
        else:
            # What is not there can't be damaged: such a command just fails.
            host.run("sh", "-c", command)
    time.sleep(SETTLE_SECONDS)
    if isinstance(world, World6):
        host.run("sh", "-c", reach_six.FORGET)


def remove(host: Host, namespace: str, services: dict[str, int]) -> None:
    """A namespace goes once nothing lives in it."""
    pid = services.pop(namespace, None)
    if pid is not None:
        host.stop(pid)
    host.run("ip", "netns", "del", namespace)


def ask(host: Host, asked: list[Pair]) -> list[dict[str, Any]]:
    """What reach says; all are by one family."""
    family = "inet6" if asked and asked[0].is_six else "inet"
    given = [(pair.start, pair.to, pair.protocol, pair.port) for pair in asked]
    done = host.run(sys.executable, str(BATCH), family, stdin=json.dumps(given))
    assert done.code == 0, done.err
    reports: list[dict[str, Any]] = json.loads(done.out)
    return reports


def send(host: Host, tried: list[Pair], patience: float) -> list[Answer]:
    """What real packets do; nothing comes out of a namespace that is gone."""
    there = {"", *host.sh("ls /run/netns").split()}
    done: dict[Pair, Answer] = dict.fromkeys(tried, Answer(SILENCE))
    for source in ("", *HOMES):
        sendable = [pair for pair in tried if pair.namespace in there and pair.source == source]
        for begin in range(0, len(sendable), AT_ONCE):
            some = sendable[begin:begin + AT_ONCE]
            asked = ((pair.namespace, pair.target) for pair in some)
            done |= zip(some, host.probe(*asked, patience=patience, source=source), strict=True)
    return [done[pair] for pair in tried]


def arrived(pair: Pair, answer: Answer) -> bool:
    """Whether it was the target that answered; a service says who it is."""
    place = f"{space(pair.to)} sees" if "/" in pair.to and pair.port else ""
    return answer.verdict == REACHED and answer.answer.startswith(place)


def agree(pair: Pair, report: dict[str, Any], answer: Answer) -> bool:
    """Whether both say the same; whose answer a ping got can't be seen."""
    real, said = arrived(pair, answer), report["verdict"] == "reachable"
    other = (report["blocked_by"] or {}).get("code") in ANSWERED_BY_OTHERS and pair.protocol == "icmp"
    if other or not real or not said:
        return real if other else said is real
    return pair.protocol == "icmp" or seen(report) in ("", answer.answer.partition(" mss")[0])


def seen(report: dict[str, Any]) -> str:
    """What a service that gets the packet says, by reach: who it is, and whom it sees."""
    hop = [hop for hop in report["hops"] if hop["way"] == "there"][-1]
    found = ARRIVED.fullmatch(hop["what"])
    if found is None or hop["where"] == "internet":
        return ""
    return f"{hop['where']} sees {found['source']}"


def differing(host: Host, asked: list[Pair], reports: list[dict[str, Any]],
              patience: float) -> dict[Pair, str]:
    """The pairs on which the two disagree, each told at length."""
    return {pair: f"{pair}: packet {answer}, reach {report['verdict']} {report['blocked_by']} {seen(report)}"
            for pair, report, answer in zip(asked, reports, send(host, asked, patience), strict=True)
            if report["verdict"] != "unknown" and not agree(pair, report, answer)}


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[list[Host]]:
    """Hosts that may end in any state."""
    made: list[Host] = []
    yield made
    for host in made:
        host.end()


def kind(pair: Pair) -> str:
    """What is asked, in a few words."""
    start = pair.start if pair.start in OUTSIDE else "machine"
    to = "machine" if "/" in pair.to else "port" if pair.to in (UPLINK, UPLINK6) else \
        "elastic address" if pair.to.startswith(ELASTIC) else pair.to if pair.to in OUTSIDE else "router"
    return f"{start} to {to}"


def make(seed: int, family: str) -> World:
    """The world of that seed."""
    if family == "inet6":
        sixth = reach_six.make(seed, harm=seed % 7)
        reach_openings.add_six(sixth, seed, harm=seed % 7)
        return sixth
    world = reach_world.make(seed, harm=seed % 7)
    reach_openings.add(world, seed, harm=seed % 7)
    return world


def again(host: Host, wrong: list[Pair]) -> dict[Pair, str]:
    """A busy machine may be late: what differs is asked and tried again.

    By IPv6 one after the other, as each may find neighbours who are then known to the others.
    """
    if not wrong[0].is_six:
        return differing(host, wrong, ask(host, wrong), patience=3.0)
    found: dict[Pair, str] = {}
    for pair in wrong:
        host.run("sh", "-c", reach_six.FORGET)
        found |= differing(host, [pair], ask(host, [pair]), patience=3.0)
    return found


def compare(seed: int, hosts: list[Host], scratch: Path, family: str) -> Counter[str]:
    """One world: what reach says of how many pairs, and the disagreements that stay."""
    world = make(seed, family)
    host = Host(scratch)
    hosts.append(host)
    build(host, world)
    asked = pairs(world)
    reports = ask(host, asked)
    wrong = differing(host, asked, reports, patience=0.7)
    if wrong:
        wrong = again(host, list(wrong))
    hosts.remove(host)
    host.end()
    for pair, report in zip(asked, reports, strict=True):
        if report["verdict"] == "unknown":
            print(f"{pair}: unknown: {report['why']}")
    for told in wrong.values():
        print(f"seed {seed}, {world.damage}: {told}", flush=True)
    verdicts = [report["verdict"] for report in reports]
    kinds = (f"{kind(pair)}: {verdict}" for pair, verdict in zip(asked, verdicts, strict=True))
    return Counter(pairs=len(asked), wrong=len(wrong)) + Counter(verdicts) + Counter(kinds)


@pytest.mark.long
@pytest.mark.parametrize("family", ["inet", "inet6"])
def test_reach_says_what_packets_do(family: str, new_host: list[Host], tmp_path: Path) -> None:
    found = Counter[str]()
    for seed in range(FIRST, FIRST + WORLDS):
        found += compare(seed, new_host, tmp_path, family)
    print(f"{found['pairs']} pairs compared, {found['reachable']} of them reachable, "
          f"{found['wrong']} disagreements, {found['unknown']} unknown")
    for name in sorted({name for name in found if ": " in name}):
        print(f"{name} {found[name]}")
    assert found["wrong"] == 0
    assert found["unknown"] <= MOST_UNKNOWN * found["pairs"]
    assert found["pairs"] >= (LEAST[family] if LONG else 1)


def test_a_gateway_that_is_the_router_itself(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("ip -n vpc1 route add 10.0.1.2/32 via 10.0.0.1 dev br-vpc1")
    vpc1.reaches("vpc1-public", "8.8.8.8")
    assert vpc1.do("reach --from vpc1/public --to internet --json").json["reach"]["verdict"] == "reachable"


@pytest.mark.parametrize("rule", [
    "nat -A PREROUTING -p tcp --dport 8081 -j DNAT --to-destination 10.0.1.2:80",
    "raw -A PREROUTING -i lo -j NOTRACK"])
def test_what_comes_over_lo_keeps_its_connection(rule: str, vpc1: Host) -> None:
    vpc1.listen("", "8080", "8081")
    vpc1.sh(f"iptables -t nat -A OUTPUT -d {UPLINK} -p tcp --dport 9 -j REDIRECT --to-ports 8080; "
            f"iptables -t {rule}")
    for port in (8081, 9):
        vpc1.reaches("", f"{UPLINK}:{port}")
        asked = vpc1.run(sys.executable, str(BATCH), stdin=json.dumps([("host", UPLINK, "tcp", port)]))
        assert json.loads(asked.out)[0]["verdict"] == "reachable"
    vpc1.sh(f"iptables -t nat -F OUTPUT; iptables -t {rule.replace(' -A', ' -D')}")


@pytest.mark.parametrize(("state", "passes"), [("NEW", True), ("INVALID", False), ("UNTRACKED", True)])
def test_no_state_is_known_before_connections_are_tracked(state: str, passes: bool, vpc1: Host) -> None:
    vpc1.listen("vpc1-private", "80")
    rule = f"OUTPUT -p tcp --syn -m conntrack --ctstate {state} -j DROP"
    vpc1.sh(f"iptables -t raw -A {rule}", "vpc1-public")
    (answer,) = vpc1.probe(("vpc1-public", "10.0.2.2:80"), patience=0.5)
    asked = vpc1.vpcctl("reach", "--from", "vpc1/public", "--to", "vpc1/private", "--port", "80", "--json")
    assert (answer.verdict == REACHED, asked.json["reach"]["verdict"] == "reachable") == (passes, passes)
    vpc1.sh(f"iptables -t raw -D {rule}", "vpc1-public")


def test_a_probe_hears_of_its_own_packet_only(vpc1: Host) -> None:
    # Small ones vanish, large ones are rejected: who hears of a rejection hears of somebody else's packet.
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("iptables -I FORWARD -p icmp -d 8.8.8.8 -m length --length :60 -j DROP", "vpc1")
    ping = vpc1.start("vpc1-private", "ping", "-q", "-i", "0.002", "-s", "500", "8.8.8.8")
    vpc1.wait_until(lambda: rejections(vpc1) > 0, "a large packet is rejected")
    [answer] = vpc1.probe(("vpc1-private", "8.8.8.8"), patience=0.5)
    assert answer.verdict == SILENCE
    asked = vpc1.run(sys.executable, "-c", PROBE, "vpc1-private", "8.8.8.8", PYTHONPATH=str(CHECKOUT))
    assert asked.out == "SILENCE\n", asked
    vpc1.stop(ping)


def rejections(host: Host) -> int:
    """How many packets the router has rejected so far."""
    last = host.sh("iptables -nvxL FORWARD", "vpc1").splitlines()[-1]
    assert "REJECT" in last
    return int(last.split()[0])
