"""Which operations share a command, and which commands may run side by side; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from vpcctl_lib.operations import Batch, Ip, Iptables, KernelStep, Sysctl
from vpcctl_lib.plan import Step
from vpcctl_lib.resources import Operation
from vpcctl_lib.state import Verb


@dataclass(frozen=True)
class Item:
    """An operation and the number of the step that it belongs to."""

    step: int
    operation: Operation


@dataclass(frozen=True)
class Group:
    """Consecutive operations that one command carries out, or a single one that is no command."""

    items: tuple[Item, ...]
    tolerant: bool
    """Whether a thing that is missing is no failure: what it was to lose is lost."""

    lane: str
    """The namespace that the group keeps to, its links to others included; empty if it does not."""

    def batch(self) -> Batch | None:
        """The items as one command, or None for a single operation that is not a command."""
        steps: list[KernelStep] = [item.operation for item in self.items
                                   if isinstance(item.operation, (Ip, Iptables, Sysctl))]
        return Batch(tuple(steps)) if steps else None

    def by_step(self) -> Iterator[Group]:
        """The group cut into one for each step."""
        for _, items in groupby(self.items, key=lambda item: item.step):
            yield Group(tuple(items), self.tolerant, self.lane)


def groups(steps: Sequence[Step], forward: bool = True) -> Iterator[Group]:
    """The operations of the steps in order, cut where the command, the namespace or the tolerance changes."""
    operations = ((number, step, operation) for number, step in enumerate(steps) for operation in step.work)
    marked = [(Item(number, operation), forward and step.verb is Verb.UNMAKE, _lane(step, operation))
              for number, step, operation in operations]
    for _, run in groupby(enumerate(marked), key=lambda pair: _kin(pair[0], *pair[1])):
        members = [member for _, member in run]
        lanes = {lane for _, _, lane in members}
        lane = lanes.pop() if len(lanes) == 1 else ""
        yield Group(tuple(item for item, _, _ in members), members[0][1], lane)


def _kin(position: int, item: Item, tolerant: bool, lane: str) -> tuple[object, ...]:
    operation = item.operation
    if isinstance(operation, (Ip, Iptables, Sysctl)):
        return (operation.tool, operation.namespace, tolerant)
    return (position,)


def _lane(step: Step, operation: Operation) -> str:
    """What lives in a namespace touches nothing outside it; a cable has an end elsewhere."""
    namespace = operation.namespace if isinstance(operation, (Ip, Iptables, Sysctl)) else ""
    return namespace if namespace and (namespace, "") in step.entry.resource.homes else ""


def waves(found: Iterable[Group]) -> Iterator[list[list[Group]]]:
    """Lanes of groups: those of one wave may run side by side, each lane in its order."""
    for alone, run in groupby(found, key=lambda group: not group.lane):
        if alone:
            yield from ([[group]] for group in run)
            continue
        lanes: dict[str, list[Group]] = {}
        for group in run:
            lanes.setdefault(group.lane, []).append(group)
        yield list(lanes.values())
