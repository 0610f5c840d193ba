"""The one place that changes the host: all of a plan or nothing, written down before it is done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.interrupts import Interrupts
from vpcctl_lib.model import Topology
from vpcctl_lib.operations import Batch, Ip, Iptables, KernelStep, Sysctl, Tool, problems
from vpcctl_lib.plan import Plan, Step
from vpcctl_lib.resources import Operation
from vpcctl_lib.run import Runner
from vpcctl_lib.state import Entry, State, Store, Verb
from vpcctl_lib.workloads import Desk

THERE = re.compile(r"File exists|already exists")
"""What ip and iptables say of a thing that an undo finds still there: EEXIST."""


@dataclass(frozen=True)
class Item:
    """An operation and the number of the step that it belongs to."""

    step: int
    operation: Operation


def commands(plan: Plan) -> list[str]:
    """What the plan would run, each as a person could paste it into a root shell."""
    shown = []
    for items, tolerant in _groups(plan.steps):
        batch = _batch(items)
        shown.append(str(batch.command(tolerant)) if batch else str(items[0].operation))
    return shown


class Transaction:
    """Carries out plans on this host."""

    def __init__(self, runner: Runner, store: Store) -> None:
        self._runner = runner
        self._store = store
        self._desk = Desk(runner, store.folder)
        self._done: set[int] = set()
        self._facts: dict[object, Mapping[str, str]] = {}

    def apply(self, plan: Plan, before: State, topology: Topology) -> list[str]:
        """Carry out the plan; on a failure or a signal put everything back and raise. Returns notes."""
        self._store.save(State(topology, plan.under_way(), before.topology))
        with Interrupts() as interrupts:
            try:
                self._forward(plan, interrupts)
            except VpcctlError as error:
                self._back(plan, before, error)
                raise
            self._store.save(State(topology, self._with_facts(plan.after)))
        self._desk.sweep(step.entry.resource for step in plan.steps if step.verb is Verb.UNMAKE)
        return self._desk.notes

    def _forward(self, plan: Plan, interrupts: Interrupts) -> None:
        for items, tolerant in _groups(plan.steps):
            interrupts.check()
            if tolerant:
                self._unmake(items)
            else:
                self._make(items, plan)
        interrupts.check()

    def _make(self, items: Sequence[Item], plan: Plan) -> None:
        """Do these; the first failure ends it, and only what took effect counts as done."""
        batch = _batch(items)
        if batch is None:
            self._done.add(items[0].step)
            self._alone(items[0].operation, plan.steps[items[0].step])
            return
        outcome = self._runner.change(batch.command())
        if outcome.status == 0:
            self._done |= {item.step for item in items}
            return
        effective = batch.done_before_failure(outcome.stderr)
        self._done |= {items[number].step for number in effective}
        raise VpcctlError(f"{batch.tool.value} failed: {outcome.reason()}", _advice(outcome.stderr))

    def _alone(self, operation: Operation, step: Step) -> None:
        facts = self._desk.carry_out(operation)
        if facts:
            self._facts[step.entry.resource.key] = facts

    def _unmake(self, items: Sequence[Item]) -> None:
        """Do these; what is gone already is no failure."""
        self._done |= {item.step for item in items}
        failures = self._tolerantly(items)
        if failures:
            raise VpcctlError("; ".join(failures))

    def _tolerantly(self, items: Sequence[Item], undoing: bool = False) -> list[str]:
        batch = _batch(items)
        if batch is None:
            return self._alone_tolerantly(items[0].operation)
        outcome = self._runner.change(batch.command(carry_on=True))
        if outcome.status == 0:
            return []
        if batch.tool is Tool.IPTABLES and len({item.step for item in items}) > 1:
            # One missing rule keeps its whole table from being committed: each resource for itself then.
            parts = [list(part) for _, part in groupby(items, key=lambda item: item.step)]
            return [failure for part in parts for failure in self._tolerantly(part, undoing)]
        left = problems(outcome.stderr)
        if undoing:
            left = "; ".join(part for part in left.split("; ") if not THERE.search(part))
        return [f"{batch.tool.value}: {left}"] if left else []

    def _alone_tolerantly(self, operation: Operation) -> list[str]:
        try:
            self._desk.carry_out(operation)
        except (VpcctlError, OSError) as error:
            return [str(error)]
        return []

    def _back(self, plan: Plan, before: State, error: VpcctlError) -> None:
        """Undo in reverse what was done; what could not be undone is told, and stays in the ledger."""
        back = [replace(step, work=step.inverse) for number, step in reversed(list(enumerate(plan.steps)))
                if self._was_done(number, step)]
        failures: list[str] = []
        for items, _ in _groups(back, forward=False):
            failures += self._tolerantly(items, undoing=True)
        if failures:
            error.message += f"; and this could not be undone: {'; '.join(failures)}"
            error.hint = error.hint or "cleanup.sh removes all that bears vpcctl's mark"
            self._store.save(State(before.topology, plan.under_way(), before.topology))
        else:
            self._store.save(before)

    def _was_done(self, number: int, step: Step) -> bool:
        covered = step.verb is Verb.UNMAKE and not step.work
        return number in self._done or (covered and any(done >= number for done in self._done))

    def _with_facts(self, ledger: Sequence[Entry]) -> tuple[Entry, ...]:
        return tuple(replace(entry, found={**entry.found, **self._facts[entry.resource.key]})
                     if entry.resource.key in self._facts else entry for entry in ledger)


def _groups(steps: Sequence[Step], forward: bool = True) -> Iterator[tuple[list[Item], bool]]:
    """Runs of operations that one command can carry out, each with whether a missing thing is no failure."""
    items = [(Item(number, operation), forward and step.verb is Verb.UNMAKE)
             for number, step in enumerate(steps) for operation in step.work]
    for _, run in groupby(enumerate(items), key=lambda pair: _kin(pair[0], *pair[1])):
        members = [item for _, item in run]
        yield [item for item, _ in members], members[0][1]


def _kin(position: int, item: Item, tolerant: bool) -> tuple[object, ...]:
    operation = item.operation
    if isinstance(operation, (Ip, Iptables, Sysctl)):
        return (operation.tool, operation.namespace, tolerant)
    return (position,)


def _batch(items: Sequence[Item]) -> Batch | None:
    """The items as one command, or None for a single operation that is not a command."""
    steps: list[KernelStep] = [item.operation for item in items
                               if isinstance(item.operation, (Ip, Iptables, Sysctl))]
    return Batch(tuple(steps)) if steps else None


def _advice(stderr: str) -> str:
    if THERE.search(stderr):
        return "it exists already, and vpcctl did not make it: rename or remove one of the two"
    if re.search(r"Exchange full|No space left", stderr):
        return "a bridge takes 1023 ports: use another VPC"
    if re.search(r"Operation not permitted|Permission denied|must be root", stderr):
        return "run it as root (sudo vpcctl …), or try it in a private host: vpcctl sandbox"
    return ""
