"""Stands in a sandbox and gives subnets more machines: JSON of [vpc, subnet, name, addresses, program] in."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vpcctl_lib.kernel.run import Runner  # noqa: E402 - from the checkout that this stands in
from vpcctl_lib.managers.base import Context, Manager  # noqa: E402
from vpcctl_lib.model.lookup import find_subnet  # noqa: E402
from vpcctl_lib.model.topology import Machine, Topology, Workload  # noqa: E402
from vpcctl_lib.record.document import DEFAULT_FOLDER  # noqa: E402
from vpcctl_lib.record.store import Store  # noqa: E402


def main() -> None:
    """All of them in one change."""
    wanted = json.load(sys.stdin)

    def decide(topology: Topology) -> Topology:
        for vpc_name, subnet_name, name, addresses, program in wanted:
            vpc, subnet = find_subnet(topology, vpc_name, subnet_name)
            workloads = (Workload("worker", tuple(program)),) if program else ()
            machine = Machine(name, tuple(map(ip_address, addresses)), workloads=workloads)
            topology = topology.with_vpc(vpc.with_subnet(subnet.with_machine(machine)))
        return topology

    Manager(Context(Store(DEFAULT_FOLDER), Runner())).change(decide)


if __name__ == "__main__":
    main()
