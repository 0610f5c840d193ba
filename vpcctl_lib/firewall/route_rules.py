"""The router's rules for subnets with route tables of a person's own, and a NAT gateway's rules; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vpcctl_lib.firewall.families import BITS
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.outside import Transport
from vpcctl_lib.model.publishing import Published, of_family
from vpcctl_lib.model.routes import RouteTable, Via, VpcRoute
from vpcctl_lib.model.tables import (
    CAME_IN,
    MASK,
    Leave,
    leaves,
    mark,
    networks,
    next_hop,
    routes,
    subnets,
    used,
)
from vpcctl_lib.model.topology import Topology, Vpc


def outward(vpc: Vpc, family: Family = Family.INET) -> Iterator[str]:
    """What may leave by the uplink: by the table that its port has, and with its own source.

    The guard sets the marks, so a packet that no table sends there is refused here, too.
    """
    bridge = naming.device("br-", vpc.name)
    for one in leaves(vpc, family):
        # A lost record is rebuilt from it: the subnet's own table leads to the internet.
        comment = f"-m comment --comment {naming.owner(vpc.name, one.subnet.name)}" if one.direct else ""
        source = one.subnet.cidr if family is Family.INET else one.subnet.ipv6
        yield " ".join(filter(None, (f"-s {source}", _to(one), f"-i {bridge} -o {naming.UPLINK}",
                                     _marked(one.number), comment, "-j ACCEPT")))


def _to(one: Leave | VpcRoute) -> str:
    return f"-d {one.destination}" if one.destination.prefixlen else ""


def _marked(number: int | None) -> str:
    return "" if number is None else f"-m mark --mark {mark(number)}"


def is_switched(vpc: Vpc, peers: Iterable[Vpc], table: RouteTable) -> bool:
    """Whether the bridge itself leads all that a table's subnets send to the outside by IPv4.

    Then the router gets only what it refuses, whatever the table.
    """
    found = routes(vpc, peers, table.name)
    return all(next_hop(vpc, one) for one in found) and not answers(vpc, table) \
        and any(one.destination.prefixlen == 0 for one in found)


def by_router(topology: Topology, vpc: Vpc, family: Family) -> list[RouteTable]:
    """The tables by which the router routes."""
    peers = list(topology.peers_of(vpc.name))
    return [one for one in used(vpc) if family is Family.INET6 or not is_switched(vpc, peers, one)]


def across(vpc: Vpc, family: Family = Family.INET) -> Iterator[str]:
    """What goes back to the bridge: to a NAT gateway or a middlebox, by a table's route."""
    bridge = naming.device("br-", vpc.name)
    # What is switched meets them, too, if somebody turns bridge-nf-call-iptables on.
    for table in used(vpc):
        for route in table.routes:
            if route.family is family and next_hop(vpc, route):
                for source in networks(vpc, family):
                    yield " ".join(filter(None, (f"-s {source}", _to(route), f"-i {bridge} -o {bridge}",
                                                 _marked(table.number), "-j ACCEPT")))


def untracked(topology: Topology, vpc: Vpc, family: Family = Family.INET) -> tuple[str, ...]:
    """The packets that the router sends to a NAT gateway or a middlebox are not tracked there.

    Their answers are switched past the router, and it sees them a second time, from the machine that sends
    them on: as one connection they would be INVALID, or have no translation.
    """
    found = tuple(rule for table in by_router(topology, vpc, family)
                  for rule in _untracked(topology, vpc, table, family))
    # Most packets have no mark, and need not meet the rest.
    return (f"{_marked(0)} -j RETURN", *found) if found else ()


def _untracked(topology: Topology, vpc: Vpc, table: RouteTable, family: Family) -> Iterator[str]:
    found = routes(vpc, topology.peers_of(vpc.name), table.name, family)
    if not any(next_hop(vpc, route) for route in found):
        return
    port = f"-i {naming.device('br-', vpc.name)} {_marked(table.number)}"
    # The host's address of IPv6 is one of the VPC's.
    host = (addressing.link_network(vpc.link),) if family is Family.INET else ()
    for near in (*networks(vpc, family), *host):
        yield f"-d {near} {port} -j ACCEPT"
    # A route is the more specific one of two before it in this order.
    for route in sorted(found, key=lambda one: -one.destination.prefixlen):
        if route.via is Via.NAT and next_hop(vpc, route):
            for match in answers(vpc, table):
                yield " ".join(filter(None, (_to(route), f"{match} {port}", "-j ACCEPT")))
        what = "-j CT --notrack" if next_hop(vpc, route) else "-j ACCEPT"
        yield " ".join(filter(None, (_to(route), port, what)))


def answers(vpc: Vpc, table: RouteTable) -> list[str]:
    """What may be an answer by a published port, or an ICMP error about one: tracking tells.

    If a middlebox has the table, it may send on any machine's.
    """
    own = subnets(vpc, table.name)
    sends_on = any(machine.forwards for subnet in own for machine in subnet.machines)
    names = {subnet.name for subnet in own}
    # A NAT gateway is of IPv4.
    found = [one for one in of_family(vpc, Family.INET) if sends_on or one.site.subnet in names]
    return list(dict.fromkeys(match for one in found for match in _answering(one)))


def _answering(one: Published) -> Iterator[str]:
    name = one.publish.protocol.value
    # The first packet of a connection that the machine opens itself is no answer.
    begun = " ! --tcp-flags FIN,SYN,RST,ACK SYN" if one.publish.protocol is Transport.TCP else ""
    yield f"-s {one.machine.address}/32 -p {name} -m {name} --sport {one.publish.to}{begun}"
    yield f"-s {one.machine.address}/32 -p icmp -m icmp --icmp-type 3"


def came_in(vpc: Vpc, family: Family = Family.INET) -> tuple[str, ...]:
    """Marks the connections by published ports, where route tables could lead their answers elsewhere."""
    link = f"-i {naming.UPLINK} -o {naming.device('br-', vpc.name)}"
    # By IPv6, all go by the router.
    led = used(vpc) if family is Family.INET6 else any(answers(vpc, table) for table in used(vpc))
    return tuple(dict.fromkeys(
        f"-d {one.machine.at(family)}/{BITS[family]} {link} -p {name} -m {name} --dport {one.publish.to} "
        f"-j CONNMARK --set-xmark {CAME_IN}"
        for one in of_family(vpc, family) if (name := one.publish.protocol.value))) if led else ()


def go_back(vpc: Vpc, family: Family = Family.INET) -> tuple[str, ...]:
    """Their answers go by the main table, whose default route is the way in, whatever their subnet's."""
    if not came_in(vpc, family):
        return ()
    return (f"-i {naming.device('br-', vpc.name)} -m connmark --mark {CAME_IN} "
            f"-j MARK --set-xmark 0x0/{MASK:#x}",)


def gateway_forward(vpc: Vpc) -> tuple[str, ...]:
    """What a NAT gateway sends on: its VPC's packets to the outside, and their answers."""
    link = f"-i {naming.INSTANCE} -o {naming.INSTANCE}"
    return ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-m conntrack --ctstate INVALID -j DROP",
            *(f"-d {own} -j DROP" for own in vpc.networks),
            *(f"-s {own} {link} -j ACCEPT" for own in vpc.networks))


def gateway_input() -> tuple[str, ...]:
    """Who may send to a NAT gateway itself: nobody, but errors about what it sent."""
    return ("-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",)


def gateway_nat(vpc: Vpc) -> tuple[str, ...]:
    """Its own address replaces the source."""
    return tuple(f"-s {own} -o {naming.INSTANCE} -j MASQUERADE --random-fully" for own in vpc.networks)
