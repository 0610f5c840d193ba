"""`reach` says what real packets do: random networks, damaged by hand, asked and tried pair by pair."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import reach_world
from host import CHECKOUT, SILENCE, Answer, Host
from probes import REACHED
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
PER_SUBNET = 40 if LONG else 24
SETTLE_SECONDS = 1.2
"""The kernel may take a second to let a link know that its other end went down (net/core/link_watch.c)."""

AT_ONCE = 60
ANSWERED_BY_OTHERS = ("DIVERTED", "OVERLAPPING_CIDR")
MOST_UNKNOWN = 0.01


@dataclass(frozen=True)
class Pair:
    """From a machine to a target, as `reach` takes it and as a probe does."""

    start: str
    to: str
    protocol: str
    port: int
    target: str

    @property
    def namespace(self) -> str:
        """Where it is sent from."""
        return space(self.start)


def space(machine: str) -> str:
    """The namespace of VPC/SUBNET or VPC/SUBNET/NAME."""
    return machine.replace("/", "-", 1).replace("/", ".")


def pairs(world: World) -> list[Pair]:
    """All pairs of the world, or as many from each subnet as there is time for."""
    found = []
    for vpc, subnet in world.subnets:
        start = f"{vpc}/{subnet}"
        own = [Pair(start, to, *how, f"{address}{suffix}") for to, address in _targets(world) if to != start
               for *how, suffix in _ways(to)]
        found += world.random.sample(own, min(PER_SUBNET, len(own)))
    return found


def _targets(world: World) -> Iterator[tuple[str, str]]:
    for (vpc, subnet), address in zip(world.subnets, world.addresses, strict=True):
        yield f"{vpc}/{subnet}", address
    for vpc, one in world.topology["vpcs"].items():
        yield vpc, one["cidr"].replace("0.0/16", "0.1")
    yield "internet", "8.8.8.8"


def _ways(to: str) -> list[tuple[str, int, str]]:
    ping = [("icmp", 0, "")]
    if to == "internet":
        return [*ping, ("tcp", 80, ":80"), ("udp", 53, ":53/udp")]
    if "/" not in to:
        return ping
    return [*ping, ("tcp", 80, ":80"), ("tcp", 8080, ":8080"), ("udp", 53, ":53/udp")]


def build(host: Host, world: World) -> None:
    """The network, a service in each subnet, then the damage."""
    host.do("apply -f", host.write("world.yaml", world.topology))
    services = {f"{vpc}-{subnet}": host.listen(f"{vpc}-{subnet}", "80", "8080", "53/udp")
                for vpc, subnet in world.subnets}
    for command in world.damage:
        if command.startswith("gone "):
            remove(host, command.split()[1], services)
        else:
            # What is not there can't be damaged: such a command just fails.
            host.run("sh", "-c", command)
    time.sleep(SETTLE_SECONDS)


def remove(host: Host, namespace: str, services: dict[str, int]) -> None:
    """A namespace goes once nothing lives in it."""
    pid = services.pop(namespace, None)
    if pid is not None:
        host.stop(pid)
    host.run("ip", "netns", "del", namespace)


def ask(host: Host, asked: list[Pair]) -> list[dict[str, Any]]:
    """What reach says."""
    given = [(pair.start, pair.to, pair.protocol, pair.port) for pair in asked]
    done = host.run(sys.executable, str(BATCH), stdin=json.dumps(given))
    assert done.code == 0, done.err
    reports: list[dict[str, Any]] = json.loads(done.out)
    return reports


def send(host: Host, tried: list[Pair], patience: float) -> list[bool]:
    """What real packets do; nothing comes out of a namespace that is gone."""
    there = set(host.sh("ls /run/netns").split())
    done: dict[Pair, bool] = dict.fromkeys(tried, False)
    sendable = [pair for pair in tried if pair.namespace in there]
    for begin in range(0, len(sendable), AT_ONCE):
        some = sendable[begin:begin + AT_ONCE]
        answers = host.probe(*((pair.namespace, pair.target) for pair in some), patience=patience)
        done |= {pair: arrived(pair, answer) for pair, answer in zip(some, answers, strict=True)}
    return [done[pair] for pair in tried]


def arrived(pair: Pair, answer: Answer) -> bool:
    """Whether it was the target that answered; a service says who it is."""
    place = f"{space(pair.to)} sees" if "/" in pair.to and pair.port else ""
    return answer.verdict == REACHED and answer.answer.startswith(place)


def agree(pair: Pair, report: dict[str, Any], real: bool) -> bool:
    """Whether both say the same; whose answer a ping got can't be seen."""
    other = (report["blocked_by"] or {}).get("code") in ANSWERED_BY_OTHERS and pair.protocol == "icmp"
    return real if other else (report["verdict"] == "reachable") is real


def differing(host: Host, asked: list[Pair], patience: float) -> tuple[list[Pair], list[Pair], list[str]]:
    """The pairs on which the two disagree, those that reach can't tell, and both told at length."""
    wrong, unknown, told = [], [], []
    for pair, report, real in zip(asked, ask(host, asked), send(host, asked, patience), strict=True):
        if report["verdict"] == "unknown":
            unknown.append(pair)
            told.append(f"{pair}: unknown: {report['why']}")
        elif not agree(pair, report, real):
            wrong.append(pair)
            told.append(f"{pair}: packet {real}, reach {report['verdict']} {report['blocked_by']}")
    return wrong, unknown, told


@pytest.fixture
def new_host(tmp_path: Path) -> Iterator[list[Host]]:
    """Hosts that may end in any state."""
    made: list[Host] = []
    yield made
    for host in made:
        host.end()


def compare(seed: int, hosts: list[Host], scratch: Path) -> tuple[int, int, int, list[str]]:
    """One world: pairs compared, unknown, reachable, and disagreements that stay."""
    world = reach_world.make(seed, harm=seed % 7)
    host = Host(scratch)
    hosts.append(host)
    build(host, world)
    asked = pairs(world)
    reached = sum(report["verdict"] == "reachable" for report in ask(host, asked))
    wrong, unknown, told = differing(host, asked, patience=0.7)
    if wrong:
        # A busy machine may be late: what differs is asked and tried again.
        wrong, _, told = differing(host, wrong, patience=3.0)
    hosts.remove(host)
    host.end()
    for line in told:
        print(line)
    problems = [f"seed {seed}, {world.damage}: {pair}" for pair in wrong]
    return len(asked), len(unknown), reached, problems


@pytest.mark.long
def test_reach_says_what_packets_do(new_host: list[Host], tmp_path: Path) -> None:
    compared = unknown = open_ones = 0
    problems: list[str] = []
    for seed in range(FIRST, FIRST + WORLDS):
        more, unclear, reached, wrong = compare(seed, new_host, tmp_path)
        compared, unknown, open_ones = compared + more, unknown + unclear, open_ones + reached
        problems += wrong
    print(f"{compared} pairs compared, {open_ones} of them reachable, "
          f"{len(problems)} disagreements, {unknown} unknown")
    assert problems == []
    assert unknown <= MOST_UNKNOWN * compared


def test_a_gateway_that_is_the_router_itself(vpc1: Host) -> None:
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("ip -n vpc1 route add 10.0.1.2/32 via 10.0.0.1 dev br-vpc1")
    vpc1.reaches("vpc1-public", "8.8.8.8")
    assert vpc1.do("reach --from vpc1/public --to internet --json").json["reach"]["verdict"] == "reachable"


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
