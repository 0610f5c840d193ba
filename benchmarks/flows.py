"""What flow logs take of the processor, for a connection and a megabyte, and to read many machines.

    ./vpcctl sandbox -- env PYTHONPATH=. python3 -m benchmarks.flows [ROUNDS] [MACHINES]
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

from benchmarks import processor
from benchmarks.byhand import IPERF
from benchmarks.connections import PORT
from benchmarks.plumbing import SCRATCH
from benchmarks.timing import run, vpcctl
from vpcctl_lib.flows.names import (
    BEFORE,
    BEHIND,
    IN,
    LOST,
    OK,
    OPEN,
    OUT,
    SEEN,
    TABLE,
    machine_set,
    sure_counter,
)
from vpcctl_lib.flows.reading import INET, Namespaces, Wanted

CONNECTIONS, MEGABYTES = 1000, 1000
ALL = {"ingress": [{"number": 100, "protocol": "all", "action": "allow"}],
       "egress": [{"number": 100, "protocol": "all", "action": "allow"}]}
POLICY = {"ingress": [{"protocol": "tcp", "port": port, "action": "allow"} for port in (PORT, IPERF)]}


def build() -> None:
    """A VPC with a subnet to call from, and two to be called, one behind a network ACL; all with a policy."""
    (SCRATCH / "open.json").write_text(json.dumps(ALL))
    (SCRATCH / "policy.json").write_text(json.dumps(POLICY))
    vpcctl("vpc create --name calls --cidr 10.0.0.0/16")
    for number, name in enumerate(("client", "plain", "edge"), 1):
        vpcctl(f"subnet add --vpc calls --name {name} --cidr 10.0.{number}.0/24")
        vpcctl(f"firewall apply --vpc calls --subnet {name} --policy {SCRATCH / 'policy.json'}")
    vpcctl("acl create --vpc calls --name open")
    vpcctl(f"acl apply --vpc calls --name open --rules {SCRATCH / 'open.json'}")
    vpcctl("acl associate --vpc calls --subnet edge --name open")


class Callers:
    """Who calls, and who is called: behind a policy, and behind a network ACL as well."""

    def __init__(self) -> None:
        self._client = processor.dialler("calls-client")
        self._servers = {"2": processor.answerer("calls-plain"), "3": processor.answerer("calls-edge")}
        self._receiver = processor.receiver("calls-plain")

    def figures(self) -> dict[str, float]:
        """What is measured, once: microseconds of the processor."""
        names = {"2": "a connection", "3": "a connection, ACL"}
        return {**{names[number]: processor.connection(self._client, server, f"10.0.{number}.2", CONNECTIONS)
                   for number, server in self._servers.items()},
                "a MB": processor.megabyte("calls-client", self._receiver, "10.0.2.2", MEGABYTES)}

    def close(self) -> None:
        """End all of them."""
        processor.end(self._client, *self._servers.values(), self._receiver)


LOGS = {"servers": ("--vpc calls --subnet plain", "--vpc calls --subnet edge"), "VPC": ("--vpc calls",)}


def compare(rounds: int) -> dict[str, float]:
    """Medians without a log, and how much is done in the same time with one of the servers, and of all."""
    build()
    callers = Callers()
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        plain = callers.figures()
        for name, value in plain.items():
            found.setdefault(f"{name} (µs)", []).append(value)
        for log, those in LOGS.items():
            for what in those:
                vpcctl(f"flow-log create {what} --interval 60")
            for name, value in callers.figures().items():
                found.setdefault(f"{name}, log of the {log}: ratio", []).append(plain[name] / value)
            for what in those:
                vpcctl(f"flow-log delete {what}")
    callers.close()
    vpcctl("vpc delete --name calls")
    return {name: statistics.median(values) for name, values in sorted(found.items())}


def reading(machines: int) -> dict[str, float]:
    """Seconds for one reading of so many machines, each with ten flows, by the collector's way and by nft."""
    subnets = {f"s{number}": {"cidr": f"10.{number}.0.0/24", "bare": True, "instances": {
        f"m{one}": {} for one in range(min(100, machines - 100 * number))}}
        for number in range(-(-machines // 100))}
    file = SCRATCH / "many.json"
    file.write_text(json.dumps({"version": 2, "vpcs": {"many": {
        "cidr": "10.0.0.0/8", "subnets": subnets, "flow_logs": [{"interval": 600}]}}}))
    vpcctl(f"apply -f {file}")
    spaces = [name for name in os.listdir("/run/netns") if name.startswith("many-")]
    assert len(spaces) == machines
    for space in spaces:
        run("ip", "netns", "exec", space, "nft", "-f", "-", stdin="".join(
            f"add element inet {TABLE} {machine_set(way, place, '4')} "
            f"{{ 10.0.0.1 . 10.0.0.2 . 6 . {port} . 80 counter packets 3 bytes 180 }}\n"
            for way in (IN, OUT) for place in (SEEN, OK, OPEN) for port in range(1000, 1010)))
    namespaces = Namespaces(os.open("/run/netns", os.O_RDONLY))
    before, behind = ([sure_counter(way, end) for way in (IN, OUT)] for end in (BEFORE, BEHIND))
    wanted = Wanted(TABLE, LOST, [machine_set(way, place, "4") for way in (IN, OUT)
                                  for place in (SEEN, OK, OPEN)], before, behind)
    begun = time.perf_counter()
    taken = [namespaces.read(space, INET, wanted) for space in spaces]
    netlink = time.perf_counter() - begun
    some = spaces[:50]
    begun = time.perf_counter()
    for space in some:
        run("ip", "netns", "exec", space, "nft", "-j", "list", "table", "inet", TABLE)
    nft = (time.perf_counter() - begun) * len(spaces) / len(some)
    vpcctl("vpc delete --name many")
    elements = sum(len(one) for found in taken for one in found.sets)
    return {"machines": machines, "elements": elements, "read over netlink (s)": netlink,
            "read by nft (s)": nft}


def main(rounds: str = "11", machines: str = "500") -> None:
    """Print the figures."""
    Path(SCRATCH).mkdir(parents=True, exist_ok=True)
    for name, value in (*compare(int(rounds)).items(), *reading(int(machines)).items()):
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
