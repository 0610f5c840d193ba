"""The packet that is followed, and what stops it; pure."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.policies import ECHOES, Ports, Protocol, family_of

ECHO_REQUEST, ECHO_REQUEST6 = 8, 128
REPLIES = {ECHO_REQUEST: 0, ECHO_REQUEST6: 129}
"""ICMP types (RFC 792, RFC 4443): the answer to each request."""

PINGS = {family: protocol for protocol, family in ECHOES.items()}
"""The protocol of a ping."""

SYN = frozenset({"SYN"})


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
    NO_IPV6 = "NO_IPV6"
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
    seeks: bool = False
    """Whether what is refused is a question about a neighbour, or its answer."""


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
        return family_of(self.source)

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
    hops: int | None = None
    """Its hop limit; None if it is unknown."""

    def between(self, flow: Flow) -> Packet:
        """This packet with other ends."""
        return replace(self, flow=flow)

    def outside(self) -> Packet:
        """As it enters another namespace: without mark and state (skb_scrub_packet in net/core/skbuff.c)."""
        return replace(self, mark=0, connection_mark=0, state=State.NEW)

    def __str__(self) -> str:
        there, port = str(self.flow.destination), self.flow.destination_port
        if port:
            there = f"[{there}]:{port}" if self.flow.family is Family.INET6 else f"{there}:{port}"
        return f"{self.protocol.value} {self.flow.source} → {there}"


def request(protocol: Protocol, flow: Flow) -> Packet:
    """The first packet of a conversation."""
    kind = ECHO_REQUEST6 if protocol is Protocol.ICMPV6 else ECHO_REQUEST
    return Packet(protocol, flow, SYN if protocol is Protocol.TCP else frozenset(), kind)
