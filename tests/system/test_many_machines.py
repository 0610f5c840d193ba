"""Very many machines in one VPC, on a host with default settings: each reaches its gateway and its peers."""

from __future__ import annotations

import json
import os
import random
from ipaddress import IPv4Address

from host import Host
from probes import REACHED

LONG = bool(os.environ.get("VPCCTL_LONG"))
MACHINES = 1000 if LONG else 60
AT_ONCE = 40
"""Machines that send at the same time."""

PORTS = 1023
FIRST = IPv4Address("10.0.16.4")
NETWORK = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "subnets": {"many": {
    "cidr": "10.0.16.0/20", "bare": True, "instances": {}}}}}}


def network(machines: int) -> str:
    wanted = json.loads(json.dumps(NETWORK))
    wanted["vpcs"]["vpc1"]["subnets"]["many"]["instances"] = {f"m{number}": {} for number in range(machines)}
    return json.dumps(wanted)


def test_each_reaches_its_gateway_and_ten_peers(host: Host) -> None:
    host.do("apply --json -f -", stdin=network(MACHINES - 1))
    added = host.do("instance add --vpc vpc1 --subnet many --name last")
    assert "neighbour table" not in added.err, "machines take no places in it"
    spaces = [*(f"vpc1-many.m{number}" for number in range(MACHINES - 1)), "vpc1-many.last"]
    dice = random.Random(7)  # noqa: S311 - the same peers each time
    questions = [(space, target) for space in spaces for target in
                 ("10.0.0.1", *(str(FIRST + one) for one in dice.sample(range(MACHINES), 10)))]
    size = 11 * AT_ONCE
    missed = []
    for start in range(0, len(questions), size):
        some = questions[start:start + size]
        missed += [one for one in zip(some, host.probe(*some), strict=True) if one[1].verdict != REACHED]
    assert not missed, missed[:10]
    for space in dice.sample(spaces, 5):
        assert host.sh("ip -4 neigh", space).count("\n") == 1, "the gateway, and nobody else"
    if not LONG:
        assert host.do("status").out == "in sync\n"


def test_a_full_bridge_is_told_before_anything_is_made(host: Host) -> None:
    wanted = json.loads(network(PORTS))
    wanted["vpcs"]["vpc1"]["subnets"]["own"] = {"cidr": "10.0.1.0/24"}
    file = host.write("network.json", wanted)
    host.refused(f"apply -f {file}", code=1,
                 says="VPC 'vpc1' would have 1,024 machines: its bridge has 1,023 ports")
    assert host.do("vpc list --json").json["vpcs"] == []
