"""The positions of our rules in shared chains, so that an undo puts them back there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.saves import Words
from vpcctl_lib.resources import Operations, Resource
from vpcctl_lib.resources.base import SharedChain, Slot
from vpcctl_lib.resources.operations import HOST


class RuleOrder:
    """The shared chains that our rules leave, as they were before the first one left."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._before: dict[SharedChain, tuple[Words, ...]] = {}

    def note(self, leaving: Iterable[Resource]) -> None:
        """Read the chains that these are about to leave, unless that was done before.

        If they can't be read, a delete continues: people need it on a broken host.
        """
        places = {slot.place for one in leaving if (slot := one.slot)} - self._before.keys()
        if places:
            kernel = Kernel(self._runner)
            with suppress(VpcctlError):
                self._before.update({place: _held(kernel, place) for place in places})

    def back(self, coming: Sequence[Resource], going: Sequence[Resource]) -> Mapping[Resource, Operations]:
        """The operations that put returning rules in their places, in order, after the others have gone."""
        rules = [(one, slot) for one in coming if (slot := one.slot) and slot.place in self._before]
        kernel = Kernel(self._runner)
        now = {slot.place: list(_held(kernel, slot.place)) for _, slot in rules}
        for slot in filter(None, (one.slot for one in going)):
            if slot.rule in now.get(slot.place, ()):
                now[slot.place].remove(slot.rule)
        return {one: self._put(one, slot, now[slot.place]) for one, slot in rules}

    def _put(self, resource: Resource, slot: Slot, now: list[Words]) -> Operations:
        before = self._before[slot.place]
        if slot.rule not in before:
            # Somebody removed it before we could.
            return ()
        index = position(slot.rule, before, now)
        now.insert(index, slot.rule)
        return resource.put(index + 1)


def _held(kernel: Kernel, place: SharedChain) -> tuple[Words, ...]:
    family, table, name = place
    chain = kernel.chain(HOST, table, name, family)
    return chain.rules if chain else ()


def position(rule: Words, before: Sequence[Words], now: Sequence[Words]) -> int:
    """The index at which a rule goes back: after all rules that were before it and still exist.

    Rules that others added at the top or the end meanwhile keep their place.
    """
    index = 0
    for other in before[:before.index(rule)]:
        if other in now[index:]:
            index = now.index(other, index) + 1
    return index
