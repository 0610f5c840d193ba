"""The iptables rules of the VPC routers and of the host, as text that follows `-A CHAIN `; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.routing import NOWHERE
from vpcctl_lib.model.topology import Subnet, SubnetType, Topology, Vpc

TRACKED = "-m conntrack --ctstate ESTABLISHED,RELATED"
ESTABLISHED = "-m conntrack --ctstate ESTABLISHED"
RELATED = "-m conntrack --ctstate RELATED"
INVALID = "-m conntrack --ctstate INVALID"
BEGUN = "-m conntrack ! --ctstate ESTABLISHED,RELATED"
UNREACHABLE = "-j REJECT --reject-with icmp-net-unreachable"
CLOSED = "-j REJECT --reject-with icmp-host-prohibited"
MASQUERADE = "-j MASQUERADE --random-fully"
"""By random ports: a tenant that names its own can't take one that the host's programs are about to use."""

Reached = Iterable[tuple[Vpc, bool]]
"""VPCs, each with whether the host has a route to it."""

Sources = list[tuple[str, str]]
"""Addresses, each with the mark of what has them."""


def router_forward(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a VPC's router lets through; all else is told at once that there is no way."""
    # An INVALID packet is never translated: it would leave the host with a private source.
    # Where no route is, an answer is refused as well: accepted, it would go in circles over lo.
    return (f"{INVALID} -j DROP", f"-o {NOWHERE} {UNREACHABLE}", f"{ESTABLISHED} -j ACCEPT", *_within(vpc),
            *_errors(vpc), *_outward(vpc), *_peers(topology, vpc), UNREACHABLE)


def _within(vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    # Switched frames come by here where someone turns bridge-nf-call-iptables on.
    yield f"-s {vpc.cidr} -d {vpc.cidr} -i {bridge} -o {bridge} -j ACCEPT"
    yield f"-s {addressing.host_end(vpc.link)}/32 -i {naming.UPLINK} -o {bridge} -j ACCEPT"


def _errors(vpc: Vpc) -> Iterator[str]:
    """ICMP errors about what the VPC asked outside, and to the host about what it asked here.

    Whatever else calls itself RELATED may be forged, to cut a connection of somebody else's: what has a way
    of its own needs none of this.
    """
    bridge, host = naming.device("br-", vpc.name), addressing.host_end(vpc.link)
    yield f"-i {naming.UPLINK} -o {bridge} {RELATED} --ctorigsrc {vpc.cidr} -j ACCEPT"
    yield f"-d {host}/32 -i {bridge} -o {naming.UPLINK} {RELATED} --ctorigsrc {host} -j ACCEPT"


def _outward(vpc: Vpc) -> Iterator[str]:
    if not vpc.nat:
        return
    bridge = naming.device("br-", vpc.name)
    sources = [(str(subnet.cidr), naming.owner(vpc.name, subnet.name)) for subnet in public(vpc)]
    yield from _metadata(vpc, sources, bridge, naming.UPLINK, "")
    for source, mark in sources:
        yield f"-s {source} -i {bridge} -o {naming.UPLINK} {_comment(mark)} -j ACCEPT"


def _metadata(vpc: Vpc, sources: Sources, incoming: str, outgoing: str, comment: str) -> Iterator[str]:
    """No way to where clouds hand out credentials, but for a resolver there that the host itself uses."""
    resolvers = vpc.nat.resolvers if vpc.nat else ()
    for server in resolvers:
        if any(server in block for block in addressing.METADATA):
            for source, mark in sources:
                for protocol in ("udp", "tcp"):
                    port = f"-p {protocol} -m {protocol} --dport 53 {_comment(mark)}"
                    yield f"-s {source} -d {server}/32 -i {incoming} -o {outgoing} {port} -j ACCEPT"
    for block in addressing.METADATA:
        yield " ".join(filter(None, (f"-d {block} -i {incoming} -o {outgoing}", comment, UNREACHABLE)))


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
    return (f"{INVALID} -j DROP", f"{ESTABLISHED} -j ACCEPT", "-i lo -j ACCEPT",
            *(f"{source} -j ACCEPT" for source in (*own, *peers)), UNREACHABLE)


def router_mangle() -> tuple[str, ...]:
    """TCP learns of an uplink with a small MTU even where ICMP is lost on the way (RFC 2923)."""
    return (f"-o {naming.UPLINK} -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",)


def router_nat(vpc: Vpc) -> tuple[str, ...]:
    """For a VPC the host has no route to: its own link address stands in for its subnets."""
    return tuple(f"-s {subnet.cidr} -o {naming.UPLINK} {MASQUERADE}" for subnet in public(vpc))


def host_nat(vpcs: Reached) -> tuple[str, ...]:
    """What leaves the host gets its address."""
    return tuple(rule for vpc, routed in vpcs for rule in _masquerade(vpc, routed))


def _masquerade(vpc: Vpc, routed: bool) -> list[str]:
    if not vpc.nat:
        return []
    return [f"-s {source} -o {vpc.nat.interface} {_comment(mark)} {MASQUERADE}"
            for source, mark in _sources(vpc, routed)]


def _sources(vpc: Vpc, routed: bool) -> Sources:
    """The addresses (each with its mark) that NAT traffic of a VPC has when it comes to the host."""
    if not routed:
        return [(f"{addressing.router_end(vpc.link)}/32", naming.owner(vpc.name))]
    return [(str(subnet.cidr), naming.owner(vpc.name, subnet.name)) for subnet in public(vpc)]


def host_forward(vpcs: Reached) -> tuple[str, ...]:
    """Between the cables and the uplink, and nowhere else: not to another VPC, not from a neighbour."""
    return tuple(rule for vpc, routed in vpcs for rule in _host_forward(vpc, routed))


def _host_forward(vpc: Vpc, routed: bool) -> Iterator[str]:
    # By exact name: `vpc-+` would also mean an interface of somebody else that is called vpc-something.
    cable, comment = naming.device("vpc-", vpc.name), _comment(naming.owner(vpc.name))
    yield f"-i {cable} {INVALID} {comment} -j DROP"
    yield f"-o {cable} {INVALID} {comment} -j DROP"
    if vpc.nat:
        sources = _sources(vpc, routed)
        yield from _metadata(vpc, sources, cable, vpc.nat.interface, comment)
        for source, mark in sources:
            yield f"-s {source} -i {cable} -o {vpc.nat.interface} {_comment(mark)} -j ACCEPT"
        yield f"-i {vpc.nat.interface} -o {cable} {TRACKED} {comment} -j ACCEPT"
    yield f"-i {cable} {comment} {UNREACHABLE}"
    yield f"-o {cable} {comment} {UNREACHABLE}"


def host_input(vpcs: Reached) -> tuple[str, ...]:
    """The host is no neighbour of its tenants: they may only answer it."""
    return tuple(rule for vpc, routed in vpcs for rule in _host_input(vpc, routed))


def _host_input(vpc: Vpc, routed: bool) -> Iterator[str]:
    cable, comment = naming.device("vpc-", vpc.name), _comment(naming.owner(vpc.name))
    yield f"-i {cable} {INVALID} {comment} -j DROP"
    yield f"-i {cable} {ESTABLISHED} {comment} -j ACCEPT"
    # An ICMP error about what the host asked there, and not about its other connections.
    for asked in (addressing.router_end(vpc.link), *([vpc.cidr] if routed else [])):
        yield f"-i {cable} {RELATED} --ctorigdst {asked} {comment} -j ACCEPT"
    yield f"-i {cable} {comment} {CLOSED}"


def host_guard(vpcs: Reached) -> tuple[str, ...]:
    """Before all other rules, of whatever table: where a VPC's addresses come from, and what comes of one.

    In a table that `iptables -F` leaves alone, and to which no other program adds accepts.
    """
    own = _comment(f"{naming.MARK}host")
    return (f"-i lo {own} -j RETURN", *(rule for vpc, routed in vpcs for rule in _host_guard(vpc, routed)))


def _host_guard(vpc: Vpc, routed: bool) -> Iterator[str]:
    cable, comment = naming.device("vpc-", vpc.name), _comment(naming.owner(vpc.name))
    own = vpc.cidr if routed else addressing.router_end(vpc.link)
    for source in _addresses(vpc, routed):
        yield f"-s {source} ! -i {cable} {comment} -j DROP"
    yield f"-i {cable} {INVALID} {comment} -j DROP"
    # Two of the module, as each holds one network: an error about a connection from or to this VPC only.
    yield (f"-i {cable} {RELATED} ! --ctorigsrc {own} ! --ctorigdst {own} "
           f"-m conntrack ! --ctorigdst {addressing.router_end(vpc.link)} {comment} -j DROP")


def host_guard_out(vpcs: Reached) -> tuple[str, ...]:
    """After all other rules: what no chain has refused with an answer, as it was emptied, goes no further."""
    return tuple(rule for vpc, routed in vpcs for rule in _host_guard_out(vpc, routed))


def _host_guard_out(vpc: Vpc, routed: bool) -> Iterator[str]:
    cable, comment = naming.device("vpc-", vpc.name), _comment(naming.owner(vpc.name))
    # Into a VPC nobody begins a connection but the host itself, whose address on the cable no other can have.
    yield f"! -s {addressing.host_end(vpc.link)}/32 -o {cable} {BEGUN} {comment} -j DROP"
    beside = f"! -o {vpc.nat.interface} " if vpc.nat else ""
    router = f"{addressing.router_end(vpc.link)}/32"
    for source in ([str(vpc.cidr), router] if routed else [router]):
        # An address inside that CIDR which the host itself got meanwhile is not cut off.
        yield f"-s {source} {beside}-m addrtype ! --src-type LOCAL {comment} -j DROP"


def host_guard_in(vpcs: Reached) -> tuple[str, ...]:
    """After what `filter` refuses with an answer: what a rule of others accepts there still gets no further.

    Docker, ufw and people put accepts of theirs above our jump.
    """
    return tuple(f"-i {naming.device('vpc-', vpc.name)} {BEGUN} {_comment(naming.owner(vpc.name))} -j DROP"
                 for vpc, _ in vpcs)


def _addresses(vpc: Vpc, routed: bool) -> list[str]:
    """What nobody else on this host can have: its cable's, and its CIDR's if the host's route leads there."""
    link = f"{addressing.host_end(vpc.link)}/31"
    return [str(vpc.cidr), link] if routed else [link]


def public(vpc: Vpc) -> list[Subnet]:
    """The subnets that NAT serves."""
    return [subnet for subnet in vpc.subnets if subnet.type is SubnetType.PUBLIC]


def _comment(mark: str) -> str:
    return f"-m comment --comment {mark}"
