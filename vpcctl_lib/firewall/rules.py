"""The iptables rules of the VPC routers and of the host, as the text after `-A CHAIN `; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.mirrors import PORT as VXLAN
from vpcctl_lib.model.routing import NOWHERE
from vpcctl_lib.model.topology import Nat, Subnet, SubnetType, Topology, Vpc

TRACKED = "-m conntrack --ctstate ESTABLISHED,RELATED"
ESTABLISHED = "-m conntrack --ctstate ESTABLISHED"
RELATED = "-m conntrack --ctstate RELATED"
INVALID = "-m conntrack --ctstate INVALID"
BEGUN = "-m conntrack ! --ctstate ESTABLISHED,RELATED"
UNREACHABLE = "-j REJECT --reject-with icmp-net-unreachable"
CLOSED = "-j REJECT --reject-with icmp-host-prohibited"
MASQUERADE = "-j MASQUERADE --random-fully"
"""With random ports: a tenant can't choose a port that the host's programs are about to use."""

CLAMP = f"-o {naming.UPLINK} -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"

Reached = Iterable[tuple[Vpc, bool]]
"""VPCs, each with whether the host has a route to it."""

Sources = list[tuple[str, str]]
"""Addresses, each with the mark of its owner."""


def router_forward(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a VPC's router lets through; it answers everything else with "network unreachable"."""
    # First what most packets are: each rule before it costs each of them.
    # An INVALID packet is never translated: it would leave the host with a private source.
    # An answer without a route is refused as well: if accepted, it would go in circles over lo.
    return (f"! -o {NOWHERE} {ESTABLISHED} -j ACCEPT", f"{INVALID} -j DROP", f"-o {NOWHERE} {UNREACHABLE}",
            *_within(vpc), *_errors(vpc), *_across(vpc), *_outward(vpc), *_peers(topology, vpc), UNREACHABLE)


def _across(vpc: Vpc) -> Iterator[str]:
    if vpc.route_tables:
        # Imported late, here and below: most VPCs have only the built-in tables.
        from vpcctl_lib.firewall.route_rules import across

        yield from across(vpc)


def _within(vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    # Switched frames pass here if somebody turns bridge-nf-call-iptables on.
    for source, destination in product(vpc.networks, repeat=2):
        yield f"-s {source} -d {destination} -i {bridge} -o {bridge} -j ACCEPT"
    yield f"-s {addressing.host_end(vpc.link)}/32 -i {naming.UPLINK} -o {bridge} -j ACCEPT"


def _errors(vpc: Vpc) -> Iterator[str]:
    """ICMP errors about the VPC's connections to the outside, and to the host about its connections here.

    Any other RELATED packet may be forged, to cut another tenant's connection; allowed traffic does not need
    this rule.
    """
    bridge, host = naming.device("br-", vpc.name), addressing.host_end(vpc.link)
    for own in vpc.networks:
        yield f"-i {naming.UPLINK} -o {bridge} {RELATED} --ctorigsrc {own} -j ACCEPT"
    yield f"-d {host}/32 -i {bridge} -o {naming.UPLINK} {RELATED} --ctorigsrc {host} -j ACCEPT"


def _outward(vpc: Vpc) -> Iterator[str]:
    if not vpc.nat:
        return
    bridge = naming.device("br-", vpc.name)
    sources = [(str(subnet.cidr), naming.owner(vpc.name, subnet.name)) for subnet in public(vpc)]
    yield from _metadata(vpc.nat, sources, bridge, naming.UPLINK, "")
    if vpc.route_tables:
        from vpcctl_lib.firewall.route_rules import outward

        yield from outward(vpc)
        return
    for source, mark in sources:
        yield f"-s {source} -i {bridge} -o {naming.UPLINK} {bearing(mark)} -j ACCEPT"


def _metadata(nat: Nat, sources: Sources, incoming: str, outgoing: str, comment: str) -> Iterator[str]:
    """Refuses the addresses where clouds hand out credentials, except a resolver there that the host uses."""
    for server in nat.resolvers:
        if any(server in block for block in addressing.METADATA):
            for source, mark in sources:
                for protocol in ("udp", "tcp"):
                    port = f"-p {protocol} -m {protocol} --dport 53 {bearing(mark)}"
                    yield f"-s {source} -d {server}/32 -i {incoming} -o {outgoing} {port} -j ACCEPT"
    for block in addressing.METADATA:
        yield " ".join(filter(None, (f"-d {block} -i {incoming} -o {outgoing}", comment, UNREACHABLE)))


def _peers(topology: Topology, vpc: Vpc) -> Iterator[str]:
    bridge = naming.device("br-", vpc.name)
    for peer in topology.peers_of(vpc.name):
        cable = naming.device("pcx-", peer.name)
        comment = bearing(naming.peering_owner(*sorted((vpc.name, peer.name))))
        for own, far in product(vpc.networks, peer.networks):
            yield f"-s {own} -d {far} -i {bridge} -o {cable} {comment} -j ACCEPT"
            yield f"-s {far} -d {own} -i {cable} -o {bridge} {comment} -j ACCEPT"


def router_input(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """Who may send to the router itself: its own VPC, its peers and the host."""
    bridge = naming.device("br-", vpc.name)
    own = (*(f"-s {network} -i {bridge}" for network in vpc.networks),
           f"-s {addressing.host_end(vpc.link)}/32 -i {naming.UPLINK}")
    peers = (f"-s {network} -i {naming.device('pcx-', peer.name)}" for peer in topology.peers_of(vpc.name)
             for network in peer.networks)
    # What a machine sends as if it were a copy must not come out at the other end, even as an answer.
    copies = (f"-p udp -m udp --dport {VXLAN} -j DROP",) if vpc.is_mirrored else ()
    return (*copies, f"{ESTABLISHED} -j ACCEPT", f"{INVALID} -j DROP", "-i lo -j ACCEPT",
            *_questions(topology, vpc), *(f"{source} -j ACCEPT" for source in (*own, *peers)), UNREACHABLE)


def _questions(topology: Topology, vpc: Vpc) -> Iterator[str]:
    if vpc.dns:
        # Imported late: most VPCs have no DNS.
        from vpcctl_lib.firewall.name_rules import for_addresses, from_peers

        if vpc.dhcp:
            yield for_addresses(vpc)
        yield from from_peers(topology, vpc, UNREACHABLE)


def router_raw(topology: Topology, vpc: Vpc) -> tuple[str, ...]:
    """What a router does not track."""
    if not vpc.route_tables:
        return ()
    from vpcctl_lib.firewall.route_rules import untracked

    return untracked(topology, vpc)


def router_mangle(vpc: Vpc) -> tuple[str, ...]:
    """Tells TCP of an uplink with a small MTU, even if ICMP is lost on the way (RFC 2923)."""
    marks: tuple[str, ...] = ()
    if vpc.route_tables and vpc.is_published:
        from vpcctl_lib.firewall.route_rules import came_in

        marks = came_in(vpc)
    return (*marks, CLAMP)


def router_nat(vpc: Vpc) -> tuple[str, ...]:
    """For a VPC to which the host has no route: its link address replaces those of its subnets."""
    return tuple(f"-s {subnet.cidr} -o {naming.UPLINK} {MASQUERADE}" for subnet in public(vpc))


def host_nat(vpcs: Reached) -> tuple[str, ...]:
    """Packets that leave the host get the host's address."""
    return tuple(rule for vpc, routed in vpcs for rule in _masquerade(vpc, routed))


def _masquerade(vpc: Vpc, routed: bool) -> list[str]:
    if not vpc.nat:
        return []
    return [f"-s {source} -o {vpc.nat.interface} {bearing(mark)} {MASQUERADE}"
            for source, mark in sources_of(vpc, routed)]


def sources_of(vpc: Vpc, routed: bool) -> Sources:
    """The source addresses, each with its mark, with which a VPC's NAT traffic reaches the host."""
    if not routed:
        return [(f"{addressing.router_end(vpc.link)}/32", naming.owner(vpc.name))]
    return [(str(subnet.cidr), naming.owner(vpc.name, subnet.name)) for subnet in public(vpc)]


def host_answers(vpcs: Reached) -> tuple[str, ...]:
    """What most packets are, first of all: no rule that comes before a refusal refuses them.

    What comes out of a VPC still needs a rule for its subnet, so that a change ends what it no longer allows.
    """
    found = [(vpc, vpc.nat, sources_of(vpc, routed)) for vpc, routed in vpcs if vpc.nat]
    return (*(f"-i {nat.interface} -o {_cable(vpc)} {TRACKED} {_owned(vpc)} -j ACCEPT"
              for vpc, nat, _ in found),
            *(f"-s {source} -i {_cable(vpc)} -o {nat.interface} {ESTABLISHED} {bearing(mark)} -j ACCEPT"
              for vpc, nat, sources in found for source, mark in sources))


def host_forward(vpcs: Reached) -> tuple[str, ...]:
    """Forwards only between cables and the uplink: not to another VPC, not from a neighbour.

    What asks for the name of a link comes as late as it can: that takes the kernel longer than to compare
    addresses.
    """
    return (*_to_refused(vpcs), *(rule for vpc, routed in vpcs for rule in _leaving(vpc, routed)),
            *(rule for vpc, _ in vpcs for rule in _closed(vpc)))


def _to_refused(vpcs: Reached) -> Iterator[str]:
    leads = f"{bearing(naming.host_mark())} -j {naming.HOST_REFUSED}"
    yield f"{INVALID} {leads}"
    if any(vpc.nat for vpc, _ in vpcs):
        yield from (f"-d {block} {leads}" for block in addressing.METADATA)


def _leaving(vpc: Vpc, routed: bool) -> Iterator[str]:
    if vpc.nat:
        for source, mark in sources_of(vpc, routed):
            yield f"-s {source} -i {_cable(vpc)} -o {vpc.nat.interface} {bearing(mark)} -j ACCEPT"


def _closed(vpc: Vpc) -> Iterator[str]:
    yield f"-i {_cable(vpc)} {_owned(vpc)} {UNREACHABLE}"
    yield f"-o {_cable(vpc)} {_owned(vpc)} {UNREACHABLE}"


def host_refused(vpcs: Reached) -> tuple[str, ...]:
    """Before any rule of the host accepts what VPCs send, or what is sent to them."""
    return tuple(rule for vpc, routed in vpcs for rule in _host_refused(vpc, routed))


def _host_refused(vpc: Vpc, routed: bool) -> Iterator[str]:
    yield f"-i {_cable(vpc)} {INVALID} {_owned(vpc)} -j DROP"
    yield f"-o {_cable(vpc)} {INVALID} {_owned(vpc)} -j DROP"
    if vpc.nat:
        sources = sources_of(vpc, routed)
        yield from _metadata(vpc.nat, sources, _cable(vpc), vpc.nat.interface, _owned(vpc))


def _cable(vpc: Vpc) -> str:
    # By exact name: `vpc-+` would also match somebody else's interface with such a name.
    return naming.device("vpc-", vpc.name)


def _owned(vpc: Vpc) -> str:
    return bearing(naming.owner(vpc.name))


def host_input(vpcs: Reached) -> tuple[str, ...]:
    """Tenants may only answer the host, never open a connection to it."""
    return tuple(rule for vpc, routed in vpcs for rule in _host_input(vpc, routed))


def _host_input(vpc: Vpc, routed: bool) -> Iterator[str]:
    cable, comment = naming.device("vpc-", vpc.name), bearing(naming.owner(vpc.name))
    yield f"-i {cable} {INVALID} {comment} -j DROP"
    yield f"-i {cable} {ESTABLISHED} {comment} -j ACCEPT"
    # An ICMP error about the host's connection to that VPC, and not about its other connections.
    for asked in (addressing.router_end(vpc.link), *(vpc.networks if routed else ())):
        yield f"-i {cable} {RELATED} --ctorigdst {asked} {comment} -j ACCEPT"
    yield f"-i {cable} {comment} {CLOSED}"


def host_guard(vpcs: Reached) -> Iterator[str]:
    """Before the rules of all other tables: leads to the guard what it may have to drop, and nothing else.

    It is in a table that `iptables -F` leaves alone, and to which no other program adds accepts.
    """
    leads = f"-g {naming.HOST_GUARD_FROM}"
    yield from (f"-s {network} {_owned(vpc)} {leads}" for vpc, routed in vpcs if routed
                for network in vpc.networks)
    for match in (f"-s {addressing.LINKS}", "-m conntrack --ctstate INVALID,RELATED"):
        yield f"{match} {bearing(naming.host_mark())} {leads}"


def host_guard_from(vpcs: Reached) -> Iterator[str]:
    """Only its cable brings a VPC's addresses, and no forged errors."""
    yield f"-i lo {bearing(naming.host_mark())} -j RETURN"
    for vpc, routed in vpcs:
        yield from _host_guard(vpc, routed)


def genuine(vpcs: Reached) -> Iterator[str]:
    """What most of a VPC's packets are, so that they need not meet all that follows."""
    for vpc, routed in vpcs:
        yield from (genuine_source(source, _cable(vpc), _owned(vpc)) for source in _own(vpc, routed))


def genuine_source(source: str, cable: str, mark: str) -> str:
    """The rule for one source."""
    return (f"-s {source} ! -d 127.0.0.0/8 -i {cable} -m conntrack --ctstate NEW,ESTABLISHED {mark} "
            "-j RETURN")


def _own(vpc: Vpc, routed: bool) -> list[str]:
    """The addresses with which a VPC's packets come to the host."""
    return [*map(str, vpc.networks)] if routed else [f"{addressing.router_end(vpc.link)}/32"]


def _host_guard(vpc: Vpc, routed: bool) -> Iterator[str]:
    cable, comment = _cable(vpc), _owned(vpc)
    own = vpc.networks if routed else (addressing.router_end(vpc.link),)
    for source in _addresses(vpc, routed):
        yield f"-s {source} ! -i {cable} {comment} -j DROP"
    yield f"-i {cable} {INVALID} {comment} -j DROP"
    # Used several times, since it holds one network: an error about a connection from or to this VPC only.
    others = " -m conntrack ".join(f"! --ctorigsrc {one} ! --ctorigdst {one}" for one in own)
    yield (f"-i {cable} {RELATED} {others} "
           f"-m conntrack ! --ctorigdst {addressing.router_end(vpc.link)} {comment} -j DROP")


def host_guard_out(vpcs: Reached) -> Iterator[str]:
    """After all other rules, of what begins a connection or belongs to none.

    If the chain that refuses with an answer was flushed, the packet stops here.
    """
    return (rule for vpc, routed in vpcs for rule in _host_guard_out(vpc, routed))


def outward(vpcs: Reached) -> Iterator[str]:
    """What a VPC begins with the outside, so that it need not meet all that follows."""
    for vpc, routed in vpcs:
        if vpc.nat:
            for source in _senders(vpc, routed):
                yield f"-s {source} -o {vpc.nat.interface} {_owned(vpc)} -j RETURN"


def _senders(vpc: Vpc, routed: bool) -> list[str]:
    """All addresses with which packets come out of a VPC."""
    return [*(map(str, vpc.networks) if routed else ()), f"{addressing.router_end(vpc.link)}/32"]


def _host_guard_out(vpc: Vpc, routed: bool) -> Iterator[str]:
    cable, comment = _cable(vpc), _owned(vpc)
    # Only the host itself opens connections into a VPC, from its address on the cable, which is unique.
    yield f"! -s {addressing.host_end(vpc.link)}/32 -o {cable} {BEGUN} {comment} -j DROP"
    beside = f"! -o {vpc.nat.interface} " if vpc.nat else ""
    for source in _senders(vpc, routed):
        # If the host itself has got an address inside that CIDR, it is not cut off.
        yield f"-s {source} {beside}-m addrtype ! --src-type LOCAL {comment} -j DROP"


def host_guard_in(vpcs: Reached) -> tuple[str, ...]:
    """After `filter`, which refuses with an answer: what somebody else's rule accepts there still stops here.

    Docker, ufw and people put their own accepts above our jump.
    """
    return tuple(f"-i {naming.device('vpc-', vpc.name)} {BEGUN} {bearing(naming.owner(vpc.name))} -j DROP"
                 for vpc, _ in vpcs)


def _addresses(vpc: Vpc, routed: bool) -> list[str]:
    """The addresses unique on this host: its cable's, and its CIDRs if the host's routes lead there."""
    link = f"{addressing.host_end(vpc.link)}/31"
    return [*map(str, vpc.networks), link] if routed else [link]


def public(vpc: Vpc) -> list[Subnet]:
    """The subnets that NAT serves."""
    if vpc.route_tables:
        from vpcctl_lib.model.tables import leaving

        return leaving(vpc)
    return [subnet for subnet in vpc.subnets if subnet.type is SubnetType.PUBLIC]


def bearing(mark: str) -> str:
    """The match that shows whose a rule is."""
    return f"-m comment --comment {mark}"
