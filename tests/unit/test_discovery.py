"""The table that carries DHCP past a tap's namespace: what nft lists of it, and what is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any, cast

import pytest

from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources import Condition, Discovery

OURS = Discovery("vpc1-public.vm", "vm0", "eth0", "02:10:0a:00:01:04", IPv4Address("10.0.1.4"),
                 IPv4Address("10.0.0.1"))
Listed = list[dict[str, Any]]


def match(protocol: str, field: str, right: object) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}},
                      "right": right}}


def chain(name: str, **more: str) -> dict[str, Any]:
    return {"chain": {"family": "netdev", "table": "vpcctl", "name": name, "handle": 1, "type": "filter",
                      "hook": "ingress", "prio": 0, "policy": "accept", **more}}


def rule(name: str, *expressions: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "netdev", "table": "vpcctl", "chain": name, "handle": 5,
                     "expr": list(expressions)}}


LISTED = [
    {"metainfo": {"version": "1.0.6"}}, {"table": {"family": "netdev", "name": "vpcctl", "handle": 2}},
    chain("asked"), chain("answered"),
    rule("asked", match("ether", "saddr", "02:10:0a:00:01:04"),
         match("ip", "saddr", {"set": ["0.0.0.0", "10.0.1.4"]}),
         match("ip", "daddr", {"set": ["10.0.0.1", "255.255.255.255"]}), match("udp", "sport", 68),
         match("udp", "dport", 67), {"fwd": {"dev": "eth0"}}),
    rule("answered", match("ip", "saddr", "10.0.0.1"), match("ip", "daddr", "10.0.1.4"),
         match("udp", "sport", 67), match("udp", "dport", 68), {"fwd": {"dev": "vm0"}})]
"""As nft 1.0.6 prints it."""


class Fake:
    """A kernel with that table."""

    def __init__(self, listed: Listed | None) -> None:
        self._listed = listed

    def bridge_table(self, namespace: str, name: str, family: str) -> Listed | None:
        assert (namespace, name, family) == ("vpc1-public.vm", "vpcctl", "netdev")
        return self._listed


def checked(listed: Listed | None) -> Condition | None:
    fault = OURS.check(cast(Kernel, Fake(listed)), {})
    return fault.condition if fault else None


def at(place: int, *path: object) -> Callable[[Listed, object], None]:
    """Puts a value at a place in the listing."""
    def put(listed: Listed, value: object) -> None:
        held: Any = listed[place]
        for key in path[:-1]:
            held = held[key]
        held[path[-1]] = value
    return put


@pytest.mark.parametrize(("put", "value"), [
    (at(2, "chain", "dev"), "vm0"), (at(3, "chain", "dev"), "eth0"),
    (at(4, "rule", "expr", 1, "match", "right", "set"), ["10.0.1.4", "0.0.0.0"]),
    (at(4, "rule", "expr"), [match("ether", "type", "ip"), *LISTED[4]["rule"]["expr"]]),
])
def test_what_other_versions_of_nft_print_is_the_same(put: Callable[[Listed, object], None],
                                                     value: object) -> None:
    listed = copy.deepcopy(LISTED)
    put(listed, value)
    assert checked(listed) is None


@pytest.mark.parametrize(("put", "value"), [
    (at(2, "chain", "dev"), "vm1"), (at(3, "chain", "dev"), "vm0"), (at(2, "chain", "hook"), "egress"),
    (at(2, "chain", "prio"), 5), (at(3, "chain", "policy"), "drop"), (at(3, "chain", "name"), "other"),
    (at(4, "rule", "expr", 0, "match", "right"), "02:10:0a:00:01:05"),
    (at(4, "rule", "expr", 1, "match", "right", "set"), ["0.0.0.0", "10.0.1.5"]),
    (at(4, "rule", "expr", 2, "match", "right", "set"), ["10.0.0.2", "255.255.255.255"]),
    (at(4, "rule", "expr", 2, "match", "op"), "!="), (at(4, "rule", "expr", 3, "match", "right"), 69),
    (at(4, "rule", "expr", 5, "fwd", "dev"), "4"), (at(5, "rule", "expr", 4, "fwd", "dev"), "4"),
    (at(5, "rule", "expr", 1, "match", "right"), "10.0.1.5"), (at(5, "rule", "chain"), "asked"),
    (at(5, "rule", "expr"), []),
])
def test_what_differs_is_a_fault(put: Callable[[Listed, object], None], value: object) -> None:
    listed = copy.deepcopy(LISTED)
    put(listed, value)
    assert checked(listed) is Condition.CHANGED


def test_what_is_missing_or_one_too_many_is_a_fault() -> None:
    assert checked(LISTED) is None
    assert checked(None) is Condition.MISSING
    for number in range(2, len(LISTED)):
        assert checked(LISTED[:number] + LISTED[number + 1:]) is Condition.CHANGED
    assert checked([*LISTED, LISTED[-1]]) is Condition.CHANGED
    assert checked([*LISTED, {"set": {"name": "more"}}]) is Condition.CHANGED
