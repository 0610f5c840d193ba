"""Whether packets leave a VPC and their answers come back, judged by what the kernel says of itself; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from vpcctl_lib.firewall.rules import public
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.host import REFUSING, HostRoute
from vpcctl_lib.kernel.ways import REFUSED, UNKNOWN, Question, Way, Ways
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Nat, Topology, Vpc
from vpcctl_lib.uplink.firewalls import needed, obstacles
from vpcctl_lib.uplink.verdicts import BaseChain

OUTSIDE = (IPv4Address("8.8.8.8"), IPv4Address("198.41.0.4"))
"""One in each half of the internet, as a VPN may have a route to either: Google's DNS, a.root-servers.net."""

ASIDE = "30320"
"""The table for a route that only VPCs use: the number of our links' group."""


FIRST = 1
"""The priority of a policy rule before all others except the one for the host's own addresses (0)."""


class State(Enum):
    """What happens to a VPC's packets."""

    LEAVE = "leave"
    LOST = "lost"
    CUT_OFF = "cut off"
    """Outgoing packets leave, but the host itself does not reach all of its subnets."""

    UNKNOWN = "not known"
    NONE = "none to leave"
    """It has NAT and no public subnet."""


@frozen
class Cause:
    """Why packets are lost, or might be, and what helps."""

    why: str
    help: str = ""
    sure: bool = True
    at_home: bool = False
    """Whether it affects only the host's own packets."""


@frozen
class Passage:
    """A VPC's packets; `interface` is its uplink, empty for one without NAT that the host does not reach."""

    vpc: str
    interface: str
    state: State
    causes: tuple[Cause, ...] = ()


@frozen
class Links:
    """The host's links: those that are up, and those of them with a carrier."""

    there: frozenset[str] = frozenset()
    up: frozenset[str] = frozenset()
    plugged: frozenset[str] = frozenset()


@frozen
class Facts:
    """The host's answers."""

    links: Links = Links()
    ways: Ways = field(default_factory=dict)
    routes: Sequence[HostRoute] = ()
    chains: Sequence[BaseChain] | str = ()
    """Other firewalls' base chains on the way of a VPC's packets, or why they are unknown."""

    passes_on: bool = True
    """Whether the host forwards packets (`ip_forward`)."""

    faults: Mapping[str, Sequence[Cause]] = field(default_factory=dict)
    """By VPC: what differs from the record on its way through the host."""


def source(topology: Topology, vpc: Vpc) -> IPv4Address:
    """The source address with which a VPC's packets reach the host."""
    if not routed(topology, vpc):
        return addressing.router_end(vpc.link)
    subnets = public(vpc)
    return addressing.instance(subnets[0].cidr) if subnets else addressing.gateway(vpc.cidr)


def outward(topology: Topology, vpc: Vpc) -> list[Question]:
    """The questions by which way its packets leave, one for each source that the host may have a rule for."""
    cable = naming.device("vpc-", vpc.name)
    sources = [source(topology, vpc)]
    if routed(topology, vpc):
        sources += [addressing.instance(subnet.cidr) for subnet in public(vpc)]
    first = [Question(address, sources[0], cable) for address in OUTSIDE]
    return [*first, *(Question(OUTSIDE[0], one, cable) for one in dict.fromkeys(sources[1:])
                      if one != sources[0])]


def inward(topology: Topology, vpc: Vpc) -> dict[str, Question]:
    """By subnet: the host's own way to it, or the way of answers if it has NAT."""
    if not routed(topology, vpc):
        back = Question(source(topology, vpc), OUTSIDE[0], vpc.nat.interface) if vpc.nat else None
        return {"": back} if back else {}
    served = {subnet.name for subnet in public(vpc)} if vpc.nat else set()
    return {subnet.name: _back(vpc, addressing.instance(subnet.cidr), subnet.name in served)
            for subnet in vpc.subnets}


def _back(vpc: Vpc, address: IPv4Address, is_served: bool) -> Question:
    if vpc.nat and is_served:
        return Question(address, OUTSIDE[0], vpc.nat.interface)
    return Question(address)


def questions(topology: Topology) -> Iterator[Question]:
    """All questions whose answers `judge` needs."""
    for vpc in topology.vpcs:
        if vpc.nat:
            yield from outward(topology, vpc)
        yield from inward(topology, vpc).values()


def judge(topology: Topology, facts: Facts) -> list[Passage]:
    """Each VPC with NAT, and each without NAT that the host does not reach."""
    found = []
    for vpc in topology.vpcs:
        causes = tuple(dict.fromkeys(_causes(topology, vpc, facts)))
        if vpc.nat or causes:
            found.append(Passage(vpc.name, vpc.nat.interface if vpc.nat else "",
                                 _state(vpc, causes), causes))
    return found


def _state(vpc: Vpc, causes: Sequence[Cause]) -> State:
    abroad = [cause for cause in causes if not cause.at_home]
    if any(cause.sure for cause in abroad):
        return State.LOST
    if abroad and vpc.nat:
        return State.UNKNOWN
    if causes:
        return State.CUT_OFF
    return State.LEAVE if public(vpc) else State.NONE


def _causes(topology: Topology, vpc: Vpc, facts: Facts) -> Iterator[Cause]:
    if vpc.nat and not facts.passes_on:
        yield Cause("the host does not forward packets (net.ipv4.ip_forward = 0)", "vpcctl restore")
        return
    if vpc.nat:
        yield from facts.faults.get(vpc.name, ())
        stands = list(_link(vpc, vpc.nat, facts.links))
        ways = [facts.ways.get(one, Way(UNKNOWN, failure="it was not asked"))
                for one in outward(topology, vpc)]
        leaves = list(way_out(vpc, vpc.nat, ways, facts.routes))
        yield from _together(stands, leaves)
        if not stands and not leaves:
            yield from _others(topology, vpc, vpc.nat, facts)
    yield from _inward(topology, vpc, facts)
    yield from _cable(topology, vpc, facts)


def _together(stands: Sequence[Cause], leaves: Sequence[Cause]) -> Iterator[Cause]:
    """A link that is missing or down, and packets that therefore leave elsewhere, are one problem."""
    if len(stands) == len(leaves) == 1:
        link, way = stands[0], leaves[0]
        # If packets already have another way out, NAT follows them; otherwise the link itself is fixed.
        yield replace(way, why=f"{link.why}, and {way.why}", help=way.help or link.help, sure=True)
    else:
        yield from (*stands, *leaves)


def _link(vpc: Vpc, nat: Nat, links: Links) -> Iterator[Cause]:
    """Whether the uplink exists and has a carrier."""
    name = nat.interface
    if name not in links.there:
        yield Cause(f"link {name} does not exist",
                    f"bring it back, or name another: vpcctl nat enable --vpc {vpc.name} --interface LINK")
    elif name not in links.up:
        yield Cause(f"link {name} is down", f"ip link set dev {name} up")
    elif name not in links.plugged:
        yield Cause(f"link {name} has no carrier: nothing is plugged in",
                    f"plug it in, or name another: vpcctl nat enable --vpc {vpc.name} --interface LINK")


def way_out(vpc: Vpc, nat: Nat, ways: Sequence[Way], routes: Sequence[HostRoute] = ()) -> Iterator[Cause]:
    """Whether packets to the internet leave by NAT's uplink, and by no other link."""
    # Packets that leave by the same links are one problem, even with several routes.
    for way in {way.devices or way.failure: way for way in reversed(ways)}.values():
        if way.kind == UNKNOWN:
            yield Cause(f"the kernel's way out is unknown: {way.failure}", sure=False)
        elif way.kind == REFUSED or not way.devices:
            yield Cause(_no_way(way, routes))
        elif len(way.devices) > 1:
            links = " and ".join(way.devices)
            yield Cause(f"the host's way out has several next hops, {links}: what the kernel sends by "
                        f"another link than {nat.interface} is refused", aside(vpc, nat.interface, way))
        elif way.devices != (nat.interface,):
            yield Cause(f"packets leave by {way.devices[0]} (route {way}), and NAT leads out of "
                        f"{nat.interface}", _moved(vpc, nat, way, ways))


def _no_way(way: Way, routes: Sequence[HostRoute]) -> str:
    refusing = next((route for route in routes if route.kind in REFUSING
                     and any(address in route.network for address in OUTSIDE)), None)
    return f"the host has no way out for them: {refusing or way.failure or way}"


def _moved(vpc: Vpc, nat: Nat, way: Way, ways: Sequence[Way]) -> str:
    """The command that makes NAT follow, if all packets leave by one link that can be an uplink."""
    device = way.devices[0]
    if device == "lo" or device.startswith("vpc-") or {one.devices for one in ways} != {(device,)}:
        return ""
    return "vpcctl restore" if nat.follows else f"vpcctl nat enable --vpc {vpc.name} --interface {device}"


def aside(vpc: Vpc, interface: str, way: Way) -> str:
    """The commands that send a VPC's packets by only one of several next hops; empty without that hop."""
    hop = next((hop for hop in way.hops if hop.device == interface), None)
    if hop is None:
        return ""
    via = f"via {hop.gateway} " if hop.gateway else ""
    cable = naming.device("vpc-", vpc.name)
    return (f"ip route add default {via}dev {interface} table {ASIDE} && "
            f"ip rule add iif {cable} table {ASIDE}")


def _inward(topology: Topology, vpc: Vpc, facts: Facts) -> Iterator[Cause]:
    """Whether packets to the VPC's addresses go down its cable; one cause for all with the same obstacle."""
    cable = naming.device("vpc-", vpc.name)
    missed: dict[tuple[bool, str, str], list[str]] = {}
    for name, question in inward(topology, vpc).items():
        way = facts.ways.get(question)
        is_gone = question.incoming and question.incoming not in facts.links.there
        if way is None or way.devices == (cable,) or is_gone:
            continue
        if way.kind == UNKNOWN:
            yield Cause(f"the way back is unknown: {way.failure}", sure=False,
                        at_home=not question.incoming)
        else:
            obstacle = _obstacle(vpc, question.destination, way, facts.routes)
            listed = f"{question.destination} ({name})" if name else str(question.destination)
            missed.setdefault((not question.incoming, *obstacle), []).append(listed)
    for (at_home, why, helps), subnets in missed.items():
        more = f" and {len(subnets) - 3} more" if len(subnets) > 3 else ""
        listed = ", ".join(subnets[:3]) + more
        what = f"the host does not reach {listed}" if at_home else f"answers to {listed} do not come back"
        yield Cause(f"{what}: {why}", helps, at_home=at_home)


def _obstacle(vpc: Vpc, address: IPv4Address, way: Way, routes: Sequence[HostRoute]) -> tuple[str, str]:
    if way.kind == "local":
        return (f"{address} is an address of the host itself (on {' and '.join(way.devices)})",
                "remove it there, or give the subnet another CIDR")
    refusing = max((route for route in routes if route.kind in REFUSING and address in route.network),
                   key=lambda route: route.network.prefixlen, default=None)
    if way.kind == REFUSED and refusing:
        return (f"{refusing} comes first",
                f"ip route del {refusing.kind} {refusing.network}{_in_table(refusing.table)}")
    if way.kind == REFUSED:
        return f"the host refuses it ({way.failure})", ""
    own = next((network for network in vpc.networks if address in network), vpc.cidr)
    if way.table != "main":
        return (f"the host's route to {way} comes first",
                f"ip rule add to {own} pref {FIRST} table main")
    if own.subnet_of(way.network) and own != way.network:
        return f"the host's route to {own} is missing", "vpcctl restore"
    return (f"the host's route to {way} comes first",
            f"remove that route (ip route del {way.network}), or give the subnet another CIDR")


def _in_table(table: str) -> str:
    return "" if table == "main" else f" table {table}"


def _cable(topology: Topology, vpc: Vpc, facts: Facts) -> Iterator[Cause]:
    """A link of the host that now has the addresses of the VPC's cable."""
    mine = addressing.link_network(vpc.link)
    ours = {naming.device("vpc-", one.name) for one in topology.vpcs}
    for route in facts.routes:
        if route.device not in ours and route.network.overlaps(mine) and _is_narrow(route.network):
            yield Cause(f"{route} has the addresses of its cable ({mine}): both lose packets",
                        f"vpcctl export >FILE, vpcctl vpc delete --name {vpc.name}, vpcctl apply -f FILE")


def _is_narrow(network: IPv4Network) -> bool:
    return network.subnet_of(addressing.LINKS)


def _others(topology: Topology, vpc: Vpc, nat: Nat, facts: Facts) -> Iterator[Cause]:
    """Other firewalls, whose base chains packets also pass."""
    if isinstance(facts.chains, str):
        yield Cause(f"whether another firewall refuses them is unknown: {facts.chains}", sure=False)
        return
    needs = needed(naming.device("vpc-", vpc.name), nat.interface, source(topology, vpc), OUTSIDE[0])
    for found in obstacles(facts.chains, needs):
        yield Cause(found.why, found.help, found.sure)
