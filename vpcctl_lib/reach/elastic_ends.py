"""Questions about elastic addresses: whose they are, and as whom a client comes to them; pure."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.model import elastic, tables
from vpcctl_lib.model.addressing import Address
from vpcctl_lib.model.elastic import Idle
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.routes import Via
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.reach.question import Outside, Question


def aimed(topology: Topology, question: Question) -> Question:
    """The same question; one about an elastic address names the machine that has it."""
    eip = elastic.allocated(topology, question.address) if question.to_vpc is None else None
    found = elastic.held(topology, eip) if eip else None
    if found is None:
        return question
    vpc, subnet, machine = found
    return replace(question, to_vpc=vpc, to_subnet=subnet, to_machine=machine)


def client(topology: Topology, question: Question) -> Address | None:
    """The address that the machine sees; None if it is the host's end of the cable."""
    sender = question.sender
    if sender is None or elastic.allocated(topology, question.address) is None:
        return question.source
    own = elastic.of_machine(topology, _leaves_as(question) or sender.site)
    return own.address if own else topology.front


def _leaves_as(question: Question) -> Site | None:
    """The NAT gateway by which the sender's packets leave its VPC, if its table leads to one."""
    vpc, subnet = question.vpc, question.subnet
    found = [one for one in tables.routes(vpc, (), subnet.table) if question.address in one.destination] \
        if vpc and subnet else []
    route = max(found, key=lambda one: one.destination.prefixlen, default=None)
    return next((Site(vpc.name, one.subnet, one.name) for one in vpc.nat_gateways
                 if route and route.via is Via.NAT and route.hop == one.name), None) if vpc else None


def idle(topology: Topology, question: Question) -> Idle | None:
    """Why the elastic address that it is about does not work; None if it does, or if there is none."""
    one = aimed(topology, question)
    if one.to_vpc is None or one.to_subnet is None or \
            (one is question and question.outside is not Outside.INTERNET):
        return None
    site = Site(one.to_vpc.name, one.to_subnet.name, one.to_machine.name)
    if elastic.of_machine(topology, site) is None:
        return None
    return elastic.why_idle(one.to_vpc, one.to_subnet, client(topology, question))
