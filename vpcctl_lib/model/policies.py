"""Policies, groups and network ACLs: what may pass, as frozen values."""

from __future__ import annotations

from enum import Enum
from ipaddress import IPv4Network

from vpcctl_lib.frozen import frozen


class Protocol(Enum):
    """What a firewall rule matches."""

    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
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
    network: IPv4Network | None = None
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
    network: IPv4Network | None = None
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
