"""What several features need for links: their readable names and their MTU; pure."""

from __future__ import annotations

from collections.abc import Iterator

from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Altname, Resource
from vpcctl_lib.resources.links import IPV6_MTU


def altname(namespace: str, prefix: str, name: str) -> Iterator[Resource]:
    """The readable name, if it is too long for the kernel."""
    full = naming.altname(prefix, name)
    if full:
        yield Altname(namespace, naming.device(prefix, name), full)


def mtu(vpc: Vpc) -> int:
    """The MTU of both ends of the cable to the host: that of the way out, if less than Ethernet's.

    A link with less than 1280 can't have IPv6; then the host itself tells of the way out.
    """
    least = IPV6_MTU if vpc.ipv6 else 0
    return max(least, min(1500, vpc.nat.mtu)) if vpc.nat else 1500
