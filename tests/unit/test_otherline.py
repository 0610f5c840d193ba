"""Lines of `ip rule` and of route tables that were read, as `ip` takes them."""

from __future__ import annotations

from typing import Any

import pytest

from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources import OtherLine
from vpcctl_lib.resources.operations import Ip
from vpcctl_lib.resources.otherline import is_built_in, other_rule, route_words, rule_words

MAIN = {"priority": 32766, "src": "all", "table": "main", "protocol": "kernel", "action": "to_tbl"}


@pytest.mark.parametrize(("read", "words"), [
    ({"priority": 5, "src": "10.0.2.0", "srclen": 24, "action": "blackhole"},
     "rule pref 5 from 10.0.2.0/24 blackhole"),
    ({"priority": 7, "not": None, "src": "all", "fwmark": "0x7", "fwmask": "0xf", "iif": "lo",
      "ipproto": "udp", "table": "77", "suppress_prefixlen": 0},
     "rule pref 7 not fwmark 0x7/0xf iif lo ipproto udp lookup 77 suppress_prefixlength 0"),
    ({"priority": 8, "src": "all", "dst": "9.9.9.9", "oif": "eth0", "goto": 32766},
     "rule pref 8 to 9.9.9.9/32 oif eth0 goto 32766"),
])
def test_a_rule_in_words(read: dict[str, Any], words: str) -> None:
    assert rule_words(read) == tuple(words.split())


@pytest.mark.parametrize(("read", "words"), [
    ({"dst": "9.0.0.0/8", "gateway": "10.0.0.9", "dev": "br-vpc1", "table": "1001", "metric": 3},
     "route 9.0.0.0/8 via 10.0.0.9 dev br-vpc1 metric 3 table 1001"),
    ({"type": "blackhole", "dst": "default"}, "route blackhole default table main"),
    ({"dst": "9.0.0.0/8", "nexthops": [{"gateway": "10.0.0.8", "dev": "a"}, {"dev": "b"}]},
     "route 9.0.0.0/8 table main nexthop via 10.0.0.8 dev a nexthop dev b"),
])
def test_a_route_in_words(read: dict[str, Any], words: str) -> None:
    assert route_words(read) == tuple(words.split())


def test_the_rules_of_every_namespace() -> None:
    assert is_built_in(MAIN)
    assert is_built_in({**MAIN, "priority": 0, "table": "local"})
    for other in ({"priority": 5}, {"src": "10.0.0.0", "srclen": 8}, {"iif": "lo"}, {"table": "77"}):
        assert not is_built_in({**MAIN, **other})


def test_what_is_known_in_part_is_not_put_back() -> None:
    whole, partly = (other_rule("vpc1", {"priority": 5, "src": "all", "table": "77", **more}, Family.INET)
                     for more in ({}, {"dport": True}))
    assert whole == OtherLine("vpc1", ("rule", "pref", "5", "lookup", "77"))
    assert whole.make() == (Ip("vpc1", ("rule", "add", "pref", "5", "lookup", "77")),)
    assert partly.make() == ()
    assert whole.unmake({}) == partly.unmake({})
