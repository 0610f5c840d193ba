"""The rules for ports of the host that lead to machines, as the text after `-A CHAIN `; pure.

A connection by such a port is known by what tracking says of it: it was translated, it came to that port, and
its answers come from that machine. Both families have the same rules; the host has routes to all prefixes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from typing import NamedTuple

from vpcctl_lib.firewall.families import BITS
from vpcctl_lib.firewall.rules import MASQUERADE, RELATED, Reached, Sources, sources_of
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.outside import Transport
from vpcctl_lib.model.publishing import Published, of_family
from vpcctl_lib.model.topology import Vpc

TRANSLATED = "-m conntrack --ctstate DNAT"
LOOPBACK = {Family.INET: "127.0.0.0/8", Family.INET6: "::1/128"}
NUMBERS = {Transport.TCP: 6, Transport.UDP: 17}
"""IPPROTO_TCP and IPPROTO_UDP of linux/in.h."""


class Goal(NamedTuple):
    """Where the host sends what comes to a published port."""

    address: Address
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


def goal(one: Published, routed: bool, family: Family) -> Goal:
    """The machine; without a route to it, the same port of its VPC's router."""
    if routed:
        return Goal(_target(one, family), one.publish.to)
    return Goal(addressing.router_end(one.vpc.link), one.publish.port)


def _target(one: Published, family: Family) -> Address:
    found = one.machine.at(family)
    if found is None:
        raise ValueError(f"{one.site} has no address of {family}")
    return found


def clients(vpcs: Reached, front: Address | None, family: Family, entrances: Iterable[str],
            elastic: Iterable[tuple[IPv4Address, Vpc, str]] = ()) -> tuple[str, ...]:
    """Who may use published ports: in a VPC those who have a way out, and who comes in by one of these links.

    A chain of its own, so that what it does not name never comes to the ports. Elastic addresses come with
    their VPCs and marks. An empty link stands for each.
    """
    return (*(f"-s {address}/32 -i {_cable(vpc)} {_mark(mark)} -j {naming.HOST_PORTS}"
              for address, vpc, mark in elastic),
            *(rule for vpc, routed in vpcs for rule in _clients(vpc, routed, front, family)),
            *(f"{f'-i {link} ' if link else ''}{_mark(naming.host_mark())} -j {naming.HOST_PORTS}"
              for link in entrances))


def _clients(vpc: Vpc, routed: bool, front: Address | None, family: Family) -> Iterator[str]:
    for source, mark in _senders(vpc, routed, family) if front else ():
        yield f"-s {source} -i {_cable(vpc)} {_mark(mark)} -j {naming.HOST_PORTS}"
    yield f"-i {_cable(vpc)} {_marked(vpc)} -j RETURN"


def _senders(vpc: Vpc, routed: bool, family: Family) -> Sources:
    """The addresses with which those in a VPC that have a way out come to the host, each with its mark."""
    if vpc.nat is None:
        return []
    if family is Family.INET:
        return sources_of(vpc, routed)
    # Imported late: most networks have no IPv6.
    from vpcctl_lib.firewall.dual import public

    return [(str(subnet.ipv6), naming.owner(vpc.name, subnet.name)) for subnet in public(vpc)]


def ports(vpcs: Reached, family: Family) -> tuple[str, ...]:
    """Where each port leads."""
    return tuple(_led(one, goal(one, routed, family), family)
                 for vpc, routed in vpcs for one in of_family(vpc, family))


def _led(one: Published, to: Goal, family: Family) -> str:
    at = f"-d {one.publish.listen}/{BITS[family]} " if one.publish.listen else ""
    return f"{at}{_to_port(one, one.publish.port)} -j DNAT --to-destination {to}"


def _to_port(one: Published, port: int) -> str:
    name = one.publish.protocol.value
    return f"-p {name} -m {name} --dport {port} {_mark(one.mark)}"


def accepted(vpcs: Reached, family: Family) -> tuple[str, ...]:
    """The connections by these ports, both ways, with the ICMP errors about them."""
    return tuple(f"{_tracked(one, goal(one, routed, family))} {_mark(one.mark)} -j ACCEPT"
                 for vpc, routed in vpcs for one in of_family(vpc, family))


def _tracked(one: Published, to: Goal) -> str:
    at = f"--ctorigdst {one.publish.listen} " if one.publish.listen else ""
    return (f"-m conntrack --ctproto {NUMBERS[one.publish.protocol]} {at}--ctreplsrc {to.address} "
            f"--ctorigdstport {one.publish.port} --ctreplsrcport {to.port}")


def sources(vpcs: Reached, front: Address | None, family: Family) -> tuple[str, ...]:
    """Clients keep their address, but for two: those in VPCs get the host's, and 127.0.0.1 its cable's."""
    open_ones = [(_cable(vpc), _marked(vpc)) for vpc, _ in _published(vpcs, family)]
    local = (f"-s {LOOPBACK[family]} -o {cable} {mark} {MASQUERADE}" for cable, mark in open_ones)
    inner = (f"-s {source} {_mark(mark)} -j SNAT --to-source {front}" for vpc, routed in vpcs
             if front for source, mark in _senders(vpc, routed, family))
    # Else a rule behind these, Docker's for example, could give a client another address.
    return (*local, *inner, *(f"-o {cable} {mark} -j ACCEPT" for cable, mark in open_ones))


def forward(vpcs: Reached, family: Family) -> Iterator[str]:
    """Before all that refuses."""
    if _published(vpcs, family):
        yield from jump()


def jump() -> tuple[str, ...]:
    """To the rules for connections by published ports, in `filter` and in `nat`."""
    return (f"{TRANSLATED} {_mark(naming.host_mark())} -j {naming.HOST_PUBLISHED}",)


def inward(vpcs: Reached, family: Family) -> Iterator[str]:
    """ICMP errors about the host's own connections by such ports."""
    for vpc, routed in _published(vpcs, family):
        for own in _own(vpc, routed, family):
            yield f"-i {_cable(vpc)} {RELATED} --ctreplsrc {own} {_marked(vpc)} -j ACCEPT"


def guard(vpcs: Reached, family: Family) -> Iterator[str]:
    """Nothing from a VPC is for the host's 127.0.0.0/8; ICMP errors about such connections are not forged.

    The kernel drops what comes for ::1 before any rule (ip6_rcv_core of net/ipv6/ip6_input.c).
    """
    for vpc, routed in _published(vpcs, family):
        if family is Family.INET:
            yield f"-d {LOOPBACK[family]} -i {_cable(vpc)} {_marked(vpc)} -j DROP"
        for source in _sources(vpc, routed, family):
            for own in _own(vpc, routed, family):
                yield f"-s {source} -i {_cable(vpc)} {RELATED} --ctreplsrc {own} {_marked(vpc)} -j RETURN"


def suspect(vpcs: Reached) -> Iterator[str]:
    """What else the guard of IPv4 has to look at."""
    if _published(vpcs, Family.INET):
        yield f"-d {LOOPBACK[Family.INET]} {_mark(naming.host_mark())} -g {naming.HOST_GUARD_FROM}"


def guard_out(vpcs: Reached, family: Family) -> Iterator[str]:
    """New connections into a VPC by such ports."""
    return (f"-o {_cable(vpc)} {TRANSLATED} {_marked(vpc)} -j RETURN" for vpc, _ in _published(vpcs, family))


def _published(vpcs: Reached, family: Family) -> list[tuple[Vpc, bool]]:
    return [one for one in vpcs if (one[0].is_published if family is Family.INET else one[0].is_published6)]


def _own(vpc: Vpc, routed: bool, family: Family) -> list[str]:
    """What answers connections by published ports, as the host sees it."""
    if family is Family.INET6:
        return [str(vpc.ipv6)]
    return [*map(str, vpc.networks)] if routed else [str(addressing.router_end(vpc.link))]


def _sources(vpc: Vpc, routed: bool, family: Family) -> list[str]:
    """The addresses with which packets come out of a VPC; its router answers for itself."""
    if family is Family.INET6:
        return [str(vpc.ipv6)]
    router = f"{addressing.router_end(vpc.link)}/32"
    return [*map(str, vpc.networks), router] if routed else [router]


def into_router(vpc: Vpc, family: Family) -> Iterator[str]:
    """What a router lets in from the host, and the ICMP errors about it."""
    bridge, bits = naming.device("br-", vpc.name), BITS[family]
    inward, outward = f"-i {naming.UPLINK} -o {bridge}", f"-i {bridge} -o {naming.UPLINK}"
    found = of_family(vpc, family)
    for one in found:
        yield f"-d {_target(one, family)}/{bits} {inward} {_to_port(one, one.publish.to)} -j ACCEPT"
    for address, mark in {_target(one, family): _mark(one.mark) for one in found}.items():
        about = f"{RELATED} --ctreplsrc {address} {mark} -j ACCEPT"
        yield f"{inward} {about}"
        yield f"-s {address}/{bits} {outward} {about}"


def at_router(vpc: Vpc) -> tuple[str, ...]:
    """For a VPC to which the host has no route: where its router sends what comes to these ports."""
    end = addressing.router_end(vpc.link)
    return tuple(f"-d {end}/32 -i {naming.UPLINK} {_to_port(one, one.publish.port)} "
                 f"-j DNAT --to-destination {one.machine.address}:{one.publish.to}"
                 for one in of_family(vpc, Family.INET))


def _cable(vpc: Vpc) -> str:
    return naming.device("vpc-", vpc.name)


def _marked(vpc: Vpc) -> str:
    return _mark(naming.owner(vpc.name))


def _mark(owner: str) -> str:
    return f"-m comment --comment {owner}"
