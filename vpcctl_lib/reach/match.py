"""Whether one rule matches a packet: yes, no, or unknown with the reason (iptables-extensions(8)); pure."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from ipaddress import ip_address, ip_network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Address
from vpcctl_lib.model.policies import Ports, Protocol
from vpcctl_lib.reach.packet import Flow, Packet
from vpcctl_lib.reach.tables import Option, Parsed

PROTOCOLS = {"tcp": Protocol.TCP, "6": Protocol.TCP, "udp": Protocol.UDP, "17": Protocol.UDP,
             "icmp": Protocol.ICMP, "1": Protocol.ICMP, "ipv6-icmp": Protocol.ICMPV6, "58": Protocol.ICMPV6}
FLAGS = frozenset({"FIN", "SYN", "RST", "PSH", "ACK", "URG"})
ICMP_TYPES = {"echo-reply": 0, "pong": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5,
              "echo-request": 8, "ping": 8, "router-advertisement": 9, "router-solicitation": 10,
              "time-exceeded": 11, "ttl-exceeded": 11, "parameter-problem": 12, "timestamp-request": 13,
              "timestamp-reply": 14, "address-mask-request": 17, "address-mask-reply": 18}
ICMP6_TYPES = {"destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "ttl-exceeded": 3,
               "parameter-problem": 4, "echo-request": 128, "ping": 128, "echo-reply": 129, "pong": 129,
               "router-solicitation": 133, "router-advertisement": 134, "neighbour-solicitation": 135,
               "neighbor-solicitation": 135, "neighbour-advertisement": 136, "neighbor-advertisement": 136,
               "redirect": 137}
MODULES = frozenset({"tcp", "udp", "icmp", "icmp6", "comment", "conntrack", "state", "multiport", "mark",
                     "connmark", "hl", "addrtype", "iprange", "physdev"})
"""Modules that test nothing but their options, each of which is in TESTS."""

VIRTUAL_STATES = frozenset({"SNAT", "DNAT"})


class Truth(Enum):
    """What is known of a condition."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@frozen
class Answer:
    """The truth of a condition, or why it is unknown."""

    truth: Truth
    why: str = ""


YES, NO = Answer(Truth.YES), Answer(Truth.NO)
Test = Callable[[Option, str, Packet, "Place"], Answer]


def unknown(why: str) -> Answer:
    """Unknown, with the reason."""
    return Answer(Truth.UNKNOWN, why)


def decided(is_so: bool) -> Answer:
    """Yes or no."""
    return YES if is_so else NO


@frozen
class Tracked:
    """A packet's connection, as the namespace tracks it: its ends as they came, and translated so far."""

    original: Flow
    translated: Flow

    @property
    def virtual(self) -> frozenset[str]:
        """The states that say what was translated."""
        old, new = self.original, self.translated
        there = (old.destination, old.destination_port) != (new.destination, new.destination_port)
        here = (old.source, old.source_port) != (new.source, new.source_port)
        return frozenset(name for name, is_so in (("DNAT", there), ("SNAT", here)) if is_so)


@frozen
class Place:
    """Where the rule is met: the links, and the type of an address in that namespace (addrtype)."""

    incoming: str = ""
    outgoing: str = ""
    address_type: Callable[[Address], str] = lambda _: "UNICAST"
    switched: bool = False
    tracked: Callable[[], Tracked | None] = lambda: None
    """The packet's connection; None if it belongs to none."""


def matches(rule: Parsed, packet: Packet, place: Place) -> Answer:
    """All conditions together: one that fails decides, even if others are unknown."""
    doubt = YES
    for condition in rule.conditions:
        answer = _condition(condition, packet, place)
        if answer.truth is Truth.NO:
            return NO
        if answer.truth is Truth.UNKNOWN:
            doubt = answer
    return doubt


def _condition(option: Option, packet: Packet, place: Place) -> Answer:
    answer = _plain(option, packet, place)
    if option.negated and answer.truth is not Truth.UNKNOWN:
        return decided(answer.truth is Truth.NO)
    return answer


def _plain(option: Option, packet: Packet, place: Place) -> Answer:
    value = option.values[0] if option.values else ""
    test = TESTS.get((option.module, option.name)) or TESTS.get(("", option.name))
    if test is None:
        module = f"-m {option.module} " if option.module else ""
        return unknown(f"'{module}{option.name}' is not modelled")
    return test(option, value, packet, place)


def _module(name: str) -> Answer:
    return YES if name in MODULES else unknown(f"'-m {name}' is not modelled")


def _inside(value: str, address: Address) -> Answer:
    return decided(any(address in ip_network(part, strict=False) for part in value.split(",")))


def _interface(wanted: str, name: str) -> Answer:
    """A + at the end matches the rest of the name."""
    return decided(name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted)


def _protocol(_: Option, value: str, packet: Packet, __: Place) -> Answer:
    return decided(value in ("all", "0") or PROTOCOLS.get(value) is packet.protocol)


def _span(text: str) -> Ports:
    first, colon, last = text.partition(":")
    return Ports(int(first or 0), int(last or 65535) if colon else int(first))


def _within(value: str, ports: Ports | None) -> Answer:
    """A port that the kernel chooses is a range: a rule for part of it might match."""
    if ports is None:
        return NO
    spans = [_span(part) for part in value.split(",")]
    if any(span.first <= ports.first and ports.last <= span.last for span in spans):
        return YES
    apart = all(span.last < ports.first or ports.last < span.first for span in spans)
    return NO if apart else unknown(f"the port is one of {ports}, chosen when the packet is sent")


def _either_port(_: Option, value: str, packet: Packet, __: Place) -> Answer:
    answers = [_within(value, packet.flow.source_port), _within(value, packet.flow.destination_port)]
    if YES in answers:
        return YES
    return next((answer for answer in answers if answer.truth is Truth.UNKNOWN), NO)


def _tcp_flags(option: Option, _: str, packet: Packet, __: Place) -> Answer:
    mask, wanted = (_flag_set(text) for text in option.values[:2])
    return decided(packet.flags & mask == wanted)


def _flag_set(text: str) -> frozenset[str]:
    if text == "ALL":
        return FLAGS
    return frozenset() if text == "NONE" else frozenset(text.split(","))


def _syn(_: Option, __: str, packet: Packet, ___: Place) -> Answer:
    return decided(packet.flags & {"FIN", "SYN", "RST", "ACK"} == {"SYN"})


def _icmp_type(option: Option, value: str, packet: Packet, place: Place) -> Answer:
    names = ICMP6_TYPES if option.module == "icmp6" else ICMP_TYPES
    if value in ("any", "255") and names is ICMP_TYPES:
        return YES
    kind, __, code = value.partition("/")
    number = int(kind) if kind.isdigit() else names.get(kind)
    if number is None:
        return NO if "unreachable" in kind else unknown(f"icmp type '{kind}' is unknown")
    return decided(number == packet.icmp and code in ("", "0"))


def _state(_: Option, value: str, packet: Packet, place: Place) -> Answer:
    names = set(value.split(","))
    if packet.state.value in names:
        return YES
    # An answer that is no longer translated back here has the connection's states all the same.
    known = place.tracked() if names & VIRTUAL_STATES else None
    return decided(known is not None and bool(names & known.virtual))


def _of_connection(end: Callable[[Tracked], Address]) -> Test:
    """An address of the connection; a packet that belongs to none has none."""
    def test(_: Option, value: str, __: Packet, place: Place) -> Answer:
        known = place.tracked()
        return _inside(value, end(known)) if known else NO

    return test


def _port_of_connection(end: Callable[[Tracked], Ports | None]) -> Test:
    def test(_: Option, value: str, __: Packet, place: Place) -> Answer:
        known = place.tracked()
        return _within(value, end(known)) if known else NO

    return test


def _direction(_: Option, value: str, packet: Packet, __: Place) -> Answer:
    return decided((value.upper() == "REPLY") == packet.answer)


def _mark(option: Option, value: str, packet: Packet, place: Place) -> Answer:
    if packet.mark is None:
        return unknown("the packet's mark was set from what is not modelled")
    wanted, __, mask = value.partition("/")
    bits = int(mask, 0) if mask else 0xFFFFFFFF
    return decided(packet.mark & bits == int(wanted, 0))


def _connmark(option: Option, value: str, packet: Packet, place: Place) -> Answer:
    """A packet without a connection never matches, not even `!` (connmark_mt() of xt_connmark.c)."""
    if place.tracked() is None:
        return decided(option.negated)
    return _mark(option, value, replace(packet, mark=packet.connection_mark), place)


def _address_type(value: str, address: Address, place: Place) -> Answer:
    wanted, found = value.split(","), place.address_type(address)
    if address.version == 6 and "UNICAST" in wanted:
        # match_type6() of net/netfilter/xt_addrtype.c: a local one is unicast, too, and all types must fit.
        return unknown("several types of addresses of IPv6 are not modelled") if len(wanted) > 1 \
            else decided(found in ("LOCAL", "UNICAST"))
    return decided(found in wanted)


def _hops(compare: Callable[[int, int], bool]) -> Test:
    """The hop limit, which is known of questions about neighbours only."""
    def test(_: Option, value: str, packet: Packet, __: Place) -> Answer:
        if packet.hops is None:
            return unknown("the hop limit is not modelled")
        return decided(compare(packet.hops, int(value)))

    return test


def _between(value: str, address: Address) -> Answer:
    first, _, last = value.partition("-")
    return decided(int(ip_address(first)) <= int(address) <= int(ip_address(last or first)))


TESTS: dict[tuple[str, str], Test] = {
    ("", "-s"): lambda _, value, packet, __: _inside(value, packet.flow.source),
    ("", "-d"): lambda _, value, packet, __: _inside(value, packet.flow.destination),
    ("", "-i"): lambda _, value, __, place: _interface(value, place.incoming),
    ("", "-o"): lambda _, value, __, place: _interface(value, place.outgoing),
    ("", "-p"): _protocol,
    ("", "-f"): lambda *_: NO,
    ("", "-m"): lambda _, value, __, ___: _module(value),
    ("comment", "--comment"): lambda *_: YES,
    ("conntrack", "--ctstate"): _state,
    ("conntrack", "--ctdir"): _direction,
    ("conntrack", "--ctproto"): _protocol,
    ("conntrack", "--ctorigsrc"): _of_connection(lambda known: known.original.source),
    ("conntrack", "--ctorigdst"): _of_connection(lambda known: known.original.destination),
    ("conntrack", "--ctreplsrc"): _of_connection(lambda known: known.translated.destination),
    ("conntrack", "--ctrepldst"): _of_connection(lambda known: known.translated.source),
    ("conntrack", "--ctorigsrcport"): _port_of_connection(lambda known: known.original.source_port),
    ("conntrack", "--ctorigdstport"): _port_of_connection(lambda known: known.original.destination_port),
    ("conntrack", "--ctreplsrcport"): _port_of_connection(lambda known: known.translated.destination_port),
    ("conntrack", "--ctrepldstport"): _port_of_connection(lambda known: known.translated.source_port),
    ("state", "--state"): _state,
    ("icmp", "--icmp-type"): _icmp_type,
    ("icmp6", "--icmpv6-type"): _icmp_type,
    ("hl", "--hl-eq"): _hops(operator.eq),
    ("hl", "--hl-lt"): _hops(operator.lt),
    ("hl", "--hl-gt"): _hops(operator.gt),
    ("tcp", "--tcp-flags"): _tcp_flags,
    ("tcp", "--syn"): _syn,
    ("multiport", "--ports"): _either_port,
    ("mark", "--mark"): _mark,
    ("connmark", "--mark"): _connmark,
    ("addrtype", "--src-type"): lambda _, value, packet, place:
        _address_type(value, packet.flow.source, place),
    ("addrtype", "--dst-type"): lambda _, value, packet, place:
        _address_type(value, packet.flow.destination, place),
    ("iprange", "--src-range"): lambda _, value, packet, __: _between(value, packet.flow.source),
    ("iprange", "--dst-range"): lambda _, value, packet, __: _between(value, packet.flow.destination),
    # Only frames that a bridge switches match; routed packets have their own links.
    ("physdev", "--physdev-is-bridged"): lambda _, __, ___, place: decided(place.switched),
}
for _name in ("tcp", "udp", "multiport"):
    for _suffix in ("", "s"):
        TESTS[_name, f"--sport{_suffix}"] = lambda _, value, packet, __: _within(
            value, packet.flow.source_port)
        TESTS[_name, f"--dport{_suffix}"] = lambda _, value, packet, __: _within(
            value, packet.flow.destination_port)
