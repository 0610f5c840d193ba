"""Whether one rule speaks of a packet: yes, no, or unknown with why (iptables-extensions(8)); pure."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address, IPv4Network

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import Ports, Protocol
from vpcctl_lib.reach.packet import Packet
from vpcctl_lib.reach.tables import Option, Parsed

PROTOCOLS = {"tcp": Protocol.TCP, "6": Protocol.TCP, "udp": Protocol.UDP, "17": Protocol.UDP,
             "icmp": Protocol.ICMP, "1": Protocol.ICMP}
FLAGS = frozenset({"FIN", "SYN", "RST", "PSH", "ACK", "URG"})
ICMP_TYPES = {"echo-reply": 0, "pong": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5,
              "echo-request": 8, "ping": 8, "router-advertisement": 9, "router-solicitation": 10,
              "time-exceeded": 11, "ttl-exceeded": 11, "parameter-problem": 12, "timestamp-request": 13,
              "timestamp-reply": 14, "address-mask-request": 17, "address-mask-reply": 18}
MODULES = frozenset({"tcp", "udp", "icmp", "comment", "conntrack", "state", "multiport", "mark", "addrtype",
                     "iprange", "physdev"})
"""Those that say nothing beside their options, each of which is looked up in TESTS."""

VIRTUAL_STATES = frozenset({"SNAT", "DNAT"})


class Truth(Enum):
    """What is known of a condition."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@frozen
class Answer:
    """The truth of a condition, and why it can't be told."""

    truth: Truth
    why: str = ""


YES, NO = Answer(Truth.YES), Answer(Truth.NO)


def unknown(why: str) -> Answer:
    """Can't be told."""
    return Answer(Truth.UNKNOWN, why)


def decided(is_so: bool) -> Answer:
    """Yes or no."""
    return YES if is_so else NO


@frozen
class Place:
    """Where the rule is met: the links, and what type the namespace calls an address (addrtype)."""

    incoming: str = ""
    outgoing: str = ""
    address_type: Callable[[IPv4Address], str] = lambda _: "UNICAST"
    switched: bool = False


def matches(rule: Parsed, packet: Packet, place: Place) -> Answer:
    """All conditions together: one that fails settles it, whatever else is unknown."""
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


def _inside(value: str, address: IPv4Address) -> Answer:
    return decided(any(address in IPv4Network(part, strict=False) for part in value.split(",")))


def _interface(wanted: str, name: str) -> Answer:
    """A + at the end stands for the rest of the name."""
    return decided(name.startswith(wanted[:-1]) if wanted.endswith("+") else name == wanted)


def _protocol(_: Option, value: str, packet: Packet, __: Place) -> Answer:
    return decided(value in ("all", "0") or PROTOCOLS.get(value) is packet.protocol)


def _span(text: str) -> Ports:
    first, colon, last = text.partition(":")
    return Ports(int(first or 0), int(last or 65535) if colon else int(first))


def _within(value: str, ports: Ports | None) -> Answer:
    """A port that the kernel chooses is a range: a rule for part of it may or may not match."""
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
    if value in ("any", "255"):
        return YES
    kind, __, code = value.partition("/")
    number = int(kind) if kind.isdigit() else ICMP_TYPES.get(kind)
    if number is None:
        return NO if "unreachable" in kind else unknown(f"icmp type '{kind}' is not known")
    return decided(number == packet.icmp and code in ("", "0"))


def _state(_: Option, value: str, packet: Packet, __: Place) -> Answer:
    names = set(value.split(","))
    if packet.state.value in names:
        return YES
    return unknown("the states SNAT and DNAT are not modelled") if names & VIRTUAL_STATES else NO


def _direction(_: Option, value: str, packet: Packet, __: Place) -> Answer:
    return decided((value.upper() == "REPLY") == packet.answer)


def _mark(option: Option, value: str, packet: Packet, place: Place) -> Answer:
    if packet.mark is None:
        return unknown("the packet's mark was set from what is not modelled")
    wanted, __, mask = value.partition("/")
    bits = int(mask, 0) if mask else 0xFFFFFFFF
    return decided(packet.mark & bits == int(wanted, 0))


def _address_type(value: str, address: IPv4Address, place: Place) -> Answer:
    return decided(place.address_type(address) in value.split(","))


def _between(value: str, address: IPv4Address) -> Answer:
    first, _, last = value.partition("-")
    return decided(IPv4Address(first) <= address <= IPv4Address(last or first))


Test = Callable[[Option, str, Packet, Place], Answer]
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
    ("state", "--state"): _state,
    ("icmp", "--icmp-type"): _icmp_type,
    ("tcp", "--tcp-flags"): _tcp_flags,
    ("tcp", "--syn"): _syn,
    ("multiport", "--ports"): _either_port,
    ("mark", "--mark"): _mark,
    ("addrtype", "--src-type"): lambda _, value, packet, place:
        _address_type(value, packet.flow.source, place),
    ("addrtype", "--dst-type"): lambda _, value, packet, place:
        _address_type(value, packet.flow.destination, place),
    ("iprange", "--src-range"): lambda _, value, packet, __: _between(value, packet.flow.source),
    ("iprange", "--dst-range"): lambda _, value, packet, __: _between(value, packet.flow.destination),
    # Only frames that a bridge switches come through it; those that are routed come by their own links.
    ("physdev", "--physdev-is-bridged"): lambda _, __, ___, place: decided(place.switched),
}
for _name in ("tcp", "udp", "multiport"):
    for _suffix in ("", "s"):
        TESTS[_name, f"--sport{_suffix}"] = lambda _, value, packet, __: _within(
            value, packet.flow.source_port)
        TESTS[_name, f"--dport{_suffix}"] = lambda _, value, packet, __: _within(
            value, packet.flow.destination_port)
