"""The record made anew when it is lost: what was asked for, told by the marks in the kernel.

Whoever is root in a subnet's namespace writes what is in there as he likes. So marks are believed only where
he can't: on the host, in routers, and in the names of namespaces, which only root of the host gives.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

from vpcctl_lib.blueprint import NAMESPACE_FILES, blueprint
from vpcctl_lib.engine.keepers import keepers, workload
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.firewall.policy_rules import Misread, options, policy_of
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.model.topology import (
    Nat,
    Peering,
    Policy,
    Subnet,
    SubnetType,
    Topology,
    Variant,
    Vpc,
    Workload,
)
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Folder, Forwarding, Namespace, Program
from vpcctl_lib.resources.base import on
from vpcctl_lib.resources.guard import members_of
from vpcctl_lib.resources.host import IDENTITY, text_of
from vpcctl_lib.resources.settings import IP_FORWARD
from vpcctl_lib.workloads import processes

_INTERFACE = re.compile(r"[^\s/:\"'\\\x00-\x1f\x7f]{1,15}")
"""What a link of the host can be called and vpcctl can write into a rule."""


class _Unknown(VpcctlError):
    """Something of ours of which too little is left."""


class Rebuilder:
    """Reads one host; `notes` collects what the kernel does not tell."""

    def __init__(self, kernel: Kernel, variant: Variant) -> None:
        self._kernel = kernel
        self._variant = variant
        self.notes: list[str] = []
        kernel.look({"", *kernel.namespaces})

    def state(self) -> State:
        """What was asked for, and all that it takes; what of that is missing, `restore` makes."""
        topology = self._topology()
        naming.check_collisions(topology)
        believed = set(naming.namespaces(topology))
        self._note_of_others(believed)
        return State(topology, tuple(self._entry(resource, believed) for resource in blueprint(topology)))

    def _entry(self, resource: object, believed: Collection[str]) -> Entry:
        if isinstance(resource, Namespace):
            return Entry(resource, resource.learn())
        if isinstance(resource, Program):
            leader = keepers(resource.namespace).get(resource.mark)
            return Entry(resource, processes.kept_identity(leader[0]) if leader else {})
        if isinstance(resource, Forwarding):
            return Entry(resource, self._forwarding_facts())
        if isinstance(resource, Folder) and resource.path == NAMESPACE_FILES and self._has_others(believed):
            return Entry(resource, {"existed": "yes"})
        return Entry(resource)  # type: ignore[arg-type]

    def _forwarding_facts(self) -> dict[str, str]:
        """What ip_forward was, by the comment in our jump; others that were there before us are not known."""
        found = self._forwarding()
        if found is None:
            self.notes.append("what net.ipv4.ip_forward was before is not known: it will stay on")
            return {}
        return {IP_FORWARD: found, IDENTITY: netns.own_identity()}

    def _forwarding(self) -> str | None:
        told = (naming.forwarding_in(rule.get("--comment", "")) for rule in self._rules("", "FORWARD")
                if rule.get("-j") == naming.HOST_FORWARD)
        return next(filter(None, told), None)

    def _has_others(self, believed: Collection[str]) -> bool:
        return any(path.name not in believed for path in Path(NAMESPACE_FILES).glob("*"))

    def _note_of_others(self, believed: Collection[str]) -> None:
        """Namespaces that bear our mark themselves, which whoever is root in them could have given them."""
        marked = [space for space in sorted(self._kernel.namespaces - set(believed))
                  if any(_mark(link) for link in self._links(space) if link["ifname"] == "lo")]
        if marked:
            self.notes.append(f"{', '.join(marked)}: marked as vpcctl's, but neither the host nor a router "
                              "knows of it: it is left as it is")

    def _links(self, space: str) -> list[dict[str, Any]]:
        """The links of a namespace of which nothing is needed; none where they can't be read."""
        try:
            return self._kernel.links(space)
        except Unreadable:
            return []

    def _topology(self) -> Topology:
        vpcs = sorted(filter(None, map(self._vpc, self._cables())), key=lambda vpc: self._place(vpc.name))
        for one, other in combinations(vpcs, 2):
            if one.link == other.link:
                raise VpcctlError(f"VPCs '{one.name}' and '{other.name}' both have the address "
                                  f"{addressing.router_end(one.link)}", "remove one of the two")
        routed = [vpc for vpc in vpcs if vpc.routed]
        # Without a route of its own for another VPC's sake only: it gets one when that goes.
        vpcs = [replace(vpc, routed=vpc.routed or any(one.cidr.overlaps(vpc.cidr) for one in routed))
                for vpc in sorted(vpcs, key=lambda vpc: not vpc.routed)] if len(routed) < len(vpcs) else vpcs
        forwarding = self._forwarding() if any(vpc.nat for vpc in vpcs) else None
        return Topology(tuple(vpcs), self._peerings(vpcs), self._variant if vpcs else None,
                        forwarding=forwarding)

    def _marked(self, space: str, is_kind: re.Pattern[str]) -> Mapping[str, dict[str, Any]]:
        """The links of the host or of a router that bear a mark of that kind, by the mark."""
        found: dict[str, dict[str, Any]] = {}
        for link in self._kernel.links(space):
            mark = _mark(link)
            if not is_kind.fullmatch(mark):
                continue
            if mark in found:
                both = f"{found[mark]['ifname']} and {link['ifname']}{on(space)}"
                raise VpcctlError(f"links {both} both bear the mark {MARK}{mark}",
                                  "remove the one that vpcctl did not make, or its alias")
            found[mark] = link
        return found

    def _cables(self) -> Iterator[str]:
        """The names of VPCs, from the host's ends of their cables."""
        for name, link in self._marked("", re.compile(r"[^/+]+", re.DOTALL)).items():
            if self._believes("", link, "VPC", name, naming.device("vpc-", name)):
                yield name

    def _believes(self, space: str, link: dict[str, Any], what: str, name: str, device: str,
                  master: str = "") -> bool:
        """Whether the link is as we would have made it."""
        try:
            naming.check_name(name, what)
            wrong = link["ifname"] != device or link.get("master", "") != master
        except BadInput:
            wrong = True
        if wrong:
            self.notes.append(f"link {link['ifname']}{on(space)} bears the mark {link['ifalias']}, but "
                              "vpcctl did not make it: it is left as it is")
        return not wrong

    def _place(self, name: str) -> tuple[int, int]:
        """The place of its rules on the host, then of its cable: the order in which VPCs were made."""
        cable = naming.device("vpc-", name)
        rules = self._rules("", naming.HOST_FORWARD)
        found = [number for number, rule in enumerate(rules) if rule.get("-i") == cable]
        link = self._kernel.link("", cable) or {}
        return (min(found, default=len(rules)), int(link.get("ifindex", 0)))

    def _vpc(self, name: str) -> Vpc | None:
        try:
            vpc = self._router(name)
            ports = self._ports(vpc)
            vpc = replace(vpc, nat=self._nat(name, ports))
        except (_Unknown, BadInput, Unreadable) as error:
            self.notes.append(f"VPC '{name}' can't be known: {error.message}; remove it with cleanup.sh, or "
                              "by hand")
            return None
        cidrs = self._cidrs(vpc, ports)
        return replace(vpc, subnets=tuple(self._subnet(vpc, one, cidr) for one, cidr in cidrs.items()))

    def _router(self, name: str) -> Vpc:
        """The VPC without what is in it, from its router's addresses."""
        if name not in self._kernel.namespaces:
            raise _Unknown("its namespace is gone")
        bridge = self._address(name, naming.device("br-", name))
        uplink = self._address(name, naming.UPLINK)
        if bridge is None or uplink is None:
            raise _Unknown("it has lost its addresses")
        addressing.check_vpc(bridge.network)
        link = (int(uplink.ip) - int(addressing.LINKS.network_address)) // 2
        if uplink.ip not in addressing.LINKS or uplink.ip != addressing.router_end(link):
            raise _Unknown(f"its uplink has the address {uplink.ip}")
        if bridge.ip != addressing.gateway(bridge.network):
            raise _Unknown(f"its bridge has the address {bridge}")
        routed = any(route["dst"] == str(bridge.network) and route.get("dev") == naming.device("vpc-", name)
                     for route in self._kernel.routes(""))
        return Vpc(name, bridge.network, link, routed)

    def _ports(self, vpc: Vpc) -> list[str]:
        """The names of its subnets, from the ports of its bridge, in the order in which they were made."""
        bridge = naming.device("br-", vpc.name)
        marked = self._marked(vpc.name, re.compile(rf"{re.escape(vpc.name)}/.*", re.DOTALL))
        ports = {mark.partition("/")[2]: link for mark, link in marked.items()}
        believed = [name for name, link in ports.items()
                    if self._believes(vpc.name, link, "subnet", name, naming.device("s-", name), bridge)]
        return sorted(believed, key=lambda name: int(ports[name]["ifindex"]))

    def _peerings(self, vpcs: Collection[Vpc]) -> tuple[Peering, ...]:
        """Those of which both routers have an end."""
        known = {vpc.name: vpc for vpc in vpcs}
        ends: dict[Peering, set[str]] = {}
        for vpc in vpcs:
            for mark, link in self._marked(vpc.name, re.compile(r"[^/+]+\+[^/+]+", re.DOTALL)).items():
                one, _, other = mark.partition("+")
                far = other if one == vpc.name else one
                ours = naming.peering_owner(*sorted((vpc.name, far))) == f"{MARK}{mark}" and far in known
                if ours and self._believes(vpc.name, link, "VPC", far, naming.device("pcx-", far)):
                    ends.setdefault(Peering.between(one, other), set()).add(vpc.name)
        return tuple(peering for peering in sorted(ends, key=lambda one: (one.vpc1, one.vpc2))
                     if self._joins(known, peering, ends[peering]))

    def _joins(self, known: Mapping[str, Vpc], peering: Peering, ends: Collection[str]) -> bool:
        cidrs = [known[name].cidr for name in (peering.vpc1, peering.vpc2)]
        if len(ends) == 2 and not cidrs[0].overlaps(cidrs[1]):
            return True
        wrong = "their CIDRs overlap" if len(ends) == 2 else "one end of its cable is gone"
        self.notes.append(f"the peering of '{peering.vpc1}' and '{peering.vpc2}' can't be known: {wrong}")
        return False

    def _addresses(self, namespace: str, device: str) -> list[IPv4Interface]:
        link = self._kernel.link(namespace, device) or {}
        return [IPv4Interface((one["local"], one["prefixlen"])) for one in link.get("addr_info", ())
                if one.get("family") == "inet"]

    def _address(self, namespace: str, device: str) -> IPv4Interface | None:
        return next(iter(self._addresses(namespace, device)), None)

    def _rules(self, namespace: str, chain: str, table: str = "filter") -> list[dict[str, str]]:
        held = self._kernel.chain(namespace, table, chain)
        return [options(rule) for rule in held.rules] if held else []

    def _nat(self, name: str, subnets: Collection[str]) -> Nat | None:
        if not any(route["dst"] == "default" and route.get("gateway") for route in self._kernel.routes(name)):
            return None
        cable = naming.device("vpc-", name)
        uplinks = [rule["-i"] for rule in self._rules("", naming.HOST_FORWARD)
                   if rule.get("-o") == cable and "-i" in rule]
        # An older vpcctl had its rules in POSTROUTING itself.
        uplinks += [rule["-o"] for chain in (naming.HOST_NAT, "POSTROUTING")
                    for rule in self._rules("", chain, "nat") if "-o" in rule
                    and rule.get("--comment", "").partition("/")[0] == f"{MARK}{name}"]
        if not uplinks or not _INTERFACE.fullmatch(uplinks[0]):
            self.notes.append(f"the uplink of VPC '{name}' is not known: vpcctl nat enable --vpc {name}")
            return None
        link = self._kernel.link("", uplinks[0]) or {}
        return Nat(uplinks[0], int(link.get("mtu", 1500)), tuple(self._resolvers(name, subnets)))

    def _resolvers(self, name: str, subnets: Collection[str]) -> Iterator[IPv4Address]:
        """From the first of the files that we wrote for its subnets."""
        files = (Path(NAMESPACE_FILES, naming.subnet_namespace(name, subnet), "resolv.conf")
                 for subnet in sorted(subnets))
        text = next(filter(None, map(text_of, files)), "")
        for words in map(str.split, text.splitlines()):
            if words[:1] == ["nameserver"]:
                try:
                    yield IPv4Address(" ".join(words[1:]))
                except AddressValueError:
                    self.notes.append(f"a resolver of VPC '{name}' is no address, and left out")

    def _cidrs(self, vpc: Vpc, names: Collection[str]) -> dict[str, IPv4Network]:
        """Each subnet's CIDR: from its router where that has it, else from its own namespace, with a note."""
        sure = {name: cidr for name in names if (cidr := self._router_says(vpc, name)) is not None}
        told = {name: cidr for name in names if name not in sure
                and (cidr := self._subnet_says(vpc, name)) is not None}
        for name, others in intruders(told, sure).items():
            self.notes.append(f"subnet '{vpc.name}/{name}' can't be known: by its own namespace it has "
                              f"addresses of {', '.join(others)}")
            del told[name]
        if told:
            self.notes.append(f"the CIDRs of {', '.join(told)} in VPC '{vpc.name}' are as their own "
                              "namespaces have them, where others may be root: see whether they are right")
        return {name: (sure | told)[name] for name in names if name in sure or name in told}

    def _router_says(self, vpc: Vpc, name: str) -> IPv4Network | None:
        """A subnet's CIDR as its router has it, out of its own reach: what else tells it belongs here."""
        mark = naming.owner(vpc.name, name)
        for rule in self._rules(vpc.name, "FORWARD"):
            if rule.get("--comment") == mark and (cidr := _subnet_of(vpc, rule.get("-s", ""))):
                return cidr
        return _subnet_of(vpc, self._guard_says(vpc.name, name)[0])

    def _subnet_says(self, vpc: Vpc, name: str) -> IPv4Network | None:
        """A subnet's CIDR as its own namespace has it, if it could be one that a person gave it."""
        space = naming.subnet_namespace(vpc.name, name)
        try:
            held = self._addresses(space, naming.INSTANCE) if space in self._kernel.namespaces else []
        except Unreadable as error:
            self.notes.append(f"subnet '{vpc.name}/{name}' can't be known: {error.message}")
            return None
        cidrs = [cidr for one in held if (cidr := _subnet_of(vpc, str(one.network)))
                 and one.ip == addressing.instance(cidr)]
        if len(cidrs) != 1:
            lost = "it has more than one address such as vpcctl gives" if cidrs else "it has lost its address"
            self.notes.append(f"subnet '{vpc.name}/{name}' can't be known: {lost}")
        return cidrs[0] if len(cidrs) == 1 else None

    def _subnet(self, vpc: Vpc, name: str, cidr: IPv4Network) -> Subnet:
        space, mark = naming.subnet_namespace(vpc.name, name), naming.owner(vpc.name, name)
        public = any(rule.get("--comment") == mark for rule in self._rules(vpc.name, "FORWARD"))
        told = self._guard_says(vpc.name, name)[1]
        if told:
            public = told == SubnetType.PUBLIC.value
        elif vpc.nat is None:
            self.notes.append(f"whether '{vpc.name}/{name}' was public is not known without NAT: "
                              "it is private now")
        if space not in self._kernel.namespaces:
            self.notes.append(f"the policy and the workloads of '{vpc.name}/{name}' are not known: its "
                              "namespace is gone, and made anew")
        kind = SubnetType.PUBLIC if public else SubnetType.PRIVATE
        return Subnet(name, cidr, kind, self._policy(vpc.name, name, space),
                      tuple(self._workloads(f"{vpc.name}/{name}", space)))

    def _guard_says(self, vpc: str, subnet: str) -> tuple[str, str]:
        """The CIDR and type of a subnet, out of the guard of the VPC's ports; empty where it has none."""
        try:
            listed = self._kernel.bridge_table(vpc, naming.BRIDGE_TABLE) or []
        except Unreadable:
            # Then the subnet itself is asked, and a note says so.
            return "", ""
        port = naming.device("s-", subnet)
        comment = next((member.comment for member in members_of(listed) if member.device == port), "")
        cidr, _, kind = comment.partition(" ")
        return cidr, kind

    def _policy(self, vpc: str, name: str, space: str) -> Policy | None:
        try:
            policy = policy_of(self._kernel, space)
        except (Misread, Unreadable) as error:
            self.notes.append(f"the policy of '{vpc}/{name}' can't be known: {error.message}; its rules stay "
                              f"as they are, until: vpcctl firewall apply --vpc {vpc} --subnet {name}")
            return None
        if policy is not None:
            self.notes.append(f"descriptions in the policy of '{vpc}/{name}' are not known")
        return policy

    def _workloads(self, owner: str, space: str) -> Iterator[Workload]:
        for mark, (_, given) in sorted(keepers(space).items()):
            try:
                yield workload(mark.removeprefix(f"{owner}/"), given)
            except VpcctlError as error:
                self.notes.append(f"a process in {space} is no workload of ours: {error.message}")


def _mark(link: dict[str, Any]) -> str:
    """What a link's alias says behind our prefix; empty if it has none."""
    alias = str(link.get("ifalias", ""))
    return alias.removeprefix(MARK) if alias.startswith(MARK) else ""


def intruders(told: Mapping[str, IPv4Network],
              sure: Mapping[str, IPv4Network]) -> dict[str, list[str]]:
    """Which of the subnets that tell of themselves are not to be believed, and whose addresses they have.

    One that has many others' goes alone, so that it does not take them along; of two that have each other's
    either may be right.
    """
    found: dict[str, list[str]] = {}
    while True:
        over = {name: [other for other, taken in {**told, **sure}.items()
                       if other not in (name, *found) and cidr.overlaps(taken)]
                for name, cidr in told.items() if name not in found}
        most = max(map(len, over.values()), default=0)
        if most == 0:
            return found
        found.update({name: others for name, others in over.items()
                      if len(others) == most or any(other in sure for other in others)})


def _subnet_of(vpc: Vpc, text: str) -> IPv4Network | None:
    """The CIDR, if a person could have given it to a subnet of that VPC."""
    try:
        cidr = addressing.parse_network(text)
        addressing.check_subnet(cidr, vpc.cidr, ())
    except BadInput:
        return None
    return cidr
