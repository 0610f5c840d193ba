"""Where our rules stood in chains that others use too, so that an undo puts them back there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel, Words, words
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources import Operations, Resource, SingleRule
from vpcctl_lib.resources.operations import HOST

Place = tuple[str, str]
"""A table and one of its chains."""


class RuleOrder:
    """The shared chains that rules of ours leave, as they were before the first left."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._before: dict[Place, tuple[Words, ...]] = {}

    def note(self, leaving: Iterable[Resource]) -> None:
        """Look at the chains that these are about to leave, unless that was done before.

        Where they can't be read, a delete goes on: it is what a person does on a broken host.
        """
        places = {_place(rule) for rule in leaving if isinstance(rule, SingleRule)} - self._before.keys()
        if places:
            kernel = Kernel(self._runner)
            with suppress(VpcctlError):
                self._before.update({place: _held(kernel, place) for place in places})

    def back(self, coming: Sequence[Resource], going: Sequence[Resource]) -> Mapping[Resource, Operations]:
        """What puts those that come back in their places, one after the other, once the others have gone."""
        rules = [rule for rule in coming if isinstance(rule, SingleRule) and _place(rule) in self._before]
        if not rules:
            return {}
        kernel = Kernel(self._runner)
        now = {place: list(_held(kernel, place)) for place in map(_place, rules)}
        for rule in going:
            if isinstance(rule, SingleRule) and words(rule.rule) in now.get(_place(rule), ()):
                now[_place(rule)].remove(words(rule.rule))
        return {rule: self._put(rule, now[_place(rule)]) for rule in rules}

    def _put(self, rule: SingleRule, now: list[Words]) -> Operations:
        spelt, before = words(rule.rule), self._before[_place(rule)]
        if spelt not in before:
            # Somebody took it away before we could.
            return ()
        index = position(spelt, before, now)
        now.insert(index, spelt)
        return rule.put(index + 1)


def _place(rule: SingleRule) -> Place:
    return (rule.table, rule.chain)


def _held(kernel: Kernel, place: Place) -> tuple[Words, ...]:
    chain = kernel.chain(HOST, *place)
    return chain.rules if chain else ()


def position(rule: Words, before: Sequence[Words], now: Sequence[Words]) -> int:
    """The index at which a rule goes back: behind all that stood before it and still stands there.

    What others put at the top or at the end meanwhile keeps its place.
    """
    index = 0
    for other in before[:before.index(rule)]:
        if other in now[index:]:
            index = now.index(other, index) + 1
    return index
