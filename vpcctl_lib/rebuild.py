"""The record made anew when it is lost: what was asked for, told by the marks in the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from vpcctl_lib import addressing, naming, processes
from vpcctl_lib.blueprint import NAMESPACE_FILES, blueprint
from vpcctl_lib.filter_rules import EGRESS_TREE, INGRESS_TREE
from vpcctl_lib.kernel import Kernel, Words
from vpcctl_lib.model import (
    Action,
    Nat,
    Peering,
    Policy,
    Ports,
    Protocol,
    Rule,
    Subnet,
    SubnetType,
    Topology,
    Variant,
    Vpc,
    Workload,
)
from vpcctl_lib.naming import MARK
from vpcctl_lib.resources import Folder, Forwarding, Program
from vpcctl_lib.resources.guard import members_of
from vpcctl_lib.resources.host import text_of
from vpcctl_lib.state import Entry, State

INDEX = re.compile(r"(?:ingress|egress)\[(\d+)\]")


class Rebuilder:
    """Reads one host; `notes` collects what the kernel does not tell."""

    def __init__(self, kernel: Kernel, variant: Variant) -> None:
        self._kernel = kernel
        self._variant = variant
        self.notes: list[str] = []
        kernel.look({"", *kernel.namespaces})
        links = ((space, kernel.link(space, "lo") or {}) for space in sorted(kernel.namespaces))
        aliases = {space: str(link.get("ifalias", "")) for space, link in links}
        self._marks = {alias.removeprefix(MARK): space for space, alias in aliases.items()
                       if alias.startswith(MARK)}

    def state(self) -> State:
        """What was asked for, and all that it takes; what of that is missing, `restore` makes."""
        topology = self._topology()
        return State(topology, tuple(self._entry(resource) for resource in blueprint(topology)))

    def _entry(self, resource: object) -> Entry:
        if isinstance(resource, Program):
            leader = self._leaders(resource.namespace).get(resource.mark)
            return Entry(resource, processes.identity(leader) if leader else {})
        if isinstance(resource, Forwarding):
            self.notes.append("what net.ipv4.ip_forward was before is not known: it will stay on")
        if isinstance(resource, Folder) and resource.path == NAMESPACE_FILES and self._has_others():
            return Entry(resource, {"existed": "yes"})
        return Entry(resource)  # type: ignore[arg-type]

    def _has_others(self) -> bool:
        return any(path.name not in self._marks.values() for path in Path(NAMESPACE_FILES).glob("*"))

    def _topology(self) -> Topology:
        names = [mark for mark in self._marks if "/" not in mark]
        vpcs = sorted(filter(None, map(self._vpc, names)), key=lambda vpc: self._place(vpc.name))
        routed = [vpc for vpc in vpcs if vpc.routed]
        # Without a route of its own for another VPC's sake only: it gets one when that goes.
        vpcs = [replace(vpc, routed=vpc.routed or any(one.cidr.overlaps(vpc.cidr) for one in routed))
                for vpc in sorted(vpcs, key=lambda vpc: not vpc.routed)] if len(routed) < len(vpcs) else vpcs
        known = {vpc.name for vpc in vpcs}
        ends = {str(link.get("ifalias", "")).removeprefix(MARK) for vpc in vpcs
                for link in self._kernel.links(vpc.name)}
        pairs = sorted(tuple(mark.split("+")) for mark in ends if mark.count("+") == 1)
        peerings = tuple(Peering(*pair) for pair in pairs if known.issuperset(pair))
        return Topology(tuple(vpcs), peerings, self._variant if vpcs else None)

    def _place(self, name: str) -> tuple[int, int]:
        """The place of its rules on the host, then of its cable: the order in which VPCs were made."""
        cable = naming.device("vpc-", name)
        rules = self._rules("", naming.HOST_FORWARD)
        found = [number for number, rule in enumerate(rules) if rule.get("-i") == cable]
        link = self._kernel.link("", cable) or {}
        return (min(found, default=len(rules)), int(link.get("ifindex", 0)))

    def _vpc(self, name: str) -> Vpc | None:
        bridge = self._address(name, naming.device("br-", name))
        uplink = self._address(name, naming.UPLINK)
        if bridge is None or uplink is None:
            self.notes.append(f"VPC '{name}' has lost its addresses, and can't be known: remove it with "
                              "cleanup.sh, or by hand")
            return None
        link = (int(uplink.ip) - int(addressing.LINKS.network_address)) // 2
        routed = any(route["dst"] == str(bridge.network) and route.get("dev") == naming.device("vpc-", name)
                     for route in self._kernel.routes(""))
        vpc = Vpc(name, bridge.network, link, routed, self._nat(name))
        subnets = (self._subnet(vpc, mark.partition("/")[2], space) for mark, space in self._marks.items()
                   if mark.startswith(f"{name}/"))
        return replace(vpc, subnets=tuple(sorted(filter(None, subnets),
                                                 key=lambda one: self._port(vpc, one))))

    def _port(self, vpc: Vpc, subnet: Subnet) -> int:
        link = self._kernel.link(vpc.name, naming.device("s-", subnet.name)) or {}
        return int(link.get("ifindex", 0))

    def _address(self, namespace: str, device: str) -> IPv4Interface | None:
        link = self._kernel.link(namespace, device) or {}
        held = [one for one in link.get("addr_info", ()) if one.get("family") == "inet"]
        return IPv4Interface((held[0]["local"], held[0]["prefixlen"])) if held else None

    def _rules(self, namespace: str, chain: str, table: str = "filter") -> list[dict[str, str]]:
        held = self._kernel.chain(namespace, table, chain)
        return [_options(rule) for rule in held.rules] if held else []

    def _nat(self, name: str) -> Nat | None:
        if not any(route["dst"] == "default" for route in self._kernel.routes(name)):
            return None
        cable = naming.device("vpc-", name)
        marks = (f"{MARK}{name}", f"{MARK}{name}/")
        uplinks = [rule["-i"] for rule in self._rules("", naming.HOST_FORWARD)
                   if rule.get("-o") == cable and "-i" in rule]
        uplinks += [rule["-o"] for rule in self._rules("", "POSTROUTING", "nat")
                    if rule.get("--comment") == marks[0] or rule.get("--comment", "").startswith(marks[1])]
        if not uplinks:
            self.notes.append(f"the uplink of VPC '{name}' is not known: vpcctl nat enable --vpc {name}")
            return None
        link = self._kernel.link("", uplinks[0]) or {}
        return Nat(uplinks[0], int(link.get("mtu", 1500)), self._resolvers(name))

    def _resolvers(self, name: str) -> tuple[IPv4Address, ...]:
        files = (Path(NAMESPACE_FILES, space, "resolv.conf") for mark, space in sorted(self._marks.items())
                 if mark.startswith(f"{name}/"))
        texts = list(filter(None, map(text_of, files)))
        words = (line.split() for line in (texts[0].splitlines() if texts else ()))
        return tuple(IPv4Address(line[1]) for line in words if line[:1] == ["nameserver"])

    def _subnet(self, vpc: Vpc, name: str, space: str) -> Subnet | None:
        address = self._address(space, naming.INSTANCE)
        if address is None:
            self.notes.append(f"subnet '{vpc.name}/{name}' has lost its address, and can't be known")
            return None
        mark = naming.owner(vpc.name, name)
        public = any(rule.get("--comment") == mark for rule in self._rules(vpc.name, "FORWARD"))
        told = self._told_type(vpc.name, naming.device("s-", name))
        if told:
            public = told == SubnetType.PUBLIC.value
        elif vpc.nat is None:
            self.notes.append(f"whether '{vpc.name}/{name}' was public is not known without NAT: "
                              "it is private now")
        kind = SubnetType.PUBLIC if public else SubnetType.PRIVATE
        return Subnet(name, address.network, kind, self._policy(vpc.name, name, space),
                      tuple(self._workloads(space)))

    def _told_type(self, vpc: str, port: str) -> str:
        """What the guard of the VPC's ports says of a subnet; empty if nothing does."""
        listed = self._kernel.bridge_table(vpc, naming.BRIDGE_TABLE) or []
        return next((member.comment.rpartition(" ")[2] for member in members_of(listed)
                     if member.device == port), "")

    def _policy(self, vpc: str, name: str, space: str) -> Policy | None:
        default, ingress = self._direction(space, "INPUT", "-s")
        if default is None:
            return None
        self.notes.append(f"descriptions in the policy of '{vpc}/{name}' are not known")
        closed, egress = self._direction(space, "OUTPUT", "-d")
        return Policy(ingress, None if closed is None else egress, default)

    def _direction(self, space: str, chain: str, far_end: str) -> tuple[Action | None, tuple[Rule, ...]]:
        default, found = None, {}
        for rule in self._all_rules(space, chain):
            tag = rule.get("--comment", "").removeprefix(MARK)
            index = INDEX.fullmatch(tag)
            action = Action.ALLOW if rule.get("-j") == "ACCEPT" else Action.DENY
            if tag.endswith(".default"):
                default = action
            elif index:
                network = IPv4Network(rule[far_end]) if far_end in rule else None
                found[int(index[1])] = Rule(Protocol(rule.get("-p", "all")), action, _ports(rule), network)
        return default, tuple(found[number] for number in sorted(found))

    def _all_rules(self, space: str, chain: str) -> Iterator[dict[str, str]]:
        """Those of a built-in chain, and of the chains to which it leads if there are many."""
        tree = INGRESS_TREE if chain == "INPUT" else EGRESS_TREE
        inner = [name for table, name in self._kernel.chains(space)
                 if table == "filter" and name.startswith(tree)]
        for name in (chain, *inner):
            yield from self._rules(space, name)

    def _leaders(self, space: str) -> dict[str, processes.Process]:
        living = sorted(processes.inside(space), key=lambda one: (one.pid != one.session, one.start))
        found: dict[str, processes.Process] = {}
        for process in living:
            mark = processes.mark_of(process)
            if mark:
                found.setdefault(mark, process)
        return found

    def _workloads(self, space: str) -> Iterator[Workload]:
        for mark, process in sorted(self._leaders(space).items()):
            name = mark.rpartition("/")[2]
            kind, _, port = name.partition("-")
            if kind == "webserver" and port.isdigit():
                yield Workload(name, port=int(port))
            else:
                yield Workload(name, processes.argv(process))


def _options(rule: Words) -> dict[str, str]:
    return {option[0]: option[1] if len(option) > 1 else "" for option in rule}


def _ports(rule: dict[str, str]) -> Ports | None:
    if "--dport" not in rule:
        return None
    first, _, last = rule["--dport"].partition(":")
    return Ports(int(first), int(last or first))
