"""What every change of a network that is open to the outside is checked for, and asks of the host."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.host import LOCAL, Host, entrances
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.ports import check_free
from vpcctl_lib.model import elastic, publishing
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.outside import Elastic
from vpcctl_lib.model.routing import opens, opens6
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.reach.question import INTERNET
from vpcctl_lib.resources.operations import HOST


def opened(runner: Runner, before: Topology, after: Topology) -> tuple[Topology, list[str]]:
    """With the host's addresses outside, and warnings; refuses what can't be, and ports that others use."""
    elastic.check(after)
    _check_allocated(runner, before, after)
    after, notes = _associated(before, after)
    publishing.check(after, before)
    for family in Family:
        notes += _check_free(runner, before, after, family)
    has_nat = any(vpc.nat for vpc in after.vpcs)
    after = replace(after, front=_front(runner, before.front) if has_nat and opens(after) else None)
    if not opens6(after):
        return replace(after, front6=None, entrances=()), notes
    front6 = _front6(runner, before.front6) if has_nat else None
    return replace(after, front6=front6, entrances=entrances(Kernel(runner).links(HOST))), notes


def _check_free(runner: Runner, before: Topology, after: Topology, family: Family) -> list[str]:
    """Refuse ports that lead to a machine from now on, if somebody else has them in that family; warnings."""
    notes = []
    known, wanted = ([one for vpc in topology.vpcs for one in publishing.of_family(vpc, family)]
                     for topology in (before, after))
    had = {(one.site, one.publish) for one in known}
    for one in wanted:
        is_new = (one.site, one.publish) not in had
        if is_new and not any(one.publish.meets(other.publish) for other in known):
            notes += check_free(runner, one.publish, family)
    return notes


def _front6(runner: Runner, before: IPv6Address | None) -> IPv6Address | None:
    """As for IPv4."""
    told = Kernel(runner).taken("", (str(INTERNET[Family.INET6]),)).get("prefsrc")
    if told:
        return IPv6Address(told)
    held = [one for link in Host(runner).others for one in link.addresses6]
    return before if before in held else next(iter(held), None)


def _check_allocated(runner: Runner, before: Topology, after: Topology) -> None:
    """Refuse elastic addresses that the host would lose, or its gateway; it may have got one meanwhile."""
    had = {eip.address for eip in before.eips}
    answered = {(one.pool.interface, one.address) for one in elastic.working(before)}
    begun = [one for one in elastic.working(after) if (one.pool.interface, one.address) not in answered]
    fresh = [eip.address for eip in after.eips
             if eip.address not in had or (eip.vpc and eip not in before.eips)]
    fresh += [one.address for one in begun]
    taken = hosts_own(runner, Host(runner), after) if fresh else set()
    if wrong := next((address for address in fresh if address in taken), None):
        raise VpcctlError(f"{wrong} belongs to the host or its network", "choose another address")
    others = Kernel(runner).proxied if begun else frozenset()
    for one in begun:
        if (one.pool.interface, str(one.address)) in others:
            link = one.pool.interface
            raise VpcctlError(f"the host already answers for {one.address} on {link}: somebody else uses it",
                              "choose another address, or remove that: "
                              f"ip neigh del proxy {one.address} dev {link}")


def hosts_own(runner: Runner, host: Host, topology: Topology) -> set[IPv4Address]:
    """Addresses of the host itself, its gateways, and the first and last of its pools' networks."""
    links, found = {pool.interface for pool in topology.pools}, set()
    for route in host.routes:
        if route.kind == LOCAL:
            found.add(route.network.network_address)
        elif route.device in links:
            found |= {route.network.network_address, route.network.broadcast_address}
    gateways = (held["gateway"] for held in Kernel(runner).read("", Reading.ROUTES)[0] if "gateway" in held)
    return found | set(map(IPv4Address, gateways))


def _associated(before: Topology, after: Topology) -> tuple[Topology, list[str]]:
    """What is gone has no elastic address any more; a new association needs a machine."""
    notes, kept = [], []
    for eip in after.eips:
        found, was = elastic.held(after, eip), elastic.allocated(before, eip.address)
        if eip.vpc and found is None:
            if was is None or was.place != eip.place:
                find_endpoint(after, Site(eip.vpc, eip.subnet, eip.machine))
            notes.append(f"elastic address {eip.address} is free now: {eip.associated} had it")
            eip = Elastic(eip.address)  # noqa: PLW2901  nobody has it
        elif found and (idle := elastic.why_idle(*found[:2])) and \
                (was is None or was.place != eip.place or not _was_idle(before, eip)):
            notes.append(f"{eip.address} does not work for {eip.associated}: {idle}")
        kept.append(eip)
    return replace(after, eips=tuple(kept)), notes


def _was_idle(before: Topology, eip: Elastic) -> bool:
    found = elastic.held(before, eip)
    return found is None or bool(elastic.why_idle(*found[:2]))


def _front(runner: Runner, before: IPv4Address | None) -> IPv4Address | None:
    """The address with which the host itself talks to the internet; else the last one, or any that it has."""
    told = Kernel(runner).taken("", (str(INTERNET[Family.INET]),)).get("prefsrc")
    if told:
        return IPv4Address(told)
    held = [one for link in Host(runner).others for one in link.addresses]
    return before if before in held else next(iter(held), None)
