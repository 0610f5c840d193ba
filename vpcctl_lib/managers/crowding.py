"""How full the kernel's table of neighbours is."""

from __future__ import annotations

from vpcctl_lib.kernel.host import Host
from vpcctl_lib.model.topology import Topology

NEARLY_FULL = 0.8
"""The part of the neighbour table from which on a warning comes."""


def crowded(host: Host, topology: Topology) -> str:
    """A warning if the kernel's table of neighbours is nearly full; else empty."""
    table = host.neighbours
    # Ours are permanent and take no place: each machine's gateway, and its addresses at the router.
    ours = sum(1 + (len(machine.addresses) or 1) for vpc in topology.vpcs for subnet in vpc.subnets
               for machine in subnet.machines)
    if not table.room or table.entries - ours < NEARLY_FULL * table.room:
        return ""
    # Others have permanent ones, too; to count them takes a look into each namespace.
    used = table.entries - host.exempt
    if used < NEARLY_FULL * table.room:
        return ""
    return ("the kernel's neighbour table, which the host and all machines share, is nearly full: "
            f"{used:,} of {table.room:,} entries; when it is full, packets to new neighbours are lost: "
            f"raise it: sysctl -w net.ipv4.neigh.default.gc_thresh3={8 * table.room}")
