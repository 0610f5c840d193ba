"""What the ways in and out of a VPC cost, against the same hops by hand with a firewall of few rules."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import byhand, processor
from benchmarks.acls import FEW, rules
from benchmarks.byhand import IPERF
from benchmarks.connections import PORT
from benchmarks.plumbing import SCRATCH
from benchmarks.timing import run, vpcctl

CONNECTIONS, SLICES, MEGABYTES = 100, 6, 200
"""In each run: connections in slices, with those of the others between them."""


class Way(NamedTuple):
    """Where a client is, and where the service that it asks: by which address, in which namespace."""

    client: str
    server: str
    address: str


HANDS = {"few": (), "same": (True,), "acls": (True, True)}
"""What is built by hand, by the beginning of its namespaces' names: whether with a guard, and with ACLs."""


class Route(NamedTuple):
    """From one machine to another, in a VPC or outside; `address` is the one that is asked."""

    client: str
    server: str
    address: str

    def ours(self, vpc: str) -> Way:
        """Through a VPC."""
        client, server = (one if one == "wan" else f"{vpc}-{one}" for one in (self.client, self.server))
        return Way(client, server, OURS[vpc][self.address])

    def by_hand(self, prefix: str) -> Way:
        """Through the same by hand."""
        return Way(f"{prefix}-{self.client}", f"{prefix}-{self.server}", BY_HAND[self.address])


OURS = {vpc: {"outside": "10.71.0.2", "elastic": elastic, "published": "10.71.0.1"}
        for vpc, elastic in (("one", "198.51.100.1"), ("two", "198.51.100.2"), ("three", ""))}
BY_HAND = {"outside": "10.72.0.2", "elastic": "198.51.100.33", "published": "10.72.0.1"}
ROUTES = {
    "out by a NAT gateway": Route("prv", "wan", "outside"),
    "out by a middlebox": Route("boxed", "wan", "outside"),
    "out with an elastic address": Route("pub", "wan", "outside"),
    "in by an elastic address": Route("wan", "pub", "elastic"),
    "in by a published port": Route("wan", "pub", "published"),
}
WITH_ACLS = ("out by a NAT gateway", "in by an elastic address")
WITH_MIDDLEBOX = ("out by a middlebox",)
WAYS = {
    **{name: (one.ours("three" if name in WITH_MIDDLEBOX else "one"), one.by_hand("same"),
              one.by_hand("few")) for name, one in ROUTES.items()},
    **{f"{name}, with network ACLs": (ROUTES[name].ours("two"), ROUTES[name].by_hand("acls"),
                                      ROUTES[name].by_hand("few")) for name in WITH_ACLS},
}
"""Each way through VPCs, by hand with the same protection, and by hand with the fewest rules."""

OUTSIDE = """
netns add wan
link add wan0 type veth peer name eth0 netns wan
link set wan0 up
addr add 10.71.0.1/24 dev wan0
"""
WAN = "addr add 10.71.0.2/24 dev eth0\nlink set eth0 up\nroute add 198.51.100.0/28 via 10.71.0.1\n"


def network() -> dict[str, Any]:
    """VPCs with all these ways: the second with network ACLs, the third with a middlebox."""
    vpcs: dict[str, Any] = {}
    for number, name in enumerate(("one", "two")):
        start = f"10.{number}"
        vpcs[name] = {
            "cidr": f"{start}.0.0/16", "nat": {"interface": "wan0"},
            "nat_gateways": {"nat1": {"subnet": "pub"}},
            "route_tables": {"out": {"routes": {"0.0.0.0/0": "nat:nat1"}}},
            "subnets": {"pub": {"cidr": f"{start}.1.0/24", "type": "public"},
                        "prv": {"cidr": f"{start}.2.0/24", "route_table": "out"}}}
    one, two = vpcs["one"], vpcs["two"]
    one["subnets"]["pub"]["publish"] = [f"{port}:{port}" for port in (IPERF, PORT)]
    two["acls"] = {"few": rules(FEW)}
    for subnet in two["subnets"].values():
        subnet["acl"] = "few"
    vpcs["three"] = {
        "cidr": "10.2.0.0/16", "nat": {"interface": "wan0"},
        "route_tables": {"boxed": {"routes": {"0.0.0.0/0": "instance:box/b"}}},
        "subnets": {"box": {"cidr": "10.2.3.0/24", "type": "public", "bare": True,
                            "instances": {"b": {"forwards": True}}},
                    "boxed": {"cidr": "10.2.4.0/24", "route_table": "boxed"}}}
    return {"version": 2, "vpcs": vpcs, "eip_pools": {"198.51.100.0/28": "wan0"},
            "eips": {"198.51.100.1": "one/pub", "198.51.100.2": "two/pub"}}


def build() -> None:
    """The same three times and more: by hand, and as VPCs."""
    for prefix, given in HANDS.items():
        byhand.build(prefix, *given)
    run("ip", "-batch", "-", stdin=OUTSIDE)
    run("ip", "-n", "wan", "-batch", "-", stdin=WAN)
    file = SCRATCH / "ways.json"
    file.write_text(json.dumps(network()))
    vpcctl(f"apply -f {file}")


def clear() -> None:
    """Take it all away."""
    for name in OURS:
        vpcctl(f"vpc delete --name {name}")
    for address in ("198.51.100.1", "198.51.100.2"):
        vpcctl(f"eip release --address {address}")
    vpcctl("eip pool delete 198.51.100.0/28")
    for prefix in HANDS:
        byhand.clear(prefix)
    run("ip", "netns", "del", "wan")


class Street:
    """The services wherever somebody is asked, and clients who ask on command; what that takes."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, bool], subprocess.Popen[str]] = {}
        self._clients: dict[str, subprocess.Popen[str]] = {}

    def open(self) -> None:
        """Start all of them."""
        for way in (way for pair in WAYS.values() for way in pair):
            for is_bulk, start in ((False, processor.answerer), (True, processor.receiver)):
                if (way.server, is_bulk) not in self._servers:
                    self._servers[way.server, is_bulk] = start(way.server)
            if way.client not in self._clients:
                self._clients[way.client] = processor.dialler(way.client)

    def close(self) -> None:
        """End all of them."""
        processor.end(*self._servers.values(), *self._clients.values())

    def connection(self, way: Way) -> float:
        """Microseconds of the processor that a connection takes, at both ends and on the way."""
        client, server = self._clients[way.client], self._servers[way.server, False]
        return processor.connection(client, server, way.address, CONNECTIONS)

    def megabyte(self, way: Way) -> float:
        """The same for a megabyte."""
        return processor.megabyte(way.client, self._servers[way.server, True], way.address, MEGABYTES)


def compare(rounds: int) -> dict[str, float]:
    """Medians of what each way takes, and of its ratios to the two by hand in the same moment."""
    build()
    street = Street()
    street.open()
    kinds = (("connection", street.connection, SLICES), ("megabyte", street.megabyte, 1))
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for name, ways in WAYS.items():
            for what, measure, slices in kinds:
                taken = _in_turn(ways, measure, slices, number)
                for kind, one in zip(("", " same", " few"), taken, strict=True):
                    found.setdefault(f"{name}: {what}{kind}", []).append(one)
                    found.setdefault(f"{name}: {what}{kind} ratio", []).append(one / taken[0])
    street.close()
    clear()
    return {name: statistics.median(values) for name, values in found.items()}


def _in_turn(ways: tuple[Way, ...], measure: Callable[[Way], float], slices: int, first: int) -> list[float]:
    """What each takes on average; none is always the first, and what else the machine does falls on all."""
    taken = dict.fromkeys(ways, 0.0)
    for turn in range(first, first + slices):
        begun = turn % len(ways)
        for way in ways[begun:] + ways[:begun]:
            taken[way] += measure(way) / slices
    return list(taken.values())
