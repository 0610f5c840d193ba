"""Policies, groups and network ACLs: what may pass, as frozen values."""

from __future__ import annotations

from enum import Enum

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.addressing import Network as Network


class Protocol(Enum):
    """What a firewall rule matches."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    ICMPV6 = "icmpv6"
    ALL = "all"


class Action(Enum):
    """What a firewall rule does."""

    ALLOW = "allow"
    DENY = "deny"


@frozen
class Ports:
    """An inclusive range of ports; one port is a range of one."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@frozen
class Rule:
    """One line of a policy; `network` is the source of an ingress rule, the destination of an egress one."""

    protocol: Protocol
    action: Action
    ports: Ports | None = None
    network: Network | None = None
    description: str = ""
    group: str = ""
    """In a group's policy: the group whose members it is for, `NAME`, or `VPC/NAME` of a peer."""


@frozen
class Policy:
    """The firewall of a subnet or a group; `egress=None` leaves outgoing traffic open."""

    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] | None = None
    default: Action = Action.DENY
    description: str = ""


@frozen
class Group:
    """A security group: it only allows, and a machine in several gets what any of them allows."""

    name: str
    policy: Policy = Policy()


@frozen
class AclRule:
    """One line of a network ACL; `ports` are those that a packet is for, `network` is as in a `Rule`."""

    number: int
    protocol: Protocol
    action: Action
    ports: Ports | None = None
    network: Network | None = None
    description: str = ""


@frozen
class Acl:
    """A network ACL: what may come into a subnet and leave it, each packet by itself; the rest is denied.

    The rules of each direction are sorted by their numbers.
    """

    name: str
    ingress: tuple[AclRule, ...] = ()
    egress: tuple[AclRule, ...] = ()
    description: str = ""


ECHOES = {Protocol.ICMP: Family.INET, Protocol.ICMPV6: Family.INET6}
"""The protocols that only one family has."""


def family_of(held: Network | Address) -> Family:
    """The family of an address, or of a network's addresses."""
    return Family.INET if held.version == 4 else Family.INET6


def concerns(rule: Rule | AclRule, family: Family) -> bool:
    """Whether a rule can match packets of that family: one for anybody, or for a group, matches both.

    As in AWS, 0.0.0.0/0 is everybody in IPv4 only, and ::/0 in IPv6 only.
    """
    if ECHOES.get(rule.protocol, family) is not family:
        return False
    return rule.network is None or family_of(rule.network) is family


def denied(policy: Policy) -> list[str]:
    """The rules that deny addresses of IPv4, such as `ingress[0]`, if none denies any of IPv6."""
    rules = [(f"{direction}[{number}]", rule) for direction, some in (
        ("ingress", policy.ingress), ("egress", policy.egress or ())) for number, rule in enumerate(some)
        if rule.action is Action.DENY and rule.network is not None]
    is_both = any(concerns(rule, Family.INET6) for _, rule in rules)
    return [] if is_both else [place for place, _ in rules]


def meet(one: Rule, other: Rule) -> bool:
    """Whether there is a packet that both match, whoever is in a group."""
    if one.protocol is not other.protocol and Protocol.ALL not in (one.protocol, other.protocol):
        return False
    if one.ports and other.ports and not _overlap(one.ports, other.ports):
        return False
    if not any(concerns(one, family) and concerns(other, family) for family in Family):
        return False
    return one.network is None or other.network is None or one.network.overlaps(other.network)


def _overlap(one: Ports, other: Ports) -> bool:
    return one.first <= other.last and other.first <= one.last
