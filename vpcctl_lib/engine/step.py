"""One step of a plan, which can be undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from vpcctl_lib.frozen import frozen
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import EMPTY, Condition, Fault, Operations


@frozen
class Step:
    """One resource's change: what to do, and how to undo it."""

    verb: Verb
    entry: Entry
    do: Callable[[], Operations]
    """What to do; computed only when it is next, for a large network while the first commands run already."""

    undo: Callable[[], Operations]
    """How to undo it; computed only when needed."""

    old: Entry | None = None
    """What a change changes."""

    @property
    def work(self) -> Operations:
        """What to do."""
        return self.do()

    def doing(self, work: Operations) -> Step:
        """The same step by other operations."""
        return replace(self, do=ready(work))

    def took_effect(self, fault: Fault | None) -> bool:
        """Whether there is something to undo, judged by the resource's fault now."""
        if self.verb is Verb.MAKE:
            return fault is None or fault == EMPTY \
                or fault.condition in (Condition.CHANGED, Condition.UNREADABLE)
        return self.verb is Verb.CHANGE or fault is not None


def ready(work: Operations) -> Callable[[], Operations]:
    """Operations that are known already."""
    return partial(tuple, work)
