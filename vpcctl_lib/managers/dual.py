"""What must be so on the host before a VPC has IPv6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import setting
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner, need
from vpcctl_lib.model import addressing6, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import in_vpc
from vpcctl_lib.model.policies import denied
from vpcctl_lib.model.routing import forwards6
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.resources.forwarding6 import EVERYWHERE, is_possible
from vpcctl_lib.resources.operations import HOST


def settled(runner: Runner, before: Topology, topology: Topology, warn: Callable[[str], None]) -> Topology:
    """The topology with the prefixes that were to be chosen; what this host can't have is refused."""
    found = addressing6.settled(before, topology)
    found = replace(found, whole6=forwards6(found) and not is_possible())
    if any(vpc.ipv6 for vpc in found.vpcs):
        _check(runner, before, found)
        for warning in (*_one_sided(before, found), *_unforwarded(before, found), *_unset(before, found)):
            warn(warning)
    return found


def _unforwarded(before: Topology, topology: Topology) -> list[str]:
    """A warning if the host begins to forward IPv6 of all its links, as the kernel can't for single ones."""
    if before.whole6 or not topology.whole6 or setting(EVERYWHERE) == "1":
        return []
    return [f"the host forwards IPv6 of all its links now ({EVERYWHERE}): this kernel can't for single ones, "
            "which Linux 6.17 can. Links that heard router advertisements still do (accept_ra=2)"]


def _unset(before: Topology, topology: Topology) -> Iterator[str]:
    """A warning for each virtual machine that gets other addresses: its guest can't ask for them."""
    fresh = [(vpc, old) for vpc in topology.vpcs if vpc.ipv6 and (old := before.vpc(vpc.name))]
    held = {one.site: one.ipv6 for _, old in fresh for one in in_vpc(old) if one.tap}
    for one in (one for vpc, _ in fresh for one in in_vpc(vpc) if one.tap):
        if one.ipv6 != held.get(one.site, one.ipv6):
            # Imported late: few machines are virtual ones.
            from vpcctl_lib.blueprint.taps import needs

            yield f"set in the guest of {one.site}: {[*needs(one)][-1]}"


def _check(runner: Runner, before: Topology, topology: Topology) -> None:
    """Refuse IPv6 where the kernel or its tools lack it, and prefixes that the host has a route to."""
    fresh = [vpc for vpc in topology.vpcs if vpc.ipv6 and _had(before, vpc) != vpc.ipv6]
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


def _one_sided(before: Topology, topology: Topology) -> list[str]:
    """Warnings about new policies, or new IPv6, where a policy denies addresses of IPv4 and none of IPv6."""
    found = []
    for vpc in topology.vpcs:
        old = before.vpc(vpc.name)
        for subnet in vpc.subnets if vpc.ipv6 else ():
            was = old.subnet(subnet.name) if old and old.ipv6 else None
            is_new = was is None or was.policy != subnet.policy
            places = denied(subnet.policy) if subnet.policy and is_new else []
            if places:
                found.append(f"{', '.join(places)} of the policy of {vpc.name}/{subnet.name} deny IPv4 only: "
                             "what they deny may pass over IPv6, for which the policy has no such rule")
    return found
