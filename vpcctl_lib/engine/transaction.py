"""The one place that changes the host: all of a plan or nothing, recorded before it is done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from vpcctl_lib.engine.plan import Faults, Plan, places
from vpcctl_lib.engine.rule_order import RuleOrder
from vpcctl_lib.engine.schedule import Group, Item, groups, waits
from vpcctl_lib.engine.step import Step
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.crew import Crew
from vpcctl_lib.kernel.interrupts import Interrupted, Interrupts
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Outcome, Runner
from vpcctl_lib.kernel.sayings import advice, is_gone, is_there
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import MISSING, Resource
from vpcctl_lib.resources.operation import NO_COUNTERS, Batch, Desk
from vpcctl_lib.resources.operations import problems

HANDS = 16
"""Commands in parallel: an iptables-restore mostly waits for the kernel (RCU)."""


class Transaction:
    """Carries out plans on this host."""

    def __init__(self, runner: Runner, store: Store) -> None:
        self._runner = runner
        self._store = store
        self._desk = Desk(runner, store.folder)
        self._order = RuleOrder(runner)
        self._done: set[int] = set()
        self._facts: dict[object, Mapping[str, str]] = {}

    def apply(self, plan: Plan, before: State, topology: Topology) -> list[str]:
        """Carry out the plan; on a failure or a signal undo everything and raise. Returns notes."""
        with Interrupts() as interrupts:
            try:
                if plan.steps:
                    self._store.save(State(topology, plan.under_way(), before.settled))
                self._forward(plan, interrupts)
                self._learn(step.entry.resource for step in plan.steps if step.verb is Verb.MAKE)
                # Before the last save: a crash after it would leave logs that nothing refers to.
                self._sweep(plan)
                self._store.save(State(topology, self._after(plan), parts=plan.parts))
            except VpcctlError as error:
                self._back(plan, before, error)
                raise
            except Exception as unforeseen:
                # It is reported unchanged, with its traceback, and undone all the same.
                told = VpcctlError("")
                self._back(plan, before, told)
                if told.message:
                    raise RuntimeError(f"{told.message.removeprefix('and ')} ({told.hint})") from unforeseen
                raise
        return self._desk.notes

    def _sweep(self, plan: Plan) -> None:
        """Remove the files that things leave which have gone for good."""
        gone = plan.gone()
        if gone:
            # Imported late: most changes leave nothing behind.
            from vpcctl_lib.engine.leavings import leavings, sweep

            sweep(leavings(gone, self._store.folder), self._store.folder)

    def _forward(self, plan: Plan, interrupts: Interrupts) -> None:
        """In parallel, but one after the other in each place; an undo starts after all have ended."""
        Crew(HANDS).work((partial(self._do, group, plan, interrupts), others)
                         for group, others in waits(groups(plan.steps)))
        interrupts.check()

    def _learn(self, made: Iterable[Resource]) -> None:
        """Record facts of new resources that could not be known before."""
        found = [resource for resource in made if type(resource).learn is not Resource.learn]
        if not found:
            return
        for resource, facts in zip(found, netns.aside(lambda: [one.learn() for one in found]), strict=True):
            if facts:
                self._facts[resource.key] = {**self._facts.get(resource.key, {}), **facts}

    def _do(self, group: Group, plan: Plan, interrupts: Interrupts) -> None:
        interrupts.check()
        if group.tolerant:
            self._unmake(group, plan)
        else:
            self._make(group, plan)

    def _make(self, group: Group, plan: Plan) -> None:
        """Do these; stop at the first failure, and count only what took effect as done."""
        batch = group.batch()
        if batch is None:
            self._make_alone(group, plan)
            return
        outcome = self._runner.change(batch.command(counters=self._counters(group, batch, plan)))
        other = batch.otherwise() if outcome.status else None
        if other:
            outcome = self._runner.change(other.command())
        if outcome.status == 0:
            self._done.update(item.step for item in group.items)
            return
        effective = batch.done_before_failure(outcome.stderr)
        if len(group.items) == 1 and is_there(outcome.stderr):
            # Asked, the kernel would show what another has made, and the undo would take that away.
            effective = frozenset()
        if effective is None:
            self._ask_what_is_done(group, plan)
        else:
            self._done.update(group.items[number].step for number in effective)
        failed = batch.failed_at(effective)
        culprit = self._standing(group, plan, outcome) if failed is None \
            else plan.steps[group.items[failed].step].entry.resource
        raise self._refused(culprit, batch, outcome)

    def _standing(self, group: Group, plan: Plan, outcome: Outcome) -> Resource | None:
        """What was there already, where the tool tells no name; only resources that can tell are asked."""
        if not is_there(outcome.stderr):
            return None
        kernel, done = Kernel(self._runner), self._done
        wanted = (plan.steps[item.step].entry.resource for item in group.items if item.step not in done)
        try:
            return next((one for one in wanted if one.is_taken(kernel)), None)
        except VpcctlError:
            return None

    def _refused(self, culprit: Resource | None, batch: Batch, outcome: Outcome) -> VpcctlError:
        """What failed, in words; a thing that is there already is named with its owner."""
        if culprit is not None and is_there(outcome.stderr):
            from vpcctl_lib.engine.rivals import refusal

            return refusal(culprit, Kernel(self._runner))
        at = f" at {culprit}" if culprit else batch.where
        return VpcctlError(f"{batch.name} failed{at}: {outcome.reason()}", advice(outcome.stderr))

    def _counters(self, group: Group, batch: Batch, plan: Plan) -> Mapping[str, str]:
        """For a policy that changes: the counters of the rules that stay."""
        steps = (plan.steps[item.step] for item in group.items)
        changed = any(step.verb is Verb.CHANGE and step.entry.resource.policy_of for step in steps)
        return batch.counters(self._runner) if changed else NO_COUNTERS

    def _make_alone(self, group: Group, plan: Plan) -> None:
        item = group.items[0]
        try:
            self._alone(item, plan.steps)
        except VpcctlError:
            self._ask_what_is_done(group, plan)
            raise
        self._done.add(item.step)

    def _alone(self, item: Item, steps: Sequence[Step]) -> None:
        facts = self._desk.carry_out(item.operation)
        if facts:
            self._facts[steps[item.step].entry.resource.key] = facts

    def _unmake(self, group: Group, plan: Plan) -> None:
        """Do these; a thing that is already gone is not a failure."""
        self._order.note(plan.steps[item.step].entry.resource for item in group.items)
        failures = self._tolerantly(group, plan.steps)
        if failures:
            self._ask_what_is_done(group, plan)
            raise VpcctlError("; ".join(failures), advice("; ".join(failures)))
        self._done.update(item.step for item in group.items)

    def _ask_what_is_done(self, group: Group, plan: Plan) -> None:
        """The failed command does not say how far it got, so ask the kernel."""
        steps = {item.step: plan.steps[item.step] for item in group.items}
        try:
            found = self._faults([step.entry for step in steps.values()])
        except VpcctlError:
            # Undoing a missing thing is not a failure; not undoing an existing one would be.
            self._done.update(steps)
            return
        self._done.update(number for number, step in steps.items()
                          if step.took_effect(found.get(step.entry.resource.key)))

    def _faults(self, entries: Sequence[Entry]) -> Faults:
        # Imported late: most commands end well.
        from vpcctl_lib.engine.inspection import inspect

        return inspect(Kernel(self._runner), entries)

    def _tolerantly(self, group: Group, steps: Sequence[Step], undoing: bool = False) -> list[str]:
        batch = group.batch()
        if batch is None:
            return self._alone_tolerantly(group.items[0], steps, undoing)
        try:
            outcome = self._runner.change(batch.command(carry_on=True))
        except VpcctlError as error:
            return [error.message]
        if outcome.status == 0:
            return []
        parts = list(group.by_step())
        if batch.needs_all and len(parts) > 1:
            # One missing rule stops the commit of its whole table: then each resource on its own, except
            # the tables before, so that a duplicate of somebody else's rule is not removed as well.
            done = batch.done_before_failure(outcome.stderr) or frozenset()
            items = tuple(item for number, item in enumerate(group.items) if number not in done)
            return [failure for part in replace(group, items=items).by_step()
                    for failure in self._tolerantly(part, steps, undoing)]
        left = problems(outcome.stderr) if outcome.stderr.strip() else outcome.reason()
        if undoing:
            left = "; ".join(part for part in left.split("; ") if not is_there(part))
        if not left or (not batch.says_why and self._is_so(steps[group.items[0].step], undoing)):
            return []
        note = batch.salvage(self._runner, left)
        if note is None:
            return [f"{batch.name}: {left}"]
        self._desk.notes += [note] if note else []
        return []

    def _alone_tolerantly(self, item: Item, steps: Sequence[Step], undoing: bool) -> list[str]:
        try:
            self._alone(item, steps)
        except VpcctlError as error:
            if item.operation.needs_home and is_gone(error.message):
                return []
            return [] if undoing and self._is_so(steps[item.step], undoing) else [error.message]
        return []

    def _is_so(self, step: Step, undoing: bool) -> bool:
        """Whether it is already as wanted: gone, present, or (when undoing) as it was before a change.

        The older iptables-restore fails without a reason, and what was not done need not be undone.
        """
        entry = step.old or step.entry
        try:
            fault = self._faults([entry]).get(entry.resource.key)
        except VpcctlError:
            return False
        return fault == (None if (step.verb is not Verb.MAKE) == undoing else MISSING)

    def _back(self, plan: Plan, before: State, error: VpcctlError) -> None:
        """Undo in reverse what was done; what could not be undone is reported, and stays in the ledger."""
        back = [step.doing(step.undo()) for number, step in reversed(list(enumerate(plan.steps)))
                if self._was_done(number, step)]
        self._facts.clear()
        back, failures = self._in_order(back)
        for group in groups(back, forward=False):
            failures += self._tolerantly(group, back, undoing=True)
        self._learn(step.entry.resource for step in back if step.verb is Verb.UNMAKE)
        failures += self._put_record_back(plan, before, bool(failures), error)
        told = [f"and this could not be undone: {'; '.join(failures)}"] if failures else []
        if isinstance(error, Interrupted) and not failures:
            told = ["everything was put back as it was"]
        # The notes report what can't be undone: others' processes in a namespace that was about to go.
        error.message = "; ".join(filter(None, [error.message, *self._desk.notes, *told]))
        if failures:
            error.hint = error.hint or "cleanup.sh removes all that bears vpcctl's mark"

    def _in_order(self, back: list[Step]) -> tuple[list[Step], list[str]]:
        """Each rule goes back to its position; to the end of its chain if the position is unknown."""
        coming = [step.entry.resource for step in back if step.verb is Verb.UNMAKE and step.work]
        going = [step.entry.resource for step in back if step.verb is Verb.MAKE]
        try:
            places = self._order.back(coming, going)
        except VpcctlError as error:
            return back, [f"the order of the host's rules: {error.message}"]
        return [step.doing(places.get(step.entry.resource, step.work))
                if step.verb is Verb.UNMAKE else step for step in back], []

    def _put_record_back(self, plan: Plan, before: State, failed: bool, error: VpcctlError) -> list[str]:
        known = {entry.resource.key for entry in before.ledger}
        try:
            if failed:
                self._store.save(State(before.topology, plan.under_way(), before.settled))
                return []
            from vpcctl_lib.engine.leavings import leavings, sweep_undone

            made = (entry.resource for entry in plan.after if entry.resource.key not in known)
            folder = self._store.folder
            left = sweep_undone(leavings(made, folder), folder, self._desk.evidence)
            if left:
                error.hint = "; ".join(filter(None, [error.hint, f"all of it: {', '.join(map(str, left))}"]))
            self._store.save(replace(before, ledger=self._with_facts(before.ledger)))
        except VpcctlError as other:
            return [other.message]
        return []

    def _was_done(self, number: int, step: Step) -> bool:
        # A thing without a command went with its home; making an existing thing is not a failure.
        covered = step.verb is Verb.UNMAKE and not step.work
        return number in self._done or (covered and bool(self._done))

    def _with_facts(self, ledger: Sequence[Entry]) -> tuple[Entry, ...]:
        if not self._facts:
            return tuple(ledger)
        return tuple(replace(entry, found={**entry.found, **self._facts[entry.resource.key]})
                     if entry.resource.key in self._facts else entry for entry in ledger)

    def _after(self, plan: Plan) -> tuple[Entry, ...]:
        """The ledger with what was learned; of a large one, most entries have no step and need no look."""
        touched = {id(step.entry) for step in plan.steps}
        after = list(plan.after)
        for number in places(after, touched):
            after[number], = self._with_facts((after[number],))
        return tuple(after)
