"""Which operations share a command, and which commands may run in parallel; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from vpcctl_lib.engine.step import Step
from vpcctl_lib.frozen import frozen
from vpcctl_lib.record.ledger import Verb
from vpcctl_lib.resources import Operation
from vpcctl_lib.resources.operation import Batch


@frozen
class Item:
    """An operation and the number of the step that it belongs to."""

    step: int
    operation: Operation


@frozen
class Group:
    """Consecutive operations that one command carries out, or a single one that is not a command."""

    items: tuple[Item, ...]
    tolerant: bool
    """Whether a missing thing is not a failure: there is nothing left to remove."""

    places: frozenset[str] | None
    """The namespaces that it affects; the host's name is empty, None means all."""

    def batch(self) -> Batch | None:
        """The items as one command, or None for a single operation that is not a command."""
        operations = [item.operation for item in self.items]
        return operations[0].batch(operations)

    def by_step(self) -> Iterator[Group]:
        """The group split into one for each step."""
        for _, items in groupby(self.items, key=lambda item: item.step):
            yield Group(tuple(items), self.tolerant, self.places)


def groups(steps: Sequence[Step], forward: bool = True) -> Iterator[Group]:
    """The operations of the steps in order, split where command, namespace or tolerance change."""
    marked = ((Item(number, operation), forward and step.verb is Verb.UNMAKE)
              for number, step in enumerate(steps) for operation in step.work)
    for _, run in groupby(enumerate(marked), key=lambda pair: _kin(pair[0], *pair[1])):
        members = [member for _, member in run]
        items = tuple(item for item, _ in members)
        # All are in one namespace, so that a step's places are the same for each of its operations.
        places = _places([steps[number] for number in {item.step for item in items}], items[0].operation)
        yield Group(items, members[0][1], places)


def _kin(position: int, item: Item, tolerant: bool) -> tuple[object, ...]:
    kin = item.operation.kin
    return (position,) if kin is None else (kin, tolerant)


def _places(steps: Sequence[Step], operation: Operation) -> frozenset[str] | None:
    """Where it is done, and where the resources have their ends; a removal may affect more than it names."""
    ends: set[str] = set()
    for step in steps:
        homes = [space for space, _ in step.entry.resource.homes]
        if step.verb is Verb.UNMAKE and not any(homes):
            return None
        ends.update(homes, (space for space, _ in step.entry.resource.places))
    return operation.places(frozenset(ends))


def waits(found: Iterable[Group]) -> Iterator[tuple[Group, frozenset[int]]]:
    """Each group, and the numbers of those it waits for: the last one before it in each of its places.

    A place inside a namespace, `vpc1 guard`, also waits for what was done to the namespace before.
    """
    last: dict[str, int] = {}
    everywhere = frozenset[int]()
    for number, group in enumerate(found):
        if group.places is None:
            yield group, frozenset(last.values()) or everywhere
            last, everywhere = {}, frozenset({number})
        else:
            around = (space for place in group.places for space in (place, place.partition(" ")[0]))
            yield group, everywhere.union(last[place] for place in around if place in last)
            last |= dict.fromkeys(group.places, number)
