"""What every change of a network that is open to the outside is checked for, and asks of the host."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import proc, saves, variants
from vpcctl_lib.kernel.host import LOCAL, Host
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model import elastic, publishing
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.model.outside import Elastic, Publish, Transport
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.model.routing import opens
from vpcctl_lib.model.topology import Topology, Variant
from vpcctl_lib.reach.listeners import WAITING, parsed

OUTSIDE = IPv4Address("8.8.8.8")
KINDS = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}
LEADING = frozenset({"DNAT", "REDIRECT"})
"""Targets that take a packet from the host's own programs."""


def opened(runner: Runner, before: Topology, after: Topology) -> tuple[Topology, list[str]]:
    """With the host's address outside, and warnings; refuses what can't be, and ports that the host uses."""
    elastic.check(after)
    _check_allocated(runner, before, after)
    after, notes = _associated(before, after)
    publishing.check(after, before)
    had = {(one.site, one.publish) for one in publishing.published(before)}
    fresh = [one for one in publishing.published(after) if (one.site, one.publish) not in had]
    known = {one.publish for one in publishing.published(before)}
    for one in fresh:
        if not any(one.publish.meets(other) for other in known):
            check_free(runner, one.publish)
    has_clients = opens(after) and any(vpc.nat for vpc in after.vpcs)
    return replace(after, front=_front(runner, before.front) if has_clients else None), notes


def _check_allocated(runner: Runner, before: Topology, after: Topology) -> None:
    """Refuse elastic addresses that the host would lose, or its gateway; it may have got one meanwhile."""
    had = {eip.address for eip in before.eips}
    fresh = [eip.address for eip in after.eips
             if eip.address not in had or (eip.vpc and eip not in before.eips)]
    taken = hosts_own(runner, Host(runner), after) if fresh else set()
    if wrong := next((address for address in fresh if address in taken), None):
        raise VpcctlError(f"{wrong} belongs to the host or its network", "choose another address")


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
    told = Kernel(runner).taken("", (str(OUTSIDE),)).get("prefsrc")
    if told:
        return IPv4Address(told)
    links = Host(runner).links
    held = [one for link in links if link.name != "lo" and not link.name.startswith("vpc-")
            for one in link.addresses]
    return before if before in held else next(iter(held), None)


def check_free(runner: Runner, publish: Publish) -> None:
    """Refuse a port that a program of the host has, or that somebody else's rule already leads elsewhere."""
    port = f"{publish.protocol.value} port {publish.port}"
    if not _can_bind(publish):
        held = sorted(set(_holders(publish)))
        at = f" at {', '.join(held)}" if held else ""
        raise VpcctlError(f"{port} is already in use on the host{at}",
                          "use another port, or name an address where it is free: --listen ADDRESS")
    rule = next(_rules_for(runner, publish), "")
    if rule:
        raise VpcctlError(f"a rule of the host already leads {port} elsewhere: {rule}", "use another port")


def _can_bind(publish: Publish) -> bool:
    """Whether the kernel would give a program that port, as Docker's proxy would ask for it."""
    with socket.socket(socket.AF_INET, KINDS[publish.protocol]) as one:
        if publish.protocol is Transport.TCP:
            # Connections that end do not count.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((str(publish.listen or "0.0.0.0"), publish.port))  # noqa: S104  as a listener would
        except PermissionError:
            return not any(_holders(publish))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise VpcctlError(f"{publish.listen} is not an address of this host",
                                  "name one of its addresses (ip -br addr), or leave out --listen") from None
            return False
        return True


def _holders(publish: Publish) -> Iterator[str]:
    """Where sockets of the host have the port."""
    protocol = publish.protocol.value
    for found in parsed(proc.sockets(protocol), WAITING[Protocol(protocol)], publish.port):
        if found.is_unspecified or publish.listen in (None, found):
            yield str(found)


def _rules_for(runner: Runner, publish: Publish) -> Iterator[str]:
    """Others' rules that lead the port elsewhere, in either kind of iptables."""
    for variant in Variant:
        chains = saves.tables(variants.rules(runner, variant, must=False)).get("nat", {})
        yield from (f"{name} {rule}" for name, chain in chains.items() for rule in chain.rules
                    if MARK not in rule and leads(rule, publish))


def leads(rule: str, publish: Publish) -> bool:
    """Whether a rule is for packets to that port, and sends them elsewhere."""
    options = {option[0]: option[1] for option in saves.words(rule) if len(option) > 1}
    asked = options.get("--dport") or options.get("--dports")
    return options.get("-j") in LEADING and options.get("-p") == publish.protocol.value and bool(asked) \
        and any(_spans(part, publish.port) for part in (asked or "").split(",")) \
        and (publish.listen is None or _holds(options.get("-d", "0.0.0.0/0"), publish.listen))


def _spans(text: str, port: int) -> bool:
    first, colon, last = text.partition(":")
    return int(first or 0) <= port <= int((last or publishing.LAST_PORT) if colon else first)


def _holds(text: str, address: IPv4Address) -> bool:
    try:
        return address in IPv4Network(text, strict=False)
    except (AddressValueError, ValueError):
        return True
