"""One step of a plan, which can be taken back."""

from __future__ import annotations

from collections.abc import Callable

from vpcctl_lib.frozen import frozen
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import EMPTY, Condition, Fault, Operations


@frozen
class Step:
    """One resource's way from what is to what shall be: what to do, and what takes it back."""

    verb: Verb
    entry: Entry
    work: Operations
    undo: Callable[[], Operations]
    """What takes it back; worked out only when it has to be."""

    old: Entry | None = None
    """What a change changes."""

    def took_effect(self, fault: Fault | None) -> bool:
        """Whether there is something to take back, told by what is wrong with the resource now."""
        if self.verb is Verb.MAKE:
            return fault is None or fault == EMPTY \
                or fault.condition in (Condition.CHANGED, Condition.UNREADABLE)
        return self.verb is Verb.CHANGE or fault is not None
