"""The iptables rules of the VPC routers and of the host, as text that follows `-A CHAIN `; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vpcctl_lib import addressing, naming
from vpcctl_lib.model import Subnet, SubnetType, Topology, Vpc

TRACKED = "-m conntrack --ctstate ESTABLISHED,RELATED"
UNREACHABLE = "-j REJECT --reject-with icmp-net-unreachable"
CLOSED = "-j REJECT --reject-with icmp-host-prohibited"
LINK_LOCAL = "169.254.0.0/16"


def router_forward(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a VPC's router lets through; all else is told at once that there is no way."""
    return (f"{TRACKED} -j ACCEPT", *_within(vpc), *_outward(vpc), *_peers(topology, vpc), UNREACHABLE)


def _within(vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    # Switched frames come by here where someone turns bridge-nf-call-iptables on.
    yield f"-s {vpc.cidr} -d {vpc.cidr} -i {bridge} -o {bridge} -j ACCEPT"
    yield f"-s {addressing.host_end(vpc.link)}/32 -i {naming.UPLINK} -o {bridge} -j ACCEPT"


def _outward(vpc: Vpc) -> Iterator[str]:
    if not vpc.nat:
        return
    bridge = naming.device("br-", vpc.name)
    # The host's cloud answers on link-local addresses (169.254.169.254), credentials included.
    yield f"-d {LINK_LOCAL} -i {bridge} -o {naming.UPLINK} {UNREACHABLE}"
    for subnet in public(vpc):
        comment = _comment(naming.owner(vpc.name, subnet.name))
        yield f"-s {subnet.cidr} -i {bridge} -o {naming.UPLINK} {comment} -j ACCEPT"


def _peers(topology: Topology, vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    for peer in topology.peers_of(vpc.name):
        cable = naming.device("pcx-", peer.name)
        comment = _comment(naming.peering_owner(*sorted((vpc.name, peer.name))))
        yield f"-s {vpc.cidr} -d {peer.cidr} -i {bridge} -o {cable} {comment} -j ACCEPT"
        yield f"-s {peer.cidr} -d {vpc.cidr} -i {cable} -o {bridge} {comment} -j ACCEPT"


def router_input(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """Who may speak to the router itself: its own VPC, its peers and the host."""
    bridge = naming.device("br-", vpc.name)
    own = (f"-s {vpc.cidr} -i {bridge}", f"-s {addressing.host_end(vpc.link)}/32 -i {naming.UPLINK}")
    peers = (f"-s {peer.cidr} -i {naming.device('pcx-', peer.name)}" for peer in topology.peers_of(vpc.name))
    return (f"{TRACKED} -j ACCEPT", "-i lo -j ACCEPT", *(f"{source} -j ACCEPT" for source in (*own, *peers)),
            UNREACHABLE)


def router_mangle() -> tuple[str, ...]:
    """TCP learns of an uplink with a small MTU even where ICMP is lost on the way (RFC 2923)."""
    return (f"-o {naming.UPLINK} -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",)


def router_nat(vpc: Vpc) -> tuple[str, ...]:
    """For a VPC the host has no route to: its own link address stands in for its subnets."""
    return tuple(f"-s {subnet.cidr} -o {naming.UPLINK} -j MASQUERADE" for subnet in public(vpc))


def masquerade(vpc: Vpc, routed: bool) -> list[str]:
    """The host's rules of POSTROUTING for a VPC."""
    if not vpc.nat:
        return []
    return [f"-s {source} -o {vpc.nat.interface} {_comment(mark)} -j MASQUERADE"
            for source, mark in _sources(vpc, routed)]


def _sources(vpc: Vpc, routed: bool) -> list[tuple[str, str]]:
    """The addresses (each with its mark) that NAT traffic of a VPC has when it comes to the host."""
    if not routed:
        return [(f"{addressing.router_end(vpc.link)}/32", naming.owner(vpc.name))]
    return [(str(subnet.cidr), naming.owner(vpc.name, subnet.name)) for subnet in public(vpc)]


def host_forward(vpcs: Iterable[tuple[Vpc, bool]]) -> tuple[str, ...]:
    """Between the cables and the uplink, and nowhere else: not to another VPC, not from a neighbour.

    Each VPC comes with whether the host has a route to it.
    """
    return tuple(rule for vpc, routed in vpcs for rule in _host_forward(vpc, routed))


def _host_forward(vpc: Vpc, routed: bool) -> Iterator[str]:
    # By exact name: `vpc-+` would also mean an interface of somebody else that is called vpc-something.
    cable, comment = naming.device("vpc-", vpc.name), _comment(naming.owner(vpc.name))
    if vpc.nat:
        for source, mark in _sources(vpc, routed):
            yield f"-s {source} -i {cable} -o {vpc.nat.interface} {_comment(mark)} -j ACCEPT"
        yield f"-i {vpc.nat.interface} -o {cable} {TRACKED} {comment} -j ACCEPT"
    yield f"-i {cable} {comment} {UNREACHABLE}"
    yield f"-o {cable} {comment} {UNREACHABLE}"


def host_input(vpcs: Iterable[Vpc]) -> tuple[str, ...]:
    """The host is no neighbour of its tenants: they may only answer it."""
    return tuple(rule for vpc in vpcs for rule in _host_input(vpc))


def _host_input(vpc: Vpc) -> Iterator[str]:
    cable, comment = naming.device("vpc-", vpc.name), _comment(naming.owner(vpc.name))
    yield f"-i {cable} {TRACKED} {comment} -j ACCEPT"
    yield f"-i {cable} {comment} {CLOSED}"


def public(vpc: Vpc) -> list[Subnet]:
    """The subnets that NAT serves."""
    return [subnet for subnet in vpc.subnets if subnet.type is SubnetType.PUBLIC]


def _comment(mark: str) -> str:
    return f"-m comment --comment {mark}"
