"""The packet that is followed, and what stops it; pure."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.policies import Ports, Protocol

ECHO_REQUEST, ECHO_REPLY = 8, 0
"""ICMP types (RFC 792)."""


class State(Enum):
    """What connection tracking calls a packet (iptables-extensions(8), conntrack)."""

    NEW = "NEW"
    ESTABLISHED = "ESTABLISHED"
    INVALID = "INVALID"
    UNTRACKED = "UNTRACKED"


class Code(Enum):
    """Why a packet doesn't get there: stable words for scripts."""

    NO_ROUTE = "NO_ROUTE"
    FIREWALL_DENY = "FIREWALL_DENY"
    NOT_PEERED = "NOT_PEERED"
    OVERLAPPING_CIDR = "OVERLAPPING_CIDR"
    DIVERTED = "DIVERTED"
    ANSWER_DIVERTED = "ANSWER_DIVERTED"
    BLACKHOLE = "BLACKHOLE"
    NO_NAT = "NO_NAT"
    PRIVATE_SUBNET = "PRIVATE_SUBNET"
    LINK_DOWN = "LINK_DOWN"
    NO_NEIGHBOUR = "NO_NEIGHBOUR"
    NO_ADDRESS = "NO_ADDRESS"
    HOST_CLOSED = "HOST_CLOSED"
    NO_FORWARDING = "NO_FORWARDING"
    SOURCE_REFUSED = "SOURCE_REFUSED"
    ACL_DENY = "ACL_DENY"
    ECHO_IGNORED = "ECHO_IGNORED"
    ROUTING_LOOP = "ROUTING_LOOP"
    NAMESPACE_MISSING = "NAMESPACE_MISSING"
    NOTHING_LISTENS = "NOTHING_LISTENS"


class Blocked(Exception):
    """The packet ends here."""

    def __init__(self, code: Code, where: str, rule: str, cause: Cause | None = None) -> None:
        super().__init__(rule)
        self.code, self.where, self.rule, self.cause = code, where, rule, cause or Cause()


class Undecided(Exception):
    """What happens here is unknown."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(why)
        self.where, self.why = where, why


@frozen
class Cause:
    """What a fix needs: table, chain and words of a rule, or the link or setting that is at fault."""

    table: str = ""
    chain: str = ""
    rule: str = ""
    legacy: bool = False
    device: str = ""
    setting: str = ""
    address: Address | None = None
    flow: Flow | None = None
    """The packet's ends where a rule refuses it."""
    packet: Packet | None = None
    """As it was where a network ACL denied it."""


@frozen
class Flow:
    """Both ends of a packet, by which connection tracking identifies it."""

    source: Address
    destination: Address
    source_port: Ports | None = None
    destination_port: Ports | None = None

    @property
    def family(self) -> Family:
        """That of both ends."""
        return Family.INET if self.source.version == 4 else Family.INET6

    def back(self) -> Flow:
        """The flow of the answer."""
        return Flow(self.destination, self.source, self.destination_port, self.source_port)


@frozen
class Packet:
    """A packet on its way; `mark` is None if it is unknown."""

    protocol: Protocol
    flow: Flow
    flags: frozenset[str] = frozenset()
    icmp: int = ECHO_REQUEST
    answer: bool = False
    first: bool = True
    state: State = State.NEW
    mark: int | None = 0
    connection_mark: int | None = 0
    """That of its connection in the namespace where it is."""

    def between(self, flow: Flow) -> Packet:
        """This packet with other ends."""
        return replace(self, flow=flow)

    def outside(self) -> Packet:
        """As it enters another namespace: without mark and state (skb_scrub_packet in net/core/skbuff.c)."""
        return replace(self, mark=0, connection_mark=0, state=State.NEW)

    def __str__(self) -> str:
        port = f":{self.flow.destination_port}" if self.flow.destination_port else ""
        return f"{self.protocol.value} {self.flow.source} → {self.flow.destination}{port}"
