"""What a monitoring system asks for: traffic, refusals, tables against their limits, drift."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address
from time import monotonic

from vpcctl_lib.blueprint.flows import covered, file
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.filter_rules import EGRESS, INGRESS, counters
from vpcctl_lib.flows import totals
from vpcctl_lib.flows.names import FOLDER
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns, proc
from vpcctl_lib.kernel.conntrack import Known, Table
from vpcctl_lib.kernel.crew import each
from vpcctl_lib.kernel.reader import counted
from vpcctl_lib.kernel.traffic import Traffic, carried
from vpcctl_lib.managers.acl import AclManager
from vpcctl_lib.managers.base import Context, Manager, need_root
from vpcctl_lib.managers.deploy import DeployManager, Running
from vpcctl_lib.managers.host import HostManager, Status
from vpcctl_lib.model import addressing, endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.policies import Action, Policy, Rule
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Topology, Vpc

CONNECTIONS = "net/netfilter/nf_conntrack_{}"
READERS = 4
"""Machines whose rules are read in parallel; starting the programs takes the time."""

DENIED = "*"
"""The name of an ACL's last rule."""


@frozen
class Fill:
    """A table of the kernel: its entries, and how many it takes; 0 if there is no limit."""

    entries: int
    limit: int


@frozen
class Refused:
    """Packets that a policy, the groups of a machine, or an ACL refused in one direction."""

    vpc: str
    subnet: str
    machine: str
    by: str
    direction: str
    packets: int


@frozen
class Logged:
    """A flow log: its records, and those among them that say that something is missing."""

    vpc: str
    log: FlowLog
    records: int
    skipped: int


@frozen
class Collected:
    """What the collector of flow logs has done."""

    when: float
    """When it last read the kernel's counters, in seconds since 1970."""

    logs: tuple[Logged, ...]
    lost: Mapping[Site, int]
    """Packets without room in the sets of a machine, or of a VPC's network ACLs, whose subnet is empty."""


@frozen
class Measured:
    """Everything at one moment, but for what is in namespaces that are missing."""

    topology: Topology
    status: Status
    workloads: tuple[Running, ...]
    machines: Mapping[Site, Traffic]
    uplinks: Mapping[str, Traffic]
    """By VPC, its cable to the host, as the VPC's router sees it."""

    refused: tuple[Refused, ...]
    translated: Mapping[str, int]
    """By VPC, its connections that the host translates."""

    connections: Fill
    neighbours: Fill
    flow_logs: Collected | None
    """What the collector of flow logs has done; None if there is no log, or it has not read anything yet."""

    seconds: float
    """How long all of it took to read."""


class MetricsManager(Manager):
    """Reads counters and tables; changes nothing."""

    def __init__(self, context: Context, leader: Manager | None = None) -> None:
        """Nothing is known about the host yet."""
        super().__init__(context, leader)
        self._began = monotonic()

    def measure(self) -> Measured:
        """All of it, now; root only, as counters are root's."""
        need_root()
        topology = self.load().topology
        status = HostManager(self.context).status()
        seen = {vpc.name: _links(vpc.name) for vpc in topology.vpcs}
        return Measured(
            topology, status, tuple(DeployManager(self.context).list()), dict(_machines(topology, seen)),
            {name: links[naming.UPLINK] for name, links in seen.items() if naming.UPLINK in links},
            (*self._refused_by_machines(topology), *self._refused_by_acls(topology)),
            _translated(topology), _connections(), self._neighbours(),
            _collected(topology, totals.read(self.context.store.folder / FOLDER)),
            monotonic() - self._began)

    def _refused_by_machines(self, topology: Topology) -> list[Refused]:
        machines = [(vpc, one) for vpc in topology.vpcs for subnet in vpc.subnets
                    for one in endpoints.in_subnet(vpc, subnet) if one.policy or one.groups]
        return [one for found in each(lambda both: self._refused(*both), machines, READERS) for one in found]

    def _refused(self, vpc: Vpc, machine: Endpoint) -> list[Refused]:
        try:
            held = counters(counted(self.runner, machine.namespace, table=machine.stand.table))
        except VpcctlError:
            # Root in it can make it unreadable; status says so, and the others are still counted.
            return []
        by, policy = ("groups", None) if machine.groups else ("policy", machine.policy)
        return [Refused(*machine.site, by, direction, packets)
                for direction, packets in _denied(held, policy).items()]

    def _refused_by_acls(self, topology: Topology) -> Iterator[Refused]:
        manager = AclManager(self.context, self)
        for vpc in topology.vpcs:
            for acl in vpc.acls:
                try:
                    held = manager.show(vpc.name, acl.name).counters
                except VpcctlError:
                    # It is missing: status says so.
                    continue
                for direction, rules in ((INGRESS, acl.ingress), (EGRESS, acl.egress)):
                    numbers = [DENIED, *(one.number for one in rules if one.action is Action.DENY)]
                    yield Refused(vpc.name, "", "", f"acl {acl.name}", direction,
                                  sum(held.get(f"{direction} {one}", (0, 0))[0] for one in numbers))

    def _neighbours(self) -> Fill:
        table = self.host.neighbours
        return Fill(table.entries - self.host.exempt, table.room)


def _collected(topology: Topology, reading: totals.Reading | None) -> Collected | None:
    logged = [vpc for vpc in topology.vpcs if vpc.flow_logs]
    if reading is None or not logged:
        return None
    held, found, lost = reading.totals, list[Logged](), dict[Site, int]()
    for vpc in logged:
        for log in vpc.flow_logs:
            name = file(vpc.name, log)
            found.append(Logged(vpc.name, log, held.records.get(name, 0), held.skipped.get(name, 0)))
        sites = [one.site for one in endpoints.in_vpc(vpc) if covered(vpc, one.site.subnet, one.site.machine)]
        lost |= {site: held.lost.get(str(site), 0) for site in sites}
        if vpc.acls:
            lost[Site(vpc.name, "", "")] = held.lost.get(vpc.name, 0)
    return Collected(reading.when, tuple(found), lost)


def _links(namespace: str) -> dict[str, Traffic]:
    try:
        return proc.visit(namespace, carried)
    except netns.Gone:
        # Status says so.
        return {}


def _machines(topology: Topology, seen: Mapping[str, Mapping[str, Traffic]]
              ) -> Iterator[tuple[Site, Traffic]]:
    """Each machine's traffic, counted at its port, where root in the machine can't reach."""
    for vpc in topology.vpcs:
        for one in endpoints.in_vpc(vpc):
            port = seen[vpc.name].get(one.port)
            if port:
                yield one.site, Traffic(received=port.sent, sent=port.received)


def _denied(held: Mapping[str, tuple[int, int]], policy: Policy | None) -> dict[str, int]:
    """By direction, the packets that met a rule that refuses, or none; groups only allow."""
    sums: Counter[str] = Counter()
    for tag, (packets, _) in held.items():
        direction, refuses = _read(tag, policy)
        if refuses:
            sums[direction] += packets
    return sums


def _read(tag: str, policy: Policy | None) -> tuple[str, bool]:
    """The direction of the rule with that tag (`ingress[0]`, `groups:ingress.default`), and if it refuses."""
    name = tag.rpartition(":")[2]
    direction, _, number = name.removesuffix("]").partition("[")
    if not number:
        return name.partition(".")[0], policy is None or policy.default is Action.DENY
    rules: Sequence[Rule] = ()
    if policy:
        rules = policy.ingress if direction == INGRESS else policy.egress or ()
    return direction, any(rule.action is Action.DENY for rule in rules[int(number):int(number) + 1])


def _translated(topology: Topology) -> dict[str, int]:
    """By VPC, how many of the host's connections leave with another source; OSError becomes VpcctlError."""
    try:
        with Table() as table:
            found = table.translated()
    except OSError as error:
        raise VpcctlError(f"can't read the host's connections: {error.strerror}") from None
    sums = Counter(filter(None, (_owner(topology, one) for one in found)))
    return {vpc.name: sums[vpc.name] for vpc in topology.vpcs}


def _owner(topology: Topology, entry: Known) -> str:
    """The VPC that a connection comes from; where the host has no route to it, by its router's address."""
    for vpc in topology.vpcs:
        if entry.source == addressing.router_end(vpc.link):
            return vpc.name
        if isinstance(entry.source, IPv4Address) and vpc.holds(entry.source) and routed(topology, vpc):
            return vpc.name
    return ""


def _connections() -> Fill:
    """How full the host's table of connections is; each namespace has its own, with the same limit."""
    entries, limit = (proc.setting(CONNECTIONS.format(one)) for one in ("count", "max"))
    return Fill(int(entries or 0), int(limit or 0))
