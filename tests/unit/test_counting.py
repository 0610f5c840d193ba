"""The table that counts flows: where a packet is counted, and what changes when rules do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from vpcctl_lib.flows.names import FOUR, IN, OUT, SIX
from vpcctl_lib.resources.counting import Counting, Sure, only_counts
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.shapes import shape_of, shapes

OPEN = Counting("vpc1-web")
CLOSED = replace(OPEN, judged=(IN,), sure=(Sure(IN, ("tcp dport 80",)),))
CHAIN = "table inet vpcctl-flows {{\n\tchain {} {{\n"


def moves(old: Counting, new: Counting) -> list[str]:
    """What is done to chains, in order."""
    words = [line.split() for line in new.moved(old).splitlines()]
    return [f"{verb} {name}" for verb, name in (
        (said[0], said[-1]) if said[0] in ("flush", "delete") else ("load", said[1])
        for said in words if said and said[0] in ("flush", "delete", "chain"))]


def test_another_policy_changes_the_chains_that_ask_it_and_no_other() -> None:
    more = replace(CLOSED, sure=(Sure(IN, ("tcp dport 80", "tcp dport 443")),))
    assert moves(CLOSED, CLOSED) == []
    assert moves(CLOSED, more) == ["flush in-seen", "flush in-ok", "load in-seen", "load in-ok"]
    assert 'tcp dport 443 counter name "in-before" accept' in more.moved(CLOSED)
    assert "tcp dport 443 goto in-sure" in more.moved(CLOSED)


def test_a_chain_comes_before_those_that_lead_to_it_and_goes_after_them() -> None:
    assert moves(OPEN, CLOSED) == ["flush in-ok", "load in-sure", "load in-seen", "load in-ok"]
    assert moves(CLOSED, OPEN) == ["flush in-ok", "load in-ok", "delete in-seen", "delete in-sure"]


@pytest.mark.parametrize(("old", "new", "between"), [
    ((), ("tcp dport 80",), ()),
    (("tcp dport 80", "tcp dport 81"), ("tcp dport 81", "tcp dport 82"), ("tcp dport 81",)),
    (("",), ("tcp dport 80",), ("tcp dport 80",)), (("tcp dport 80",), ("",), ("tcp dport 80",))])
def test_while_rules_change_only_what_both_let_pass_is_counted_once(
        old: tuple[str, ...], new: tuple[str, ...], between: tuple[str, ...]) -> None:
    before, after = (replace(CLOSED, sure=(Sure(IN, tests),)) for tests in (old, new))
    middle = replace(CLOSED, sure=(Sure(IN, between),))
    early, late = after.beforehand(before), after.change(before)
    assert [one.text for one in early if isinstance(one, Nft)] == [*filter(None, [middle.moved(before)])]
    assert [one.text for one in late if isinstance(one, Nft)] == [*filter(None, [after.moved(middle)])]


def test_counting_begins_before_the_first_rules_and_ends_after_the_last() -> None:
    (early,) = CLOSED.beforehand(OPEN)
    assert isinstance(early, Nft)
    assert early.text == CLOSED.moved(OPEN)
    assert not early.apart, "the rules in the namespace wait for it"
    assert CLOSED.change(OPEN) == ()
    assert OPEN.beforehand(CLOSED) == ()
    assert [one.text for one in OPEN.change(CLOSED) if isinstance(one, Nft)] == [OPEN.moved(CLOSED)]
    beside = replace(CLOSED, sure=())
    assert beside.beforehand(CLOSED)
    assert beside.change(CLOSED) == (), "beside the rules of others nothing is sure"
    assert replace(CLOSED, families=FOUR + SIX).beforehand(OPEN) == (), "it is loaded as a whole"


def test_nothing_is_sure_beside_the_rules_of_others() -> None:
    attached = replace(CLOSED, sure=())
    assert "ct state" in CLOSED.text()
    assert "ct state" not in attached.text()
    assert [*attached.chains] == ["in-seen", "in-ok", "out-ok"]


@pytest.mark.parametrize("families", [FOUR, FOUR + SIX])
def test_what_surely_passes_is_counted_once_and_what_does_not_twice(families: str) -> None:
    both = replace(CLOSED, judged=(IN, OUT), sure=(Sure(IN, ("",)), Sure(OUT, ())), families=families)
    counted = {chain: {word for line in both._lines(chain) for word in line.split() if word.startswith("@")}
               for chain in both.chains}
    where = {"sure": "open", "seen": "seen", "ok": "ok"}
    assert counted == {f"{way}-{place}": {f"@{way}-{into}{family}" for family in families}
                       for way in (IN, OUT) for place, into in where.items()}
    assert [line for line in both._lines("in-ok") if "goto" in line] == [
        "ct state established,related goto in-sure", "ct state new goto in-sure"]
    assert [line for line in both._lines("out-ok") if "goto" in line] == [
        "ct state established,related goto out-sure"]


def match(left: object, right: object, op: str = "==") -> dict[str, object]:
    return {"match": {"op": op, "left": left, "right": right}}


STATE = match({"ct": {"key": "state"}}, ["established", "related"], "in")
NEW = match({"ct": {"key": "state"}}, "new", "in")
FROM6 = {"payload": {"protocol": "ip6", "field": "saddr"}}
MAPPED = IPv6Address("::ffff:1.2.3.4")
"""Some versions of Python and of nft write its end as an address of IPv4."""

PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
GOTO = {"goto": {"target": "in-sure"}}
LISTED = {
    'iifname != "eth0" accept': [match({"meta": {"key": "iifname"}}, "eth0", "!="), {"accept": None}],
    'ct state established,related counter name "in-before" accept': [
        STATE, {"counter": "in-before"}, {"accept": None}],
    'counter name "lost"': [{"counter": "lost"}],
    "ct state new goto in-sure": [NEW, GOTO],
    "ct state new tcp dport 80 goto in-sure": [NEW, match(PORT, 80), GOTO],
    "ct state new ip6 saddr fd00::/8 tcp dport 80-90 goto in-sure": [
        NEW, match(FROM6, {"prefix": {"addr": "fd00::", "len": 8}}),
        match(PORT, {"range": [80, 90]}), GOTO],
    f"ct state new ip6 saddr {MAPPED} meta l4proto udp goto in-sure": [
        NEW, match(FROM6, "::ffff:1.2.3.4"),
        match({"meta": {"key": "l4proto"}}, "udp"), GOTO]}
"""Lines of ours, and how nft 1.0.6 lists them."""


@pytest.mark.parametrize("line", LISTED)
def test_a_line_is_known_from_what_nft_lists_and_another_one_is_not(line: str) -> None:
    listed = [{"chain": {"name": "in-ok"}}, {"rule": {"chain": "in-ok", "expr": LISTED[line]}}]
    (found,) = shapes(listed)["in-ok"]
    assert [other for other in LISTED if shape_of(other) == found] == [line]


def test_a_chain_without_a_hook_lets_everything_pass() -> None:
    table = [{"chain": {"name": "in-sure"}},
             {"chain": {"name": "in-ok", "hook": "input", "policy": "accept"}},
             {"rule": {"chain": "in-ok", "expr": LISTED["ct state new goto in-sure"]}}]
    assert only_counts(table)
    assert not only_counts([*table, {"rule": {"chain": "in-ok", "expr": [{"drop": None}]}}])
    assert not only_counts([{"chain": {"name": "in-ok", "hook": "input", "policy": "drop"}}])
