"""A network ACL's rule in words, as the comments in its VPC's namespace have it, and back; pure."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_network

from vpcctl_lib.model.acls import REST, called
from vpcctl_lib.model.policies import AclRule, Action, Ports, Protocol

ANY = "any"


def in_words(rule: AclRule) -> str:
    """Its number, protocol, ports, far end and action, in one line."""
    what = f"{rule.protocol.value} {rule.ports or ANY} {rule.network or ANY}"
    return f"{called(rule)} {what} {rule.action.value}"


@lru_cache(maxsize=1 << 16)
def from_words(words: str) -> AclRule:
    """The rule, without its description; ValueError if it is not as `in_words` would write it."""
    number, protocol, ports, far, action = words.split(" ")
    first, _, last = ports.partition("-")
    found = AclRule(REST.number if number == called(REST) else int(number),
                    Protocol(protocol), Action(action),
                    None if ports == ANY else Ports(int(first), int(last or first)),
                    None if far == ANY else ip_network(far))
    if in_words(found) != words:
        raise ValueError(f"not vpcctl's: {words!r:.80}")
    return found
