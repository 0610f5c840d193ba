"""What flow logs cost: new connections a second and throughput with and without them, a reading of many.

    ./vpcctl sandbox -- env PYTHONPATH=. python3 -m benchmarks.flows [ROUNDS] [MACHINES]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.connections import DIAL, PORT, SERVER
from benchmarks.plumbing import SCRATCH
from benchmarks.timing import run, vpcctl
from vpcctl_lib.flows.names import IN, LOST, OK, OPEN, OUT, SEEN, TABLE, machine_set
from vpcctl_lib.flows.reading import INET, Namespaces

SECONDS = 0.5
ALL = {"ingress": [{"number": 100, "protocol": "all", "action": "allow"}],
       "egress": [{"number": 100, "protocol": "all", "action": "allow"}]}
POLICY = {"ingress": [{"protocol": "tcp", "port": f"{PORT}-{PORT + 1}", "action": "allow"}]}


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


@contextmanager
def serving() -> Iterator[None]:
    """A server in each subnet that is called."""
    servers = []
    for name in ("plain", "edge"):
        words = ("ip", "netns", "exec", f"calls-{name}", sys.executable, "-c", SERVER, str(PORT))
        servers.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        assert servers[-1].stdout is not None
        assert servers[-1].stdout.readline() == "up\n"
        words = ("ip", "netns", "exec", f"calls-{name}", "iperf3", "-s", "-p", str(PORT + 1))
        servers.append(subprocess.Popen(words, stdout=subprocess.DEVNULL))
    time.sleep(0.3)
    try:
        yield
    finally:
        for one in servers:
            one.kill()
            one.communicate()


def rate(number: int) -> float:
    """Connections a second from the client to a subnet."""
    words = (sys.executable, "-c", DIAL, f"10.0.{number}.2", str(PORT), str(SECONDS))
    return int(run("ip", "netns", "exec", "calls-client", *words)) / SECONDS


def throughput(number: int) -> float:
    """Gbit/s from the client to a subnet."""
    words = ("iperf3", "-c", f"10.0.{number}.2", "-p", str(PORT + 1), "-t", "1", "-J")
    found = json.loads(run("ip", "netns", "exec", "calls-client", *words))
    return float(found["end"]["sum_received"]["bits_per_second"]) / 1e9


LOGS = {"server": "--vpc calls --subnet plain", "VPC": "--vpc calls"}


def compare(rounds: int) -> dict[str, float]:
    """Medians of what there is without a log, and of the ratios to it with one of the server, and of all."""
    build()
    found: dict[str, list[float]] = {}
    with serving():
        for _ in range(rounds):
            plain = figures()
            for name, value in plain.items():
                found.setdefault(f"{name}: without", []).append(value)
            for log, what in LOGS.items():
                vpcctl(f"flow-log create {what} --interval 60")
                for name, value in figures().items():
                    found.setdefault(f"{name}: log of the {log}, ratio", []).append(value / plain[name])
                vpcctl(f"flow-log delete {what}")
    vpcctl("vpc delete --name calls")
    return {name: statistics.median(values) for name, values in sorted(found.items())}


def figures() -> dict[str, float]:
    """What is measured, once."""
    return {"connects/s": rate(2), "Gbit/s": throughput(2), "connects/s, ACL": rate(3)}


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
    sets = [machine_set(way, place, "4") for way in (IN, OUT) for place in (SEEN, OK, OPEN)]
    begun = time.perf_counter()
    taken = [namespaces.read(space, INET, TABLE, LOST, sets) for space in spaces]
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


def main(rounds: str = "5", machines: str = "500") -> None:
    """Print the figures."""
    Path(SCRATCH).mkdir(parents=True, exist_ok=True)
    for name, value in (*compare(int(rounds)).items(), *reading(int(machines)).items()):
        print(f"{name}: {value:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
