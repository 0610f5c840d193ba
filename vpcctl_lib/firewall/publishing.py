"""The rules for ports of the host that lead to machines, as the text after `-A CHAIN `; pure.

A connection by such a port is known by what tracking says of it: it was translated, it came to that port, and
its answers come from that machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from vpcctl_lib.firewall.rules import MASQUERADE, RELATED, Reached, sources_of
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.outside import Transport
from vpcctl_lib.model.publishing import Published, in_vpc
from vpcctl_lib.model.topology import Vpc

TRANSLATED = "-m conntrack --ctstate DNAT"
LOOPBACK = IPv4Network("127.0.0.0/8")
NUMBERS = {Transport.TCP: 6, Transport.UDP: 17}
"""IPPROTO_TCP and IPPROTO_UDP of linux/in.h."""


class Goal(NamedTuple):
    """Where the host sends what comes to a published port."""

    address: IPv4Address
    port: int


def goal(one: Published, routed: bool) -> Goal:
    """The machine; without a route to it, the same port of its VPC's router."""
    if routed:
        return Goal(one.machine.address, one.publish.to)
    return Goal(addressing.router_end(one.vpc.link), one.publish.port)


def clients(vpcs: Reached, front: IPv4Address | None,
            elastic: Iterable[tuple[IPv4Address, Vpc, str]] = ()) -> tuple[str, ...]:
    """Who may use published ports: everybody outside, and in a VPC those who have a way out.

    A chain of its own, so that what it does not name never comes to the ports. Elastic addresses come with
    their VPCs and marks.
    """
    return (*(f"-s {address}/32 -i {_cable(vpc)} {_mark(mark)} -j {naming.HOST_PORTS}"
              for address, vpc, mark in elastic),
            *(rule for vpc, routed in vpcs for rule in _clients(vpc, routed, front)),
            f"{_mark(naming.host_mark())} -j {naming.HOST_PORTS}")


def _clients(vpc: Vpc, routed: bool, front: IPv4Address | None) -> Iterator[str]:
    for source, mark in sources_of(vpc, routed) if vpc.nat and front else ():
        yield f"-s {source} -i {_cable(vpc)} {_mark(mark)} -j {naming.HOST_PORTS}"
    yield f"-i {_cable(vpc)} {_marked(vpc)} -j RETURN"


def ports(vpcs: Reached) -> tuple[str, ...]:
    """Where each port leads."""
    return tuple(_led(one, routed) for vpc, routed in vpcs for one in in_vpc(vpc))


def _led(one: Published, routed: bool) -> str:
    to = goal(one, routed)
    at = f"-d {one.publish.listen}/32 " if one.publish.listen else ""
    return f"{at}{_to_port(one, one.publish.port)} -j DNAT --to-destination {to.address}:{to.port}"


def _to_port(one: Published, port: int) -> str:
    name = one.publish.protocol.value
    return f"-p {name} -m {name} --dport {port} {_mark(one.mark)}"


def accepted(vpcs: Reached) -> tuple[str, ...]:
    """The connections by these ports, both ways, with the ICMP errors about them."""
    return tuple(f"{_tracked(one, goal(one, routed))} {_mark(one.mark)} -j ACCEPT"
                 for vpc, routed in vpcs for one in in_vpc(vpc))


def _tracked(one: Published, to: Goal) -> str:
    at = f"--ctorigdst {one.publish.listen} " if one.publish.listen else ""
    return (f"-m conntrack --ctproto {NUMBERS[one.publish.protocol]} {at}--ctreplsrc {to.address} "
            f"--ctorigdstport {one.publish.port} --ctreplsrcport {to.port}")


def sources(vpcs: Reached, front: IPv4Address | None) -> tuple[str, ...]:
    """Clients keep their address, but for two: those in VPCs get the host's, and 127.0.0.1 its cable's."""
    open_ones = [(_cable(vpc), _marked(vpc)) for vpc, _ in vpcs if vpc.is_published]
    local = (f"-s {LOOPBACK} -o {cable} {mark} {MASQUERADE}" for cable, mark in open_ones)
    inner = (f"-s {source} {_mark(mark)} -j SNAT --to-source {front}" for vpc, routed in vpcs
             if vpc.nat and front for source, mark in sources_of(vpc, routed))
    # Else a rule behind these, Docker's for example, could give a client another address.
    return (*local, *inner, *(f"-o {cable} {mark} -j ACCEPT" for cable, mark in open_ones))


def forward(vpcs: Reached) -> Iterator[str]:
    """Before all that refuses."""
    if any(vpc.is_published for vpc, _ in vpcs):
        yield from jump()


def jump() -> tuple[str, ...]:
    """To the rules for connections by published ports, in `filter` and in `nat`."""
    return (f"{TRANSLATED} {_mark(naming.host_mark())} -j {naming.HOST_PUBLISHED}",)


def inward(vpcs: Reached) -> Iterator[str]:
    """ICMP errors about the host's own connections by such ports."""
    for vpc, routed in _published(vpcs):
        for own in _own(vpc, routed):
            yield f"-i {_cable(vpc)} {RELATED} --ctreplsrc {own} {_marked(vpc)} -j ACCEPT"


def guard(vpcs: Reached) -> Iterator[str]:
    """Nothing from a VPC is for the host's 127.0.0.0/8; ICMP errors about such connections are not forged."""
    for vpc, routed in _published(vpcs):
        yield f"-d {LOOPBACK} -i {_cable(vpc)} {_marked(vpc)} -j DROP"
        for source in _sources(vpc, routed):
            for own in _own(vpc, routed):
                yield f"-s {source} -i {_cable(vpc)} {RELATED} --ctreplsrc {own} {_marked(vpc)} -j RETURN"


def suspect(vpcs: Reached) -> Iterator[str]:
    """What else the guard has to look at."""
    if any(vpc.is_published for vpc, _ in vpcs):
        yield f"-d {LOOPBACK} {_mark(naming.host_mark())} -g {naming.HOST_GUARD_FROM}"


def guard_out(vpcs: Reached) -> Iterator[str]:
    """New connections into a VPC by such ports."""
    return (f"-o {_cable(vpc)} {TRANSLATED} {_marked(vpc)} -j RETURN" for vpc, _ in _published(vpcs))


def _published(vpcs: Reached) -> Iterable[tuple[Vpc, bool]]:
    return (one for one in vpcs if one[0].is_published)


def _own(vpc: Vpc, routed: bool) -> list[str]:
    """What answers connections by published ports, as the host sees it."""
    return [*map(str, vpc.networks)] if routed else [str(addressing.router_end(vpc.link))]


def _sources(vpc: Vpc, routed: bool) -> list[str]:
    """The addresses with which packets come out of a VPC; its router answers for itself."""
    router = f"{addressing.router_end(vpc.link)}/32"
    return [*map(str, vpc.networks), router] if routed else [router]


def into_router(vpc: Vpc) -> Iterator[str]:
    """What a router lets in from the host, and the ICMP errors about it."""
    bridge = naming.device("br-", vpc.name)
    inward, outward = f"-i {naming.UPLINK} -o {bridge}", f"-i {bridge} -o {naming.UPLINK}"
    found = list(in_vpc(vpc))
    for one in found:
        yield f"-d {one.machine.address}/32 {inward} {_to_port(one, one.publish.to)} -j ACCEPT"
    for address, mark in {one.machine.address: _mark(one.mark) for one in found}.items():
        about = f"{RELATED} --ctreplsrc {address} {mark} -j ACCEPT"
        yield f"{inward} {about}"
        yield f"-s {address}/32 {outward} {about}"


def at_router(vpc: Vpc) -> tuple[str, ...]:
    """For a VPC to which the host has no route: where its router sends what comes to these ports."""
    end = addressing.router_end(vpc.link)
    return tuple(f"-d {end}/32 -i {naming.UPLINK} {_to_port(one, one.publish.port)} "
                 f"-j DNAT --to-destination {one.machine.address}:{one.publish.to}" for one in in_vpc(vpc))


def _cable(vpc: Vpc) -> str:
    return naming.device("vpc-", vpc.name)


def _marked(vpc: Vpc) -> str:
    return _mark(naming.owner(vpc.name))


def _mark(owner: str) -> str:
    return f"-m comment --comment {owner}"
