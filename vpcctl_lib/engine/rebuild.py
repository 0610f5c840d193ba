"""Rebuilds a lost record: the topology, from the marks in the kernel.

Root in a subnet's namespace can change everything in it. So marks are trusted only where that root can't
write: on the host, in routers, and in the names of namespaces, which only root of the host can give.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network
from itertools import combinations
from pathlib import Path
from typing import Any

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.blueprint.host import NAMESPACE_FILES
from vpcctl_lib.engine import found_prefixes, found_publishes, found_routes
from vpcctl_lib.engine.finders import with_found
from vpcctl_lib.engine.found_subnets import SubnetReader, addresses, rules
from vpcctl_lib.engine.keepers import keepers
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.kernel import processes
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import addressing, endpoints, guests, kinds, naming
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.names import INSTEAD, RESOLVER
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.model.routing import forwards, forwards6, opens6
from vpcctl_lib.model.topology import Attachment, Nat, Peering, Topology, Variant, Vpc
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources.base import on
from vpcctl_lib.resources.forwarding6 import key_of
from vpcctl_lib.resources.host import text_of

_INTERFACE = re.compile(r"[^\s/:\"'\\\x00-\x1f\x7f]{1,15}")
"""Names of host links that vpcctl can write into a rule."""


class _Unknown(VpcctlError):
    """Too little is left of a thing of ours."""


class Rebuilder:
    """Reads one host; `notes` collects what the kernel does not know."""

    def __init__(self, kernel: Kernel, variant: Variant) -> None:
        self._kernel = kernel
        self._variant = variant
        self.notes: list[str] = []
        self._believed: frozenset[str] = frozenset()
        self._attached: dict[Site, Attachment] = {}
        self._gateways: set[Site] = set()
        self._taps: dict[Site, str] = {}
        kernel.look({"", *kernel.namespaces})

    def state(self) -> State:
        """The topology and all its resources; `restore` makes the missing ones."""
        topology = self.topology()
        kinds.check_collisions(topology)
        self._believed = frozenset(endpoints.namespaces(topology))
        resources = blueprint(topology)
        self._note_of_others(self._believed | {one.space for one in resources})
        return State(topology, tuple(Entry(one, one.relearn(self)) for one in resources))

    def topology(self) -> Topology:
        """The topology alone, also one whose names collide."""
        vpcs = sorted(filter(None, map(self._vpc, self._cables())), key=lambda vpc: self._place(vpc.name))
        for one, other in combinations(vpcs, 2):
            if one.link == other.link:
                raise VpcctlError(f"VPCs '{one.name}' and '{other.name}' both have the address "
                                  f"{addressing.router_end(one.link)}", "remove one of the two")
        routed = [vpc for vpc in vpcs if vpc.routed]
        # Another VPC is the only reason that it has no route of its own: it gets one when that one goes.
        vpcs = [replace(vpc, routed=any(map(vpc.meets, routed)))
                for vpc in sorted(vpcs, key=lambda vpc: not vpc.routed)]
        forwarding = self.forwarding()
        found = Topology(tuple(vpcs), self._peerings(vpcs), self._variant if vpcs else None)
        found = with_found(self._kernel, found, self.notes)
        return replace(found, forwarding=forwarding if forwards(found) else None,
                       front=found_publishes.front(self._kernel),
                       front6=found_publishes.front6(self._kernel) if opens6(found) else None,
                       whole6=forwards6(found) and self._kernel.setting("", key_of("all")) is None,
                       entrances=found_publishes.entrances(self._kernel) if opens6(found) else ())

    def keeper(self, namespace: str, mark: str) -> processes.Process | None:
        """The first process of a workload that runs."""
        found = keepers(self._kernel, namespace).get(mark)
        return found[0] if found else None

    def forwarding(self) -> str | None:
        """The host's ip_forward before us, by the comment in our jump."""
        told = (naming.forwarding_in(rule.get("--comment", "")) for rule in self._rules("", "FORWARD")
                if rule.get("-j") == naming.HOST_FORWARD)
        return next(filter(None, told), None)

    def has_others(self, folder: str) -> bool:
        """Whether the folder of namespaces' files has files of a namespace that is not ours."""
        return folder == NAMESPACE_FILES \
            and any(path.name not in self._believed for path in Path(folder).glob("*"))

    def _note_of_others(self, believed: Collection[str]) -> None:
        """Note namespaces whose only mark is their own, which root inside could have set."""
        marked = [space for space in sorted(self._kernel.namespaces - set(believed))
                  if any(_mark(link) for link in self._links(space) if link["ifname"] == "lo")]
        if marked:
            self.notes.append(f"{', '.join(marked)}: marked as vpcctl's, but neither the host nor a router "
                              "has a link to it: it stays as it is")

    def _links(self, space: str) -> list[dict[str, Any]]:
        """The links of a namespace that is not essential; none if they can't be read."""
        try:
            return self._kernel.links(space)
        except Unreadable:
            return []

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
            if self._believes("", link, (name,), naming.device("vpc-", name)):
                yield name

    def _believes(self, space: str, link: dict[str, Any], names: Iterable[str], device: str,
                  master: str = "") -> bool:
        """Whether the link is as we would have made it for these names."""
        is_ours = all(map(naming.is_name, names)) and link["ifname"] == device \
            and link.get("master", "") == master
        if not is_ours:
            self.notes.append(f"link {link['ifname']}{on(space)} bears the mark {link['ifalias']}, but "
                              "vpcctl did not make it: it stays as it is")
        return is_ours

    def _place(self, name: str) -> tuple[int, int]:
        """The position of its rules on the host, then of its cable: the order in which VPCs were made."""
        cable = naming.device("vpc-", name)
        rules = self._rules("", naming.HOST_FORWARD)
        # Each has one that refuses all else, and these are in that order.
        first = next((number for number, rule in enumerate(rules)
                      if rule.get("-i") == cable and rule.get("-j") == "REJECT"), len(rules))
        link = self._kernel.link("", cable) or {}
        return first, int(link.get("ifindex", 0))

    def _vpc(self, name: str) -> Vpc | None:
        try:
            vpc = self._router(name)
            sites = self._sites(vpc)
            vpc = replace(vpc, nat=self._nat(name, sites))
        except (_Unknown, BadInput, Unreadable) as error:
            self.notes.append(f"VPC '{name}' can't be rebuilt: {error.message}; remove it with cleanup.sh, "
                              "or by hand")
            return None
        reader = SubnetReader(self._kernel, self.notes, self._attached, self._taps)
        machines = [site for site in sites if site not in self._gateways]
        gateways = [site for site in sites if site in self._gateways]
        vpc = found_prefixes.with_parts(self._kernel, replace(
            vpc, subnets=reader.subnets(vpc, machines),
            nat_gateways=tuple(reader.nat_gateways(gateways))), self.notes)
        return found_routes.with_routes(self._kernel, self.notes, vpc)

    def _router(self, name: str) -> Vpc:
        """The VPC without what is in it, from its router's addresses."""
        if name not in self._kernel.namespaces:
            raise _Unknown("its namespace is missing")
        bridge = self._address(name, naming.device("br-", name))
        uplink = self._address(name, naming.UPLINK)
        if bridge is None or uplink is None:
            raise _Unknown("its addresses are missing")
        addressing.check_vpc(bridge.network)
        link = (int(uplink.ip) - int(addressing.LINKS.network_address)) // 2
        if uplink.ip not in addressing.LINKS or uplink.ip != addressing.router_end(link):
            raise _Unknown(f"its uplink has the address {uplink.ip}")
        if bridge.ip != addressing.gateway(bridge.network):
            raise _Unknown(f"its bridge has the address {bridge}")
        routed = any(route["dst"] == str(bridge.network) and route.get("dev") == naming.device("vpc-", name)
                     for route in self._kernel.routes(""))
        return Vpc(name, bridge.network, link, routed, cidrs=self._secondary(name, bridge.network),
                   ipv6=found_prefixes.prefix(self._kernel, name))

    def _secondary(self, name: str, first: IPv4Network) -> tuple[IPv4Network, ...]:
        """Its further CIDRs, from its router's routes straight onto the bridge."""
        bridge, found = naming.device("br-", name), list[IPv4Network]()
        for route in self._kernel.routes(name):
            if route.get("dev") != bridge or "gateway" in route or route.get("protocol") == "kernel":
                continue
            try:
                cidr = addressing.parse_network(route["dst"])
                addressing.check_vpc(cidr)
                addressing.check_secondary([*found, cidr], first)
            except VpcctlError:
                self.notes.append(f"the route to {route['dst']} in VPC '{name}' is not one of its CIDRs: it "
                                  "stays as it is")
                continue
            found.append(cidr)
        return tuple(sorted(found))

    def _sites(self, vpc: Vpc) -> list[Site]:
        """Its machines, from the ports of its bridge, in the order in which they were made."""
        marked = self._marked(vpc.name, re.compile(rf"{re.escape(vpc.name)}/.*", re.DOTALL))
        ports = {mark.partition("/")[2]: link for mark, link in marked.items()}
        believed = {name: site for name, link in ports.items() if (site := self._site(vpc.name, name, link))}
        return [believed[name] for name in sorted(believed, key=lambda name: int(ports[name]["ifindex"]))]

    def _site(self, vpc: str, name: str, link: dict[str, Any]) -> Site | None:
        """A subnet's own machine, `public`, or one that has a name, `public/web1`; None for a stranger's."""
        name, tilde, guest = name.partition("~")
        subnet, slash, machine = name.partition("/")
        names = (subnet, machine) if slash else (subnet,)
        is_ours = self._believes(vpc, link, names, naming.port(subnet, machine), naming.device("br-", vpc))
        if not is_ours:
            return None
        site = Site(vpc, subnet, machine)
        if tilde + guest == naming.GATEWAY_MARK:
            self._gateways.add(site)
        elif tap := guests.tapped(tilde + guest):
            self._taps[site] = tap
        elif tilde:
            self._attached[site] = _attachment(guest)
        return site

    def _peerings(self, vpcs: Collection[Vpc]) -> tuple[Peering, ...]:
        """The peerings of which both routers have an end."""
        known = {vpc.name: vpc for vpc in vpcs}
        ends: dict[Peering, set[str]] = {}
        for vpc in vpcs:
            for mark, link in self._marked(vpc.name, re.compile(r"[^/+]+\+[^/+]+", re.DOTALL)).items():
                one, _, other = mark.partition("+")
                far = other if one == vpc.name else one
                ours = naming.peering_owner(*sorted((vpc.name, far))) == f"{MARK}{mark}" and far in known
                if ours and self._believes(vpc.name, link, (far,), naming.device("pcx-", far)):
                    ends.setdefault(Peering.between(one, other), set()).add(vpc.name)
        return tuple(peering for peering in sorted(ends, key=lambda one: (one.vpc1, one.vpc2))
                     if self._joins(known, peering, ends[peering]))

    def _joins(self, known: Mapping[str, Vpc], peering: Peering, ends: Collection[str]) -> bool:
        if len(ends) == 2 and not known[peering.vpc1].meets(known[peering.vpc2]):
            return True
        wrong = "their CIDRs overlap" if len(ends) == 2 else "one end of its cable is missing"
        self.notes.append(f"the peering of '{peering.vpc1}' and '{peering.vpc2}' can't be rebuilt: {wrong}")
        return False

    def _address(self, namespace: str, device: str) -> IPv4Interface | None:
        return next(iter(addresses(self._kernel, namespace, device)), None)

    def _rules(self, namespace: str, chain: str, table: str = "filter") -> list[dict[str, str]]:
        return rules(self._kernel, namespace, chain, table)

    def _nat(self, name: str, sites: Collection[Site]) -> Nat | None:
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
            self.notes.append(f"the uplink of VPC '{name}' is unknown: vpcctl nat enable --vpc {name}")
            return None
        link = self._kernel.link("", uplinks[0]) or {}
        return Nat(uplinks[0], int(link.get("mtu", 1500)), tuple(self._resolvers(name, sites)))

    def _resolvers(self, name: str, sites: Collection[Site]) -> Iterator[IPv4Address]:
        """The name servers in the first file that we wrote for its machines."""
        files = (Path(NAMESPACE_FILES, site.namespace, "resolv.conf") for site in sorted(sites))
        text = next(filter(None, map(text_of, files)), "")
        for words in map(str.split, text.splitlines()):
            # Where the VPC's own DNS answers, a comment has what NAT found.
            told = words[1:] if words[:1] == ["nameserver"] and words[1:] != [str(RESOLVER)] else \
                words[3:] if words[:3] == ["#", *INSTEAD.split()] else []
            try:
                yield from map(IPv4Address, told)
            except AddressValueError:
                self.notes.append(f"a resolver of VPC '{name}' is not an address, and left out")


def _attachment(text: str) -> Attachment:
    """What a machine is attached to, by its port's mark; BadInput if a person could not have asked for it."""
    found = guests.marked(text)
    guests.check_interface(found.interface)
    if found.path:
        guests.check_path(found.path)
    else:
        guests.check_container(found.container)
    return found


def _mark(link: dict[str, Any]) -> str:
    """The part of a link's alias after our prefix; empty without the prefix."""
    alias = str(link.get("ifalias", ""))
    return alias.removeprefix(MARK) if alias.startswith(MARK) else ""
