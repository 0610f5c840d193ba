"""The difference between what shall be and what we own, as steps that can be taken back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vpcctl_lib.resources import Namespace, Operations, Place, Program, Resource
from vpcctl_lib.resources.processes import EmptyNamespace
from vpcctl_lib.state import Entry, Verb


@dataclass(frozen=True)
class Step:
    """One resource's way from what is to what shall be: what to do, and what takes it back."""

    verb: Verb
    entry: Entry
    work: Operations
    inverse: Operations


@dataclass(frozen=True)
class Plan:
    """The steps, and the ledger before and after them."""

    steps: tuple[Step, ...]
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]

    def under_way(self) -> tuple[Entry, ...]:
        """The ledger to write down before the first step: all that may exist, with what happens to it."""
        verbs = {step.entry.resource.key: step.verb for step in self.steps}
        kept = {entry.resource.key for entry in self.after}
        gone = [entry for entry in self.before if entry.resource.key not in kept]
        return tuple(replace(entry, under_way=verbs.get(entry.resource.key))
                     for entry in (*self.after, *gone))


def difference(ledger: Sequence[Entry], wanted: Sequence[Resource]) -> Plan:
    """The plan from the ledger to the wanted resources: unmake in reverse, then make and change in order.

    What an interrupted command left half-made is unmade and made anew.
    """
    owned = {entry.resource.key: entry for entry in ledger}
    shall = {resource.key for resource in wanted}
    unmade = [entry for entry in reversed(ledger) if entry.resource.key not in shall or _doubtful(entry)]
    steps = [*_unmake(unmade)]
    after = []
    for resource in wanted:
        entry = owned.get(resource.key)
        after.append(Entry(resource, entry.found if entry else resource.survey()))
        if entry is None or _doubtful(entry):
            steps.append(Step(Verb.MAKE, after[-1], resource.make(), resource.unmake(after[-1].found)))
        elif entry.resource != resource or entry.under_way:
            old = entry.resource
            steps.append(Step(Verb.CHANGE, after[-1], resource.change(old), old.change(resource)))
    return Plan(tuple(steps), tuple(ledger), tuple(after))


def _doubtful(entry: Entry) -> bool:
    """Whether it may be there or not; a change that was cut short is simply made again."""
    return entry.under_way in (Verb.MAKE, Verb.UNMAKE)


def _unmake(entries: Sequence[Entry]) -> Iterator[Step]:
    """Programs, whatever else runs in namespaces that go, then the rest.

    What lives in a namespace or on a link that goes as well needs no command of its own.
    """
    leaving = frozenset[Place]().union(*(entry.resource.places for entry in entries))
    programs = [entry for entry in entries if isinstance(entry.resource, Program)]
    yield from (_removal(entry, leaving) for entry in programs)
    for entry in entries:
        if isinstance(entry.resource, Namespace):
            yield Step(Verb.UNMAKE, entry, (EmptyNamespace(entry.resource.name),), ())
    yield from (_removal(entry, leaving) for entry in entries if not isinstance(entry.resource, Program))


def _removal(entry: Entry, leaving: frozenset[Place]) -> Step:
    resource = entry.resource
    work = () if resource.homes & leaving else resource.unmake(entry.found)
    return Step(Verb.UNMAKE, entry, work, resource.make())
