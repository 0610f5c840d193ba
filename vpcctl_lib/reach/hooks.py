"""The five hooks of a namespace: their tables in order, connection tracking, address translation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import ip_address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.policies import Ports, Protocol
from vpcctl_lib.reach.chains import UNKNOWN, Outcome, Table
from vpcctl_lib.reach.marks import INCOMING, OUTGOING, marked
from vpcctl_lib.reach.match import Place, Tracked
from vpcctl_lib.reach.packet import REPLIES, Blocked, Cause, Code, Flow, Packet, State, Undecided
from vpcctl_lib.reach.routing import LOOPBACK, address_type, leaving_from
from vpcctl_lib.reach.scene import Namespace
from vpcctl_lib.reach.tables import Option, Parsed
from vpcctl_lib.resources.marking import Held

NAT = "nat"


class Hook(Enum):
    """Where netfilter sees a packet (netfilter's packet flow; iptables(8), TABLES)."""

    PREROUTING = "PREROUTING"
    INPUT = "INPUT"
    FORWARD = "FORWARD"
    OUTPUT = "OUTPUT"
    POSTROUTING = "POSTROUTING"


ORDER = {
    Hook.PREROUTING: ("raw", "mangle", NAT),
    Hook.INPUT: ("mangle", "filter", "security", NAT),
    Hook.FORWARD: ("mangle", "filter", "security"),
    Hook.OUTPUT: ("raw", "mangle", NAT, "filter", "security"),
    Hook.POSTROUTING: ("mangle", NAT),
}
"""The tables of each hook (enum nf_ip_hook_priorities in linux/netfilter_ipv4.h)."""

RANDOM, RANDOMLY = "1024-65535", frozenset({"--random", "--random-fully"})
"""The range from which the kernel chooses an unprivileged port (nf_nat_l4proto_unique_tuple)."""

ITSELF = {Family.INET: "127.0.0.1", Family.INET6: "::1"}

FIRST = frozenset({Hook.PREROUTING, Hook.OUTPUT})
"""The hooks where a connection is first seen and its destination translated; its source is at the others."""


@dataclass
class Connection:
    """What one namespace remembers: the ends as they came and as they are after translation."""

    original: Flow
    translated: Flow
    by_answer: bool = False
    """Begun by a packet that is an answer elsewhere: the first packet went another way."""

    answered: bool = False
    mark: int | None = 0
    asked: set[bool] = field(default_factory=set)
    """Whether the nat table was asked about its destination (True) and its source (False): once each."""

    def is_reply(self, packet: Packet) -> bool:
        """Whether a packet goes against the direction of the first that came by here."""
        return packet.answer != self.by_answer


@frozen
class Ways:
    """The links of a packet at a hook; `route_device` and `gateway` decide MASQUERADE's address."""

    incoming: str = ""
    outgoing: str = ""
    gateway: Address | None = None
    switched: bool = False


@frozen
class Decision:
    """A table's decision that is worth reporting."""

    table: str
    outcome: Outcome


class Tracker:
    """The connections of one walk in all namespaces, and the hooks, which use them."""

    def __init__(self) -> None:
        self._connections: dict[str, list[Connection]] = {}
        self._current: dict[str, Connection] = {}
        """That of the packet which is there now: a hairpin passes a namespace twice, as two connections."""

    def pass_hook(self, namespace: Namespace, hook: Hook, packet: Packet,
                  ways: Ways) -> tuple[Packet, list[Decision]]:
        """The packet after a hook, and what decided; raises Blocked or Undecided if it is stopped."""
        self._check_foreign(namespace, hook)
        place = Place(ways.incoming, ways.outgoing, lambda address: address_type(namespace, address),
                      ways.switched, lambda: self._ends(namespace))
        decisions: list[Decision] = []
        # Over lo, a packet keeps its connection (nf_conntrack_in: "previously seen"), whatever `raw` says.
        is_held = ways.incoming == LOOPBACK and namespace.name in self._current
        if hook in FIRST and not is_held:
            self._current.pop(namespace.name, None)
            if packet.state is not State.UNTRACKED:
                # In `raw`, what is not known yet counts as INVALID (conntrack_mt() of xt_conntrack.c).
                packet = replace(packet, state=State.INVALID)
        for name in ORDER[hook]:
            if name == "mangle" and hook in FIRST and not is_held:
                packet = self._track(namespace, packet)
            if namespace.marking and name == namespace.marking.stand.table:
                packet = _marked(namespace.marking, hook, packet, ways)
            if name == NAT:
                packet = self._translate(namespace, hook, packet, ways, place, decisions)
            else:
                packet = _filter(namespace, hook, name, packet, place, decisions, is_held)
            if name != "raw":
                # There, the packet is not yet known to be of a connection.
                self._remember_mark(namespace, packet)
        return packet, decisions

    def _remember_mark(self, namespace: Namespace, packet: Packet) -> None:
        known = self._current.get(namespace.name)
        if known is not None:
            known.mark = packet.connection_mark

    def _check_foreign(self, namespace: Namespace, hook: Hook) -> None:
        found = namespace.foreign.get("*") or namespace.foreign.get(hook.value.lower())
        if found:
            raise Undecided(namespace.title, f"{found} is not modelled; see: nft list ruleset")

    def _ends(self, namespace: Namespace) -> Tracked | None:
        known = self._current.get(namespace.name)
        return Tracked(known.original, known.translated) if known else None

    def _track(self, namespace: Namespace, packet: Packet) -> Packet:
        """nf_conntrack_in() of net/netfilter/nf_conntrack_core.c, for a packet that may be known."""
        if packet.state is State.UNTRACKED:
            return packet
        state, known = self._known(namespace, packet)
        if known is not None:
            self._current[namespace.name] = known
        return replace(packet, state=state, connection_mark=known.mark if known else 0)

    def _known(self, namespace: Namespace, packet: Packet) -> tuple[State, Connection | None]:
        """Its state, and its connection, which may begin with it."""
        held = self._connections.setdefault(namespace.name, [])
        for known in held:
            if packet.flow == known.translated.back() and known.is_reply(packet):
                known.answered = True
                return State.ESTABLISHED, known
            if packet.flow == known.original and not known.is_reply(packet):
                return _again(packet, known), known
        if not _may_begin(packet):
            return State.INVALID, None
        held.append(Connection(packet.flow, packet.flow, packet.answer))
        return State.NEW, held[-1]

    def _translate(self, namespace: Namespace, hook: Hook, packet: Packet, ways: Ways, place: Place,
                   decisions: list[Decision]) -> Packet:
        """The nat table sees the first packet only; the others follow it."""
        if packet.state in (State.UNTRACKED, State.INVALID):
            return packet
        known = self._current.get(namespace.name)
        if known is None:
            return packet
        if known.is_reply(packet) and packet.state is not State.ESTABLISHED:
            # It is no answer here, but a packet of its own.
            return packet
        if known.is_reply(packet):
            return packet.between(_merged(hook, packet.flow, known.original.back()))
        of_destination = hook in FIRST
        if not packet.first or packet.state is not State.NEW or of_destination in known.asked:
            return packet.between(_merged(hook, packet.flow, known.translated))
        known.asked.add(of_destination)
        for tables in namespace.tables:
            outcome = Table(tables.get(NAT, {}), place).decide(hook.value, packet)
            packet = _translated(namespace, hook, outcome, ways, decisions)
        known.translated = packet.flow
        return packet


def _marked(held: Held, hook: Hook, packet: Packet, ways: Ways) -> Packet:
    """A machine's groups mark packets right before the table that has their rules."""
    if hook.value == held.stand.incoming:
        return marked(held, INCOMING, packet, ways.incoming)
    return marked(held, OUTGOING, packet, ways.outgoing) if hook.value == held.stand.outgoing else packet


def _again(packet: Packet, known: Connection) -> State:
    """A later packet of a connection whose answer went another way stays new; for TCP it is then invalid."""
    if known.answered:
        return State.ESTABLISHED
    return State.NEW if packet.first or packet.protocol is not Protocol.TCP else State.INVALID


def _may_begin(packet: Packet) -> bool:
    """Whether a packet can begin a connection (tcp_new, icmp_new in nf_conntrack_proto_*.c)."""
    if packet.protocol is Protocol.TCP:
        return packet.flags == {"SYN"}
    return packet.protocol is Protocol.UDP or packet.icmp in REPLIES


def _merged(hook: Hook, now: Flow, then: Flow) -> Flow:
    """The destination changes where a packet comes in, its source where it goes out."""
    if hook in FIRST:
        return replace(now, destination=then.destination, destination_port=then.destination_port)
    return replace(now, source=then.source, source_port=then.source_port)


def _filter(namespace: Namespace, hook: Hook, name: str, packet: Packet, place: Place,
            decisions: list[Decision], is_held: bool) -> Packet:
    for tables in namespace.tables:
        if name not in tables:
            continue
        outcome = Table(tables[name], place).decide(hook.value, packet)
        _check(namespace, name, outcome, len(namespace.tables) > 1 and tables is namespace.tables[1])
        decisions.append(Decision(name, outcome))
        packet = outcome.packet
        if outcome.untracked and not is_held:
            packet = replace(packet, state=State.UNTRACKED)
    return packet


def _check(namespace: Namespace, table: str, outcome: Outcome, legacy: bool) -> None:
    """Continue only with a packet that was let through."""
    if outcome.target == UNKNOWN:
        raise Undecided(namespace.title, outcome.why)
    if outcome.target in ("DROP", "REJECT"):
        rule = outcome.rule
        reason = f"{_in(table)}{rule or outcome.policy}"
        chain = rule.chain if rule else outcome.policy.split()[0]
        raise Blocked(Code.FIREWALL_DENY, namespace.title, reason,
                      Cause(table, chain, rule.words if rule else "", legacy, flow=outcome.packet.flow))


def _in(table: str) -> str:
    return "" if table == "filter" else f"-t {table} "


def _translated(namespace: Namespace, hook: Hook, outcome: Outcome, ways: Ways,
                decisions: list[Decision]) -> Packet:
    _check(namespace, NAT, outcome, False)
    packet, rule = outcome.packet, outcome.rule
    if rule is None or outcome.target == "ACCEPT":
        return packet
    if ways.switched:
        raise Undecided(namespace.title, f"translation of switched frames is not modelled, in: {rule}")
    decisions.append(Decision(NAT, outcome))
    ports = rule.parsed.option("--to-ports") or ""
    if outcome.target == "MASQUERADE":
        return packet.between(_masqueraded(namespace, packet.flow, ways, ports, rule.parsed.options))
    if outcome.target == "REDIRECT":
        return packet.between(_redirected(namespace, hook, packet.flow, ways, ports))
    return packet.between(_to(namespace, packet.flow, outcome.target, rule.parsed))


def _masqueraded(namespace: Namespace, flow: Flow, ways: Ways, ports: str,
                 options: tuple[Option, ...]) -> Flow:
    """nf_nat_masquerade_ipv4(): the packet gets an address of the link by which it leaves, or is dropped.

    nf_nat_masquerade_ipv6(): the one that a packet of its own would have.
    """
    source = leaving_from(namespace, ways.outgoing, ways.gateway or flow.destination, flow.destination)
    if source.is_unspecified:
        reason = f"link {ways.outgoing} has no address to masquerade onto"
        raise Blocked(Code.NO_ADDRESS, namespace.title, reason, Cause(device=ways.outgoing))
    ports = ports or (RANDOM if any(option.name in RANDOMLY for option in options) else "")
    return replace(flow, source=source, source_port=_ports(ports, flow.source_port))


def _redirected(namespace: Namespace, hook: Hook, flow: Flow, ways: Ways, ports: str) -> Flow:
    """To the namespace itself: the first address of the incoming link (nf_nat_redirect_ipv4).

    In IPv6, the first that is known as far as the destination is (nf_nat_redirect_ipv6_usable).
    """
    if hook is Hook.OUTPUT:
        here = ip_address(ITSELF[namespace.family])
    else:
        link = namespace.links.get(ways.incoming)
        held = [one for one in link.addresses if namespace.family is Family.INET or not (
            one.unusable or one.scope != "global")] if link else []
        if not held:
            reason = f"link {ways.incoming} has no address to redirect to"
            raise Blocked(Code.NO_ADDRESS, namespace.title, reason, Cause(device=ways.incoming))
        here = held[0].address
    return replace(flow, destination=here, destination_port=_ports(ports, flow.destination_port))


def _to(namespace: Namespace, flow: Flow, target: str, parsed: Parsed) -> Flow:
    """SNAT and DNAT to one address, one port; a range is the kernel's choice."""
    text = parsed.option("--to-source" if target == "SNAT" else "--to-destination") or ""
    address, ports = _parted(text, namespace.family)
    if "-" in text or parsed.option("--persistent") is not None:
        raise Undecided(namespace.title, f"{target} to {text}: which one is the kernel's choice")
    if target == "SNAT":
        new = ip_address(address) if address else flow.source
        return replace(flow, source=new, source_port=_ports(ports, flow.source_port))
    new = ip_address(address) if address else flow.destination
    return replace(flow, destination=new, destination_port=_ports(ports, flow.destination_port))


def _parted(text: str, family: Family) -> tuple[str, str]:
    """The address and the ports of 10.0.0.1:80, or of [fd00::1]:80."""
    if family is Family.INET:
        address, _, ports = text.partition(":")
        return address, ports
    address, _, ports = text.rpartition("]:") if "]:" in text else (text, "", "")
    # With ports alone, the text is :80.
    return ("", address[1:]) if address[:1] == ":" and address[1:2] != ":" else (address.strip("[]"), ports)


def _ports(text: str, now: Ports | None) -> Ports | None:
    if not text or now is None:
        return now
    first, _, last = text.partition("-")
    return Ports(int(first), int(last or first))
