"""The values that a policy has: how each is read, written back, and described to an editor."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.files.documents import Place, shown
from vpcctl_lib.files.keys import Kind, Reading, Refusal, Value, Words, alone, read, reference, write
from vpcctl_lib.model.addressing import parse_network
from vpcctl_lib.model.addressing6 import parse_network as parse_network6
from vpcctl_lib.model.lookup import close
from vpcctl_lib.model.naming import NAME, is_name
from vpcctl_lib.model.policies import ECHOES, Action, Network, Ports, Protocol, family_of

_PORT_HINT = 'a port is a number from 1 to 65535, or a range such as "8000-8100"; write one rule for each'
_RANGE = re.compile(r"(0|[1-9][0-9]{0,5})-(0|[1-9][0-9]{0,5})")
_NEARLY_RANGE = re.compile(r"\s*([0-9]{1,5})\s*(?:-|–|:|\.\.)\s*([0-9]{1,5})\s*")
LAST_PORT = 65535
WITH_PORTS = (Protocol.TCP, Protocol.UDP)

_ADDRESS_LIKE = re.compile(r"[0-9A-Fa-f.:/]{1,64}")
_BARE_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}")
_A_NETWORK = "write for example 10.0.0.0/16, 10.0.1.5 or fd12:3456::/32"

GROUP = "group:"
"""What stands before the name of a group in the place of a network."""

_NAME = NAME.pattern

# These control a terminal, and `firewall show` prints descriptions to a root shell.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _nearest(found: object, words: Sequence[str]) -> str:
    """What was probably meant, or else all possible values."""
    near = close(found.lower(), words) if isinstance(found, str) else ""
    all_words = f"use one of: {', '.join(words)}"
    return quoted(f'did you mean "{near}"?', all_words) if near else all_words


def _no_thing(kind: Kind, data: object) -> Refusal:
    return f"{kind.what} is a mapping, not {shown(data)}", f"use one of: {', '.join(kind.names)}"


def _no_key(kind: Kind, key: str) -> Refusal:
    return f"{kind.what} has no key {shown(key)}", _nearest(key, kind.names)


POLICY_WORDS = Words(_no_thing, _no_key)


def lacks(key: str, choices: type[Enum]) -> Refusal:
    """The refusal of a rule without that key."""
    known = ", ".join(str(choice.value) for choice in choices)
    return f"the rule has no {key}", f"add one: {known}"


def choice(choices: type[Enum]) -> Value:
    """One of an enumeration."""
    words = [str(one.value) for one in choices]

    def read_one(found: object, place: Place) -> Enum:
        for one in choices:
            if one.value == found:
                return one
        raise place.refusal(f"{shown(found)} is not one of {', '.join(words)}", _nearest(found, words))

    return alone(read_one, lambda one: one.value, {"enum": words})


def rules(kind: Kind, direction: str) -> Value:
    """The rules of a direction."""
    def read_all(data: object, place: Place, here: Reading) -> Any:
        if not isinstance(data, (list, tuple)):
            problem = f"{direction} is a list of rules, not {shown(data)}"
            raise place.refusal(problem, "write [] for no rules")
        return tuple(read(kind, rule, place.at(index), here) for index, rule in enumerate(data))

    return Value(read_all, lambda found: [write(kind, rule) for rule in found],
                 {"type": "array", "items": reference(kind)}, (kind,))


def _subnet(data: object, place: Place, here: Reading) -> None:
    """Refuse a policy for another subnet: nothing of this key is kept."""
    written, subnet = _network(data, place), here.outside("cidr")
    if written != subnet:
        problem = f"the policy is for {quoted(str(written))}, but the subnet is {subnet}"
        raise place.refusal(problem, "apply it to the subnet it is for, or leave out the key")


def _ports(found: object, place: Place, rule: Reading) -> Ports:
    protocol = rule.found["protocol"]
    if protocol not in WITH_PORTS:
        problem = f"a rule for {protocol.value} takes no port"
        raise place.refusal(problem, "leave out the port, or set the protocol to tcp or udp")
    if isinstance(found, int) and not isinstance(found, bool):
        return _checked(found, found, found, place)
    match = _RANGE.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise place.refusal(f"{shown(found)} is not a port", _port_hint(found))
    return _checked(int(match[1]), int(match[2]), found, place)


def _checked(first: int, last: int, found: object, place: Place) -> Ports:
    if not (1 <= first <= LAST_PORT and 1 <= last <= LAST_PORT):
        raise place.refusal(f"{shown(found)} is not a port", _PORT_HINT)
    if first > last:
        hint = quoted(f'did you mean "{last}-{first}"?', _PORT_HINT)
        raise place.refusal(f"{shown(found)} is not a range: it ends before it begins", hint)
    return Ports(first, last)


def _port_hint(found: object) -> str:
    if not isinstance(found, str):
        return _PORT_HINT
    nearly = _NEARLY_RANGE.fullmatch(found)
    if nearly:
        return quoted(f'did you mean "{nearly[1]}-{nearly[2]}"?', _PORT_HINT)
    if found.isascii() and found.isdigit() and len(found) <= len(str(LAST_PORT)):
        return quoted(f"write {int(found)}, without quotes", _PORT_HINT)
    return _PORT_HINT


def _written_ports(ports: Ports) -> object:
    return ports.first if ports.first == ports.last else str(ports)


def _network(found: object, place: Place) -> Network:
    """The network of either family; a bare address is a network of one."""
    if not isinstance(found, str) or not _ADDRESS_LIKE.fullmatch(found):
        raise place.refusal(f"{shown(found)} is not a network", _A_NETWORK)
    try:
        if ":" in found:
            return parse_network6(found)
        return parse_network(f"{found}/32" if _BARE_ADDRESS.fullmatch(found) else found)
    except BadInput as error:
        raise place.refusal(*error.told) from None


def _fitting(found: object, place: Place, rule: Reading) -> Network:
    """A network of a family that the rule's protocol has."""
    network, protocol = _network(found, place), rule.found["protocol"]
    if ECHOES.get(protocol, family_of(network)) is not family_of(network):
        other = next(one for one in ECHOES if one is not protocol)
        raise place.refusal(f"{shown(found)} has no {protocol.value}, which is of the other family",
                            f"set the protocol to {other.value}, or write another network")
    return network


def _far_end(found: object, place: Place, rule: Reading) -> tuple[Network | None, str]:
    """A network, or a group, which `group:` stands before."""
    if not isinstance(found, str) or not found.startswith(GROUP):
        return _fitting(found, place, rule), ""
    name = found.removeprefix(GROUP)
    vpc, slash, inner = name.partition("/")
    if not all(map(is_name, (vpc, inner) if slash else (name,))):
        raise place.refusal(f"{shown(found)} is not a group", f"write for example {GROUP}web, or "
                            f"{GROUP}vpc2/web for a group of a peered VPC")
    return None, name


def _no_group(found: object, place: Place, rule: Reading) -> Network:
    """A network: a subnet's policy can't name a group."""
    if isinstance(found, str) and found.startswith(GROUP):
        raise place.refusal("a subnet's policy can't name a group: only a group's can",
                            "put the machines into groups: vpcctl group apply, vpcctl group join")
    return _fitting(found, place, rule)


def _allow(found: object, place: Place) -> Action:
    """Only that: what no rule of a group allows is denied anyway."""
    if found == Action.DENY.value:
        raise place.refusal("a group only allows: it has no rules that deny",
                            "leave the rule out: everything that no group allows is denied")
    if found != Action.ALLOW.value:
        raise place.refusal(f"{shown(found)} is not {Action.ALLOW.value}", "a group only allows: write allow")
    return Action.ALLOW


def _deny(found: object, place: Place) -> None:
    """Nothing of this key is kept: a policy that is also a subnet's has it."""
    if found != Action.DENY.value:
        raise place.refusal(f"the default of a group is deny, not {shown(found)}",
                            "leave it out, and allow by rules what must pass")


def _description(found: object, place: Place) -> str:
    if not isinstance(found, str):
        raise place.refusal(f"a description is text, not {shown(found)}", "put it in quotes")
    if _CONTROL.search(found):
        raise place.refusal(f"{shown(found)} contains a control character", "write plain text")
    return found


_NETWORK4 = r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?"
_NETWORK6 = r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]+(/[0-9]{1,3})?"
_NETWORK = f"({_NETWORK4}|{_NETWORK6})"

SUBNET = Value(_subnet, str, {"type": "string", "pattern": f"^{_NETWORK4}$"})
NETWORK = Value(_no_group, str, {"type": "string", "pattern": f"^{_NETWORK}$"})
FAR_END = Value(_far_end, lambda network, group: f"{GROUP}{group}" if group else str(network), {
    "type": "string", "pattern": rf"^({_NETWORK}|{GROUP}({_NAME}/)?{_NAME})$"})
ALLOW = alone(_allow, lambda action: action.value, {"enum": [Action.ALLOW.value]})
DENY = alone(_deny, str, {"enum": [Action.DENY.value]})
DESCRIPTION = alone(_description, str, {"type": "string"})
PORTS = Value(_ports, _written_ports, {"anyOf": [
    {"type": "integer", "minimum": 1, "maximum": LAST_PORT},
    {"type": "string", "pattern": "^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$"}]}, whole=(Ports,))
NO_PORTS: dict[str, object] = {
    "if": {"properties": {"protocol": {"enum": [one.value for one in Protocol if one not in WITH_PORTS]}},
           "required": ["protocol"]},
    "then": {"properties": {"port": False}}}
"""Only rules for TCP and UDP have ports."""
