"""New connections a second from subnet to subnet: without network ACLs, with a thousand, with a long one."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from benchmarks.connections import DIAL, PORT, SECONDS, SERVER
from benchmarks.plumbing import SCRATCH
from benchmarks.timing import run, seconds, vpcctl

SUBNETS = 1000
FEW, LONG = 10, 10_000
CASES = {"none": "10.64.0.0/16", "few": "10.65.0.0/16", "long": "10.66.0.0/16"}
"""VPCs by case: without ACLs; with a thousand subnets, each with an ACL of ten rules; with one of 10,000."""


def rules(count: int) -> dict[str, Any]:
    """An ACL of that many rules in each direction, of which the last lets our packets through."""
    def one(number: int, key: str) -> dict[str, Any]:
        far = str(IPv4Address("11.0.0.0") + 7 * number)
        return {"number": number, "protocol": "tcp", "action": "deny", key: far}

    return {direction: [*(one(number, key) for number in range(1, count)),
                        {"number": count, "protocol": "tcp", "action": "allow"}]
            for direction, key in (("ingress", "source"), ("egress", "destination"))}


def network() -> dict[str, Any]:
    """All three VPCs."""
    vpcs: dict[str, Any] = {}
    for case, cidr in CASES.items():
        count = SUBNETS if case == "few" else 2
        parts = list(IPv4Network(cidr).subnets(new_prefix=28))[1:count + 1]
        vpcs[case] = {"cidr": cidr, "subnets": {f"s{number}": {"cidr": str(part)}
                                                for number, part in enumerate(parts)}}
        if case != "none":
            names = [f"a{number}" for number in range(count)] if case == "few" else ["long"]
            vpcs[case]["acls"] = {name: rules(FEW if case == "few" else LONG) for name in names}
            for number, subnet in enumerate(vpcs[case]["subnets"].values()):
                subnet["acl"] = names[number % len(names)]
    return {"version": 2, "vpcs": vpcs}


def address(case: str) -> str:
    """That of the machine to call."""
    return str(list(IPv4Network(CASES[case]).subnets(new_prefix=28))[2][2])


def serving() -> Iterator[subprocess.Popen[str]]:
    """A server in each VPC."""
    for case in CASES:
        words = ("ip", "netns", "exec", f"{case}-s1", sys.executable, "-c", SERVER, str(PORT))
        server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n"
        yield server


def compare(rounds: int) -> dict[str, float]:
    """The medians, round by round; and how long it takes to apply the long one."""
    file, long = SCRATCH / "acls.json", SCRATCH / "long.json"
    file.write_text(json.dumps(network()))
    long.write_text(json.dumps(rules(LONG)))
    vpcctl(f"apply -f {file}")
    servers = list(serving())
    rates: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(rounds):
        for case, found in rates.items():
            words = (sys.executable, "-c", DIAL, address(case), str(PORT), str(SECONDS))
            found.append(int(run("ip", "netns", "exec", f"{case}-s0", *words)) / SECONDS)
    for server in servers:
        server.kill()
        server.communicate()
    vpcctl("acl create --vpc none --name long")
    taken = seconds(lambda: vpcctl(f"acl apply --vpc none --name long --rules {long}"))
    for case in CASES:
        vpcctl(f"vpc delete --name {case}")
    return {**{case: statistics.median(found) for case, found in rates.items()}, "apply": taken}
