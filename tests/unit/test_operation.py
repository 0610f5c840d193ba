"""A new type of operation is one class: whatever is made here runs, is rehearsed, scheduled and undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.engine.schedule import groups, waits
from vpcctl_lib.engine.step import Step, ready
from vpcctl_lib.engine.transaction import Transaction
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Command, Runner
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import Folder
from vpcctl_lib.resources.operation import NO_COUNTERS, Batch, Desk, Facts, Line, Operation


@frozen
class Light(Operation):
    """Turns a lamp on or off: a file beside the record, which is there while it shines."""

    lamp: str
    on: bool = True

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """At the lamp only."""
        return frozenset({self.lamp})

    def carry_out(self, desk: Desk) -> Facts:
        """By hand."""
        if self.on:
            (desk.folder / self.lamp).touch()
        else:
            (desk.folder / self.lamp).unlink()
        desk.notes.append(str(self))
        return {"shines": "yes"} if self.on else {}

    def __str__(self) -> str:
        return f"{'touch' if self.on else 'rm'} {self.lamp}"

    def typed(self, desk: Desk) -> str:
        """With the folder."""
        return f"{'touch' if self.on else 'rm'} {desk.folder / self.lamp}"


@frozen
class Broken(Operation):
    """Fails, when all before it is done."""

    def carry_out(self, desk: Desk) -> Facts:
        """It can't."""
        raise VpcctlError("it is broken")


class Touching(Batch):
    """Many files by one touch(1), which names those that it could not touch."""

    name = "touch"

    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """All at once."""
        return Command(("touch", *(step.path for step in self.steps)))

    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """It goes on after a failure."""
        return frozenset(number for number, step in enumerate(self.steps) if f"'{step.path}'" not in stderr)


@frozen
class Touch(Line):
    """A file made by touch(1)."""

    namespace: str
    path: str
    tool = Touching


@frozen
class Gone(Operation):
    """Takes a file away."""

    path: str

    def carry_out(self, desk: Desk) -> Facts:
        """If it is there."""
        Path(self.path).unlink(missing_ok=True)
        return {}


def entry(name: str) -> Entry:
    """What the steps are for: a folder that is there, so that the kernel may be asked for it."""
    return Entry(Folder(name))


def planned(*steps: tuple[Entry, Sequence[Operation], Sequence[Operation]]) -> Plan:
    made = tuple(Step(Verb.MAKE, one, ready(work), ready(undo)) for one, work, undo in steps)
    return Plan(made, (), tuple(one for one, _, _ in steps))


def lit(lamp: str) -> tuple[Entry, Sequence[Operation], Sequence[Operation]]:
    return entry(f"/nowhere/{lamp}"), (Light(lamp),), (Light(lamp, on=False),)


def apply(plan: Plan, store: Store) -> list[str]:
    return Transaction(Runner(), store).apply(plan, State(), Topology())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_it_carries_itself_out_and_its_facts_are_written_down(store: Store) -> None:
    assert sorted(apply(planned(lit("red"), lit("green")), store)) == ["touch green", "touch red"]
    assert (store.folder / "red").exists()
    assert [one.found for one in store.load().ledger] == [{"shines": "yes"}] * 2


def test_it_is_undone_when_a_later_one_fails(store: Store) -> None:
    with pytest.raises(VpcctlError) as raised:
        apply(planned(lit("red"), (entry("/nowhere"), (Broken(),), ())), store)
    assert raised.value.message == "it is broken; touch red; rm red"
    assert not (store.folder / "red").exists()
    assert store.load() == State()


def test_it_is_rehearsed_by_its_own_words(store: Store) -> None:
    told = commands(planned(lit("red")), Path("/var/lib/vpcctl"), Runner())
    assert told[0] == "touch /var/lib/vpcctl/red"


def test_it_waits_only_for_what_acts_in_its_place() -> None:
    found = list(groups(planned(lit("red"), lit("green"), lit("red")).steps))
    assert [group.batch() for group in found] == [None] * 3
    assert [others for _, others in waits(found)] == [frozenset(), frozenset(), frozenset({0})]


def test_without_a_place_it_waits_for_all() -> None:
    found = list(groups(planned(lit("red"), (entry("/a"), (Gone("/a"),), ()), lit("green")).steps))
    assert [others for _, others in waits(found)] == [frozenset(), frozenset({0}), frozenset({1})]


def test_a_tool_of_its_own_carries_out_several_at_once(tmp_path: Path, store: Store) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    plan = planned(*((entry(str(tmp_path)), (Touch("", str(path)),), ()) for path in (a, b)))
    (group,) = groups(plan.steps)
    assert str(group.batch().command()) == f"touch {a} {b}"  # type: ignore[union-attr]
    assert commands(plan, store.folder, Runner())[0] == f"touch {a} {b}"
    apply(plan, store)
    assert a.exists()
    assert b.exists()


def test_a_tool_of_its_own_says_how_far_it_came(tmp_path: Path, store: Store) -> None:
    good, bad = tmp_path / "good", tmp_path / "none" / "bad"
    plan = planned(*((entry(str(tmp_path)), (Touch("", str(path)),), (Gone(str(path)),))
                     for path in (good, bad)))
    with pytest.raises(VpcctlError, match="^touch failed: .*No such file or directory"):
        apply(plan, store)
    assert not good.exists(), "what took effect is undone"


def test_one_that_neither_runs_nor_has_a_tool_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="Operation has neither"):
        Desk(Runner(), tmp_path).carry_out(Operation())


