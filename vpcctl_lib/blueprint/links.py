"""What several features say of links: their readable names and the size of their packets; pure."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Altname, Resource


def altname(namespace: str, prefix: str, name: str) -> Iterator[Resource]:
    """The readable name, where the kernel's is too short for it."""
    full = naming.altname(prefix, name)
    if full:
        yield Altname(namespace, naming.device(prefix, name), full)


def mtu(vpc: Vpc) -> int:
    """Of both ends of the cable to the host: what the way out takes, if that is less than Ethernet's."""
    return min(1500, vpc.nat.mtu) if vpc.nat else 1500
