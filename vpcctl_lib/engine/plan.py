"""The difference between what shall be and what we own, as steps that can be taken back."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from vpcctl_lib.engine.step import Step
from vpcctl_lib.engine.tracked import tended
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import (
    EMPTY,
    Address,
    Chain,
    Condition,
    Fault,
    Namespace,
    Operation,
    Operations,
    Place,
    Program,
    Resource,
    SingleRule,
    Veth,
)
from vpcctl_lib.resources.links import GROUP
from vpcctl_lib.resources.operations import HOST, Ip
from vpcctl_lib.resources.processes import EmptyNamespaces

Faults = Mapping[Hashable, Fault]
NO_FAULTS: Faults = {}


@frozen
class Plan:
    """The steps, and the ledger before and after them."""

    steps: tuple[Step, ...]
    before: tuple[Entry, ...]
    after: tuple[Entry, ...]

    def under_way(self) -> tuple[Entry, ...]:
        """The ledger to write down before the first step: all that may exist, with what happens to it."""
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

    `faults` tells, by key, where the kernel is known to differ from the ledger: what is missing is made,
    what is changed is mended, or unmade and made anew with all that depends on it. The runner asks what
    must be known before something is made.
    """
    runner = runner or Runner()
    _refuse_foreign(ledger, faults)
    faults = _mendable(ledger, faults)
    given: set[Operation] = set()
    if faults:
        ledger = [entry for entry in ledger if not _never_ours(entry, faults)]
    # Most of a large network stays as it is: it is matched whole, and only the rest by its keys.
    whole = {entry.resource: entry for entry in ledger}
    ledger = list(whole.values())
    matches = [(resource, whole.get(resource)) for resource in wanted]
    same = frozenset(id(entry) for _, entry in matches if entry)
    rest = {entry.resource.key: entry for entry in ledger if id(entry) not in same}
    shall = frozenset(resource.key for resource, entry in matches if entry is None)
    anew = _anew(ledger, faults, same, shall)
    all_stay = len(same) == len(ledger) and not anew
    going = [] if all_stay else [entry for entry in reversed(ledger) if _goes(entry, same, shall, anew)]
    late = [entry for entry in going if _is_taken_over(entry.resource, wanted)]
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
            steps.append(Step(Verb.MAKE, after[-1], resource.make(),
                              partial(resource.unmake, after[-1].found)))
        elif match is None or fault:
            old = entry.resource
            # What several share is done once, before the first of them.
            remedy = tuple(one for one in (fault.remedy if fault else ()) if one not in given)
            given.update(remedy)
            steps.append(Step(Verb.CHANGE, after[-1], (*remedy, *resource.change(old)),
                              partial(old.change, resource), entry))
    steps += _unmake(late, faults)
    return Plan(tended(steps, wanted, faults), tuple(ledger), tuple(after))


def _is_taken_over(resource: Resource, wanted: Sequence[Resource]) -> bool:
    """Whether a rule does for the same packets what a chain of ours shall do: it goes once that is there."""
    if not isinstance(resource, SingleRule) or resource.top:
        return False
    packets = _packets(resource.rule)
    return any(packets == _packets(rule) for one in wanted
               if isinstance(one, Chain) and (one.namespace, one.table) == (HOST, resource.table)
               for rule in one.rules)


def _packets(rule: str) -> str:
    return rule.partition(" -j ")[0]


def _mendable(ledger: Sequence[Entry], faults: Faults) -> Faults:
    """Without what can't be read, nor mended: it is left alone, unless its making was cut short."""
    blind = {key for key, fault in faults.items()
             if fault.condition is Condition.UNREADABLE and not fault.remedy}
    if not blind:
        return faults
    begun = {entry.resource.key for entry in ledger if entry.under_way}
    return {key: fault for key, fault in faults.items() if key not in blind or key in begun}


def _goes(entry: Entry, same: Collection[int], shall: Collection[Hashable],
          anew: Collection[Hashable]) -> bool:
    """Whether it is to be unmade: not wanted at all, or to be made anew."""
    if id(entry) in same:
        return bool(anew) and entry.resource.key in anew
    return entry.resource.key not in shall or entry.resource.key in anew


def _refuse_foreign(ledger: Sequence[Entry], faults: Faults) -> None:
    """Somebody else's thing with our thing's name is never touched."""
    for entry in ledger if faults else ():
        fault = faults.get(entry.resource.key)
        if fault and entry.under_way and isinstance(entry.resource, Namespace) \
                and fault.condition is Condition.UNREADABLE:
            raise VpcctlError(f"{entry.resource} may be another's: {fault.detail}",
                              "remove it if it is not: ip netns del " + entry.resource.name)
        if fault and fault.condition is Condition.FOREIGN and not (entry.under_way and fault == EMPTY) \
                and not _never_ours(entry, faults):
            raise VpcctlError(f"{entry.resource} is not the one that vpcctl made: {fault.detail}",
                              "rename or remove it, then run: vpcctl restore")


def _never_ours(entry: Entry, faults: Faults) -> bool:
    """Another's, in the place of what an interrupted command was about to make."""
    fault = faults.get(entry.resource.key) if entry.under_way is Verb.MAKE else None
    return fault is not None and fault.condition is Condition.FOREIGN and fault != EMPTY


def _anew(ledger: Sequence[Entry], faults: Faults, same: Collection[int],
          shall: Collection[Hashable]) -> frozenset[Hashable]:
    """The keys of what must be unmade and made again, for itself or because its home goes.

    `same` are the entries (by identity) of what stays as it is, `shall` the keys of all else that is wanted.
    """
    if not faults and len(same) == len(ledger):
        return frozenset()
    keys: set[Hashable] = set()
    # What goes breaks what stands in it, wherever the ledger has the two: after a crash, what goes is last.
    broken = set[Place]().union(*(entry.resource.places for entry in ledger
                                  if id(entry) not in same and entry.resource.key not in shall))
    for entry in ledger:
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
    """Programs, whatever else runs in namespaces that go, all cables of routers that go, then the rest.

    What lives in a namespace or on a link that goes as well needs no command of its own.
    """
    # Not with its address: the kernel leaves the routes of a link that has another (after a failed undo).
    leaving = frozenset[Place]().union(*(entry.resource.places for entry in entries
                                         if not isinstance(entry.resource, Address)))
    programs = [entry for entry in entries if isinstance(entry.resource, Program)]
    yield from (_removal(entry, leaving, faults) for entry in programs)
    spaces = [(entry, entry.resource.name) for entry in entries if isinstance(entry.resource, Namespace)]
    if spaces:
        names = tuple(name for _, name in spaces)
        yield Step(Verb.UNMAKE, spaces[0][0], (EmptyNamespaces(names),), _nothing)
    cleared = _routers(entries) if not faults else frozenset()
    for entry, name in spaces:
        if name in cleared:
            yield Step(Verb.UNMAKE, entry, (Ip(name, ("link", "del", "group", GROUP)),), _nothing)
    for entry in entries:
        if not isinstance(entry.resource, Program):
            yield _removal(entry, leaving, faults, cleared)


def _routers(entries: Sequence[Entry]) -> frozenset[str]:
    """The namespaces that go with the cables which were made from them."""
    spaces = {entry.resource.name for entry in entries if isinstance(entry.resource, Namespace)}
    return frozenset(entry.resource.namespace for entry in entries
                     if isinstance(entry.resource, Veth) and entry.resource.namespace in spaces)


def _removal(entry: Entry, leaving: frozenset[Place], faults: Faults,
             cleared: frozenset[str] = frozenset()) -> Step:
    resource, fault = entry.resource, faults.get(entry.resource.key)
    covered = resource.homes & leaving or (isinstance(resource, Veth) and resource.ends & cleared)
    work = () if covered else resource.unmake(entry.found)
    if fault:
        # What was broken before is not broken again by an undo; a rule that stood too low stands there again.
        undo = resource.make if isinstance(resource, SingleRule) else _nothing
        return Step(Verb.UNMAKE, entry, (*work, *fault.remedy), undo)
    return Step(Verb.UNMAKE, entry, work, resource.make)


def _nothing() -> Operations:
    return ()
