"""The difference between what is wanted and what we own, as steps that can be undone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from vpcctl_lib.engine.step import Step, ready
from vpcctl_lib.engine.tracked import tended
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import EMPTY, Condition, Fault, Operation, Operations, Place, Resource
from vpcctl_lib.resources.base import CABLES, Going

Faults = Mapping[Hashable, Fault]
NO_FAULTS: Faults = {}
LOOK_AHEAD = 16
"""Entries of the ledger in which the next wanted resource is looked for: those of a machine that goes."""

MOST_MISSED = 200
"""New resources among the wanted, beyond which the order is not worth following."""


@frozen
class Plan:
    """The steps, and the ledger before and after them."""

    steps: tuple[Step, ...]
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]

    def under_way(self) -> tuple[Entry, ...]:
        """The ledger to save before the first step: everything that may exist, with what happens to it."""
        verbs = {id(step.entry): step.verb for step in self.steps if step.verb is not Verb.UNMAKE}
        coming = [Entry(entry.resource, entry.found, verbs[id(entry)]) if id(entry) in verbs else entry
                  for entry in self.after]
        return (*coming, *self._leaving())

    def _leaving(self) -> list[Entry]:
        gone = {step.entry.resource.key for step in self.steps if step.verb is Verb.UNMAKE}
        if not gone:
            return []
        gone -= {step.entry.resource.key for step in self.steps if step.verb is not Verb.UNMAKE}
        return [replace(entry, under_way=Verb.UNMAKE) for entry in self.before if entry.resource.key in gone]


def difference(ledger: Sequence[Entry], wanted: Sequence[Resource], faults: Faults = NO_FAULTS,
               runner: Runner | None = None) -> Plan:
    """The plan from the ledger to the wanted resources: unmake in reverse, then make and change in order.

    `faults` has, by key, where the kernel is known to differ from the ledger: a missing thing is made, a
    changed one is repaired, or unmade and recreated with everything that depends on it. The runner reads
    what must be known before something is made.
    """
    runner = runner or Runner()
    _refuse_foreign(ledger, faults)
    faults = _mendable(ledger, faults)
    given: set[Operation] = set()
    if faults:
        ledger = [entry for entry in ledger if not _never_ours(entry, faults)]
    # Most of a large network stays unchanged: it is matched by equality, and only the rest by key.
    sure = not faults and not any(entry.under_way for entry in ledger)
    ledger = ledger if sure else list({entry.resource: entry for entry in ledger}.values())
    matches = list(zip(wanted, matched(ledger, wanted, sure), strict=True))
    same = frozenset(id(entry) for _, entry in matches if entry)
    rest = {entry.resource.key: entry for entry in ledger if id(entry) not in same}
    shall = frozenset(resource.key for resource, entry in matches if entry is None)
    anew = _anew(ledger, faults, same, shall)
    open_ = ledger if anew else [entry for entry in ledger if id(entry) not in same]
    going = [entry for entry in reversed(open_) if _goes(entry, same, shall, anew)]
    late = [entry for entry in going if entry.resource.makes_way(wanted)]
    steps = [*_unmake([entry for entry in going if all(entry is not one for one in late)], faults)]
    after = []
    for resource, match in matches:
        outlived = match is not None and resource.is_outlived(match.found)
        if match and not faults and not anew and not match.under_way and not outlived:
            after.append(match)
            continue
        entry = match or rest.get(resource.key)
        after.append(Entry(resource, entry.found if entry and not outlived else resource.survey(runner)))
        fault = faults.get(resource.key)
        is_missing = fault is not None and fault.condition is Condition.MISSING
        if entry is None or outlived or is_missing or resource.key in anew:
            steps.append(Step(Verb.MAKE, after[-1], resource.make,
                              partial(resource.unmake, after[-1].found)))
        elif match is None or fault:
            old = entry.resource
            # A step that several share is done once, before the first of them.
            remedy = tuple(one for one in (fault.remedy if fault else ()) if one not in given)
            given.update(remedy)
            turn = resource.repair if fault else resource.change
            steps.append(Step(Verb.CHANGE, after[-1], ready((*remedy, *turn(old))),
                              partial(old.repair, resource), entry))
    steps += _unmake(late, faults)
    return Plan(tended(steps, wanted, faults), tuple(ledger), tuple(after))


def matched(ledger: Sequence[Entry], wanted: Sequence[Resource], sure: bool) -> list[Entry | None]:
    """For each wanted resource the entry of an equal one, if there is one.

    Nearly always both are in the same order, if the record is `sure`: none is under way, so each is in it
    once. To compare in order takes half the time of a dictionary of all.
    """
    found: list[Entry | None] = []
    left: list[Entry] = []
    place, missed = 0, 0
    for resource in wanted if sure else ():
        here = next((number for number, entry in enumerate(ledger[place:place + LOOK_AHEAD])
                     if entry.resource == resource), None) \
            if place < len(ledger) and ledger[place].resource != resource else 0
        if here is None or place >= len(ledger):
            found.append(None)
            missed += 1
            if missed > MOST_MISSED:
                break
            continue
        left += ledger[place:place + here]
        place += here + 1
        found.append(ledger[place - 1])
    if len(found) < len(wanted):
        whole = {entry.resource: entry for entry in ledger}
        return [whole.get(resource) for resource in wanted]
    rest = {entry.resource: entry for entry in (*left, *ledger[place:])}
    return [entry or rest.get(resource) for entry, resource in zip(found, wanted, strict=True)]


def _mendable(ledger: Sequence[Entry], faults: Faults) -> Faults:
    """Without what can't be repaired, as it can't be read or is in something that is gone: it stays.

    Unless its making was interrupted.
    """
    blind = {key for key, fault in faults.items() if fault.condition is Condition.GONE
             or (fault.condition is Condition.UNREADABLE and not fault.remedy)}
    if not blind:
        return faults
    begun = {entry.resource.key for entry in ledger if entry.under_way}
    return {key: fault for key, fault in faults.items() if key not in blind or key in begun}


def _goes(entry: Entry, same: Collection[int], shall: Collection[Hashable],
          anew: Collection[Hashable]) -> bool:
    """Whether it must be unmade: it is not wanted, or must be recreated."""
    if id(entry) in same:
        return bool(anew) and entry.resource.key in anew
    return entry.resource.key not in shall or entry.resource.key in anew


def _refuse_foreign(ledger: Sequence[Entry], faults: Faults) -> None:
    """Refuse to touch somebody else's thing with our thing's name."""
    for entry in ledger if faults else ():
        fault = faults.get(entry.resource.key)
        if fault and entry.under_way and entry.resource.space \
                and fault.condition is Condition.UNREADABLE:
            raise VpcctlError(f"{entry.resource} might be another's: {fault.detail}",
                              "remove it if it is not: ip netns del " + entry.resource.space)
        if fault and fault.condition is Condition.FOREIGN and not (entry.under_way and fault == EMPTY) \
                and not _never_ours(entry, faults):
            raise VpcctlError(f"{entry.resource} is not the one vpcctl made: {fault.detail}",
                              "rename or remove it, then run: vpcctl restore")


def _never_ours(entry: Entry, faults: Faults) -> bool:
    """Somebody else's thing, in the place of one that an interrupted command was about to make."""
    fault = faults.get(entry.resource.key) if entry.under_way is Verb.MAKE else None
    return fault is not None and fault.condition is Condition.FOREIGN and fault != EMPTY


def _anew(ledger: Sequence[Entry], faults: Faults, same: Collection[int],
          shall: Collection[Hashable]) -> frozenset[Hashable]:
    """The keys of things that must be recreated, because of a fault of their own or because their home goes.

    `same` are the entries (by identity) that stay unchanged, `shall` the keys of everything else wanted.
    """
    if not faults and len(same) == len(ledger):
        return frozenset()
    keys: set[Hashable] = set()
    # A thing that goes breaks what is in it, whatever their order in the ledger: after a crash it comes last.
    broken = set[Place]().union(*(entry.resource.places for entry in ledger
                                  if id(entry) not in same and entry.resource.key not in shall))
    for entry in ledger:
        if not faults and not broken and id(entry) in same:
            continue
        resource = entry.resource
        stays = id(entry) in same or resource.key in shall
        fault = faults.get(resource.key) if faults else None
        faulty = fault and fault.condition is not Condition.MISSING
        replaced = not resource.in_place and (faulty or id(entry) not in same)
        if stays and (replaced or (broken and resource.stands_in & broken)):
            keys.add(resource.key)
            broken |= resource.places
    return frozenset(keys)


def _unmake(entries: Sequence[Entry], faults: Faults) -> Iterator[Step]:
    """Programs, then preparations, then the rest: a thing inside another goes before it.

    A thing that goes with another needs no command of its own.
    """
    entries = _outside_in(entries)
    spaces = tuple(filter(None, (entry.resource.space for entry in entries)))
    hubs = frozenset(entry.resource.cable_of for entry in entries).intersection(spaces)
    going = Going(spaces, frozenset() if faults else hubs)
    leaving = frozenset[Place]((hub, CABLES) for hub in going.hubs)
    leaving = leaving.union(*(entry.resource.takes for entry in entries))
    yield from (_removal(entry, leaving, faults) for entry in entries if entry.resource.workload)
    given: set[Operation] = set()
    for entry in entries:
        ahead = entry.resource.ahead(going)
        work = tuple(one for one in ahead if one not in given) if ahead else ()
        given.update(work)
        if work:
            yield Step(Verb.UNMAKE, entry, ready(work), _nothing)
    yield from (_removal(entry, leaving, faults) for entry in entries if not entry.resource.workload)


def _outside_in(entries: Sequence[Entry]) -> list[Entry]:
    """In their order, except things inside another one that would go before them."""
    standing: dict[Place, list[Entry]] = {}
    for entry in entries:
        for place in entry.resource.stands_in:
            standing.setdefault(place, []).append(entry)
    seen: set[int] = set()
    found: list[Entry] = []

    def take(entry: Entry) -> None:
        seen.add(id(entry))
        for place in entry.resource.places:
            for other in standing.get(place, ()):
                if id(other) not in seen:
                    take(other)
        found.append(entry)

    for entry in entries:
        if id(entry) not in seen:
            take(entry)
    return found


def _removal(entry: Entry, leaving: frozenset[Place], faults: Faults) -> Step:
    resource, fault = entry.resource, faults.get(entry.resource.key)
    work = () if resource.goes_with & leaving else resource.unmake(entry.found)
    if fault:
        undo = resource.make if resource.comes_back else _nothing
        return Step(Verb.UNMAKE, entry, ready((*work, *fault.remedy)), undo)
    return Step(Verb.UNMAKE, entry, ready(work), resource.make)


def _nothing() -> Operations:
    return ()
