"""The subnets and machines of a VPC whose record is lost, read from its router and their namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from vpcctl_lib.engine import found_acls, found_groups, found_limits
from vpcctl_lib.engine.keepers import keepers, workload
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.firewall.policy_rules import Misread, options, policy_of
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.policies import Policy
from vpcctl_lib.model.routes import NatGateway
from vpcctl_lib.model.topology import Attachment, Machine, Subnet, SubnetType, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.resources.guard import members_of, ranges_of
from vpcctl_lib.resources.guarded import Member


class SubnetReader:
    """Reads one host; adds to the notes what the kernel does not know."""

    def __init__(self, kernel: Kernel, notes: list[str], attached: Mapping[Site, Attachment],
                 taps: Mapping[Site, str]) -> None:
        """Which machines others made, and which are virtual ones, is known: their ports say it."""
        self._kernel = kernel
        self._attached = attached
        self._taps = taps
        self._notes = notes
        self._by_port: dict[str, dict[str, list[Member]]] = {}
        self._joined: dict[str, Mapping[str, tuple[str, ...]]] = {}

    def subnets(self, vpc: Vpc, sites: Sequence[Site]) -> tuple[Subnet, ...]:
        """The subnets that the router has ports for, each with its machines."""
        inside: dict[str, list[Site]] = {}
        for site in sites:
            inside.setdefault(site.subnet, []).append(site)
        cidrs = self._cidrs(vpc, inside)
        found = [self._subnet(vpc, cidr, inside[name]) for name, cidr in cidrs.items()]
        edges = found_acls.associations(self._kernel, vpc.name)
        return tuple(replace(one, acl=edges.get(one.name, "")) for one in (*found, *self._empty(vpc, found)))

    def nat_gateways(self, sites: Sequence[Site]) -> Iterator[NatGateway]:
        """The NAT gateways behind these ports, with the addresses that the guard knows."""
        for site in sites:
            address = next((member.address for member in self._members(site)), None)
            if address is None:
                self._notes.append(f"NAT gateway '{site}' can't be rebuilt: its address is missing")
            else:
                yield NatGateway(site.machine, site.subnet, address)

    def _empty(self, vpc: Vpc, others: Sequence[Subnet]) -> Iterator[Subnet]:
        """Those without machines, from the guard: as far as a person could have added them."""
        taken = [(subnet.name, subnet.cidr) for subnet in others]
        for one in sorted(ranges_of(self._guard(vpc.name)), key=lambda one: one.name):
            try:
                naming.check_name(one.name, "subnet")
                cidr, kind = addressing.parse_network(one.cidr), SubnetType(one.kind)
                addressing.check_subnet(cidr, vpc.networks, taken)
            except (VpcctlError, ValueError):
                self._notes.append(f"a subnet of VPC '{vpc.name}' can't be rebuilt: its mark is not vpcctl's")
                continue
            taken.append((one.name, cidr))
            yield Subnet(one.name, cidr, kind, machines=())

    def _cidrs(self, vpc: Vpc, inside: Mapping[str, list[Site]]) -> dict[str, IPv4Network]:
        """Each subnet's CIDR: from its router if possible, else from its own namespace, with a note."""
        sure = {name: cidr for name, sites in inside.items()
                if (cidr := self._router_says(vpc, sites)) is not None}
        told = {name: cidr for name, sites in inside.items() if name not in sure
                and (cidr := self._subnet_says(vpc, sites[0])) is not None}
        for name, others in intruders(told, sure).items():
            self._notes.append(f"subnet '{vpc.name}/{name}' can't be rebuilt: its own namespace has "
                               f"addresses of {', '.join(others)}")
            del told[name]
        if told:
            self._notes.append(f"the CIDRs of {', '.join(told)} in VPC '{vpc.name}' come from their own "
                               "namespaces, where others may be root: check that they are right")
        return {name: (sure | told)[name] for name in inside if name in sure or name in told}

    def _router_says(self, vpc: Vpc, sites: Sequence[Site]) -> IPv4Network | None:
        """A subnet's CIDR by its router, out of the subnet's reach; any other trusted source belongs here."""
        mark = naming.owner(vpc.name, sites[0].subnet)
        for rule in rules(self._kernel, vpc.name, "FORWARD"):
            if rule.get("--comment") == mark and (cidr := _subnet_of(vpc, rule.get("-s", ""))):
                return cidr
        return next((cidr for site in sites if (cidr := _subnet_of(vpc, self._said(site)[0]))), None)

    def _subnet_says(self, vpc: Vpc, site: Site) -> IPv4Network | None:
        """A subnet's CIDR by its own namespace, if a person could have given it."""
        space, name = site.namespace, f"{site.vpc}/{site.subnet}"
        try:
            device = self._interface(site)
            held = addresses(self._kernel, space, device) if space in self._kernel.namespaces else []
        except Unreadable as error:
            self._notes.append(f"subnet '{name}' can't be rebuilt: {error.message}")
            return None
        cidrs = [cidr for one in held if (cidr := _subnet_of(vpc, str(one.network)))
                 and (site.machine or one.ip == addressing.instance(cidr))]
        if len(cidrs) != 1:
            lost = "it has several addresses of the kind vpcctl gives" if cidrs else "its address is missing"
            self._notes.append(f"subnet '{name}' can't be rebuilt: {lost}")
        return cidrs[0] if len(cidrs) == 1 else None

    def _subnet(self, vpc: Vpc, cidr: IPv4Network, sites: Sequence[Site]) -> Subnet:
        name = sites[0].subnet
        mark = naming.owner(vpc.name, name)
        public = any(rule.get("--comment") == mark for rule in rules(self._kernel, vpc.name, "FORWARD"))
        told = next(filter(None, (self._said(site)[1] for site in sites)), "")
        if told:
            public = told == SubnetType.PUBLIC.value
        elif vpc.nat is None:
            self._notes.append(f"whether '{vpc.name}/{name}' was public is unknown without NAT: "
                               "it is now private")
        kind = SubnetType.PUBLIC if public else SubnetType.PRIVATE
        machines = tuple(filter(None, (self._machine(site, cidr) for site in sites)))
        return Subnet(name, cidr, kind, self._policy(vpc, sites), machines)

    def _machine(self, site: Site, cidr: IPv4Network) -> Machine | None:
        if site.namespace not in self._kernel.namespaces:
            self._notes.append(f"the policy and the workloads of '{site}' are unknown: its "
                               "namespace was missing, and is recreated")
        chosen = self._chosen(site, cidr)
        if site.machine and not chosen:
            self._notes.append(f"machine '{site}' can't be rebuilt: its address is missing")
            return None
        if not self._groups(site) and self._is_governed(site):
            self._notes.append(f"the groups of '{site}' are unknown: its rules stay as they are, "
                               f"{self._until(site)}")
        attached = self._attached.get(site, Attachment())
        workloads = () if attached else tuple(self._workloads(site))
        return Machine(site.machine, chosen, attached, self._forwards(site), workloads, self._groups(site),
                       tap=self._taps.get(site, ""),
                       bandwidth=found_limits.bandwidth(self._kernel, site, self._notes))

    def _until(self, site: Site) -> str:
        """What replaces the rules of a machine whose groups are unknown."""
        where = f"--vpc {site.vpc} --subnet {site.subnet}"
        if site in self._attached:
            return f"until it is attached again: vpcctl instance detach {where} --name {site.machine}"
        instance = f" --instance {site.machine}" if site.machine else ""
        return f"until: vpcctl group join {where}{instance}"

    def _groups(self, site: Site) -> tuple[str, ...]:
        """The groups that a machine is in, by the list that its router keeps."""
        if site.vpc not in self._joined:
            self._joined[site.vpc] = found_groups.memberships(self._kernel, site.vpc)
        return self._joined[site.vpc].get(naming.port(site.subnet, site.machine), ())

    def _chosen(self, site: Site, cidr: IPv4Network) -> tuple[IPv4Address, ...]:
        """A machine's addresses by the router's guard, else by its own namespace.

        None for a subnet's own machine with only its default address.
        """
        guarded = [member.address for member in self._members(site)]
        held = guarded or (self._led(site) if site in self._taps else
                           [one.ip for one in self._own_addresses(site)])
        # The kernel lists the elements of a set in its own order: the address of the MAC comes first.
        found = sorted((one for one in dict.fromkeys(held) if one in cidr),
                       key=lambda one: (naming.instance_mac(site.vpc, one) != self._mac(site), one))
        is_plain = not site.machine and (not guarded or found == [addressing.instance(cidr)])
        return () if is_plain else tuple(found)

    def _mac(self, site: Site) -> str:
        return next((member.mac for member in self._members(site)), "")

    def _own_addresses(self, site: Site) -> list[IPv4Interface]:
        try:
            return addresses(self._kernel, site.namespace, self._interface(site))
        except Unreadable:
            return []

    def _led(self, site: Site) -> list[IPv4Address]:
        """The addresses that a namespace leads to its tap."""
        try:
            routes = self._kernel.routes(site.namespace)
        except Unreadable:
            return []
        return [IPv4Interface(one["dst"]).ip for one in routes if one.get("dev") == self._taps[site]]

    def _interface(self, site: Site) -> str:
        return self._attached.get(site, Attachment()).interface

    def _said(self, site: Site) -> tuple[str, str]:
        """The CIDR and type of a machine's subnet, from the guard of the VPC's ports; empty without one."""
        return next((member.subnet for member in self._members(site)), ("", ""))

    def _members(self, site: Site) -> list[Member]:
        if site.vpc not in self._by_port:
            found = self._by_port[site.vpc] = {}
            for member in members_of(self._guard(site.vpc)):
                found.setdefault(member.device, []).append(member)
        return self._by_port[site.vpc].get(naming.port(site.subnet, site.machine), [])

    def _guard(self, vpc: str) -> list[dict[str, Any]]:
        try:
            return self._kernel.bridge_table(vpc, naming.BRIDGE_TABLE) or []
        except Unreadable:
            # Then the subnet's own namespace is used, with a note.
            return []

    def _policy(self, around: Vpc, sites: Sequence[Site]) -> Policy | None:
        """A subnet's policy, which is in force at its machines that are in no group."""
        vpc, name = sites[0].vpc, sites[0].subnet
        families = tuple(Family) if around.ipv6 else (Family.INET,)
        site = next((site for site in sites if not self._is_governed(site)), None)
        if site is None:
            self._notes.append(f"whether '{vpc}/{name}' had a policy is unknown: all its machines are in "
                               "groups")
            return None
        try:
            policy = self._held(site, families)
        except (Misread, Unreadable) as error:
            self._notes.append(f"the policy of '{vpc}/{name}' can't be rebuilt: {error.message}; its rules "
                               f"stay as they are, until: vpcctl firewall apply --vpc {vpc} --subnet {name}")
            return None
        if policy is not None:
            self._notes.append(f"descriptions in the policy of '{vpc}/{name}' are unknown")
        return policy

    def _held(self, site: Site, families: Sequence[Family]) -> Policy | None:
        """The policy by a machine's rules."""
        found = policy_of(self._kernel, site.namespace, self._is_beside(site), families)
        if found is None and self._forwards(site):
            # An older vpcctl had them in INPUT and OUTPUT.
            found = policy_of(self._kernel, site.namespace)
            if found is not None:
                self._notes.append(f"an older vpcctl's rules of '{site}' stay beside the new ones: ip netns "
                                   f"exec {site.namespace} iptables -F")
        return found

    def _is_beside(self, site: Site) -> bool:
        """Whether its rules are in chains of ours, and not in the built-in ones."""
        return site in self._attached or site in self._taps or self._forwards(site)

    def _forwards(self, site: Site) -> bool:
        return any(member.forwards for member in self._members(site))

    def _is_governed(self, site: Site) -> bool:
        """Whether groups decide about a machine, by its rules."""
        try:
            return bool(self._groups(site)) or \
                found_groups.is_governed(self._kernel, site.namespace, self._is_beside(site))
        except Unreadable:
            return False

    def _workloads(self, site: Site) -> Iterator[Workload]:
        for mark, (_, given) in sorted(keepers(self._kernel, site.namespace).items()):
            try:
                yield workload(mark.removeprefix(f"{site}/"), given)
            except VpcctlError as error:
                self._notes.append(f"a process in {site.namespace} is not one of vpcctl's workloads: "
                                   f"{error.message}")


def addresses(kernel: Kernel, namespace: str, device: str) -> list[IPv4Interface]:
    """The IPv4 addresses of a link."""
    link = kernel.link(namespace, device) or {}
    return [IPv4Interface((one["local"], one["prefixlen"])) for one in link.get("addr_info", ())
            if one.get("family") == "inet"]


def rules(kernel: Kernel, namespace: str, chain: str, table: str = "filter") -> list[dict[str, str]]:
    """The rules of a chain, each as its options with their values."""
    held = kernel.chain(namespace, table, chain)
    return [options(rule) for rule in held.rules] if held else []


def intruders(told: Mapping[str, IPv4Network],
              sure: Mapping[str, IPv4Network]) -> dict[str, list[str]]:
    """The subnets with untrusted CIDRs that must be left out, and whose addresses they have.

    One that overlaps many others is left out alone, so that they stay; of two that overlap each other, either
    may be right.
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
        addressing.check_subnet(cidr, vpc.networks, ())
    except BadInput:
        return None
    return cidr
