"""AWS's rules for network ACLs and security groups, on paper: from AWS's documentation, not from vpcctl.

It imports nothing of vpcctl's. Each rule of the model names the page that it is from:

- https://docs.aws.amazon.com/vpc/latest/userguide/nacl-basics.html (ACL)
- https://docs.aws.amazon.com/vpc/latest/userguide/nacl-rules.html (RULES)
- https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html (EPHEMERAL)
- https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html (GROUPS)
- https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html (GROUP RULES)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

EPHEMERAL = 40000
"""A port of clients' (EPHEMERAL: most Linux kernels choose from 32768-61000)."""


@dataclass(frozen=True)
class Packet:
    """One packet."""

    protocol: str
    source: IPv4Address
    destination: IPv4Address
    port: int = 0
    """The one that it is for; none for icmp."""


@dataclass(frozen=True)
class Rule:
    """A rule of either kind: what matches is protocol, range of destination ports, and the far end."""

    protocol: str = "all"
    first: int = 0
    last: int = 65535
    far: IPv4Network | None = None
    number: int = 0
    allow: bool = True
    group: str = ""
    """VPC/NAME, in the place of a CIDR (GROUP RULES)."""

    def matches(self, packet: Packet) -> bool:
        """Whether protocol and port fit (RULES, GROUP RULES)."""
        if self.protocol not in ("all", packet.protocol):
            return False
        return packet.protocol == "icmp" or self.first <= packet.port <= self.last


@dataclass(frozen=True)
class Acl:
    """Stateless; rules are evaluated from the lowest number on, and `*` denies (ACL, RULES)."""

    inbound: tuple[Rule, ...] = ()
    outbound: tuple[Rule, ...] = ()

    def lets_in(self, packet: Packet) -> bool:
        """Inbound rules know the source."""
        return _first(self.inbound, packet, packet.source)

    def lets_out(self, packet: Packet) -> bool:
        """Outbound rules know the destination."""
        return _first(self.outbound, packet, packet.destination)


def _first(rules: tuple[Rule, ...], packet: Packet, far: IPv4Address) -> bool:
    for rule in sorted(rules, key=lambda one: one.number):
        if rule.matches(packet) and (rule.far is None or far in rule.far):
            return rule.allow
    return False


@dataclass(frozen=True)
class Group:
    """Stateful, and only allows; a new one lets everything out (GROUPS)."""

    inbound: tuple[Rule, ...] = ()
    outbound: tuple[Rule, ...] | None = None


@dataclass
class Subnet:
    """Its ACL; without one of its own it has the default one, which allows everything (ACL)."""

    acl: Acl | None = None


@dataclass
class Machine:
    """An instance with one interface; it is in at least one group (GROUPS)."""

    address: IPv4Address
    subnet: Subnet
    groups: tuple[str, ...]


@dataclass
class Network:
    """All machines by name, and all groups by VPC/NAME."""

    machines: dict[str, Machine] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)

    def answered(self, start: str, to: str, protocol: str, port: int) -> bool:
        """Whether a request arrives, and its answer comes back."""
        client, server = self.machines[start], self.machines[to]
        request = Packet(protocol, client.address, server.address, port)
        answer = Packet(protocol, server.address, client.address, EPHEMERAL if port else 0)
        return (self._allowed(client, server, request, out=True) and _crosses(client, server, request)
                and self._allowed(server, client, request, out=False)
                # Groups let answers pass whatever their rules say (GROUPS); ACLs do not (ACL).
                and _crosses(server, client, answer))

    def _allowed(self, one: Machine, other: Machine, packet: Packet, out: bool) -> bool:
        """What any of a machine's groups allows (GROUPS)."""
        for name in one.groups:
            rules = self.groups[name].outbound if out else self.groups[name].inbound
            if rules is None:
                return True
            for rule in rules:
                if rule.matches(packet) and _is_far(rule, other):
                    return True
        return False


def _is_far(rule: Rule, other: Machine) -> bool:
    """Whether the machine at the other end is one that a group's rule is for (GROUP RULES)."""
    if rule.group:
        return rule.group in other.groups
    return rule.far is None or other.address in rule.far


def _crosses(sender: Machine, receiver: Machine, packet: Packet) -> bool:
    """ACLs are evaluated as traffic leaves and enters a subnet, not as it is routed within one (ACL)."""
    if sender.subnet is receiver.subnet:
        return True
    return ((sender.subnet.acl is None or sender.subnet.acl.lets_out(packet))
            and (receiver.subnet.acl is None or receiver.subnet.acl.lets_in(packet)))
