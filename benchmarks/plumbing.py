"""How long it takes to build networks: ours, the raw floor, the CNI bridge plugin, Mininet's Linux bridge."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.timing import medians, programs_started, run, seconds, vpcctl

CNI = Path("/usr/lib/cni/bridge")
SCRATCH = Path("/run/benchmark")
MININET = """
import subprocess, sys
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
net = Mininet(switch=LinuxBridge, controller=None)
switch = net.addSwitch("s1")
for number in range(int(sys.argv[1])):
    host = net.addHost("h%d" % number, ip="10.77.%d.2/16" % number, defaultRoute="via 10.77.255.1")
    net.addLink(host, switch)
net.start()
subprocess.run(["true"])
print("up", flush=True)
sys.stdin.read()
net.stop()
"""


def _lines(count: int) -> tuple[str, str, list[str]]:
    """The bare plumbing as `ip -batch` files: namespaces, cables on a bridge, and each namespace's inside."""
    names = [f"raw{number}" for number in range(count)]
    spaces = "".join(f"netns add {name}\n" for name in names)
    cables = "link add brraw type bridge\nlink set brraw up\naddr add 10.77.255.1/16 dev brraw\n" + "".join(
        f"link add r{number} type veth peer name eth0 netns {name}\nlink set r{number} master brraw up\n"
        for number, name in enumerate(names))
    insides = [f"link set lo up\nlink set eth0 addrgenmode none up\naddr add 10.77.{number}.2/16 dev eth0\n"
               "route add default via 10.77.255.1\n" for number in range(count)]
    return spaces, cables, insides


def raw(count: int) -> None:
    """The floor with programs: one `ip -batch` for the host, one for each namespace."""
    spaces, cables, insides = _lines(count)
    run("ip", "-batch", "-", stdin=spaces + cables)
    for number, inside in enumerate(insides):
        run("ip", "-n", f"raw{number}", "-batch", "-", stdin=inside)


def raw_one() -> None:
    """One namespace with three: for its name, for its cable, and inside."""
    spaces, cables, (inside,) = _lines(1)
    run("ip", "-batch", "-", stdin=spaces)
    run("ip", "-batch", "-", stdin=cables)
    run("ip", "-n", "raw0", "-batch", "-", stdin=inside)


def clear_raw(count: int) -> None:
    """Take the raw plumbing away."""
    lines = "".join(f"link del r{number}\nnetns del raw{number}\n" for number in range(count))
    run("ip", "-batch", "-", stdin=lines)
    run("ip", "link", "del", "brraw")


def cni(count: int) -> None:
    """The CNI bridge plugin, as a container runtime calls it: once a namespace."""
    for number in range(count):
        run("ip", "netns", "add", f"cni{number}")
        _call_cni("ADD", number)


def _call_cni(verb: str, number: int) -> None:
    ipam = {"type": "host-local", "subnet": "10.88.0.0/16", "dataDir": str(SCRATCH),
            "routes": [{"dst": "0.0.0.0/0"}]}
    network = {"cniVersion": "0.4.0", "name": "bench", "type": "bridge", "bridge": "brcni",
               "isGateway": True, "ipMasq": False, "ipam": ipam}
    variables = {"CNI_COMMAND": verb, "CNI_CONTAINERID": f"cni{number}", "CNI_IFNAME": "eth0",
                 "CNI_NETNS": f"/run/netns/cni{number}", "CNI_PATH": str(CNI.parent)}
    subprocess.run([str(CNI)], input=json.dumps(network), env={**os.environ, **variables}, text=True,
                   check=True, capture_output=True)


def clear_cni(count: int) -> None:
    """Take the CNI networks away."""
    for number in range(count):
        _call_cni("DEL", number)
        run("ip", "netns", "del", f"cni{number}")
    run("ip", "link", "del", "brcni")


class Mininet:
    """Mininet with its Linux bridge, up from `start` to `stop`."""

    def start(self, count: int) -> None:
        """Until it says that it is up."""
        self._process = subprocess.Popen(["/usr/bin/python3", "-c", MININET, str(count)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "up\n"

    def stop(self) -> None:
        """And gone."""
        self._process.communicate()


def topology(vpcs: list[str], subnets: int, full: bool) -> str:
    """A topology file: bare, or with NAT, a policy for each subnet, and the VPCs peered."""
    firewall = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}]}
    extra = {"type": "public", "firewall": firewall} if full else {}
    document: dict[str, object] = {"version": 1, "vpcs": {
        name: {"cidr": f"10.{place}.0.0/16", **({"nat": {"interface": "eth0"}} if full else {}),
               "subnets": {f"s{number}": {"cidr": f"10.{place}.{number}.0/24", **extra}
                           for number in range(subnets)}}
        for place, name in enumerate(vpcs, 100)}}
    if full:
        document["peerings"] = [vpcs]
    return json.dumps(document)


def apply(text: str) -> None:
    """Apply a topology."""
    file = SCRATCH / "topology.json"
    file.write_text(text)
    vpcctl(f"apply -f {file}")


def compare(rounds: int, count: int) -> dict[str, float]:
    """`count` namespaces with cable, address and route, four ways; and how long ours take to delete."""
    mininet = Mininet()
    ours = topology(["bench"], count, full=False)
    deleted: list[float] = []
    told = medians(rounds, {
        "ip -batch": (lambda: raw(count), lambda: clear_raw(count)),
        "vpcctl apply": (lambda: apply(ours),
                         lambda: deleted.append(seconds(lambda: vpcctl("vpc delete --name bench")))),
        "CNI bridge plugin": (lambda: cni(count), lambda: clear_cni(count)),
        "Mininet": (lambda: mininet.start(count), mininet.stop),
    })
    return {**told, "delete": statistics.median(deleted)}


def programs(count: int) -> dict[str, float]:
    """The programs that each of these starts."""
    ours = f"apply(topology(['bench'], {count}, full=False))"
    tasks = {"ip -batch": (f"raw({count})", f"clear_raw({count})"),
             "vpcctl apply": (ours, "vpcctl('vpc delete --name bench')"),
             "CNI bridge plugin": (f"cni({count})", f"clear_cni({count})")}
    told: dict[str, float] = {}
    for name, (task, clear) in tasks.items():
        told[name] = programs_started(sys.executable, "-c", f"from benchmarks.plumbing import *; {task}")
        run(sys.executable, "-c", f"from benchmarks.plumbing import *; {clear}")
    told["Mininet"] = programs_started("/usr/bin/python3", "-c", MININET, str(count), until="true")
    return told


def whole(rounds: int, subnets: int) -> dict[str, float]:
    """Two VPCs with NAT, peering and a policy for each subnet, against the bare plumbing of as many."""
    ours = topology(["left", "right"], subnets // 2, full=True)
    again: list[float] = []
    deleted: list[float] = []

    def clear() -> None:
        again.append(seconds(lambda: apply(ours)))
        deleted.append(seconds(lambda: vpcctl("vpc delete --name left")))
        vpcctl("vpc delete --name right")

    told = medians(rounds, {
        "ip -batch": (lambda: raw(subnets), lambda: clear_raw(subnets)),
        "apply": (lambda: apply(ours), clear),
    })
    return {**told, "again": sorted(again)[rounds // 2], "delete": sorted(deleted)[rounds // 2]}


def growth(rounds: int, others: int) -> dict[str, float]:
    """`subnet add` as the first and after many others in its VPC, and the size of the record then.

    The first is measured before the others are there and once they are gone: a machine that becomes faster
    or slower meanwhile does so for both.
    """
    create = "vpc create --name grown --cidr 10.0.0.0/8"
    vpcctl(create)
    first = _adding(rounds)
    apply(_large({"grown": "10.0.0.0/8"}, others))
    late, size = _adding(rounds), _record()
    vpcctl("vpc delete --name grown")
    vpcctl(create)
    first += _adding(rounds)
    vpcctl("vpc delete --name grown")
    return {"first": statistics.median(first), "late": statistics.median(late), "bytes": size}


def crowd(rounds: int, subnets: int) -> dict[str, float]:
    """Building, listing, adding and deleting where VPCs have very many subnets together."""
    vpcs = {"grown": "10.0.0.0/8", "other": "11.0.0.0/8", "third": "12.0.0.0/8"}
    ours = _large(vpcs, subnets // len(vpcs))
    found = {"apply": seconds(lambda: apply(ours)), "bytes": _record(),
             "add": statistics.median(_adding(rounds))}
    found["list"] = statistics.median(seconds(lambda: vpcctl("vpc list --json")) for _ in range(rounds))
    found["delete"] = seconds(lambda: vpcctl("vpc delete --name grown"))
    for name in ("other", "third"):
        vpcctl(f"vpc delete --name {name}")
    return found


def _large(vpcs: dict[str, str], subnets: int) -> str:
    """A topology file: each VPC with so many subnets."""
    return json.dumps({"version": 1, "vpcs": {name: {"cidr": cidr, "subnets": {
        f"s{number}": {"cidr": f"{cidr.split('.')[0]}.{number // 250}.{number % 250}.0/24"}
        for number in range(subnets)}} for name, cidr in vpcs.items()}})


def _adding(rounds: int) -> list[float]:
    return _pairs(rounds, "subnet add --vpc grown --name new --cidr 10.255.0.0/24",
                  "subnet delete --vpc grown --name new")


def _pairs(rounds: int, add: str, delete: str) -> list[float]:
    """How long adding takes each time; deleting in between is not measured."""
    times = []
    for _ in range(rounds):
        times.append(seconds(lambda: vpcctl(add)))
        vpcctl(delete)
    return times


def machines(rounds: int, others: int) -> dict[str, float]:
    """`instance add` as the first and after many others in its subnet, as in `growth`; and all at once."""
    place = "--vpc grown --subnet many --name new"
    add, delete = f"instance add {place}", f"instance delete {place}"
    few, many = _subnet_of(0), _subnet_of(others)
    apply(json.dumps(few))
    first = _pairs(rounds, add, delete)
    whole = seconds(lambda: apply(json.dumps(many)))
    late, size = _pairs(rounds, add, delete), _record()
    vpcctl("vpc delete --name grown")
    apply(json.dumps(few))
    first += _pairs(rounds, add, delete)
    vpcctl("vpc delete --name grown")
    return {"first": statistics.median(first), "late": statistics.median(late), "apply": whole, "bytes": size}


def _subnet_of(machines: int) -> dict[str, Any]:
    """A topology: one VPC, with so many machines in one subnet."""
    instances: dict[str, Any] = {f"m{number}": {} for number in range(machines)}
    return {"version": 2, "vpcs": {"grown": {"cidr": "10.0.0.0/16", "subnets": {"many": {
        "cidr": "10.0.16.0/20", "bare": True, "instances": instances}}}}}


def reading(rounds: int, *counts: int) -> dict[str, float]:
    """`reach` from each of many machines to one of them, and `status`."""
    found = {}
    for count in counts:
        apply(json.dumps(_subnet_of(count)))
        for name, command in (("reach", "reach --to grown/many/m0"), ("status", "status")):
            times = [seconds(partial(vpcctl, command)) for _ in range(rounds)]
            found[f"{name} {count}"] = statistics.median(times)
        vpcctl("vpc delete --name grown")
    return found


def _record() -> int:
    return Path("/var/lib/vpcctl/state.json").stat().st_size
