"""The rules of IPv6 of the VPC routers and of the host, as `rules.py` has those of IPv4; pure.

Two things differ. Neighbours at the two ends of a cable look for each other by ICMPv6, which is let through
there, from the link itself only (a hop limit of 255, RFC 4861). And no two VPCs have the same addresses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network

from vpcctl_lib.firewall.rules import (
    BEGUN,
    CLAMP,
    ESTABLISHED,
    INVALID,
    MASQUERADE,
    RELATED,
    TRACKED,
    bearing,
)
from vpcctl_lib.model import addressing6, naming, tables
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.routes import Via
from vpcctl_lib.model.topology import Subnet, Topology, Vpc

NO_ROUTE = "-j REJECT --reject-with icmp6-no-route"
CLOSED = "-j REJECT --reject-with icmp6-adm-prohibited"
SOLICITATION, ADVERTISEMENT = 135, 136

LINK_LOCAL, MULTICAST = IPv6Network("fe80::/10"), IPv6Network("ff00::/8")
SELDOM = "-m limit --limit 1/sec"
"""Each sender of a question takes a place in the table of neighbours, which all namespaces share: it is given
back after 5 seconds if others need it (neigh_forced_gc of net/core/neighbour.c)."""


def neighbours(link: str, verdict: str, mark: str = "") -> Iterator[str]:
    """Who has which MAC at the other end of a link: asked and answered by the link's own ends."""
    for kind in (SOLICITATION, ADVERTISEMENT):
        found = f"{link} -p ipv6-icmp -m icmp6 --icmpv6-type {kind} -m hl --hl-eq 255"
        yield " ".join(filter(None, (found, mark, f"-j {verdict}")))


def public(vpc: Vpc) -> list[Subnet]:
    """The subnets whose packets get to the internet."""
    found = tables.leaves(vpc, Family.INET6) if vpc.nat else ()
    return list(dict.fromkeys(one.subnet for one in found))


def entered(vpc: Vpc) -> Iterator[tuple[Subnet, IPv6Network]]:
    """The subnets that others may begin connections with, each with those others (AWS: internet gateway).

    Nobody outside has a way to a prefix that only this host knows.
    """
    for one in tables.leaves(vpc, Family.INET6) if vpc.nat and not translated(vpc) else ():
        if one.via is Via.INTERNET and one.direct and isinstance(one.destination, IPv6Network):
            yield one.subnet, one.destination


def translated(vpc: Vpc) -> bool:
    """Whether packets to the internet need the host's address (NAT66), as only this host knows theirs."""
    return vpc.ipv6 is not None and addressing6.is_local(vpc.ipv6)


def router_forward(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a VPC's router lets through; it answers everything else with "no route"."""
    return (f"{ESTABLISHED} -j ACCEPT", f"{INVALID} -j DROP", *_within(vpc), *_across(vpc),
            *_outward(vpc), *_inward(vpc), *_peers(topology, vpc), NO_ROUTE)


def router_mangle(vpc: Vpc) -> tuple[str, ...]:
    """As by IPv4: the clamp, and the marks of what came in by published ports."""
    marks: tuple[str, ...] = ()
    if vpc.route_tables and vpc.is_published6:
        from vpcctl_lib.firewall.route_rules import came_in

        marks = came_in(vpc, Family.INET6)
    return (*marks, CLAMP) if vpc.nat or vpc.is_published6 else ()


def _across(vpc: Vpc) -> Iterator[str]:
    if vpc.route_tables:
        # Imported late, here and below: most VPCs have only the built-in tables.
        from vpcctl_lib.firewall.route_rules import across

        yield from across(vpc, Family.INET6)


def router_raw(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a router does not track."""
    if not vpc.route_tables:
        return ()
    from vpcctl_lib.firewall.route_rules import untracked

    return untracked(topology, vpc, Family.INET6)


def tap_raw(one: Endpoint, router: IPv6Address) -> tuple[str, ...]:
    """What passes a virtual machine's namespace: its own packets, and those for it. IPv6 has no rp_filter.

    It may look for its router, `router`, which gives it nothing but its MAC.
    """
    return tuple(_tap_raw(one.tap, one.interface, one.ipv6, router))


def _tap_raw(tap: str, interface: str, own: Iterable[IPv6Address], router: IPv6Address) -> Iterator[str]:
    for address in own:
        yield f"-d {address}/128 -i {interface} -j ACCEPT"
    for address in own:
        yield next(neighbours(f"-s {address}/128 -i {tap}", "ACCEPT"))
    yield next(neighbours(f"-s {LINK_LOCAL} -i {tap}", "ACCEPT", SELDOM))
    *_, answer = neighbours(f"-d {router}/128 -i {tap}", "ACCEPT")
    yield answer
    for near in (LINK_LOCAL, MULTICAST):
        yield f"-d {near} -i {tap} -j DROP"
    for address in own:
        yield f"-s {address}/128 -i {tap} -j ACCEPT"
    yield "! -i lo -j DROP"


def _within(vpc: Vpc) -> Iterator[str]:
    bridge, host = naming.device("br-", vpc.name), addressing6.host_end(_prefix(vpc))
    yield f"-s {vpc.ipv6} -d {vpc.ipv6} -i {bridge} -o {bridge} -j ACCEPT"
    yield f"-s {host}/128 -i {naming.UPLINK} -o {bridge} -j ACCEPT"
    # Any other RELATED packet may be forged, to cut another tenant's connection.
    yield f"-i {naming.UPLINK} -o {bridge} {RELATED} --ctorigsrc {vpc.ipv6} -j ACCEPT"
    yield f"-d {host}/128 -i {bridge} -o {naming.UPLINK} {RELATED} --ctorigsrc {host} -j ACCEPT"


def _outward(vpc: Vpc) -> Iterator[str]:
    bridge, found = naming.device("br-", vpc.name), public(vpc)
    yield from _metadata(f"-i {bridge} -o {naming.UPLINK}", "") if found else ()
    if vpc.route_tables and found:
        from vpcctl_lib.firewall.route_rules import outward

        yield from outward(vpc, Family.INET6)
        return
    for subnet in found:
        mark = bearing(naming.owner(vpc.name, subnet.name))
        yield f"-s {subnet.ipv6} -i {bridge} -o {naming.UPLINK} {mark} -j ACCEPT"


def _inward(vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    for subnet, others in entered(vpc):
        yield f"{_from(others)}-d {subnet.ipv6} -i {naming.UPLINK} -o {bridge} -j ACCEPT"


def _from(others: IPv6Network) -> str:
    return f"-s {others} " if others.prefixlen else ""


def _metadata(way: str, mark: str) -> Iterator[str]:
    for block in addressing6.METADATA:
        yield " ".join(filter(None, (f"-d {block} {way}", mark, NO_ROUTE)))


def peers(topology: Topology, vpc: Vpc) -> list[Vpc]:
    """Its peers that have IPv6."""
    return [peer for peer in topology.peers_of(vpc.name) if peer.ipv6]


def _peers(topology: Topology, vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    for peer in peers(topology, vpc):
        cable = naming.device("pcx-", peer.name)
        mark = bearing(naming.peering_owner(*sorted((vpc.name, peer.name))))
        yield f"-s {vpc.ipv6} -d {peer.ipv6} -i {bridge} -o {cable} {mark} -j ACCEPT"
        yield f"-s {peer.ipv6} -d {vpc.ipv6} -i {cable} -o {bridge} {mark} -j ACCEPT"


def router_input(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """Who may send to the router itself: its own VPC, its peers and the host."""
    host = addressing6.host_end(_prefix(vpc))
    near = [(str(peer.ipv6), naming.device("pcx-", peer.name)) for peer in peers(topology, vpc)]
    senders = [(str(vpc.ipv6), naming.device("br-", vpc.name)), (f"{host}/128", naming.UPLINK), *near]
    links = [naming.UPLINK, *(cable for _, cable in near)]
    return (f"{ESTABLISHED} -j ACCEPT", f"{INVALID} -j DROP", "-i lo -j ACCEPT",
            *(rule for link in links for rule in neighbours(f"-i {link}", "ACCEPT")),
            *(f"-s {source} -i {link} -j ACCEPT" for source, link in senders), NO_ROUTE)


def host_nat(vpcs: Iterable[Vpc]) -> tuple[str, ...]:
    """Packets of prefixes that only this host knows get the host's address."""
    return tuple(f"-s {subnet.ipv6} -o {vpc.nat.interface} {bearing(naming.owner(vpc.name, subnet.name))} "
                 f"{MASQUERADE}" for vpc in vpcs if vpc.nat and translated(vpc) for subnet in public(vpc))


def host_forward(vpcs: Iterable[Vpc]) -> tuple[str, ...]:
    """Forwards only between cables and the uplink, and from there only answers and to published ports."""
    return tuple(rule for vpc in vpcs for rule in _host_forward(vpc))


def _host_forward(vpc: Vpc) -> Iterator[str]:
    cable, mark = naming.device("vpc-", vpc.name), bearing(naming.owner(vpc.name))
    yield f"-i {cable} {INVALID} {mark} -j DROP"
    yield f"-o {cable} {INVALID} {mark} -j DROP"
    if vpc.nat and public(vpc):
        yield from _metadata(f"-i {cable} -o {vpc.nat.interface}", mark)
        for subnet in public(vpc):
            own = bearing(naming.owner(vpc.name, subnet.name))
            yield f"-s {subnet.ipv6} -i {cable} -o {vpc.nat.interface} {own} -j ACCEPT"
        yield f"-i {vpc.nat.interface} -o {cable} {TRACKED} {mark} -j ACCEPT"
        for subnet, others in entered(vpc):
            own = bearing(naming.owner(vpc.name, subnet.name))
            yield f"{_from(others)}-d {subnet.ipv6} -i {vpc.nat.interface} -o {cable} {own} -j ACCEPT"
    yield f"-i {cable} {mark} {NO_ROUTE}"
    yield f"-o {cable} {mark} {NO_ROUTE}"


def host_input(vpcs: Iterable[Vpc]) -> tuple[str, ...]:
    """Tenants may only answer the host, never open a connection to it."""
    return tuple(rule for vpc in vpcs for rule in _host_input(vpc))


def _host_input(vpc: Vpc) -> Iterator[str]:
    cable, mark = naming.device("vpc-", vpc.name), bearing(naming.owner(vpc.name))
    yield f"-i {cable} {INVALID} {mark} -j DROP"
    yield f"-i {cable} {ESTABLISHED} {mark} -j ACCEPT"
    yield f"-i {cable} {RELATED} --ctorigdst {vpc.ipv6} {mark} -j ACCEPT"
    yield from neighbours(f"-i {cable}", "ACCEPT", mark)
    yield f"-i {cable} {mark} {CLOSED}"


def host_guard(vpcs: Iterable[Vpc], first: Iterable[str] = ()) -> tuple[str, ...]:
    """Before the rules of all other tables: only its cable brings a VPC's addresses, and no forged errors."""
    return (f"-i lo {bearing(naming.host_mark())} -j RETURN", *first,
            *(rule for vpc in vpcs for rule in _host_guard(vpc)))


def _host_guard(vpc: Vpc) -> Iterator[str]:
    cable, mark = naming.device("vpc-", vpc.name), bearing(naming.owner(vpc.name))
    yield f"-s {vpc.ipv6} ! -i {cable} {mark} -j DROP"
    yield f"-i {cable} {INVALID} {mark} -j DROP"
    yield f"-i {cable} {RELATED} ! --ctorigsrc {vpc.ipv6} ! --ctorigdst {vpc.ipv6} {mark} -j DROP"


def host_guard_out(vpcs: Iterable[Vpc]) -> tuple[str, ...]:
    """After all other rules: if the chain that refuses with an answer was flushed, the packet stops here."""
    held = list(vpcs)
    # What a VPC sends first: what another one lets in is not for it.
    return (*(rule for vpc in held for rule in _host_guard_from(vpc)),
            *(rule for vpc in held for rule in _host_guard_to(vpc)))


def _host_guard_from(vpc: Vpc) -> Iterator[str]:
    beside = f"! -o {vpc.nat.interface} " if vpc.nat else ""
    mark = bearing(naming.owner(vpc.name))
    yield f"-s {vpc.ipv6} {beside}-m addrtype ! --src-type LOCAL {mark} -j DROP"


def _host_guard_to(vpc: Vpc) -> Iterator[str]:
    cable, mark = naming.device("vpc-", vpc.name), bearing(naming.owner(vpc.name))
    yield from neighbours(f"-o {cable}", "RETURN", mark)
    for subnet, others in entered(vpc):
        own = bearing(naming.owner(vpc.name, subnet.name))
        yield f"{_from(others)}-d {subnet.ipv6} -o {cable} {own} -j RETURN"
    yield f"! -s {addressing6.host_end(_prefix(vpc))}/128 -o {cable} {BEGUN} {mark} -j DROP"


def host_guard_in(vpcs: Iterable[Vpc]) -> tuple[str, ...]:
    """After `filter`: what somebody else's rule accepts there still stops here."""
    return tuple(rule for vpc in vpcs for rule in _host_guard_in(vpc))


def _host_guard_in(vpc: Vpc) -> Iterator[str]:
    cable, mark = naming.device("vpc-", vpc.name), bearing(naming.owner(vpc.name))
    yield from neighbours(f"-i {cable}", "RETURN", mark)
    yield f"-i {cable} {BEGUN} {mark} -j DROP"


def _prefix(vpc: Vpc) -> IPv6Network:
    if vpc.ipv6 is None:
        raise ValueError(f"{vpc.name} has no IPv6")
    return vpc.ipv6
