"""What IPv6 costs: `./vpcctl sandbox -- env PYTHONPATH=. python3 benchmarks/dual.py`.

Apart from the other figures. It prints the lines of the page's table about IPv6.
"""

from __future__ import annotations

import json
import statistics
import sys

from benchmarks import processor
from benchmarks.timing import medians, run, vpcctl

SUBNETS, ROUNDS, MEGABYTES = 100, 15, 1000
PREFIXES = {"vpc1": "fd77:0:0:100::/56", "vpc2": "fd77:0:0:200::/56"}
PATHS = {"from subnet to subnet": ("vpc1-s0", "vpc1-s1", "10.1.1.2"),
         "from VPC to VPC": ("vpc1-s0", "vpc2-s0", "10.2.0.2")}


def network(dual: bool) -> str:
    """Two VPCs that are peered and have a way out, as a topology file."""
    vpcs = {name: {"cidr": f"10.{number}.0.0/16", "nat": True, **({"ipv6": prefix} if dual else {}),
                   "subnets": {f"s{one}": {"cidr": f"10.{number}.{one}.0/24", "type": "public"}
                               for one in range(SUBNETS // 2)}}
            for number, (name, prefix) in enumerate(PREFIXES.items(), 1)}
    return json.dumps({"version": 2, "vpcs": vpcs, "peerings": [["vpc1", "vpc2"]]})


def build(dual: bool) -> None:
    """Make it."""
    run("vpcctl", "apply", "-f", "-", stdin=network(dual))


def clear() -> None:
    """Take it away."""
    for name in PREFIXES:
        vpcctl(f"vpc delete --name {name}")


def speeds() -> dict[str, tuple[float, float, float]]:
    """Microseconds of the processor for a MB by IPv4 on each path, without and with IPv6, and their ratio.

    Medians; the ratio is that of two measured one after the other.
    """
    receivers = {name: processor.receiver(server) for name, (_, server, _) in PATHS.items()}
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in PATHS}
    for number in range(2 * ROUNDS):
        for name, prefix in PREFIXES.items():
            vpcctl(f"vpc set --name {name} " + (f"--ipv6 {prefix}" if number % 2 else "--no-ipv6"))
        for name, (client, _, address) in PATHS.items():
            found[name][number % 2].append(
                processor.megabyte(client, receivers[name], address, MEGABYTES))
    processor.end(*receivers.values())
    return {name: (statistics.median(without), statistics.median(having),
                   statistics.median(one / other for one, other in zip(without, having, strict=True)))
            for name, (without, having) in found.items()}


def main() -> None:
    """Measure, and print."""
    built = medians(ROUNDS, {"IPv4": (lambda: build(False), clear), "both": (lambda: build(True), clear)})
    alone, both = built["IPv4"], built["both"]
    build(False)
    lines = [(f"`vpcctl apply`, two VPCs with {SUBNETS} subnets", f"{alone:.2f} s", f"{both:.2f} s",
              both / alone)]
    lines += [(f"a MB by IPv4 {name}, of a processor", f"{without:.0f} µs", f"{having:.0f} µs", ratio)
              for name, (without, having, ratio) in speeds().items()]
    clear()
    sys.stdout.write("".join(f"| {what} | {one} | {other} | {ratio:.2f} |\n"
                             for what, one, other, ratio in lines))


if __name__ == "__main__":
    main()
