"""What a transaction makes of a command that fails: what is undone, told and recorded."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.engine import inspection, leavings, rivals, rule_order, transaction
from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.step import Step, ready
from vpcctl_lib.engine.transaction import Transaction
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.interrupts import Interrupted, Interrupts
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.kernel.saves import HeldChain, words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import (
    EMPTY,
    MISSING,
    Bridge,
    Chain,
    Condition,
    Fault,
    Folder,
    Guard,
    Member,
    Namespace,
    Operation,
    Operations,
    Program,
    Resource,
    SingleRule,
    changed,
)
from vpcctl_lib.resources.guard import FORM
from vpcctl_lib.resources.processes import Start, Stop

UNSUPPORTED = "RTNETLINK answers: Operation not supported"
NO_SUCH_THING = "this kernel does not support it (Operation not supported)"
TOPOLOGY = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),))
ONE, TWO = Namespace("one", "vpcctl:one"), Namespace("two", "vpcctl:two")
WEB = Program("one", "vpc1/web/worker", "logs/worker.log", ("sleep", "9"))
POLICY = Chain("one", "filter", "INPUT", ('-p tcp -m comment --comment "vpcctl:ingress.default" -j ACCEPT',))
OURS = Chain("", "filter", "VPCCTL-FORWARD", ("-j ACCEPT",))


@dataclass
class Host:
    """Runner, desk and kernel: carries out nothing, and says what the test has it say."""

    failing: dict[str, str] = field(default_factory=dict)
    """By what stands in a command what it says as it fails."""

    faults: dict[Hashable, Fault] = field(default_factory=dict)
    """By key, or by the resource itself, if it is the one before a change or the one after it."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    saved: str = ""
    unreadable: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    evidence: set[Path] = field(default_factory=set)
    left: list[Path] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    asked: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    swept: list[Resource] = field(default_factory=list)

    def change(self, command: Command) -> Outcome:
        self.done.append(str(command))
        said = next((said for text, said in self.failing.items() if text in str(command)), None)
        return Outcome(command, 0 if said is None else 1, "", said or "", 0.0)

    def ask(self, argv: tuple[str, ...], namespace: str = "", stdin: str = "") -> Outcome:
        self.asked.append((argv, namespace))
        return Outcome(Command(argv, stdin, namespace), 0, self.saved, "", 0.0)

    def carry_out(self, operation: Operation) -> Mapping[str, str]:
        self.done.append(f"{type(operation).__name__} {operation}")
        said = next((said for text, said in self.failing.items() if text in self.done[-1]), None)
        if said is not None:
            raise VpcctlError(said)
        return self.facts if isinstance(operation, Start) else {}

    def inspect(self, entries: Iterable[Entry]) -> dict[Hashable, Fault]:
        if self.unreadable:
            raise VpcctlError(self.unreadable)
        found = {
            entry.resource.key: self.faults.get(entry.resource, self.faults.get(entry.resource.key))
            for entry in entries
        }
        return {key: fault for key, fault in found.items() if fault}

    def chain(self, namespace: str, table: str, name: str, family: Family = Family.INET) -> HeldChain | None:
        if self.unreadable:
            raise VpcctlError(self.unreadable)
        return HeldChain("", tuple(map(words, self.chains[name]))) if name in self.chains else None

    def link(self, namespace: str, device: str) -> None:
        return None


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(transaction, "Desk", lambda runner, _: runner)
    monkeypatch.setattr(transaction, "Kernel", lambda runner: runner)
    monkeypatch.setattr(rule_order, "Kernel", lambda runner: runner)
    monkeypatch.setattr(inspection, "inspect", lambda kernel, entries: kernel.inspect(entries))
    monkeypatch.setattr(transaction, "HANDS", 1)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(rivals, "refusal", lambda culprit, _: VpcctlError(f"{culprit} is another's"))
    host = Host()

    def undone(found: Iterable[Resource], _: Path, evidence: set[Path]) -> list[Path]:
        assert evidence is host.evidence
        host.swept += found
        return host.left

    monkeypatch.setattr(leavings, "leavings", lambda gone, _: list(gone))
    monkeypatch.setattr(leavings, "sweep", lambda found, _: host.swept.extend(found))
    monkeypatch.setattr(leavings, "sweep_undone", undone)
    return host


def made(*resources: Resource) -> list[Step]:
    return [Step(Verb.MAKE, Entry(one), one.make, lambda one=one: one.unmake({})) for one in resources]


def gone(*resources: Resource, facts: Mapping[str, str] | None = None) -> list[Step]:
    return [
        Step(Verb.UNMAKE, Entry(one, dict(facts or {})), ready(one.unmake(facts or {})), one.make)
        for one in resources
    ]


def rewritten(old: Resource, new: Resource) -> Step:
    def back() -> Operations:
        return old.change(new)

    return Step(Verb.CHANGE, Entry(new), ready(new.change(old)), back, Entry(old))


def plan(*steps: Step) -> Plan:
    before = [step.old or step.entry for step in steps if step.verb is not Verb.MAKE]
    after = [step.entry for step in steps if step.verb is not Verb.UNMAKE]
    return Plan(steps, tuple(before), tuple(after))


def apply(host: Any, folder: Path, steps: Sequence[Step]) -> State:
    """What is recorded once the steps are carried out."""
    wanted = plan(*steps)
    before = State(Topology(), wanted.before)
    store = Store(folder)
    store.save(before)
    Transaction(host, store).apply(wanted, before, TOPOLOGY)
    return Store(folder).load()


def failure(host: Any, folder: Path, *steps: Step) -> VpcctlError:
    with pytest.raises(VpcctlError) as caught:
        apply(host, folder, steps)
    return caught.value


def put_back(folder: Path, *steps: Step) -> None:
    assert Store(folder).load() == State(Topology(), plan(*steps).before)


# What failed, in words.


def test_what_a_batch_failed_at_is_named_and_only_what_was_before_it_is_undone(
    host: Host, tmp_path: Path
) -> None:
    steps = made(*(Bridge("", f"br{number}", "02:00:00:00:00:01") for number in range(1, 4)))
    host.failing = {"link add": f"{UNSUPPORTED}\nCommand failed -:2"}
    told = failure(host, tmp_path, *steps)
    assert told.message == f"ip failed at {steps[1].entry.resource}: {NO_SUCH_THING}"
    assert told.hint.startswith("load its modules")
    assert "br1" in host.done[1]
    assert "del" in host.done[1]
    assert not [line for line in host.done[1:] if "br2" in line or "br3" in line]
    put_back(tmp_path)


def test_of_a_single_command_its_resource_is_named(host: Host, tmp_path: Path) -> None:
    host.failing["add one"] = UNSUPPORTED
    host.faults[ONE.key] = MISSING
    assert failure(host, tmp_path, *made(ONE)).message == f"ip failed at namespace one: {NO_SUCH_THING}"
    assert len(host.done) == 1, "nothing is undone"


def test_of_a_batch_that_does_not_say_nothing_is_named_and_the_kernel_is_asked(
    host: Host, tmp_path: Path
) -> None:
    host.failing["netns add"] = UNSUPPORTED
    host.faults[ONE.key] = MISSING
    assert failure(host, tmp_path, *made(ONE, TWO)).message == f"ip failed: {NO_SUCH_THING}"
    assert host.done[1:] == ["ip netns del two"]
    put_back(tmp_path)


def test_where_the_kernel_cannot_be_asked_all_of_it_is_undone(host: Host, tmp_path: Path) -> None:
    host.failing["netns add"] = UNSUPPORTED
    host.unreadable = "no answer"
    failure(host, tmp_path, *made(ONE, TWO))
    assert "netns del two\nnetns del one" in host.done[1]


def test_of_a_single_command_that_does_not_say_the_kernel_is_asked_too(host: Host, tmp_path: Path) -> None:
    rule = SingleRule("filter", "FORWARD", "-j ACCEPT")
    host.failing["-A FORWARD"] = "iptables-restore: odd"
    failure(host, tmp_path, *made(rule))
    assert any("-D FORWARD" in line for line in host.done), "it is there"
    host.done.clear()
    host.faults[rule.key] = MISSING
    failure(host, tmp_path, *made(rule))
    assert len(host.done) == 1


def test_of_several_of_which_one_is_there_already_the_kernel_tells_which_are_ours(
    host: Host, tmp_path: Path
) -> None:
    first, second = (Chain("", "filter", f"VPCCTL-{name}", ()) for name in "AB")
    host.failing["VPCCTL-B -"] = "iptables-restore: CHAIN_ADD failed (File exists)"
    host.failing["-N VPCCTL-B"] = "iptables-restore: CHAIN_ADD failed (File exists)"
    host.faults[second.key] = Fault(Condition.FOREIGN, "another's")
    host.chains = {"VPCCTL-A": (), "VPCCTL-B": ()}
    told = failure(host, tmp_path, *made(first, second))
    assert told.message == "chain VPCCTL-B of table filter on the host is another's"
    assert any("-X VPCCTL-A" in line for line in host.done[1:])
    assert not any("VPCCTL-B" in line for line in host.done[1:])


def test_what_has_another_reason_is_not_laid_to_what_is_there(host: Host, tmp_path: Path) -> None:
    host.failing["iptables-restore"] = "iptables-restore: line 3 failed: Operation not supported"
    host.chains, host.faults = {OURS.name: ()}, {OURS.key: Fault(Condition.FOREIGN, "another's")}
    assert failure(host, tmp_path, *made(OURS)).message == f"iptables-restore failed: {NO_SUCH_THING}"


def test_rules_that_fail_are_named_by_where_they_are(host: Host, tmp_path: Path) -> None:
    host.failing["iptables-restore"] = "iptables-restore: line 2 failed: Operation not supported"
    host.faults = {POLICY.key: MISSING, OURS.key: MISSING}
    assert failure(host, tmp_path, *made(POLICY)).message.startswith("iptables-restore failed in one: ")
    assert failure(host, tmp_path, *made(OURS)).message.startswith("iptables-restore failed: ")


def test_what_is_there_already_is_somebody_s_and_not_undone(host: Host, tmp_path: Path) -> None:
    host.failing["add one"] = "RTNETLINK answers: File exists"
    told = failure(host, tmp_path, *made(ONE))
    assert told.message == "namespace one is another's"
    assert len(host.done) == 1


@pytest.mark.parametrize(
    ("stands", "told"),
    [
        ({"VPCCTL-FORWARD": ()}, "chain VPCCTL-FORWARD of table filter on the host is another's"),
        ({"INPUT": ()}, "iptables-restore failed: "),
        ({}, "iptables-restore failed: "),
    ],
)
def test_a_chain_that_is_there_already_is_found_by_asking(
    host: Host, tmp_path: Path, stands: dict[str, tuple[str, ...]], told: str
) -> None:
    host.failing["iptables-restore"] = "iptables-restore: CHAIN_ADD failed (File exists): chain"
    host.chains, host.faults = stands, {OURS.key: Fault(Condition.FOREIGN, "another's")}
    builtin = Chain("", "filter", "INPUT", ("-j ACCEPT",))
    host.faults[builtin.key] = MISSING
    assert failure(host, tmp_path, *made(builtin, OURS)).message.startswith(told)


def test_where_chains_cannot_be_read_none_is_named(host: Host, tmp_path: Path) -> None:
    host.failing["iptables-restore"] = "iptables-restore: CHAIN_ADD failed (File exists): chain"
    host.unreadable = "no answer"
    assert failure(host, tmp_path, *made(OURS)).message.startswith("iptables-restore failed: ")


def test_where_only_chains_cannot_be_read_none_is_named(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise VpcctlError("no answer")

    monkeypatch.setattr(host, "chain", unreadable)
    host.failing["iptables-restore"] = "iptables-restore: CHAIN_ADD failed (File exists): chain"
    host.faults[OURS.key] = MISSING
    assert failure(host, tmp_path, *made(OURS)).message.startswith("iptables-restore failed: ")


# Counters.

SAVED = '*filter\n[7:700] -A INPUT -p tcp -m comment --comment "vpcctl:ingress.default" -j ACCEPT\nCOMMIT\n'


def test_a_policy_that_is_changed_keeps_its_counters(host: Host, tmp_path: Path) -> None:
    host.saved = SAVED
    old = Chain("one", "filter", "INPUT", (*POLICY.rules, '-m comment --comment "vpcctl:ingress[0]" -j DROP'))
    apply(host, tmp_path, [rewritten(old, POLICY)])
    assert host.asked == [(("iptables-save", "-c", "-t", "filter"), "one")]
    assert "iptables-restore -w --noflush -c" in host.done[0]
    assert "[7:700] -A INPUT -p tcp" in host.done[0]


def test_a_policy_that_is_changed_beside_something_new_keeps_them_too(host: Host, tmp_path: Path) -> None:
    host.saved = SAVED
    more = Chain("one", "filter", "OUTPUT", ("-j ACCEPT",))
    old = Chain("one", "filter", "INPUT", (*POLICY.rules, '-m comment --comment "vpcctl:ingress[0]" -j DROP'))
    apply(host, tmp_path, [rewritten(old, POLICY), *made(more)])
    assert len(host.done) == 1
    assert "[7:700] -A INPUT -p tcp" in host.done[0]


@pytest.mark.parametrize(
    "step",
    [
        made(POLICY)[0],
        rewritten(Chain("", "filter", "VPCCTL-FORWARD", ("-j DROP",)), OURS),
        rewritten(Bridge("one", "br", "02:00:00:00:00:01"), Bridge("one", "br", "02:00:00:00:00:02")),
    ],
)
def test_what_is_no_change_of_a_policy_has_no_counters(host: Host, tmp_path: Path, step: Step) -> None:
    host.saved = SAVED
    apply(host, tmp_path, [step])
    assert host.asked == []
    assert not any("[7:700]" in line for line in host.done)


# What goes.


def test_what_is_gone_already_is_no_failure(host: Host, tmp_path: Path) -> None:
    host.failing["netns del"] = 'Cannot remove namespace file "/run/netns/one": No such file or directory'
    assert apply(host, tmp_path, gone(ONE, TWO)) == State(TOPOLOGY)
    assert host.done == ["ip -force -batch - <<'EOF'\nnetns del one\nnetns del two\nEOF"]


def test_what_cannot_be_taken_away_is_told_and_what_went_is_made_again(host: Host, tmp_path: Path) -> None:
    host.failing["netns del"] = "RTNETLINK answers: Device or resource busy"
    host.faults[TWO.key] = MISSING
    steps = gone(ONE, TWO)
    told = failure(host, tmp_path, *steps)
    assert "busy" in told.message
    assert told.message.startswith("ip: ")
    assert [line for line in host.done[1:] if "add one" in line] == []
    assert any("netns add two" in line for line in host.done[1:])
    put_back(tmp_path, *steps)


RULES = tuple(
    SingleRule(table, chain, f"-s 10.0.{number}.0/24 -j ACCEPT")
    for number, (table, chain) in enumerate(
        (("nat", "POSTROUTING"), ("filter", "FORWARD"), ("filter", "FORWARD"))
    )
)


def test_a_rule_that_is_missing_keeps_no_other_from_going(host: Host, tmp_path: Path) -> None:
    steps = gone(*RULES)
    host.failing = {
        "*nat\n": "line 5 failed: does a matching rule exist in that chain",
        "10.0.1.0": "line 2 failed: does a matching rule exist in that chain",
    }
    assert apply(host, tmp_path, steps) == State(TOPOLOGY)
    assert len(host.done) == 3, "all, then each that was not committed"
    assert [("10.0.0.0" in line, "10.0.1.0" in line, "10.0.2.0" in line) for line in host.done] == [
        (True, True, True),
        (False, True, False),
        (False, False, True),
    ]


@pytest.mark.parametrize("said", ["line 2 failed: does a matching rule exist in that chain", ""])
def test_of_two_rules_that_fail_each_goes_by_itself(host: Host, tmp_path: Path, said: str) -> None:
    host.failing["10.0.1.0"] = said
    host.faults = {RULES[1].key: MISSING}
    assert apply(host, tmp_path, gone(*RULES[1:])) == State(TOPOLOGY)
    assert [("10.0.1.0" in line, "10.0.2.0" in line) for line in host.done] == [
        (True, True),
        (True, False),
        (False, True),
    ]


def test_a_tool_that_says_why_is_believed(host: Host, tmp_path: Path) -> None:
    host.failing["netns del"] = "RTNETLINK answers: Device or resource busy"
    host.faults[ONE.key] = MISSING
    assert "busy" in failure(host, tmp_path, *gone(ONE)).message


def test_what_is_there_is_no_excuse_for_what_does_not_go(host: Host, tmp_path: Path) -> None:
    host.failing["netns del"] = "RTNETLINK answers: File exists"
    assert failure(host, tmp_path, *gone(ONE)).message == "ip: it already exists"


def test_a_tool_that_is_not_there_is_reported(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: Command) -> Outcome:
        raise VpcctlError("ip not found")

    monkeypatch.setattr(host, "change", missing)
    steps = gone(ONE)
    assert failure(host, tmp_path, *steps).message == "ip not found"
    put_back(tmp_path, *steps)


def test_a_tool_that_was_cut_off_may_have_done_its_work(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = host.change

    def cut_off(_: Command) -> Outcome:
        monkeypatch.setattr(host, "change", change)
        raise VpcctlError("ip takes too long")

    monkeypatch.setattr(host, "change", cut_off)
    host.faults[ONE.key] = MISSING
    assert failure(host, tmp_path, *gone(ONE)).message == "ip takes too long"
    assert host.done == ["ip netns add one"]


@pytest.mark.parametrize(("fault", "fine"), [(MISSING, True), (None, False), (changed("x"), False)])
def test_the_older_iptables_fails_without_a_reason(
    host: Host, tmp_path: Path, fault: Fault | None, fine: bool
) -> None:
    (rule,) = RULES[:1]
    host.failing["-D POSTROUTING"] = ""
    host.faults = {rule.key: fault} if fault else {}
    if fine:
        assert apply(host, tmp_path, gone(rule)) == State(TOPOLOGY)
    else:
        assert failure(host, tmp_path, *gone(rule)).message == "iptables-restore: exit status 1"


def test_where_the_kernel_cannot_be_asked_a_failure_is_one(host: Host, tmp_path: Path) -> None:
    host.failing["-D POSTROUTING"], host.unreadable = "", "no answer"
    assert "iptables-restore: exit status 1" in failure(host, tmp_path, *gone(RULES[0])).message


# The undo.


def test_what_could_not_be_undone_is_told_and_stays_in_the_record(host: Host, tmp_path: Path) -> None:
    host.failing = {
        "iptables-restore": "iptables-restore: line 2 failed: Operation not supported",
        "netns del": "RTNETLINK answers: Device or resource busy",
    }
    host.faults = {POLICY.key: MISSING}
    steps = made(ONE, POLICY)
    told = failure(host, tmp_path, *steps)
    assert "; and this could not be undone: ip: " in told.message
    state = Store(tmp_path).load()
    assert [entry.under_way for entry in state.ledger] == [Verb.MAKE, Verb.MAKE]
    assert (state.topology, state.previous) == (Topology(), Topology())


def test_a_failed_undo_has_a_way_on_where_the_failure_had_none(host: Host, tmp_path: Path) -> None:
    host.failing = {"Start": "it does not start", "netns del": "odd"}
    host.faults = {WEB.key: MISSING}
    assert failure(host, tmp_path, *made(ONE, WEB)).hint == "cleanup.sh removes all that bears vpcctl's mark"
    host.failing = {"Start": "it does not start"}
    assert failure(host, tmp_path, *made(ONE, WEB)).hint == ""


def test_what_could_not_be_done_need_not_be_undone(host: Host, tmp_path: Path) -> None:
    host.failing = {"Start": "it does not start", "Stop": "no such process"}
    told = failure(host, tmp_path, *made(ONE, WEB))
    assert told.message == "it does not start; and this could not be undone: no such process"
    host.faults = {WEB.key: MISSING}
    assert failure(host, tmp_path, *made(ONE, WEB)).message == "it does not start"


def test_a_program_that_ended_by_itself_need_not_be_stopped(host: Host, tmp_path: Path) -> None:
    host.failing = {"netns add two": UNSUPPORTED, "Stop": "no such process"}
    host.faults = {TWO.key: MISSING, WEB.key: MISSING}
    told = failure(host, tmp_path, *made(WEB, TWO))
    assert told.message == f"ip failed at namespace two: {NO_SUCH_THING}"
    assert any(line.startswith("Stop") for line in host.done)


def test_of_several_problems_of_an_undo_only_those_that_are_some_are_told(host: Host, tmp_path: Path) -> None:
    host.failing = {
        "Start": "it does not start",
        "netns add": "RTNETLINK answers: Device or resource busy\nRTNETLINK answers: File exists\nodd",
    }
    host.faults = {WEB.key: MISSING}
    told = failure(host, tmp_path, *gone(ONE, TWO), *made(WEB)).message
    assert told.partition("could not be undone: ")[2] == "ip: it is in use (Device or resource busy); odd"


def test_what_is_there_again_already_is_no_failed_undo(host: Host, tmp_path: Path) -> None:
    host.failing = {"Start": "it does not start", "netns add one": "RTNETLINK answers: File exists"}
    host.faults = {WEB.key: MISSING}
    assert failure(host, tmp_path, *gone(ONE), *made(WEB)).message == "it does not start"


def test_notes_and_what_is_left_are_told_with_a_failure(host: Host, tmp_path: Path) -> None:
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    host.notes, host.left = ["2 processes were ended"], [Path("/var/log/worker.log")]
    told = failure(host, tmp_path, *made(ONE, WEB))
    assert (told.message, told.hint) == (
        "it does not start; 2 processes were ended",
        "all of it: /var/log/worker.log",
    )
    assert host.swept == [ONE, WEB]


def test_a_record_that_cannot_be_put_back_is_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    save, saved = Store.save, []

    def failing(store: Store, state: State) -> None:
        saved.append(state)
        if len(saved) == 3:
            raise VpcctlError("the disk is full")
        save(store, state)

    monkeypatch.setattr(Store, "save", failing)
    told = failure(host, tmp_path, *made(ONE, WEB))
    assert told.message == "it does not start; and this could not be undone: the disk is full"


def test_an_interrupt_says_that_all_was_put_back_only_if_it_was(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise Interrupted(15)

    monkeypatch.setattr(Transaction, "_alone", interrupted)
    host.faults = {WEB.key: MISSING}
    assert failure(host, tmp_path, *made(ONE, WEB)).message.endswith("; everything was put back as it was")
    host.failing = {"netns del": "odd"}
    assert "put back" not in failure(host, tmp_path, *made(ONE, WEB)).message


def test_rules_go_back_to_where_they_stood(host: Host, tmp_path: Path) -> None:
    rule = SingleRule("filter", "FORWARD", "-s 10.0.1.0/24 -j ACCEPT")
    host.chains = {"FORWARD": ("-j A", rule.rule, "-j B")}
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    failure(host, tmp_path, *gone(rule), *made(WEB))
    assert f"-I FORWARD 2 {rule.rule}" in host.done[-1]


def test_rules_go_to_the_end_where_their_place_cannot_be_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = SingleRule("filter", "FORWARD", "-s 10.0.1.0/24 -j ACCEPT")

    def unreadable(*_: object) -> None:
        raise VpcctlError("the rules can't be read")

    monkeypatch.setattr(rule_order.RuleOrder, "back", unreadable)
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    told = failure(host, tmp_path, *gone(rule), *made(WEB))
    assert "could not be undone: the order of the host's rules: the rules can't be read" in told.message
    assert any("-A FORWARD" in line or "-I FORWARD" in line for line in host.done[2:])


# Facts.


def test_what_has_no_facts_is_recorded_without(host: Host, tmp_path: Path) -> None:
    host.facts = {"pid": "7"}
    assert [entry.found for entry in apply(host, tmp_path, made(OURS, WEB)).ledger] == [{}, {"pid": "7"}]


def test_what_is_learned_of_a_thing_adds_to_what_its_making_told(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Program, "learn", lambda _: {"start": "9"})
    host.facts = {"pid": "7"}
    assert [entry.found for entry in apply(host, tmp_path, made(WEB)).ledger] == [{"pid": "7", "start": "9"}]


def test_what_was_stopped_again_leaves_no_facts(host: Host, tmp_path: Path) -> None:
    """A program that had ended, started anew, and stopped again by the undo."""
    host.facts, host.failing, host.faults = {"pid": "9"}, {"netns add two": UNSUPPORTED}, {TWO.key: MISSING}
    steps = (*made(WEB), *made(TWO))
    before = State(Topology(), (Entry(WEB, {"pid": "7"}),))
    store = Store(tmp_path)
    store.save(before)
    runner: Any = host
    with pytest.raises(VpcctlError):
        Transaction(runner, store).apply(
            Plan(steps, before.ledger, tuple(step.entry for step in steps)), before, TOPOLOGY
        )
    assert any(line.startswith("Start") for line in host.done)
    assert Store(tmp_path).load() == before


def test_what_was_learned_in_making_is_recorded(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Namespace, "learn", lambda self: {"identity": f"of {self.name}"})
    host.facts = {"pid": "7"}
    state = apply(host, tmp_path, made(ONE, WEB))
    assert [entry.found for entry in state.ledger] == [{"identity": "of one"}, {"pid": "7"}]
    assert state == State(TOPOLOGY, state.ledger)


def test_what_is_made_again_by_an_undo_is_recorded_with_its_new_facts(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Namespace, "learn", lambda self: {"identity": f"of {self.name}"})
    host.failing = {"netns add two": "odd"}
    host.faults, host.facts = {TWO.key: MISSING}, {"pid": "8"}
    steps = [*gone(WEB, facts={"pid": "7", "main": "9"}), *gone(ONE), *made(TWO)]
    failure(host, tmp_path, *steps)
    assert [(entry.resource, entry.found) for entry in Store(tmp_path).load().ledger] == [
        (WEB, {"pid": "8", "main": "9"}),
        (ONE, {"identity": "of one"}),
    ]


def test_logs_go_of_what_goes_and_not_of_what_is_made_anew(host: Host, tmp_path: Path) -> None:
    apply(host, tmp_path, [*gone(WEB, ONE), *made(WEB)])
    assert host.swept == [ONE]
    assert [kind.__name__ for kind in (Stop, Start)] == [
        line.split()[0] for line in host.done if line.startswith(("Stop", "Start"))
    ]


# What took effect.


@pytest.mark.parametrize(
    ("verb", "effects"),
    [
        (
            Verb.MAKE,
            {
                "nothing": True,
                "missing": False,
                "empty": True,
                "changed": True,
                "foreign": False,
                "unreadable": True,
            },
        ),
        (
            Verb.CHANGE,
            dict.fromkeys(("nothing", "missing", "empty", "changed", "foreign", "unreadable"), True),
        ),
        (
            Verb.UNMAKE,
            {
                "nothing": False,
                "missing": True,
                "empty": True,
                "changed": True,
                "foreign": True,
                "unreadable": True,
            },
        ),
    ],
)
def test_whether_there_is_something_to_take_back(verb: Verb, effects: dict[str, bool]) -> None:
    faults = {
        "nothing": None,
        "missing": MISSING,
        "empty": EMPTY,
        "changed": changed("x"),
        "foreign": Fault(Condition.FOREIGN, "x"),
        "unreadable": Fault(Condition.UNREADABLE, "x"),
    }
    step = Step(verb, Entry(Folder("/a")), tuple, tuple)
    assert {name: step.took_effect(fault) for name, fault in faults.items()} == effects


# What of an undo depends on how it was.


@pytest.mark.parametrize(("fault", "fine"), [(None, True), (MISSING, False), (changed("x"), False)])
def test_a_change_that_need_not_be_undone_is_as_before(
    host: Host, tmp_path: Path, fault: Fault | None, fine: bool
) -> None:
    old, new = (Chain("", "filter", "VPCCTL-FORWARD", (rule,)) for rule in ("-j DROP", "-j ACCEPT"))
    host.failing = {"Start": "it does not start", "-A VPCCTL-FORWARD -j DROP": ""}
    host.faults = {WEB.key: MISSING, old.key: fault} if fault else {WEB.key: MISSING}
    told = failure(host, tmp_path, rewritten(old, new), *made(WEB)).message
    assert ("could not be undone" not in told) is fine


def test_it_is_the_state_before_the_change_that_is_asked_for(host: Host, tmp_path: Path) -> None:
    old, new = (Chain("", "filter", "VPCCTL-FORWARD", (rule,)) for rule in ("-j DROP", "-j ACCEPT"))
    host.failing = {"Start": "it does not start", "-A VPCCTL-FORWARD -j DROP": ""}
    host.faults = {WEB.key: MISSING, new: changed("x")}
    assert failure(host, tmp_path, rewritten(old, new), *made(WEB)).message == "it does not start"
    host.faults = {WEB.key: MISSING, old: changed("x")}
    told = failure(host, tmp_path, rewritten(old, new), *made(WEB)).message
    assert "could not be undone" in told


def test_where_it_cannot_be_seen_whether_it_is_so_the_undo_failed(host: Host, tmp_path: Path) -> None:
    host.failing, host.unreadable = {"Start": "it does not start", "Stop": "busy"}, "no answer"
    assert "could not be undone: busy" in failure(host, tmp_path, *made(ONE, WEB)).message


def test_a_program_that_does_not_stop_keeps_its_namespace(host: Host, tmp_path: Path) -> None:
    host.failing = {"Stop": "can't stop it", "kill": "can't stop it"}
    steps = gone(WEB, ONE, facts={"pid": "7"})
    assert failure(host, tmp_path, *steps).message == "can't stop it"
    put_back(tmp_path, *steps)
    # Who can't be asked to stop may be gone: that is a failure all the same.
    host.faults[WEB.key] = MISSING
    assert failure(host, tmp_path, *steps).message == "can't stop it"


def test_a_hint_of_the_failure_stays_before_that_of_the_undo(host: Host, tmp_path: Path) -> None:
    host.failing = {"netns add two": f"{UNSUPPORTED}", "Stop": "busy"}
    host.faults, host.left = {TWO.key: MISSING}, [Path("/log")]
    told = failure(host, tmp_path, *made(WEB, TWO))
    assert told.hint.startswith("load its modules")
    host.failing = {"netns add two": f"{UNSUPPORTED}"}
    told = failure(host, tmp_path, *made(WEB, TWO))
    assert told.hint.startswith("load its modules")
    assert told.hint.endswith("; all of it: /log")


def test_only_what_was_made_is_undone_and_only_new_logs_go(host: Host, tmp_path: Path) -> None:
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    failure(host, tmp_path, *made(ONE, WEB))
    assert [line for line in host.done if "Stop" in line] == []
    host.swept.clear()
    old = Chain("", "filter", "VPCCTL-FORWARD", ("-j DROP",))
    failure(host, tmp_path, rewritten(old, OURS), *made(WEB))
    assert host.swept == [WEB], "what was there before keeps what it has"


def test_what_went_with_its_home_is_made_again_with_it_and_not_without(host: Host, tmp_path: Path) -> None:
    inside = Bridge("one", "br", "02:00:00:00:00:01")

    def steps() -> list[Step]:
        covered = Step(Verb.UNMAKE, Entry(inside), tuple, inside.make)
        return [covered, *gone(ONE), *made(WEB)]

    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    failure(host, tmp_path, *steps())
    assert "link add br" in host.done[-1]
    host.done.clear()
    # Nothing was done at all: the bridge is there.
    host.failing = {"netns del": "RTNETLINK answers: Device or resource busy"}
    failure(host, tmp_path, *steps())
    assert not any("link add br" in line for line in host.done)


def test_rules_that_were_made_do_not_count_as_standing(host: Host, tmp_path: Path) -> None:
    mine, late = (SingleRule("filter", "FORWARD", f"-s 10.0.{n}.0/24 -j ACCEPT") for n in (1, 2))
    host.chains = {"FORWARD": ("-j A", mine.rule, "-j B")}
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    failure(host, tmp_path, *gone(mine), *made(late, WEB))
    assert f"-I FORWARD 2 {mine.rule}" in host.done[-1]
    assert any(f"-D FORWARD {late.rule}" in line for line in host.done)
    # The one that was made stands before it until it has gone.
    host.done.clear()
    host.chains = {"FORWARD": ("-j A", late.rule, mine.rule)}
    failure(host, tmp_path, *gone(mine), *made(late, WEB))
    assert f"-I FORWARD 2 {mine.rule}" in host.done[-1]


def test_an_undo_is_one_command_where_it_can_be(host: Host, tmp_path: Path) -> None:
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    failure(host, tmp_path, *gone(ONE), *made(TWO, WEB))
    assert host.done[-1] == "ip -force -batch - <<'EOF'\nnetns del two\nnetns add one\nEOF"


def test_a_signal_during_the_last_command_undoes_that_too(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(_: object) -> None:
        if host.done:
            raise Interrupted(15)

    monkeypatch.setattr(Interrupts, "check", check)
    with pytest.raises(Interrupted):
        apply(host, tmp_path, made(ONE))
    assert host.done == ["ip netns add one", "ip netns del one"]
    put_back(tmp_path)


def test_a_rule_that_was_made_anew_goes_and_comes_back_in_its_place(host: Host, tmp_path: Path) -> None:
    rule = SingleRule("filter", "FORWARD", "-s 10.0.1.0/24 -j ACCEPT")
    host.chains = {"FORWARD": ("-j A", rule.rule, "-j B")}
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    failure(host, tmp_path, *gone(rule), *made(rule, WEB))
    assert [line for line in host.done[-1].splitlines() if "FORWARD" in line] == [
        f"-D FORWARD {rule.rule}",
        f"-I FORWARD 2 {rule.rule}",
    ]


def test_a_rule_that_must_not_come_back_does_not(host: Host, tmp_path: Path) -> None:
    rule = SingleRule("filter", "FORWARD", "-s 10.0.1.0/24 -j ACCEPT")
    host.chains = {"FORWARD": ("-j A", rule.rule)}
    host.failing, host.faults = {"Start": "it does not start"}, {WEB.key: MISSING}
    away = Step(Verb.UNMAKE, Entry(rule), ready(rule.unmake({})), tuple)
    failure(host, tmp_path, away, *made(WEB))
    assert not any("-I FORWARD" in line or "-A FORWARD" in line for line in host.done)


def guard(*addresses: str) -> Guard:
    members = (Member(f"s-{n}", f"02:00:00:00:00:0{n}", IPv4Address(one), "10.0.1.0/24 private")
               for n, one in enumerate(addresses))
    return Guard("one", tuple(members), FORM, True)


@pytest.mark.parametrize("fails", [False, True])
def test_a_guard_is_loaded_whole_if_it_cannot_be_changed(host: Host, tmp_path: Path, fails: bool) -> None:
    old, new = guard("10.0.1.2"), guard("10.0.1.2", "10.0.1.3")
    host.failing = {new.change(old)[0].text: "Error: No such file or directory"} if fails else {}
    assert apply(host, tmp_path, [rewritten(old, new)]) == State(TOPOLOGY, (Entry(new),))
    assert len(host.done) == (2 if fails else 1)
    assert ("table bridge" in host.done[-1]) is fails
