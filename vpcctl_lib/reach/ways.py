"""What a VPC's route tables say of a packet, by the record: do they lead it there, and if not, why; pure."""

from __future__ import annotations

from collections.abc import Sequence

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import elastic, tables
from vpcctl_lib.model.addressing import ANYWHERE, Address, Family
from vpcctl_lib.model.policies import family_of
from vpcctl_lib.model.routes import MAIN, Via, VpcRoute
from vpcctl_lib.model.tables import State
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.reach import elastic_ends
from vpcctl_lib.reach.packet import Code
from vpcctl_lib.reach.question import Question


@frozen
class Shut:
    """A route table that does not lead the packet there, and the command that makes it."""

    code: Code
    why: str
    fix: str | None


def shut(topology: Topology, question: Question, is_back: bool) -> Shut | None:
    """What is wrong with the tables on the way there, or on that of the answer; None if nothing is."""
    vpc, subnet, address = question.vpc, question.subnet, question.address
    if is_back:
        client = elastic_ends.client(topology, question)
        question = elastic_ends.aimed(topology, question)
        vpc, subnet, address = question.to_vpc, question.to_subnet, client or question.address
        vpc = vpc or next((one for one in topology.vpcs if one.holds(question.address)), None)
        subnet = subnet or next((one for one in vpc.subnets if question.address in one.cidr
                                 or (one.ipv6 and question.address in one.ipv6)), None) if vpc else None
        if client is None or (question.to_vpc and not question.to_vpc.holds(question.address)
                              and not elastic.allocated(topology, question.address)):
            # Answers by a published port go back as they came, whatever the tables say.
            return None
    if vpc is None or subnet is None or not vpc.route_tables or vpc.holds(address):
        return None
    peers = list(topology.peers_of(vpc.name))
    far = next((one for one in topology.vpcs if one.holds(address) and one not in peers), None)
    if far is not None and not any(peer.holds(address) for peer in peers):
        # They are no peers, which is said in its own words.
        return None
    return _followed(vpc, subnet, peers, address, is_back)


def _followed(vpc: Vpc, subnet: Subnet, peers: Sequence[Vpc], address: Address,
              is_back: bool) -> Shut | None:
    """From subnet to subnet, as long as a route leads to a machine or a NAT gateway."""
    passed: list[str] = []
    while subnet.name not in passed:
        passed.append(subnet.name)
        found = [one for one in tables.routes(vpc, peers, subnet.table, family_of(address))
                 if address in one.destination]
        route = max(found, key=lambda one: one.destination.prefixlen, default=None)
        if route is None or tables.state(vpc, peers, route) is State.BLACKHOLE:
            return _shut(vpc, subnet, peers, address, route, is_back)
        if is_back and route.via is Via.NAT:
            # It would come from the NAT gateway, not from who was asked.
            return _shut(vpc, subnet, peers, address, route, is_back)
        onward = _beyond(vpc, route)
        if onward is None:
            return None
        subnet = onward
    return None


def _beyond(vpc: Vpc, route: VpcRoute) -> Subnet | None:
    """The subnet from which the packet goes on; None if the route leads out of the VPC."""
    if route.via is Via.NAT:
        gateway = next((one for one in vpc.nat_gateways if one.name == route.hop), None)
        return vpc.subnet(gateway.subnet) if gateway else None
    found = tables.middlebox(vpc, route)
    return found[0] if found else None


def _shut(vpc: Vpc, subnet: Subnet, peers: Sequence[Vpc], address: Address,
          route: VpcRoute | None, is_back: bool) -> Shut:
    name = subnet.table
    where = f"route table '{name}' of {vpc.name}/{subnet.name}"
    peer = next((one for one in peers if one.holds(address)), None)
    enable = f"vpcctl nat enable --vpc {vpc.name}"
    if peer is None and vpc.nat is None and (route is None or route.via in tables.OUTWARD):
        why = f"{where} leads to the internet, but NAT is not enabled" if route else \
            f"{where} has no route to {address}"
        return Shut(Code.NO_NAT, why, enable if route or name not in (MAIN,) else
                    f"vpcctl subnet set --vpc {vpc.name} --name {subnet.name} --type public && {enable}")
    why = f"{where} has no route to {address}" if route is None else \
        f"route {route} of {where} is a blackhole"
    by_nat = route is not None and route.via is Via.NAT and tables.next_hop(vpc, route) is not None
    if by_nat:
        why = f"route {route} of {where} gives answers another source"
    if route is None and peer is None and name == MAIN:
        return Shut(Code.PRIVATE_SUBNET, why,
                    f"vpcctl subnet set --vpc {vpc.name} --name {subnet.name} --type public")
    family = family_of(address)
    wide = next(one for one in tables.networks(peer, family) if address in one) if peer else ANYWHERE[family]
    to = wide if route is None else f"{address}/{wide.max_prefixlen}"
    add = f"vpcctl route-table add-route --vpc {vpc.name} --name {name} --to {to} " \
        f"--via {_target(vpc, subnet, peer, family, is_back)}"
    if route is not None and route.destination.prefixlen == route.destination.max_prefixlen:
        add = f"vpcctl route-table delete-route --vpc {vpc.name} --name {name} --to {to} && {add}"
    code = Code.ANSWER_DIVERTED if by_nat else Code.NO_ROUTE if route is None else Code.BLACKHOLE
    return Shut(code, why,
                add if peer or vpc.nat else f"{add} && {enable}")


def _target(vpc: Vpc, subnet: Subnet, peer: Vpc | None, family: Family, answers: bool) -> str:
    """A peer, or else a NAT gateway in another subnet, or else the internet itself, as for answers."""
    if peer:
        return f"{Via.PEER.value}:{peer.name}"
    if family is Family.INET6:
        return Via.EGRESS.value
    gateway = next((one for one in vpc.nat_gateways if one.subnet != subnet.name and not answers), None)
    return f"{Via.NAT.value}:{gateway.name}" if gateway else Via.INTERNET.value
