"""The difference between what is wanted and what we own, as steps that can be undone."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import compress, count
from operator import attrgetter, not_
from typing import Any

from vpcctl_lib.engine.shall import Shall
from vpcctl_lib.engine.step import Step, ready
from vpcctl_lib.engine.tracked import tended
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import EMPTY, MISSING, Condition, Fault, Operation, Operations, Place, Resource
from vpcctl_lib.resources.base import CABLES, Going

Faults = Mapping[Hashable, Fault]
NO_FAULTS: Faults = {}
_UNDER_WAY = attrgetter("under_way")


@frozen
class Plan:
    """The steps, and the ledger before and after them."""

    steps: tuple[Step, ...]
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]
    parts: tuple[int, ...] = ()
    """How many entries of the ledger after it belong to each part of the blueprint, if that is known."""

    def under_way(self) -> tuple[Entry, ...]:
        """The ledger to save before the first step: everything that may exist, with what happens to it."""
        verbs = {id(step.entry): step.verb for step in self.steps if step.verb is not Verb.UNMAKE}
        coming = list(self.after)
        for number in places(coming, verbs):
            entry = coming[number]
            coming[number] = Entry(entry.resource, entry.found, verbs[id(entry)])
        return (*coming, *self._leaving())

    def gone(self) -> list[Resource]:
        """Everything that is unmade for good and can leave something in the state folder."""
        leaving = [step.entry for step in self.steps if step.verb is Verb.UNMAKE
                   and type(step.entry.resource).leavings is not Resource.leavings]
        kinds = {entry.kind for entry in leaving}
        stay = {entry.resource.key for entry in self.after if entry.kind in kinds} if kinds else ()
        return [entry.resource for entry in leaving if entry.resource.key not in stay]

    def _leaving(self) -> list[Entry]:
        unmade = [step.entry for step in self.steps if step.verb is Verb.UNMAKE]
        if not unmade:
            return []
        coming = {step.entry.resource.key for step in self.steps if step.verb is not Verb.UNMAKE}
        gone = {id(entry) for entry in unmade if entry.resource.key not in coming}
        return [replace(entry, under_way=Verb.UNMAKE) for entry in self.before if id(entry) in gone]


def difference(ledger: Sequence[Entry], wanted: Sequence[Resource | Entry], faults: Faults = NO_FAULTS,
               runner: Runner | None = None) -> Plan:
    """The plan from the ledger to what is wanted: unmake in reverse, then make and change in order.

    What is wanted may be given as its entry in the ledger, if nothing about it has changed. `faults` has, by
    key, where the kernel is known to differ from the ledger: a missing thing is made, a changed one is
    repaired, or unmade and recreated with everything that depends on it. The runner reads what must be known
    before something is made.
    """
    runner = runner or Runner()
    _refuse_foreign(ledger, faults)
    faults = _mendable(ledger, faults)
    # Nearly all of a large network stays: what is done with each of its entries takes no loop of Python's.
    given = frozenset(map(id, wanted))
    fresh = [number for number, kind in enumerate(map(type, wanted)) if kind is not Entry]
    ledger = _cleared(ledger, faults)
    shall = Shall(wanted)
    loose = _apart(ledger, given)
    matches = _matched(loose, wanted, fresh)
    same = given.union(map(id, matches.values()))
    open_ = [entry for entry in loose if id(entry) not in same]
    # Where nothing is there yet, no key is asked for: those of a large network take long.
    is_empty = not ledger
    new = frozenset(shall[number].key for number in fresh if not (number in matches or is_empty))
    anew = _anew(ledger, open_, faults, new)
    going = [entry for entry in reversed(ledger if anew else open_) if _goes(entry, same, new, anew)]
    late = [entry for entry in going if entry.resource.makes_way(shall)]
    first = [*_unmake([entry for entry in going if all(entry is not one for one in late)], faults)]
    rest = {entry.resource.key: entry for entry in open_}
    done: set[Operation] = set()
    steps: list[Step] = []
    after: list[Any] = list(wanted)
    unsure = bool(faults or anew)
    for number in range(len(wanted)) if unsure else fresh:
        one = wanted[number]
        match = one if isinstance(one, Entry) else matches.get(number)
        if match and not unsure and _stays(match):
            after[number] = match
            continue
        resource = shall[number]
        key = None if is_empty else resource.key
        entry = match or rest.get(key)
        is_new = key in anew or faults.get(key) == MISSING
        after[number] = _coming(resource, entry, runner, is_new)
        step = _step(after[number], None if key in anew else entry, faults.get(key), done)
        steps += [step] if step else []
    steps = [*first, *_beforehand(steps, faults), *steps, *_unmake(late, faults)]
    return Plan(tended(steps, shall, faults), tuple(ledger), tuple(after))


def _cleared(ledger: Sequence[Entry], faults: Faults) -> Sequence[Entry]:
    """Without what was never ours; and each thing once, while a crash can leave one twice."""
    if not any(map(_UNDER_WAY, ledger)):
        return ledger
    return list({entry.resource: entry for entry in ledger if not _never_ours(entry, faults)}.values())


def _coming(resource: Resource, entry: Entry | None, runner: Runner, is_new: bool) -> Entry:
    """The entry after the change, with what must be known before something is made."""
    if entry is None or resource.is_outlived(entry.found):
        return Entry(resource, resource.survey(runner))
    return Entry(resource, resource.kept(entry.found) if is_new else entry.found)


def _step(after: Entry, entry: Entry | None, fault: Fault | None, done: set[Operation]) -> Step | None:
    """What leads to that entry; `done` has the remedies that an earlier step already has."""
    resource = after.resource
    is_missing = fault is not None and fault.condition is Condition.MISSING
    if entry is None or is_missing or resource.is_outlived(entry.found):
        return Step(Verb.MAKE, after, resource.make, partial(resource.unmake, after.found))
    old = entry.resource
    if old == resource and not fault:
        return None
    # A step that several share is done once, before the first of them.
    remedy = tuple(one for one in (fault.remedy if fault else ()) if one not in done)
    done.update(remedy)
    turn = resource.repair if fault else resource.change
    return Step(Verb.CHANGE, after, ready((*remedy, *turn(old))), partial(old.repair, resource), entry)


def _beforehand(steps: Iterable[Step], faults: Faults) -> Iterator[Step]:
    """What some changes begin with, before all others."""
    for step in steps:
        resource, old = step.entry.resource, step.old
        if old and type(resource).beforehand is not Resource.beforehand and resource.key not in faults:
            work = resource.beforehand(old.resource)
            if work:
                yield Step(Verb.CHANGE, step.entry, ready(work), step.undo, old)


def places(ledger: Sequence[Entry], those: Collection[int]) -> list[int]:
    """The numbers of the entries with these identities."""
    return list(compress(count(), map(those.__contains__, map(id, ledger))))


def _apart(ledger: Sequence[Entry], given: Collection[int]) -> list[Entry]:
    """The entries without those."""
    return list(compress(ledger, map(not_, map(given.__contains__, map(id, ledger)))))


def _matched(ledger: Sequence[Entry], wanted: Sequence[Resource | Entry],
             fresh: Sequence[int]) -> dict[int, Entry]:
    """By the number of what is wanted and not given as an entry: the entry of an equal thing, if any."""
    # By key, and then compared: a resource of a thousand machines takes longer to hash than to compare.
    there: dict[Hashable, list[Entry]] = {}
    for entry in ledger:
        there.setdefault(entry.resource.key, []).append(entry)
    found = ((number, _equal(wanted[number], there)) for number in fresh) if there else ()
    return {number: entry for number, entry in found if entry}


def _equal(resource: Any, there: Mapping[Hashable, Sequence[Entry]]) -> Entry | None:
    return next((entry for entry in there.get(resource.key, ()) if entry.resource == resource), None)


def _stays(entry: Entry) -> bool:
    return not entry.under_way and not entry.resource.is_outlived(entry.found)


def _mendable(ledger: Sequence[Entry], faults: Faults) -> Faults:
    """Without what can't be repaired, as it can't be read or is in something that is gone: it stays.

    What can't be read does not stay if its making was interrupted.
    """
    blind = {key: fault.condition for key, fault in faults.items() if fault.condition is Condition.GONE
             or (fault.condition is Condition.UNREADABLE and not fault.remedy)}
    if not blind:
        return faults
    begun = {entry.resource.key for entry in ledger if entry.under_way}
    away = {key for key, condition in blind.items() if condition is Condition.GONE or key not in begun}
    return {key: fault for key, fault in faults.items() if key not in away}


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


def _anew(ledger: Sequence[Entry], open_: Sequence[Entry], faults: Faults,
          new: Collection[Hashable]) -> frozenset[Hashable]:
    """The keys of things that must be recreated, because of a fault of their own or because their home goes.

    `open_` are the entries of the ledger that do not stay unchanged, `new` the keys of what else is wanted.
    """
    if not faults and all(entry.resource.in_place and entry.resource.key in new for entry in open_):
        return frozenset()
    keys: set[Hashable] = set()
    changing = frozenset(map(id, open_))
    # A thing that goes breaks what is in it, whatever their order in the ledger: after a crash it comes last.
    broken = set[Place]().union(*(entry.resource.places for entry in open_ if entry.resource.key not in new))
    names = _names(broken)
    for entry in ledger:
        # Most of a large record is in none of these places, and need not be decoded.
        if not faults and id(entry) not in changing and not (broken and entry.may_name(names)):
            continue
        resource = entry.resource
        stays = id(entry) not in changing or resource.key in new
        fault = faults.get(resource.key) if faults else None
        faulty = fault and fault.condition is not Condition.MISSING
        replaced = not resource.in_place and (faulty or id(entry) in changing)
        if stays and (replaced or (broken and resource.stands_in & broken)):
            keys.add(resource.key)
            broken |= resource.places
            names = _names(broken)
    return frozenset(keys)


def _names(places: Collection[Place]) -> re.Pattern[str]:
    """Finds lines of the record that may be about one of the places: with the longer of its two names."""
    names = {max(space, device.partition(" ")[0], key=len) for space, device in places}
    return re.compile("|".join(re.escape(json.dumps(name)[:-1]) for name in sorted(names)))


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
