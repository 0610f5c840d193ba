"""The rules for elastic addresses, as the text after `-A CHAIN `; pure.

A router translates its machines' elastic addresses; the host only passes them on, as it would for any network
behind a router.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from vpcctl_lib.firewall.rules import (
    MASQUERADE,
    RELATED,
    TRACKED,
    Reached,
    genuine_source,
    sources_of,
)
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.elastic import Working
from vpcctl_lib.model.outside import Pool
from vpcctl_lib.model.topology import Topology, Vpc

Addresses = Sequence[Working]


def senders(found: Addresses, vpcs: Reached, front: IPv4Address | None) -> Iterator[str]:
    """What machines with elastic addresses send, and who else may send to these."""
    own = _mark(naming.host_mark())
    # The link of a pool is no VPC's cable, so what comes from there is allowed by what follows, too.
    yield from (f"-d {pool.cidr} -i {pool.interface} {own} -j {naming.HOST_ELASTIC_TO}"
                for pool in _pools(found))
    sources = [(one, f"-s {one.address}/32 -i {_cable(one.vpc)}") for one in found]
    yield from (f"{source} {TRACKED} {_mark(one.mark)} -j ACCEPT" for one, source in sources)
    yield from (f"-d {block} {own} -j RETURN" for block in addressing.METADATA)
    yield from (f"{source} -o {one.pool.interface} {_mark(one.mark)} -j ACCEPT" for one, source in sources)
    yield from (f"{source} {_mark(one.mark)} -j {naming.HOST_ELASTIC_TO}" for one, source in sources)
    for vpc, routed in vpcs:
        for source, mark in sources_of(vpc, routed) if vpc.nat and front else ():
            yield f"-s {source} -i {_cable(vpc)} {_mark(mark)} -j {naming.HOST_ELASTIC_TO}"
        yield f"-i {_cable(vpc)} {_mark(naming.owner(vpc.name))} -j RETURN"
    yield f"{own} -j {naming.HOST_ELASTIC_TO}"


def targets(found: Addresses) -> Iterator[str]:
    """Which addresses there are."""
    return (f"-d {one.address}/32 -o {_cable(one.vpc)} {_mark(one.mark)} -j ACCEPT" for one in found)


def noted(topology: Topology, found: Addresses) -> Iterator[str]:
    """Rules that do nothing: their marks are all that the kernel has of what is not in use."""
    used = {one.address for one in found}
    for eip in topology.eips:
        if eip.address not in used:
            yield f"-d {eip.address}/32 {_mark(naming.elastic_mark(eip.place or ()))}"
    yield from (f"-d {pool.cidr} {_mark(naming.pool_mark(pool.interface))}" for pool in topology.pools)


def stays(found: Addresses) -> Iterator[str]:
    """What machines with elastic addresses send keeps that source, whatever rules come behind."""
    for one in found:
        yield f"-s {one.address}/32 {_mark(one.mark)} -j ACCEPT"
        yield f"-d {one.address}/32 -o {_cable(one.vpc)} {_mark(one.mark)} -j {naming.HOST_ELASTIC_TO}"


def seen(vpcs: Reached, front: IPv4Address | None) -> Iterator[str]:
    """A VPC's machines come with the host's address, everybody else with their own."""
    for vpc, routed in vpcs:
        for source, mark in sources_of(vpc, routed) if vpc.nat and front else ():
            yield f"-s {source} {_mark(mark)} -j SNAT --to-source {front}"
    yield f"{_mark(naming.host_mark())} -j ACCEPT"


def sent(found: Addresses) -> Iterator[str]:
    """What machines with elastic addresses send, first of all: no rule before it is about that."""
    return _led("-s", found)


def forward(found: Addresses) -> Iterator[str]:
    """What is for them, before all that refuses."""
    return _led("-d", found)


def _led(end: str, found: Addresses) -> Iterator[str]:
    own = _mark(naming.host_mark())
    return (f"{end} {pool.cidr} {own} -j {naming.HOST_ELASTIC}" for pool in _pools(found))


def inward(found: Addresses) -> Iterator[str]:
    """ICMP errors about the host's own connections to them."""
    return (f"-i {_cable(one.vpc)} {RELATED} --ctorigdst {one.address} {_mark(one.mark)} -j ACCEPT"
            for one in found)


def guard(found: Addresses) -> Iterator[str]:
    """Only its cable brings an elastic address; ICMP errors about its connections are not forged."""
    for one in found:
        cable = _cable(one.vpc)
        yield f"-s {one.address}/32 ! -i {cable} {_mark(one.mark)} -j DROP"
        router = addressing.router_end(one.vpc.link)
        for source in (one.address, router):
            for end in ("--ctorigdst", "--ctorigsrc"):
                yield f"-s {source}/32 -i {cable} {RELATED} {end} {one.address} {_mark(one.mark)} -j RETURN"


def suspect(found: Addresses) -> Iterator[str]:
    """What else the guard has to look at."""
    return (f"-s {pool.cidr} {_mark(naming.host_mark())} -g {naming.HOST_GUARD_FROM}"
            for pool in _pools(found))


def genuine(found: Addresses) -> Iterator[str]:
    """What most of their packets are, so that they need not meet all that follows."""
    return (genuine_source(f"{one.address}/32", _cable(one.vpc), _mark(one.mark)) for one in found)


def guard_out(found: Addresses) -> Iterator[str]:
    """New connections to them."""
    return (f"-d {one.address}/32 -o {_cable(one.vpc)} {_mark(one.mark)} -j RETURN" for one in found)


def into_router(found: Addresses) -> Iterator[str]:
    """What a router lets in from the host, and the ICMP errors about it."""
    for one in found:
        link = f"-i {naming.UPLINK} -o {naming.device('br-', one.vpc.name)}"
        yield f"-d {one.private}/32 {link} -m conntrack --ctorigdst {one.address} {_mark(one.mark)} -j ACCEPT"


def at_router_in(found: Addresses) -> Iterator[str]:
    """From the outside to the machine."""
    return (f"-d {one.address}/32 -i {naming.UPLINK} {_mark(one.mark)} -j DNAT --to-destination {one.private}"
            for one in found)


def at_router_out(found: Addresses, routed: bool) -> Iterator[str]:
    """From the machine to the outside; a cloud's resolver next to the host answers the host only."""
    for one in found:
        for server in one.vpc.nat.resolvers if one.vpc.nat else ():
            if any(server in block for block in addressing.METADATA):
                target = "-j ACCEPT" if routed else MASQUERADE
                yield f"-s {one.private}/32 -d {server}/32 -o {naming.UPLINK} {_mark(one.mark)} {target}"
        yield f"-s {one.private}/32 -o {naming.UPLINK} {_mark(one.mark)} -j SNAT --to-source {one.address}"


def _pools(found: Addresses) -> Iterator[Pool]:
    """The pools that they are from."""
    return iter(dict.fromkeys(one.pool for one in found))


def _cable(vpc: Vpc) -> str:
    return naming.device("vpc-", vpc.name)


def _mark(owner: str) -> str:
    return f"-m comment --comment {owner}"
