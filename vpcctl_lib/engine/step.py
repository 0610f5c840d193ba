"""One step of a plan, which can be undone."""

from __future__ import annotations

from collections.abc import Callable

from vpcctl_lib.frozen import frozen
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import EMPTY, Condition, Fault, Operations


@frozen
class Step:
    """One resource's change: what to do, and how to undo it."""

    verb: Verb
    entry: Entry
    work: Operations
    undo: Callable[[], Operations]
    """How to undo it; computed only when needed."""

    old: Entry | None = None
    """What a change changes."""

    def took_effect(self, fault: Fault | None) -> bool:
        """Whether there is something to undo, judged by the resource's fault now."""
        if self.verb is Verb.MAKE:
            return fault is None or fault == EMPTY \
                or fault.condition in (Condition.CHANGED, Condition.UNREADABLE)
        return self.verb is Verb.CHANGE or fault is not None
