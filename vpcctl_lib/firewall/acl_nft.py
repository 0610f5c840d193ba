"""Lines of a network ACL as nft has them: in a script, and as it lists them in JSON; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from vpcctl_lib.firewall.acl_chains import LATER, NAMED, Branch, Field, Fork, Lead, Line, family_of
from vpcctl_lib.firewall.acl_words import from_words, in_words
from vpcctl_lib.firewall.families import ADDRESSES, word
from vpcctl_lib.model.acls import called
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import AclRule, Action, Network, Ports, Protocol
from vpcctl_lib.model.policies import family_of as network_family

Expression = list[dict[str, Any]]


class Direction(Enum):
    """As seen from the subnet: the beginning of its chains' names, and nft's word for the far end."""

    INGRESS = ("in-", "saddr")
    EGRESS = ("out-", "daddr")

    def chain(self, name: str) -> str:
        """The chain for that ACL where packets of this direction come in."""
        return self.value[0] + name

    @property
    def far_end(self) -> str:
        """The field of the far end's address."""
        return self.value[1]

    @property
    def word(self) -> str:
        """What people call it."""
        return self.name.lower()


VERDICTS = {Action.ALLOW: "return", Action.DENY: "drop"}
"""What is allowed out of one subnet has still to be let into the other."""

_FRAGMENTS = "fragments of "
"""The beginning of the comments in a chain for later fragments, where a rule has lost its ports."""

_IS_LATER = {Family.INET: "ip frag-off & 0x1fff != 0", Family.INET6: "frag frag-off != 0"}
IS_SIX = "ether type ip6"
NUMBERS = {Protocol.TCP: 6, Protocol.UDP: 17, Protocol.ICMP: 1, Protocol.ICMPV6: 58}
_NAMED: dict[Any, int] = {word(protocol): number for protocol, number in NUMBERS.items()}
_L4PROTO = ("meta", "l4proto")


def _comment(rule: AclRule, chain: str) -> str:
    return (_FRAGMENTS if LATER in chain else "") + in_words(rule)


def text(line: Line, direction: Direction, chain: str) -> str:
    """A line of a chain in nft's syntax."""
    if isinstance(line, Lead):
        test = f"{IS_SIX} " if line.six else f"{_IS_LATER[family_of(chain)]} " if line.later else ""
        return f"{test}goto {line.chain}"
    if isinstance(line, Fork):
        family = family_of(chain)
        branches = ", ".join(f"{_span(line.field, one, family)} : goto {one.chain}" for one in line.branches)
        return f"{_key(line.field, direction, family)} vmap {{ {branches} }}"
    network = _narrow(line)
    far = f"{network_family(network).nft} {direction.far_end} {_plain(network)} " if network else ""
    return f'{far}{_matched(line)}counter {VERDICTS[line.action]} comment "{_comment(line, chain)}"'


def _narrow(rule: AclRule) -> Network | None:
    """The far ends, if they are not all."""
    return rule.network if rule.network and rule.network.prefixlen else None


def _plain(network: Network) -> str:
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _matched(rule: AclRule) -> str:
    if rule.ports:
        return f"{rule.protocol.value} dport {rule.ports} "
    return "" if rule.protocol is Protocol.ALL else f"meta l4proto {word(rule.protocol)} "


def _key(field: Field, direction: Direction, family: Family) -> str:
    return {Field.PROTOCOL: "meta l4proto", Field.FAR_END: f"{family.nft} {direction.far_end}",
            Field.TCP_PORT: "tcp dport", Field.UDP_PORT: "udp dport"}[field]


def _span(field: Field, one: Branch, family: Family) -> str:
    if field is Field.PROTOCOL:
        return word(NAMED[one.first])
    kind = ADDRESSES[family] if field is Field.FAR_END else int
    first, last = kind(one.first), kind(one.last)
    return f"{first}" if one.first == one.last else f"{first}-{last}"


class Seen(NamedTuple):
    """A rule of a chain as nft lists it, in a form in which equal ones compare equal."""

    comment: str
    parts: tuple[Any, ...]


def seen(rule: Mapping[str, Any]) -> Seen:
    """A rule that nft has listed, without the numbers of its counter."""
    try:
        parts = tuple(map(_part, rule.get("expr", ())))
    except (ValueError, LookupError, TypeError, AttributeError):
        # It is of a form that none of ours has.
        parts = (_frozen(rule.get("expr")),)
    return Seen(str(rule.get("comment", "")), parts)


def expected(line: Line, direction: Direction, chain: str) -> Seen:
    """How `seen` has a line of a chain."""
    if isinstance(line, Lead):
        later = ("match", "!=", _FRAGMENT_OFFSET[family_of(chain)], (0, 0))
        six = ("match", "==", ("ether", "type"), ("ip6", "ip6"))
        tests = (six,) if line.six else (later,) if line.later else ()
        return Seen("", (*tests, _goto(line.chain)))
    if isinstance(line, Fork):
        branches = frozenset((*_ends(line.field, one), one.chain) for one in line.branches)
        return Seen("", (("vmap", _listed_key(line.field, direction, family_of(chain)), branches),))
    network = _narrow(line)
    far = (("match", "==", (network_family(network).nft, direction.far_end), _network(network)),) \
        if network else ()
    return Seen(_comment(line, chain), (*far, *_expected(line), "counter", VERDICTS[line.action]))


def _expected(rule: AclRule) -> tuple[Any, ...]:
    if rule.ports:
        return (("match", "==", (rule.protocol.value, "dport"), _ports(rule.ports)),)
    if rule.protocol is Protocol.ALL:
        return ()
    return (("match", "==", _L4PROTO, NUMBERS[rule.protocol]),)


def _network(network: Network) -> Any:
    return (int(network.network_address), int(network.broadcast_address))


def _ports(ports: Ports) -> Any:
    return (ports.first, ports.last)


def _goto(chain: str) -> tuple[str, str]:
    return ("goto", chain)


def _listed_key(field: Field, direction: Direction, family: Family) -> tuple[str, str]:
    return {Field.PROTOCOL: _L4PROTO, Field.FAR_END: (family.nft, direction.far_end),
            Field.TCP_PORT: ("tcp", "dport"), Field.UDP_PORT: ("udp", "dport")}[field]


def _ends(field: Field, one: Branch) -> tuple[int, int]:
    if field is Field.PROTOCOL:
        return NUMBERS[NAMED[one.first]], NUMBERS[NAMED[one.first]]
    return one.first, one.last


def _part(part: Any) -> Any:
    """A part of a listed rule."""
    (kind, held), *_ = part.items() if isinstance(part, dict) and part else (("", part),)
    if kind in ("counter", *VERDICTS.values()):
        return kind
    if kind == "goto":
        return _goto(held["target"])
    if kind == "match":
        left = _left(held["left"])
        return ("match", held["op"], left, _value(left, held["right"]))
    if kind == "vmap" and isinstance(held.get("data"), dict):
        left = _left(held["key"])
        return ("vmap", left, frozenset(
            (*_value(left, value, single=False), verdict.get("goto", {}).get("target", ""))
            for value, verdict in held["data"].get("set", ())))
    return _frozen(part)


def _left(left: Mapping[str, Any]) -> Any:
    """What is compared: a field of a header, something else about the packet, or anything."""
    (kind, held), *others = left.items()
    if not others and kind == "payload" and held.keys() == {"protocol", "field"}:
        return held["protocol"], held["field"]
    if not others and kind == "meta" and held.keys() == {"key"}:
        return kind, held["key"]
    return _frozen(left)


def _value(left: Any, value: Any, single: bool = True) -> Any:
    """A value, or the first and the last of many; of a protocol its number."""
    if isinstance(value, dict) and "range" in value:
        return tuple(_number(one) for one in value["range"])
    if isinstance(value, dict) and "set" in value:
        return frozenset(map(_frozen, value["set"]))
    if isinstance(value, dict) and "prefix" in value:
        return _network(ip_network((value["prefix"]["addr"], value["prefix"]["len"])))
    number = _number(value)
    return number if single and left == _L4PROTO else (number, number)


def _number(value: Any) -> Any:
    """An address, port or protocol as a number; something else as it is."""
    if not isinstance(value, str) or value in _NAMED:
        return _NAMED.get(value, value)
    try:
        return int(ip_address(value))
    except ValueError:
        return value


def _frozen(value: Any) -> Any:
    """A JSON value that can be compared and hashed."""
    if isinstance(value, Mapping):
        return tuple(sorted((key, _frozen(one)) for key, one in value.items()))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


_FRAGMENT_OFFSET = {
    Family.INET: _frozen({"&": [{"payload": {"protocol": "ip", "field": "frag-off"}}, 0x1FFF]}),
    Family.INET6: _frozen({"exthdr": {"name": "frag", "field": "frag-off"}})}


def rules_in(found: Sequence[Seen]) -> list[AclRule]:
    """The rules whose words are in the comments of chains, sorted; ValueError for words of others."""
    rules = {from_words(one.comment) for one in found
             if one.comment and not one.comment.startswith(_FRAGMENTS)}
    return sorted(rules, key=lambda rule: rule.number)


def counted(listed: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Packets and bytes by rule (its number, or `*`): a rule may be in several chains, a packet meets one."""
    found: dict[str, tuple[int, int]] = {}
    for rule in listed:
        for part in rule.get("expr", ()):
            if "counter" in part and rule.get("comment"):
                number = called(from_words(rule["comment"].removeprefix(_FRAGMENTS)))
                before = found.get(number, (0, 0))
                found[number] = (before[0] + part["counter"]["packets"], before[1] + part["counter"]["bytes"])
    return found
