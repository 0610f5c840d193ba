"""Chains and rules of IPv6 beside those of IPv4: planned, rehearsed, recorded, checked, undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.engine.strays import strays
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall import families
from vpcctl_lib.kernel import netns, run
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Command, Outcome, Runner
from vpcctl_lib.kernel.saves import words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import Chain, Resource, SingleRule
from vpcctl_lib.resources.base import Condition, Part
from vpcctl_lib.resources.operations import Iptables

RULE = '-s fd00:1::/64 -m comment --comment "vpcctl:vpc1" -j ACCEPT'
HOST_CHAIN = Chain("", "filter", "VPCCTL-FORWARD", (RULE,), family=Family.INET6)
ROUTER_CHAIN = Chain("vpc1", "filter", "FORWARD", (RULE,), policy="DROP", family=Family.INET6)
JUMP = SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD", top=True, family=Family.INET6)
ALL = (ROUTER_CHAIN, HOST_CHAIN, JUMP)
SAVED = f"""*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:VPCCTL-FORWARD - [0:0]
-A FORWARD -j VPCCTL-FORWARD
-A VPCCTL-FORWARD {RULE}
COMMIT
"""
INSIDE = f"*filter\n:FORWARD DROP [0:0]\n-A FORWARD {RULE}\nCOMMIT\n"


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """What each tool prints, by namespace and name; nothing else is asked."""
    said = {("", "ip6tables-save"): SAVED, ("vpc1", "ip6tables-save"): INSIDE}

    def answer(command: Command, **_: object) -> Outcome:
        text = said[command.namespace, command.argv[0]]
        return Outcome(command, 0 if text else 1, text, "" if text else "Operation not permitted", 1.0)

    monkeypatch.setattr(run, "_run", answer)
    monkeypatch.setattr(netns, "names", lambda: frozenset({"vpc1"}))
    monkeypatch.setattr(netns, "exists", lambda name: name == "vpc1")
    return said


def kernel() -> Kernel:
    return Kernel(Runner())


def fault(one: Resource) -> str:
    found = one.check(kernel(), {})
    return f"{found.condition.value} {found.detail}".strip() if found else ""


def test_of_both_families_each_is_a_thing_of_its_own() -> None:
    fourth = Chain("", "filter", "VPCCTL-FORWARD", (RULE,))
    assert fourth.key != HOST_CHAIN.key
    assert str(fourth) == "chain VPCCTL-FORWARD of table filter on the host"
    assert str(HOST_CHAIN) == "chain VPCCTL-FORWARD of table filter of ip6tables on the host"
    plan = difference([Entry(fourth)], [HOST_CHAIN])
    assert [(step.verb, step.entry.resource) for step in plan.steps] \
        == [(Verb.UNMAKE, fourth), (Verb.MAKE, HOST_CHAIN)]
    old = Chain("", "filter", "VPCCTL-FORWARD", (), family=Family.INET6)
    (step,) = difference([Entry(old)], [HOST_CHAIN]).steps
    assert step.verb is Verb.CHANGE


def test_a_rehearsal_prints_the_tool_of_each_family(tmp_path: Path) -> None:
    beside = SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD", top=True)
    printed = commands(difference([], [HOST_CHAIN, JUMP, beside]), tmp_path, Runner())
    assert printed[:-1] == [
        "ip6tables-restore -w --noflush <<'EOF'\n*filter\n-N VPCCTL-FORWARD\n"
        f"-A VPCCTL-FORWARD {RULE}\n-I FORWARD 1 -j VPCCTL-FORWARD\nCOMMIT\nEOF",
        "iptables-restore -w --noflush <<'EOF'\n*filter\n-I FORWARD 1 -j VPCCTL-FORWARD\nCOMMIT\nEOF"]
    inside, _ = commands(difference([], [ROUTER_CHAIN]), tmp_path, Runner())
    assert inside.startswith("ip netns exec vpc1 ip6tables-restore -w --noflush <<")
    away, _ = commands(difference([Entry(HOST_CHAIN), Entry(JUMP)], []), tmp_path, Runner())
    assert away == ("ip6tables-restore -w --noflush <<'EOF'\n*filter\n-D FORWARD -j VPCCTL-FORWARD\n"
                    "-F VPCCTL-FORWARD\n-X VPCCTL-FORWARD\nCOMMIT\nEOF")


def test_a_line_that_would_be_misread_is_refused_by_the_name_of_its_tool() -> None:
    batch = Iptables("", "filter", "-A INPUT\nCOMMIT", Family.INET6).batch(
        [Iptables("", "filter", "-A INPUT\nCOMMIT", Family.INET6)])
    assert batch is not None
    with pytest.raises(VpcctlError, match="passed to ip6tables-restore"):
        batch.command()


def test_a_change_asks_for_the_counters_of_its_own_family(says: dict[tuple[str, str], str]) -> None:
    counted = SAVED.replace("-A VPC", "[7:70] -A VPC")
    says["", "ip6tables-save"] = counted
    line = Iptables("", "filter", f"-A VPCCTL-FORWARD {RULE}", Family.INET6)
    batch = line.batch([line])
    assert batch is not None
    assert batch.counters(Runner()) == {line.line: "[7:70]"}


def test_what_is_as_it_was_made_has_no_fault(says: dict[tuple[str, str], str]) -> None:
    assert [fault(one) for one in ALL] == ["", "", ""]


def test_what_was_lost_is_a_fault(says: dict[tuple[str, str], str]) -> None:
    says["", "ip6tables-save"] = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    says["vpc1", "ip6tables-save"] = INSIDE.replace("DROP", "ACCEPT")
    assert [fault(one) for one in ALL] == ["changed its policy is ACCEPT, not DROP", "missing", "missing"]
    says["vpc1", "ip6tables-save"] = ""
    with pytest.raises(VpcctlError, match="the rules of vpc1 can't be read: ip6tables-save failed"):
        kernel().chain("vpc1", "filter", "FORWARD", Family.INET6)


def test_both_families_of_a_namespace_are_read_and_kept_apart(says: dict[tuple[str, str], str]) -> None:
    says["", "iptables-save"] = "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"
    held = kernel()
    for _ in range(2):
        assert held.chain("", "filter", "VPCCTL-FORWARD") is None
        sixth = held.chain("", "filter", "VPCCTL-FORWARD", Family.INET6)
        assert sixth is not None
        assert sixth.rules == (words(RULE),)


def test_what_nft_put_in_the_way_is_removed_in_its_own_family(says: dict[tuple[str, str], str]) -> None:
    says["vpc1", "ip6tables-save"] = f"# Table `filter' is incompatible, use 'nft' tool.\n{INSIDE}"
    found = ROUTER_CHAIN.check(kernel(), {})
    assert found is not None
    assert found.condition is Condition.UNREADABLE
    assert [one.text for one in found.remedy] == ["add table ip6 filter\ndelete table ip6 filter\n"]


def test_all_packets_are_the_same_with_and_without_a_prefix() -> None:
    assert words("-s ::/0 -d fd00::1/128 -j DROP") == words("-d fd00::1/128 -j DROP")


def test_strays_are_looked_for_in_ipv6_once_something_of_it_is_recorded(
        says: dict[tuple[str, str], str]) -> None:
    says["", "iptables-save"] = "*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    assert strays(kernel(), [Entry(ROUTER_CHAIN)]) == []
    assert strays(kernel(), [Entry(HOST_CHAIN)]) == [
        SingleRule("filter", "FORWARD", "-j VPCCTL-FORWARD", family=Family.INET6)]
    assert strays(kernel(), [Entry(JUMP)]) == [HOST_CHAIN]
    assert strays(kernel(), [Entry(one) for one in ALL]) == []


def test_a_chain_of_a_lost_record_is_known_by_its_own_family(says: dict[tuple[str, str], str]) -> None:
    says["", "iptables-save"] = "*filter\n:VPCCTL-FORWARD - [0:0]\n-A VPCCTL-FORWARD -j DROP\nCOMMIT\n"
    assert HOST_CHAIN.is_left_over(kernel())
    assert HOST_CHAIN.owner_found(kernel()) == ("", "ip6tables -t filter -F VPCCTL-FORWARD")
    fourth = Chain("", "filter", "VPCCTL-FORWARD", ())
    assert not fourth.is_left_over(kernel())


def test_rules_of_ipv6_do_not_let_out_packets_of_ipv4() -> None:
    assert Chain("", "filter", "VPCCTL-FORWARD", ()).lets_out("vpcctl:vpc1") is Part.PASSAGE
    assert HOST_CHAIN.lets_out("vpcctl:vpc1") is None
    assert JUMP.lets_out("vpcctl:vpc1") is None


def test_a_rule_makes_way_only_for_one_of_its_family() -> None:
    old = SingleRule("nat", "POSTROUTING", "-s fd00::/64 -j MASQUERADE", family=Family.INET6)
    chains = {family: Chain("", "nat", "VPCCTL-POSTROUTING", (old.rule,), family=family) for family in Family}
    assert old.makes_way([chains[Family.INET6]])
    assert not old.makes_way([chains[Family.INET]])


def test_the_record_names_the_family_only_of_ipv6(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    fourth = SingleRule("filter", "FORWARD", "-j ACCEPT")
    store = Store(tmp_path)
    store.save(State(Topology(), (Entry(fourth), *map(Entry, ALL))))
    first, *others = json.loads(store.file.read_text())["ledger"]
    assert "family" not in json.dumps(first)
    assert all('"family": "inet6"' in json.dumps(one) for one in others)
    assert [entry.resource for entry in Store(tmp_path).load().ledger] == [fourth, *ALL]


def test_each_protocol_is_known_by_what_the_tools_call_it() -> None:
    assert [families.named(families.word(one)) for one in Protocol] == [*Protocol]
