"""The keys of network ACLs, a line for each: files are read and written by them, and schemas made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vpcctl_lib.files import policy_values as values
from vpcctl_lib.files.documents import Place, shown
from vpcctl_lib.files.keys import Key, Kind, Reading, Value, alone
from vpcctl_lib.files.policy_values import POLICY_WORDS, lacks
from vpcctl_lib.model.acls import FIRST, LAST
from vpcctl_lib.model.policies import Acl, AclRule, Action, Protocol

ANY = "any"
"""Another word for all protocols, which many write."""


def _number(found: object, place: Place) -> int:
    if type(found) is not int or not FIRST <= found <= LAST:
        raise place.refusal(f"{shown(found)} is not a rule's number",
                            f"write one from {FIRST} to {LAST}: the rule with the lowest one decides")
    return found


def _protocol(found: object, place: Place, here: Reading) -> Any:
    return _PROTOCOL.read(Protocol.ALL.value if found == ANY else found, place, here)


_PROTOCOL = values.choice(Protocol)
PROTOCOL = replace(_PROTOCOL, read=_protocol, schema={"enum": [*(one.value for one in Protocol), ANY]})
NUMBER = alone(_number, int, {"type": "integer", "minimum": FIRST, "maximum": LAST})


def _rule(direction: str, far_end: str, other: str, others_end: str) -> Kind:
    not_here = (f"an {direction} rule has no {others_end}: that key is for {other}",
                f'write "{far_end}", or move it to {other}')
    return Kind(f"acl_{direction}_rule", "a rule", AclRule,
                f"A rule for {direction} packets; the one with the lowest number that matches decides.", (
        Key("number", NUMBER, f"Its place among the others, from {FIRST} to {LAST}.",
            required=("the rule has no number", f"add one from {FIRST} to {LAST}, such as 100")),
        Key("port", values.PORTS, 'The port that packets are for, or a range such as "1024-65535". All ports '
            "if missing.", ("ports",)),
        Key("protocol", PROTOCOL, "What the rule matches.", required=lacks("protocol", Protocol)),
        Key("action", values.choice(Action), "allow, or deny without an answer.",
            required=lacks("action", Action)),
        Key(far_end, values.NETWORK, f"The {far_end}: a CIDR or an address. Anywhere if missing.",
            ("network",)),
        Key("description", values.DESCRIPTION, "A text for people.", listed=-1),
    ), elsewhere={others_end: not_here}, words=POLICY_WORDS, rules=values.NO_PORTS)


INGRESS_RULE = _rule("ingress", "source", "egress", "destination")
EGRESS_RULE = _rule("egress", "destination", "ingress", "source")


def _rules(kind: Kind, direction: str) -> Value:
    """The rules of a direction, sorted by their numbers; refuses a number that two have."""
    plain = values.rules(kind, direction)

    def read(data: object, place: Place, here: Reading) -> Any:
        found = plain.read(data, place, here)
        _check_numbers(found, place.at)
        return tuple(sorted(found, key=lambda rule: rule.number))

    return replace(plain, read=read)


def _check_numbers(found: tuple[AclRule, ...], at: Callable[[int], Place]) -> None:
    there: dict[int, int] = {}
    for index, rule in enumerate(found):
        if rule.number in there:
            raise at(index).at("number").refusal(f"the rule before, [{there[rule.number]}], is number "
                                                 f"{rule.number}, too", "give each rule its own number")
        there[rule.number] = index


ACL = Kind("acl", "a network ACL", Acl, "A network ACL: what passes a subnet's edge, packet by packet.", (
    Key("description", values.DESCRIPTION, "A text for people."),
    Key("ingress", _rules(INGRESS_RULE, "ingress"), "What may come in; nothing if missing.", kept=True),
    Key("egress", _rules(EGRESS_RULE, "egress"), "What may go out, answers too; nothing if missing.",
        kept=True),
), named="network ACL", words=POLICY_WORDS, elsewhere={
    "default": ("a network ACL has no default: what no rule allows is denied",
                "leave it out; to allow the rest, add a rule with a high number")})
