"""What must be so on the host before a VPC has IPv6."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv6Network
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner, need
from vpcctl_lib.model import addressing6, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources.forwarding6 import EVERYWHERE, is_possible
from vpcctl_lib.resources.operations import HOST


def settled(runner: Runner, before: Topology, topology: Topology,
            warn: Callable[[str], None]) -> Topology:
    """The topology with the prefixes that were to be chosen; what this host can't have is refused."""
    found = addressing6.settled(before, topology)
    if any(vpc.ipv6 for vpc in found.vpcs):
        _check(runner, before, found)
    ways = {(vpc.name, vpc.ipv6, vpc.nat) for vpc in found.vpcs if vpc.ipv6 and vpc.nat} - \
        {(vpc.name, vpc.ipv6, vpc.nat) for vpc in before.vpcs}
    if ways and not is_possible():
        warn("this kernel can't forward IPv6 for single links, which Linux 6.17 can: it gets to the internet "
             f"once the host forwards all of it ({EVERYWHERE}); first set accept_ra to 2 on the way out, or "
             "the default route that a router advertised goes")
    return found


def _check(runner: Runner, before: Topology, topology: Topology) -> None:
    """Refuse IPv6 where the kernel or its tools lack it, and prefixes that the host has a route to."""
    fresh = [vpc for vpc in topology.vpcs if vpc.ipv6 and _had(before, vpc) != vpc.ipv6]
    for vpc in topology.vpcs:
        _check_covered(vpc)
    if not fresh:
        return
    if not netns.have_ipv6():
        raise VpcctlError(f"VPC '{fresh[0].name}' can't have IPv6: this kernel has none",
                          "start it without ipv6.disable=1")
    need(*(f"{Family.INET6.tool}-{what}" for what in ("save", "restore")))
    ours = {naming.device("vpc-", vpc.name) for vpc in (*before.vpcs, *topology.vpcs)}
    routes = [one for one in Kernel(runner).routes6(HOST)
              if one["dst"] != "default" and one.get("dev") not in ours]
    for vpc in fresh:
        _check_free(vpc, routes)


def _had(before: Topology, vpc: Vpc) -> IPv6Network | None:
    found = before.vpc(vpc.name)
    return found.ipv6 if found else None


def _check_free(vpc: Vpc, routes: Iterable[dict[str, Any]]) -> None:
    for route in routes:
        network = IPv6Network(route["dst"])
        # A wider route that refuses is for what has no narrower one, such as that of a delegated prefix.
        wider = route.get("type") and vpc.ipv6 and network.prefixlen < vpc.ipv6.prefixlen
        if vpc.ipv6 and network.overlaps(vpc.ipv6) and not wider:
            raise VpcctlError(f"VPC '{vpc.name}' can't have {vpc.ipv6}: it overlaps the host's route to "
                              f"{network} (dev {route.get('dev', 'several links')})", "choose another prefix")


def _check_covered(vpc: Vpc) -> None:
    """Refuse IPv6 beside rules that say nothing of it: it would walk past them."""
    if vpc.ipv6 is None:
        return
    machines = (machine for subnet in vpc.subnets for machine in subnet.machines)
    found = "a policy" if any(one.policy for one in vpc.subnets) else \
        "machines in groups" if any(one.groups for one in machines) else \
        "a network ACL at a subnet" if any(one.acl for one in vpc.subnets) else ""
    if found:
        raise VpcctlError(f"VPC '{vpc.name}' can't have IPv6 and {found}: these rules do not cover IPv6 yet",
                          f"take IPv6 away: vpcctl vpc set --name {vpc.name} --no-ipv6")
