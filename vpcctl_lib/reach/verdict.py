"""The answer to "does a packet get there?": a walk, explained in terms of VPCs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import elastic, publishing
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.addressing6 import is_local
from vpcctl_lib.model.endpoints import everywhere
from vpcctl_lib.model.naming import HOST_INPUT
from vpcctl_lib.model.topology import SubnetType, Topology, Vpc
from vpcctl_lib.reach import acl_fix, detours, elastic_ends, lacking
from vpcctl_lib.reach.detours import Detour
from vpcctl_lib.reach.fix import Fixer, opened
from vpcctl_lib.reach.forks import Forks, Taken
from vpcctl_lib.reach.intent import Intent
from vpcctl_lib.reach.packet import Blocked, Cause, Code, Undecided
from vpcctl_lib.reach.probe import Probe
from vpcctl_lib.reach.question import INTERNET, Outside, Question
from vpcctl_lib.reach.scene import HOST, Scene
from vpcctl_lib.reach.segment import cable_fault, owners
from vpcctl_lib.reach.walk import Arrival, Hop, Walk
from vpcctl_lib.reach.ways import shut

CLOSED = frozenset({Code.NO_ROUTE, Code.FIREWALL_DENY, Code.NO_NAT})
"""The codes for what a VPC refuses by default."""

LED = CLOSED | {Code.ANSWER_DIVERTED}
"""The codes for what a route table may be the cause of."""

REMOVING = (" -D ", " rule del ", " route del ")

MOST_WAYS = 32
"""The most combinations of next hops to walk."""


class Verdict(Enum):
    """Whether the packet arrives and its answer comes back."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"


@frozen
class Obstacle:
    """What stops the packet: a stable code, the place, the rule or thing, and a command that opens it."""

    code: Code
    where: str
    rule: str
    fix: str | None = None
    otherwise: str | None = None
    """A second command that opens it, and removes something made by hand."""

    why: str = ""
    """What security groups or a network ACL have against it, in words."""

    @property
    def removes(self) -> bool:
        """Whether the first one removes a rule or a route."""
        return self.fix is not None and any(word in self.fix for word in REMOVING)


@frozen
class Nexthop:
    """What happens to packets by one of a route's several next hops."""

    name: str
    verdict: Verdict
    blocked_by: Obstacle | None
    why: str
    is_real: bool
    """Whether the packet in question may take it; otherwise only other packets do."""


@frozen
class Report:
    """The verdict with the way that led to it."""

    question: Question
    verdict: Verdict
    hops: tuple[Hop, ...] = ()
    blocked_by: Obstacle | None = None
    why: str = ""
    is_back: bool = False
    probe: Probe | None = None
    nexthops: tuple[Nexthop, ...] = ()
    """One for each next hop, if a route on the way has several."""


class Analyzer:
    """Answers questions about the host as it was when first read."""

    def __init__(self, scene: Scene, topology: Topology) -> None:
        self.scene = scene
        self.topology = topology
        scene.elastic = frozenset(one.address for one in elastic.working(topology))
        scene.taps = {one.namespace: one.tap for one in everywhere(topology) if one.tap}
        scene.outward = [vpc.ipv6 for vpc in topology.vpcs if vpc.ipv6 and not is_local(vpc.ipv6)]
        self._intent = Intent(topology, scene.family)
        self._fixer = Fixer(scene, self._intent)

    def ask(self, question: Question) -> Report:
        """Walk, and report the result; by each next hop if there are several."""
        lacks = lacking.lacking(question)
        if lacks:
            obstacle = Obstacle(lacks.code, lacks.where, lacks.rule, lacking.command(lacks, question))
            return Report(question, Verdict.UNREACHABLE, blocked_by=obstacle)
        pending: list[Taken] = [{}]
        found: list[tuple[Report, Forks, Taken]] = []
        while pending and len(found) < MOST_WAYS:
            taken = pending.pop(0)
            walk = Walk(self.scene, taken)
            found.append((self._told(question, walk), walk.forks, taken))
            pending += walk.forks.left()
        return judged(found, len(pending))

    def _told(self, question: Question, walk: Walk) -> Report:
        try:
            return self._walked(question, walk)
        except Undecided as undecided:
            return Report(question, Verdict.UNKNOWN, tuple(walk.hops), None,
                          f"{undecided.where}: {undecided.why}", walk.is_back)

    def _walked(self, question: Question, walk: Walk) -> Report:
        try:
            self._converse(question, walk)
            return Report(question, Verdict.REACHABLE, tuple(walk.hops))
        except Blocked as blocked:
            obstacle = self._obstacle(question, self._refined(question, blocked, walk), walk)
            return Report(question, Verdict.UNREACHABLE, tuple(walk.hops), obstacle, is_back=walk.is_back)

    def _converse(self, question: Question, walk: Walk) -> None:
        if question.outside is Outside.INTERNET:
            arrival = walk.enter(INTERNET[question.family], question.address, question.protocol,
                                 question.port)
        elif question.sender and question.sender.tap and question.source:
            arrival = walk.emerge(question.sender.namespace, question.source, question.address,
                                  question.protocol, question.port)
        else:
            arrival = walk.converse(question.start, question.address, question.protocol, question.port)
        self._check_target(question, arrival, walk)

    def _obstacle(self, question: Question, blocked: Blocked, walk: Walk) -> Obstacle:
        """What stops the packet, and what to type; names a policy rule that sends it elsewhere."""
        other = question.to_vpc or self._intent.vpc_of(question.vpc, question.address)
        fix = self._fixer.fix(question, blocked, walk.is_back, lambda: self._progress(question, walk))
        # If NAT can follow a rule, such as a VPN's, the rule must stay in force.
        own = opened(question, blocked.code, other) or (fix or "").startswith("vpcctl nat enable")
        detour = None if own else self._detour(question, walk)
        if detour is None:
            refusal = self._fixer.refusal(question, blocked, walk.is_back)
            why = refusal.why if refusal else acl_fix.why(blocked) if blocked.code is Code.ACL_DENY else ""
            return Obstacle(blocked.code, blocked.where, blocked.rule, fix, why=why)
        fix, otherwise = detour.added or detour.deleted, detour.deleted if detour.added else None
        told = blocked.rule if str(detour.rule) in blocked.rule else f"{blocked.rule}; {detour}"
        return Obstacle(blocked.code, blocked.where, told, fix, otherwise)

    def _detour(self, question: Question, walk: Walk) -> Detour | None:
        # A namespace that does not answer ARP because of such a rule is asked, but not on the way.
        names = dict.fromkeys([*reversed(walk.passed), *(one.name for one in self.scene.known())])
        passed = [self.scene.of(name) for name in names]
        ends = (question.source or question.address, question.address)
        return detours.find(passed, self._intent, ends if walk.is_back else ends[::-1],
                            lambda: self._progress(question, walk))

    def _progress(self, question: Question, walk: Walk) -> float:
        """How far the same packet gets now: its hops, infinite if it arrives and its answer, too."""
        again = Walk(self.scene, walk.forks.taken)
        try:
            self._converse(question, again)
        except (Blocked, Undecided):
            return len(again.passed)
        return math.inf

    def _check_target(self, question: Question, arrival: Arrival, walk: Walk) -> None:
        """Another machine may have answered: by translation or, with overlapping CIDRs, the nearer one."""
        there = arrival.packet.flow.destination
        if arrival.beyond and there not in self.scene.elastic and elastic.pool_of(self.topology, there):
            where = self.scene.of(arrival.namespace).title
            raise Blocked(Code.NO_NAT, where, f"the network outside only leads {there} back here")
        wanted = question.target
        beyond = self.scene.taps.get(arrival.namespace, "")
        if wanted is None or (arrival.namespace == wanted and arrival.beyond == beyond):
            return
        if wanted not in self.scene.names:
            raise Blocked(Code.NAMESPACE_MISSING, wanted, f"network namespace '{wanted}' does not exist")
        where = self.scene.of(arrival.namespace).title
        overlap = question.to_vpc is not None and question.vpc is not None \
            and self._overlap(question.vpc, question.to_vpc)
        if walk.diverted is not None:
            raise walk.diverted
        code = Code.OVERLAPPING_CIDR if overlap and question.to_vpc != question.vpc else Code.DIVERTED
        start = self.scene.of(question.start).title
        raise Blocked(code, where, f"{question.address} is local to {start}, not in {wanted}")

    def _refined(self, question: Question, blocked: Blocked, walk: Walk) -> Blocked:
        """The obstacle with the most telling code: what is missing, not its symptom."""
        where, rule = blocked.where, blocked.rule
        cause = replace(blocked.cause, address=blocked.cause.address or question.address)
        unused, _ = elastic.unused(self.topology, question.address)
        if unused and not walk.is_back and (where == "host" or not self._intent.is_ours(where)):
            return Blocked(Code.NO_NEIGHBOUR, where, unused, cause)
        missing, fault = self._missing(question), self._fault(question, blocked)
        if missing:
            return Blocked(Code.NAMESPACE_MISSING, missing,
                           f"network namespace '{missing}' does not exist", cause)
        if fault:
            return Blocked(Code.LINK_DOWN, where, fault, cause)
        off = self._off(question, blocked)
        if off:
            return off
        idle = None if walk.is_back else elastic_ends.idle(self.topology, question)
        if idle is not None and question.to_vpc is None and (
                blocked.code in (Code.NO_NAT, Code.NO_FORWARDING) or not self._intent.is_ours(where)):
            code = Code.PRIVATE_SUBNET if idle.is_private else Code.NO_NAT
            return Blocked(code, "host", f"{question.address} does not work: {idle.why}", cause)
        if blocked.code is Code.NO_NEIGHBOUR and cause.address == question.address:
            rule = self._nobody(question) or rule
        if blocked.code is Code.FIREWALL_DENY and blocked.cause.chain == HOST_INPUT:
            return Blocked(Code.HOST_CLOSED, where, rule, cause)
        lost = where == question.target and cause.address == question.address
        if lost and blocked.code is Code.NO_FORWARDING:
            return Blocked(Code.NO_ADDRESS, where, f"{question.address} is on no link of {where}", cause)
        if blocked.code is Code.NO_FORWARDING and where != "host" and not self._intent.is_ours(where):
            # It went where it would not have gone if all routes were there.
            return self._lost(question, Blocked(blocked.code, where, rule, cause), walk)
        way = shut(self.topology, question, walk.is_back) if blocked.code in LED else None
        if way is not None and self._intent.is_ours(where):
            return Blocked(way.code, where, way.why, cause)
        if blocked.code in CLOSED and not self._is_damage(blocked):
            closed = None if walk.is_back else self._closed(question)
            return Blocked(closed, where, rule, cause) if closed else self._lost(question, blocked, walk)
        return Blocked(blocked.code, where, rule, cause)

    def _off(self, question: Question, blocked: Blocked) -> Blocked | None:
        """A link there, or at one of the ends, on which IPv6 is off."""
        here = HOST if blocked.where == "host" else blocked.where
        names = dict.fromkeys((here, question.start, question.target or HOST))
        found = (lacking.turned_off(self._intent, self.scene.of(name), blocked) for name in names)
        return next(filter(None, found), None)

    def _lost(self, question: Question, blocked: Blocked, walk: Walk) -> Blocked:
        """A recorded route that is missing on the way: without it the packet went where it is refused."""
        address = (question.source if walk.is_back else None) or question.address
        passed = [hop.where for hop in walk.hops if hop.back == walk.is_back]
        for name in dict.fromkeys([*passed, blocked.where]):
            here = HOST if name == "host" else name
            route = self._intent.route(here, address)
            if route is None or self._intent.holds(route, self.scene.of(here)):
                continue
            fault = cable_fault(self.scene, self.scene.of(here), route.device)
            cause = Cause(device=route.device, address=address)
            code = Code.LINK_DOWN if fault else Code.NO_ROUTE
            return Blocked(code, name, fault or f"{route} is missing", cause)
        if blocked.code is Code.NO_ROUTE and not self._intent.is_ours(blocked.where):
            # A foreign namespace has no way back to an address of a VPC: the address was not translated.
            return Blocked(Code.NO_NAT, "host", blocked.rule)
        return blocked

    def _nobody(self, question: Question) -> str:
        """The message for an address that no machine has, neither in the record nor in the kernel."""
        held = any(owners(self.scene, question.address))
        return "" if held else self._intent.nobody_at(question.vpc, question.address)

    def _missing(self, question: Question) -> str:
        wanted = [question.vpc.name if question.vpc else "", question.start, question.target or "",
                  question.to_vpc.name if question.to_vpc else ""]
        return next((name for name in wanted if name and name not in self.scene.names), "")

    def _fault(self, question: Question, blocked: Blocked) -> str:
        """A link that is down or unplugged, whose symptom is a lost route or a silent neighbour."""
        here = HOST if blocked.where == "host" else blocked.where
        if blocked.code is Code.NO_ROUTE and blocked.cause.address:
            route = self._intent.route(here, blocked.cause.address)
            if route is not None:
                return cable_fault(self.scene, self.scene.of(here), route.device)
        if blocked.code is not Code.NO_NEIGHBOUR or blocked.cause.address is None:
            return ""
        far = [(one, link.name) for one, link in owners(self.scene, blocked.cause.address)]
        ends = [(self.scene.of(here), blocked.cause.device), *far]
        target = question.target or self._intent.namespace_at(question.vpc, question.address)
        for name in (question.start, target):
            if name and self._intent.is_subnet(name):
                ends.append((self.scene.of(name), self._intent.interface(name)))
        return next(filter(None, (cable_fault(self.scene, *end) for end in ends)), "")

    def _is_damage(self, blocked: Blocked) -> bool:
        """Whether it exists without being recorded, or the other way round."""
        here = HOST if blocked.where == "host" else blocked.where
        cause = blocked.cause
        if blocked.code is Code.NO_ROUTE:
            return bool(cause.rule) or (cause.address is not None
                                        and self._intent.route(here, cause.address) is not None)
        if blocked.code is Code.NO_NAT:
            return False
        if self._intent.is_subnet(here):
            return True
        return not self._intent.has_rule(here, cause.table, cause.chain, cause.rule)

    def _closed(self, question: Question) -> Code | None:
        """What was never opened between the two ends; None if everything was."""
        there = question.to_vpc or self._intent.vpc_of(question.vpc, question.address)
        # In IPv6, the host has an address among those of the VPC.
        is_host = self.scene.of(HOST).owns(question.address)
        if (there == question.vpc and not is_host) or question.vpc is None or question.subnet is None:
            return None
        if there is not None and there != question.vpc:
            return self._not_peered(question.vpc, there)
        if is_host and not self._is_published(question):
            return Code.HOST_CLOSED
        if question.vpc.route_tables:
            # Its tables lead there, so that something on the way is lost.
            return None
        if question.subnet.type is SubnetType.PRIVATE:
            return Code.PRIVATE_SUBNET
        return Code.NO_NAT if question.vpc.nat is None else None

    def _is_published(self, question: Question) -> bool:
        """Whether that port of the host leads to a machine: then it is an address outside."""
        asked = question.port, question.protocol.value
        return any((one.publish.port, one.publish.protocol.value) == asked
                   and question.family.number in {address.version for address in one.addresses}
                   for one in publishing.published(self.topology))

    def _not_peered(self, near: Vpc, far: Vpc) -> Code | None:
        if far in self.topology.peers_of(near.name):
            return None
        return Code.OVERLAPPING_CIDR if self._overlap(near, far) else Code.NOT_PEERED

    def _overlap(self, near: Vpc, far: Vpc) -> bool:
        """Whether both have the same addresses; no two prefixes of IPv6 are the same."""
        return self._intent.family is Family.INET and near.meets(far)


def judged(found: Sequence[tuple[Report, Forks, Taken]], left: int) -> Report:
    """One report of the walks by all next hops; the first walk takes the kernel's choice, if known."""
    first = found[0][0]
    if len(found) == 1:
        return first
    hops = tuple(_nexthop(*one) for one in found)
    report = replace(first, nexthops=hops)
    verdicts = {hop.verdict for hop in hops if hop.is_real}
    if left:
        return replace(report, verdict=Verdict.UNKNOWN, blocked_by=None,
                       why=f"there are more than {MOST_WAYS} combinations of next hops")
    if len(verdicts) == 1:
        return report
    failing = next(report for (report, *_), hop in zip(found, hops, strict=True)
                   if hop.is_real and hop.verdict is not Verdict.REACHABLE)
    return replace(failing, verdict=Verdict.UNKNOWN, nexthops=hops,
                   why="it depends on the next hop, which the kernel chooses for each connection")


def _nexthop(report: Report, forks: Forks, taken: Taken) -> Nexthop:
    """Named after the choice in which the walk differs from those before it, or else after its first."""
    met = list(forks.met.values())
    fork = forks.met.get(list(taken)[-1], met[0]) if taken else met[0]
    return Nexthop(str(fork), report.verdict, report.blocked_by, report.why,
                   all(one.is_real for one in met))


def disproved(report: Report, probe: Probe) -> Report:
    """The report compared with a real packet; if the two disagree, the verdict is undecided."""
    if probe.agrees is False:
        why = f"the walk says {report.verdict.value}, but the packet sent says: {probe.result}"
        return replace(report, verdict=Verdict.UNKNOWN, why=why, probe=probe)
    return replace(report, probe=probe)
