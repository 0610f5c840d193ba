"""A subnet's firewall policy: from a file, or a part of one, to the model, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import TypeVar

from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.files import documents
from vpcctl_lib.files.documents import Place, shown
from vpcctl_lib.model.addressing import parse_network
from vpcctl_lib.model.lookup import close
from vpcctl_lib.model.topology import Action, Policy, Ports, Protocol, Rule

_POLICY_KEYS = ("description", "subnet", "ingress", "egress", "default")
_RULE_KEYS = ("description", "port", "protocol", "action")
# What a rule calls the far end; `Rule.network` either way.
_NETWORK_KEYS = {"ingress": "source", "egress": "destination"}

_PORT_HINT = 'a port is a number from 1 to 65535, or a range such as "8000-8100"; several are several rules'
_RANGE = re.compile(r"(0|[1-9][0-9]{0,5})-(0|[1-9][0-9]{0,5})")
_NEARLY_RANGE = re.compile(r"\s*([0-9]{1,5})\s*(?:-|–|:|\.\.)\s*([0-9]{1,5})\s*")
_LAST_PORT = 65535

_ADDRESS_LIKE = re.compile(r"[0-9A-Fa-f.:/]{1,64}")
_BARE_ADDRESS = re.compile(r"[0-9]+(\.[0-9]+){3}")

# A terminal obeys these, and `firewall show` prints descriptions to a root shell.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_Choice = TypeVar("_Choice", bound=Enum)


def load(path: Path, subnet: IPv4Network) -> Policy:
    """The policy in that file, for the subnet with that CIDR."""
    document = documents.read(path)
    return parse(document.data, document.top, subnet)


def parse(data: object, where: Place, subnet: IPv4Network) -> Policy:
    """The policy in data read from a document; `where` is its place there, for errors to name."""
    entries = _entries(data, where, "a policy", _POLICY_KEYS)
    _check_subnet(entries, where, subnet)
    return Policy(
        ingress=_rules(entries, where, "ingress"),
        egress=_rules(entries, where, "egress") if "egress" in entries else None,
        default=_choice(Action, entries.get("default", Action.DENY.value), where.at("default")),
        description=_description(entries, where),
    )


def to_document(policy: Policy, subnet: IPv4Network | None = None) -> dict[str, object]:
    """The policy as a file would hold it; `parse` reads it back to the same."""
    document: dict[str, object] = {}
    if policy.description:
        document["description"] = policy.description
    if subnet is not None:
        document["subnet"] = str(subnet)
    document["ingress"] = [_rule_document(rule, "ingress") for rule in policy.ingress]
    if policy.egress is not None:
        document["egress"] = [_rule_document(rule, "egress") for rule in policy.egress]
    document["default"] = policy.default.value
    return document


def _rule_document(rule: Rule, direction: str) -> dict[str, object]:
    document: dict[str, object] = {}
    if rule.ports is not None:
        single = rule.ports.first == rule.ports.last
        document["port"] = rule.ports.first if single else str(rule.ports)
    document["protocol"] = rule.protocol.value
    document["action"] = rule.action.value
    if rule.network is not None:
        document[_NETWORK_KEYS[direction]] = str(rule.network)
    if rule.description:
        document["description"] = rule.description
    return document


def _entries(data: object, where: Place, what: str, keys: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        known = ", ".join(keys)
        raise where.refusal(f"{what} is a mapping, not {shown(data)}", f"its keys are {known}")
    for key in data:
        if key not in keys:
            raise _unknown(str(key), where, what, keys)
    return data


def _unknown(key: str, where: Place, what: str, keys: tuple[str, ...]) -> BadInput:
    return where.named(key).refusal(f"{what} has no key {shown(key)}", _nearest(key, keys))


def _nearest(found: object, words: Sequence[str]) -> str:
    """What was likely meant, or else all that it could be."""
    near = close(found.lower(), words) if isinstance(found, str) else ""
    all_words = f"it can be {', '.join(words)}"
    return quoted(f'did you mean "{near}"?', all_words) if near else all_words


def _check_subnet(entries: Mapping[str, object], where: Place, subnet: IPv4Network) -> None:
    if "subnet" not in entries:
        return
    here = where.at("subnet")
    written = _network(entries["subnet"], here)
    if written != subnet:
        problem = f"the policy is for {quoted(str(written))}, but the subnet is {subnet}"
        raise here.refusal(problem, "apply it to the subnet it is for, or leave out the key")


def _rules(entries: Mapping[str, object], where: Place, direction: str) -> tuple[Rule, ...]:
    here = where.at(direction)
    rules = entries.get(direction, ())
    if not isinstance(rules, (list, tuple)):
        raise here.refusal(f"{direction} is a list of rules, not {shown(rules)}", "write [] for no rules")
    return tuple(_rule(rule, here.at(index), direction) for index, rule in enumerate(rules))


def _rule(data: object, where: Place, direction: str) -> Rule:
    network_key = _NETWORK_KEYS[direction]
    _refuse_other_end(data, where, direction)
    entries = _entries(data, where, "a rule", (*_RULE_KEYS, network_key))
    protocol = _choice(Protocol, _required(entries, "protocol", Protocol, where), where.at("protocol"))
    return Rule(
        protocol=protocol,
        action=_choice(Action, _required(entries, "action", Action, where), where.at("action")),
        ports=_ports(entries["port"], protocol, where.at("port")) if "port" in entries else None,
        network=_network(entries[network_key], where.at(network_key)) if network_key in entries else None,
        description=_description(entries, where),
    )


def _refuse_other_end(data: object, where: Place, direction: str) -> None:
    """An ingress rule with a destination has a reason of its own to be wrong."""
    for other, key in _NETWORK_KEYS.items():
        if other != direction and isinstance(data, Mapping) and key in data:
            problem = f"an {direction} rule has no {key}: that is for {other}"
            raise where.at(key).refusal(problem, f'write "{_NETWORK_KEYS[direction]}", or move it to {other}')


def _required(entries: Mapping[str, object], key: str, choices: type[Enum], where: Place) -> object:
    if key not in entries:
        known = ", ".join(str(choice.value) for choice in choices)
        raise where.refusal(f"the rule has no {key}", f"add one: {known}")
    return entries[key]


def _choice(choices: type[_Choice], found: object, where: Place) -> _Choice:
    for choice in choices:
        if choice.value == found:
            return choice
    words = [str(choice.value) for choice in choices]
    raise where.refusal(f"{shown(found)} is not one of {', '.join(words)}", _nearest(found, words))


def _ports(found: object, protocol: Protocol, where: Place) -> Ports:
    if protocol not in (Protocol.TCP, Protocol.UDP):
        problem = f"a rule for {protocol.value} takes no port"
        raise where.refusal(problem, "leave out the port, or set the protocol to tcp or udp")
    if isinstance(found, int) and not isinstance(found, bool):
        return _checked(found, found, found, where)
    match = _RANGE.fullmatch(found) if isinstance(found, str) else None
    if match is None:
        raise where.refusal(f"{shown(found)} is not a port", _port_hint(found))
    return _checked(int(match[1]), int(match[2]), found, where)


def _checked(first: int, last: int, found: object, where: Place) -> Ports:
    if not (1 <= first <= _LAST_PORT and 1 <= last <= _LAST_PORT):
        raise where.refusal(f"{shown(found)} is not a port", _PORT_HINT)
    if first > last:
        hint = quoted(f'did you mean "{last}-{first}"?', _PORT_HINT)
        raise where.refusal(f"{shown(found)} runs backwards", hint)
    return Ports(first, last)


def _port_hint(found: object) -> str:
    if not isinstance(found, str):
        return _PORT_HINT
    nearly = _NEARLY_RANGE.fullmatch(found)
    if nearly:
        return quoted(f'did you mean "{nearly[1]}-{nearly[2]}"?', _PORT_HINT)
    if found.isascii() and found.isdigit() and len(found) <= len(str(_LAST_PORT)):
        return quoted(f"write {int(found)}, without quotes", _PORT_HINT)
    return _PORT_HINT


def _network(found: object, where: Place) -> IPv4Network:
    """The network named; a bare address is a network of one."""
    if not isinstance(found, str) or not _ADDRESS_LIKE.fullmatch(found):
        raise where.refusal(f"{shown(found)} is not a network", "write for example 10.0.0.0/16 or 10.0.1.5")
    if ":" in found:
        raise where.refusal(f"{shown(found)} is an IPv6 network", "vpcctl speaks IPv4 only")
    try:
        return parse_network(f"{found}/32" if _BARE_ADDRESS.fullmatch(found) else found)
    except BadInput as error:
        raise where.refusal(*error.told) from None


def _description(entries: Mapping[str, object], where: Place) -> str:
    here, found = where.at("description"), entries.get("description", "")
    if not isinstance(found, str):
        raise here.refusal(f"a description is text, not {shown(found)}", "put it in quotes")
    if _CONTROL.search(found):
        raise here.refusal(f"{shown(found)} holds a control character", "a description is text to be read")
    return found
