"""Whether a packet gets from one place to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import AddressValueError

from vpcctl_lib.errors import BadInput
from vpcctl_lib.firewall.dual import entered
from vpcctl_lib.firewall.families import ADDRESSES
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import need
from vpcctl_lib.managers.base import Manager, need_root
from vpcctl_lib.model import addressing, addressing6, elastic, endpoints, publishing
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.endpoints import Site, endpoint
from vpcctl_lib.model.lookup import find_machine, find_subnet, find_vpc
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.model.topology import OWN, Machine, Subnet, Topology, Vpc
from vpcctl_lib.reach.fix import opened
from vpcctl_lib.reach.listeners import listeners
from vpcctl_lib.reach.packet import PINGS, Code
from vpcctl_lib.reach.probe import Probe, Result, judge, send
from vpcctl_lib.reach.question import INTERNET, Outside, Question
from vpcctl_lib.reach.scene import Scene
from vpcctl_lib.reach.verdict import Analyzer, Obstacle, Report, Verdict, disproved

Found = tuple[Vpc, Subnet, Machine]


@frozen
class Target:
    """The destination of a packet, and its family."""

    address: Address | None
    """None for the host, which has another address for each sender, and for what has none of the family."""

    family: Family = Family.INET

    vpc: Vpc | None = None
    subnet: Subnet | None = None
    machine: Machine = OWN
    outside: Outside | None = None


class ReachManager(Manager):
    """Follows packets through the kernel."""

    def one(self, start: str, to: str, protocol: Protocol | None, port: int | None, probe: bool,
            family: Family | None = None) -> Report:
        """From one machine, the host or the internet; an address says by itself of which family it is."""
        protocol = _protocol(protocol, port)
        topology = self._topology()
        sender = find_sender(topology, start)
        target = find_target(topology, to, family)
        if isinstance(sender, Outside) and target.outside:
            raise BadInput(f"no VPC is between {start} and {to}", "name a machine at one of the ends")
        question = question_from(sender, target, protocol, port)
        if sender is Outside.INTERNET:
            question = self._from_outside(topology, question)
        return self._ask(topology, [question], probe)[0]

    def _from_outside(self, topology: Topology, question: Question) -> Question:
        """To a machine by its elastic address, or by the port of the host that leads there, if it has one."""
        family = question.family
        eip = next((one for one in elastic.working(topology) if family is Family.INET
                    and question.target == one.machine.namespace), None)
        if eip is not None:
            return replace(question, address=eip.address)
        asked = (question.protocol.value, question.port)
        one = next((one for one in publishing.published(topology) if question.target == one.machine.namespace
                    and asked == (one.publish.protocol.value, one.publish.to) and one.publish.is_of(family)),
                   None)
        if one is None or (family is Family.INET6 and _is_entered(question)):
            return question
        told = Kernel(self.runner).taken("", (str(INTERNET[family]),)).get("prefsrc")
        front = topology.front if family is Family.INET else topology.front6
        address = one.publish.listen or (ADDRESSES[family](told) if told else front)
        return replace(question, address=address or question.address, port=one.publish.port)

    def all(self, to: str, protocol: Protocol | None, port: int | None, probe: bool,
            family: Family | None = None) -> list[Report]:
        """From every machine except the target itself."""
        protocol = _protocol(protocol, port)
        topology = self._topology()
        target = find_target(topology, to, family)
        questions = [question_from(sender, target, protocol, port) for sender in _others(topology, target)]
        return self._ask(topology, questions, probe)

    def _topology(self) -> Topology:
        return self.context.store.load().topology

    def _ask(self, topology: Topology, questions: Sequence[Question], probe: bool) -> list[Report]:
        need_root()
        family = questions[0].family if questions else Family.INET
        need("ip", f"{family.tool}-save")
        scene = Scene(Kernel(self.runner), frozenset(endpoints.namespaces(topology)), family)
        analyzer = Analyzer(scene, topology)
        # A thread of its own enters hundreds of namespaces; the main one would start a thread for each look.
        reports = netns.apart(lambda: _reports(analyzer, questions))
        return [_probed(report, report.question.start in analyzer.scene.names) for report in reports] \
            if probe else reports


def _is_entered(question: Question) -> bool:
    """Whether the internet gets to the subnet's own addresses of IPv6."""
    vpc, subnet = question.to_vpc, question.to_subnet
    return vpc is not None and any(one == subnet for one, _ in entered(vpc))


def _reports(analyzer: Analyzer, questions: Sequence[Question]) -> list[Report]:
    if len(questions) > 1:
        analyzer.scene.look([question.start for question in questions])
    return [analyzer.ask(question) for question in questions]


def _probed(report: Report, is_there: bool) -> Report:
    """The report with what became of a real packet."""
    question = report.question
    if report.blocked_by and report.blocked_by.code is Code.NO_IPV6 and not report.hops:
        return replace(report, probe=Probe("not sent: one of the ends has no IPv6", None))
    if question.outside is Outside.INTERNET:
        why = "not sent: only somebody on the internet can send from there"
        return replace(report, probe=Probe(why, None))
    if question.sender and question.sender.tap:
        why = "not sent: only the virtual machine can send from there"
        return replace(report, probe=Probe(why, None))
    if question.start and not is_there:
        return replace(report, probe=Probe("not sent: there is no namespace to send from", None))
    result = send(question.start, question.address, question.protocol, question.port)
    return _listened(_compared(report, result), result)


def _compared(report: Report, result: Result) -> Report:
    if report.verdict is Verdict.UNKNOWN:
        return replace(report, probe=Probe(result.value, None, result))
    if result is Result.SILENCE and report.question.to_machine.tap and report.verdict is Verdict.REACHABLE:
        why = "no answer: the packet may have arrived, and what the virtual machine does with it is its own"
        return replace(report, probe=Probe(why, None, result))
    rejected = report.blocked_by is not None and "REJECT" in report.blocked_by.rule
    return disproved(report, judge(result, report.question.protocol,
                                   report.verdict is Verdict.REACHABLE, rejected))


def _listened(report: Report, result: Result) -> Report:
    """The report if the way is open but nothing listens on the port."""
    if report.verdict is not Verdict.REACHABLE or result is not Result.REFUSED:
        return report
    question = report.question
    where = question.target or str(question.address)
    told = f"nothing listens on {question.protocol.value} port {question.port}"
    fix = opened(question, Code.NOTHING_LISTENS, question.to_vpc)
    elsewhere = _listens_elsewhere(question)
    if elsewhere:
        # A web server would need the port of this program.
        told, fix = elsewhere, None
    obstacle = Obstacle(Code.NOTHING_LISTENS, where, told, fix)
    return replace(report, verdict=Verdict.UNREACHABLE, blocked_by=obstacle)


def _listens_elsewhere(question: Question) -> str:
    """The message about a program that has the port on other addresses; empty without one."""
    if question.target is None or question.port is None:
        return ""
    try:
        held = listeners(question.target, question.protocol, question.port)
    except OSError:
        return ""
    # On a wildcard it would have answered: another rule refused. A program on :: serves both families.
    if not held or any(one == question.address or (
            one.is_unspecified and one.version >= question.address.version) for one in held):
        return ""
    where = " and ".join(map(str, held))
    inside = all(one.is_loopback for one in held)
    only = f", which only {question.target} itself can reach" if inside else ""
    port = f"{question.protocol.value} port {question.port}"
    anywhere = ADDRESSES[question.family](0)
    return (f"a program listens on {port}, but only on {where}{only}; have it listen on {anywhere} or "
            f"{question.address} (an option such as --bind, --host or --listen)")


def find_target(topology: Topology, to: str, chosen: Family | None = None) -> Target:
    """A machine (V/S or V/S/N), a VPC's router (V), an address, a name, the host, or the internet.

    In IPv4, unless another family was chosen.
    """
    family = chosen or Family.INET
    if "/" in to:
        vpc, subnet, machine = _found(topology, _site(to, "--to"))
        return Target(endpoint(vpc, subnet, machine).at(family), family, vpc, subnet, machine)
    if topology.vpc(to) is None and to in (one.value for one in Outside):
        outside = Outside(to)
        address = INTERNET[family] if outside is Outside.INTERNET else None
        return Target(address, family, outside=outside)
    if ":" in to or to[:1].isdigit():
        return _addressed(to, chosen)
    if "." in to:
        return _named(topology, to, family)
    vpc = find_vpc(topology, to)
    if family is Family.INET6:
        return Target(addressing6.router(vpc.ipv6) if vpc.ipv6 else None, family, vpc)
    return Target(addressing.gateway(vpc.cidr), family, vpc)


def _named(topology: Topology, name: str, family: Family) -> Target:
    """What a name in a VPC with DNS leads to."""
    # Imported late: most targets are written as VPC/SUBNET.
    from vpcctl_lib.model import resolving

    found = resolving.find(topology, name, family)
    if found.subnet is None or found.machine is None:
        return Target(found.address, family)
    return Target(found.address, family, found.vpc, found.subnet, found.machine)


def _addressed(text: str, chosen: Family | None) -> Target:
    """An address, which is of the family that was chosen, if one was."""
    family = Family.INET6 if ":" in text else Family.INET
    if chosen not in (None, family):
        raise BadInput(f"{text} is an address of {family}", f"leave out -{Family(chosen).number}")
    return Target(_address(text, family), family)


def _address(text: str, family: Family) -> Address:
    try:
        address = ADDRESSES[family](text)
    except AddressValueError as error:
        raise BadInput(f"{text!r} is not an address: {error}", "write for example "
                       f"{'10.0.1.2' if family is Family.INET else 'fd12:3456:789a:101::2'}") from None
    beyond = address.is_reserved if family is Family.INET else address.is_link_local
    if address.is_multicast or address.is_unspecified or address.is_loopback or beyond:
        raise BadInput(f"{address} is not the address of another host",
                       "name a host, a subnet (VPC/SUBNET) or a VPC")
    return address


def _site(text: str, option: str) -> Site:
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(parts):
        raise BadInput(f"{option} {text!r} is not a subnet", "write VPC/SUBNET, such as vpc1/public")
    return Site(*parts)


def _found(topology: Topology, site: Site) -> Found:
    vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
    return vpc, subnet, find_machine(subnet, site)


def _protocol(protocol: Protocol | None, port: int | None) -> Protocol:
    """TCP if a port is given, else a ping."""
    chosen = protocol or (Protocol.ICMP if port is None else Protocol.TCP)
    if chosen is Protocol.ICMP and port is not None:
        raise BadInput("icmp has no ports", "leave out --port, or use --protocol tcp")
    if chosen is not Protocol.ICMP and port is None:
        raise BadInput(f"{chosen.value} needs a port", "write for example --port 80")
    return chosen


def find_sender(topology: Topology, start: str) -> Found | Outside:
    """A machine (V/S or V/S/N), the host, or the internet."""
    if start in (one.value for one in Outside):
        return Outside(start)
    return _found(topology, _site(start, "--from"))


def question_from(sender: Found | Outside, target: Target, protocol: Protocol, port: int | None) -> Question:
    """What is asked, with all that is known of both ends."""
    outside = sender if isinstance(sender, Outside) else None
    vpc, subnet, machine = (None, None, OWN) if isinstance(sender, Outside) else sender
    address = target.address or (_host_end(vpc, target.family) if target.outside else None)
    if protocol in PINGS.values():
        protocol = PINGS[target.family]
    return Question(vpc, subnet, address or ADDRESSES[target.family](0), protocol, port, target.vpc,
                    target.subnet, machine, target.machine, outside, target.outside)


def _host_end(vpc: Vpc | None, family: Family) -> Address | None:
    """The host, as a VPC knows it."""
    if family is Family.INET6:
        return addressing6.host_end(vpc.ipv6) if vpc and vpc.ipv6 else None
    return addressing.host_end(vpc.link if vpc else 0)


def _others(topology: Topology, target: Target) -> Iterator[Found]:
    for vpc in topology.vpcs:
        for subnet in vpc.subnets:
            for machine in subnet.machines:
                if (vpc, subnet, machine) != (target.vpc, target.subnet, target.machine):
                    yield vpc, subnet, machine
