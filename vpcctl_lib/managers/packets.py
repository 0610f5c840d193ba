"""What on the host decides whether packets leave VPCs: read here, judged by `packets`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from ipaddress import IPv4Address

from vpcctl_lib.engine.inspection import Finding
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.kernel import host, saved_rules, variants
from vpcctl_lib.kernel.crew import together
from vpcctl_lib.kernel.host import Host, HostLink
from vpcctl_lib.kernel.proc import setting
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner, has
from vpcctl_lib.kernel.ways import Question, Way
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Nat, Topology, Variant, Vpc
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import Fault
from vpcctl_lib.resources.base import Part
from vpcctl_lib.uplink import resolvers
from vpcctl_lib.uplink.packets import (
    Cause,
    Facts,
    Links,
    Passage,
    State,
    aside,
    judge,
    outward,
    questions,
    source,
    way_out,
)
from vpcctl_lib.uplink.resolvers import Reached
from vpcctl_lib.uplink.verdicts import BaseChain, base_chains

NO_NFT = "nft not found; install it: apt-get install nftables"


class Asked:
    """The host, and the kernel's ways, as they were when first read; all questions go at once."""

    def __init__(self, runner: Runner, found: Host | None = None) -> None:
        self.runner = runner
        self.host = found or Host(runner)
        self._ways: dict[Question, Way] = {}

    def ways(self, asked: Iterable[Question]) -> dict[Question, Way]:
        """The answers, including those already known."""
        wanted = list(asked)
        self._ways |= Kernel(self.runner).ways(one for one in wanted if one not in self._ways)
        return {question: self._ways[question] for question in wanted}


def look(asked: Asked, topology: Topology, faults: Mapping[str, Sequence[Cause]] | None = None
         ) -> list[Passage]:
    """Whether packets leave each VPC; what can't be read is unknown, and not an error."""
    if not topology.vpcs:
        return []
    chains = partial(_chains, asked.runner) if any(vpc.nat for vpc in topology.vpcs) else tuple
    links, found, routes, judges = together(lambda: asked.host.links, lambda: asked.ways(questions(topology)),
                                            lambda: asked.host.routes, chains)
    return judge(topology, Facts(_links(links), found, routes, judges, _forwards("all"), faults or {}))


def _links(found: Sequence[HostLink]) -> Links:
    return Links(frozenset(link.name for link in found),
                 frozenset(link.name for link in found if link.is_up),
                 frozenset(link.name for link in found if link.carrier))


def _chains(runner: Runner) -> Sequence[BaseChain] | str:
    if not has("nft"):
        return NO_NFT
    try:
        rules = (partial(variants.rules, runner, variant, must=True) for variant in Variant)
        tables, *texts = together(Kernel(runner).ruleset, *rules)
        dormant = {Variant.NFT: {table.name for table in tables if table.is_dormant and table.family == "ip"}}
        saved = {variant: saved_rules.tables(text, dormant.get(variant, ()))
                 for variant, text in zip(Variant, texts, strict=True)}
    except (VpcctlError, LookupError, ValueError) as error:
        return str(error)
    known = {table.name for table in saved[Variant.NFT]} | {"nat"}
    found = [one for one in base_chains(tables)
             if not (one.chain.is_of_iptables and one.chain.table in known)]
    for variant, held in saved.items():
        tool = variants.names(runner, variant).get("iptables", "iptables")
        found += base_chains(held, tool)
    return found


def faulty(topology: Topology, ledger: Sequence[Entry],
           faults: Mapping[Hashable, Fault]) -> dict[str, list[Cause]]:
    """By VPC, which of our rules that its packets need on the host are not as recorded."""
    found: dict[str, list[Cause]] = {}
    for entry in ledger:
        if faults.get(entry.resource.key) is None:
            continue
        for vpc in topology.vpcs:
            part = entry.resource.lets_out(naming.owner(vpc.name)) if vpc.nat else None
            if part:
                cause = Cause(f"{part.value} are not as recorded", "vpcctl restore",
                              sure=part is Part.TRANSLATION)
                found.setdefault(vpc.name, []).append(cause)
    return found


class Uplinks:
    """Chooses NAT's uplink, by what the kernel does with a VPC's packets."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._host = asked.host
        self.warnings: list[str] = []

    def learn(self, topology: Topology) -> None:
        """Ask all questions for VPCs with NAT at once."""
        self._asked.ways(question for vpc in topology.vpcs if vpc.nat
                         for question in (*self._leaving(topology, vpc),
                                          *self._resolving(topology, vpc).values()))

    def nat(self, topology: Topology, vpc: Vpc, interface: str | None, follows: bool = False) -> Nat:
        """NAT out of that interface, or out of the link that the VPC's packets leave by."""
        leaving = self._out(topology, vpc)
        ours = {naming.device("vpc-", one.name) for one in topology.vpcs}
        uplink = host.link(self._host.links, interface or _only(vpc, leaving), ours)
        nat = Nat(uplink.name, uplink.mtu, (), follows)
        causes = list(way_out(vpc, nat, leaving, self._host.routes)) if interface else []
        self.warnings += map(told, causes)
        found = self.resolvers(topology, vpc, nat, leaving)
        self.warnings += found.warnings
        return replace(nat, resolvers=found.servers)

    def refreshed(self, topology: Topology, vpc: Vpc, nat: Nat) -> Nat:
        """NAT as it should be now: its uplink if it follows, its name servers."""
        if nat.follows:
            try:
                return self.nat(topology, vpc, None, follows=True)
            except VpcctlError as error:
                self.warnings.append(f"NAT of VPC '{vpc.name}' stays at {nat.interface}: {error.message}")
        found = self.resolvers(topology, vpc, nat, self._out(topology, vpc))
        self.warnings += found.warnings
        # Without any the host is offline: the recorded ones are better than nothing.
        return replace(nat, resolvers=found.servers or nat.resolvers)

    def resolvers(self, topology: Topology, vpc: Vpc, nat: Nat, leaving: Sequence[Way]) -> Reached:
        """The name servers that the host uses and the VPC can ask."""
        servers = self._resolving(topology, vpc)
        found: dict[IPv4Address, Way] = {}
        if {way.devices for way in leaving} == {(nat.interface,)}:
            # Else nothing leaves by the uplink, and name servers are not the problem.
            answers = self._asked.ways(servers.values())
            found = {server: answers[question] for server, question in servers.items()}
        return resolvers.reached(vpc, nat.interface, servers, found)

    def _out(self, topology: Topology, vpc: Vpc) -> list[Way]:
        return list(self._asked.ways(self._leaving(topology, vpc)).values())

    def _leaving(self, topology: Topology, vpc: Vpc) -> list[Question]:
        return [self._plain(vpc, question) for question in outward(topology, vpc)]

    def _resolving(self, topology: Topology, vpc: Vpc) -> dict[IPv4Address, Question]:
        """The host's name servers, each with the question which way a packet of the VPC takes to it."""
        cable, sender = naming.device("vpc-", vpc.name), source(topology, vpc)
        return {server: self._plain(vpc, Question(server, sender, cable)) for server in self._servers}

    @cached_property
    def _servers(self) -> tuple[IPv4Address, ...]:
        return resolvers.used({address for link in self._host.links for address in link.addresses})

    def _plain(self, vpc: Vpc, question: Question) -> Question:
        """As the host's own packet if the kernel does not forward yet: it would answer nothing else."""
        return question if _forwards(naming.device("vpc-", vpc.name)) else Question(question.destination)


def _forwards(device: str) -> bool:
    return setting(f"net/ipv4/conf/{device}/forwarding") == "1"


def _only(vpc: Vpc, leaving: Sequence[Way]) -> str:
    """The one link that all packets leave by; VpcctlError if there is none, or several."""
    devices = list(dict.fromkeys(device for way in leaving for device in way.devices))
    if not devices or any(not way.devices for way in leaving):
        why = next((way.failure for way in leaving if not way.devices), "")
        raise VpcctlError(f"the host has no way to the internet to take the uplink from: {why}",
                          "name the interface: --interface eth0")
    if len(devices) > 1:
        names = " and ".join(devices)
        hops = next((way for way in leaving if len(way.devices) > 1), None)
        route = aside(vpc, devices[0], hops) if hops else ""
        more = f", and send the VPC's packets there only: {route}" if route else ""
        raise BadInput(f"the host's way out is by several links, {names}, and NAT has one",
                       f"name one: --interface {devices[0]}{more}")
    return devices[0]


def told(cause: Cause) -> str:
    """A cause as a line, with what helps."""
    return f"{cause.why}; to mend it: {cause.help}" if cause.help else cause.why


def warnings(passages: Sequence[Passage]) -> list[str]:
    """The warnings about packets that do not leave, or might not."""
    return [f"VPC '{one.vpc}': {told(cause)}" for one in passages for cause in one.causes]


def drift(topology: Topology, uplinks: Uplinks) -> list[Finding]:
    """What `restore` would change about NAT now."""
    found = []
    uplinks.learn(topology)
    for vpc in topology.vpcs:
        if vpc.nat:
            now = uplinks.refreshed(topology, vpc, vpc.nat)
            if now.interface != vpc.nat.interface:
                found.append(Finding("changed", f"uplink of VPC '{vpc.name}'",
                                     f"packets now leave by {now.interface}, not {vpc.nat.interface}"))
            if now.resolvers != vpc.nat.resolvers:
                found.append(Finding("changed", f"name servers of VPC '{vpc.name}'",
                                     f"they are now {_list(now.resolvers)}, not {_list(vpc.nat.resolvers)}"))
    return found


def _list(servers: Sequence[IPv4Address]) -> str:
    return ", ".join(map(str, servers)) or "none"


def lost(passages: Sequence[Passage]) -> bool:
    """Whether packets of any VPC are known to be lost."""
    return any(one.state in (State.LOST, State.CUT_OFF) for one in passages)
