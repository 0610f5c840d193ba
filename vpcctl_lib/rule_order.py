"""Where our rules stood in chains that others use too, so that an undo puts them back there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from vpcctl_lib.kernel import Kernel, Words, words
from vpcctl_lib.operations import HOST
from vpcctl_lib.resources import Operations, Resource, SingleRule
from vpcctl_lib.run import Runner

Place = tuple[str, str]
"""A table and one of its chains."""


class RuleOrder:
    """The shared chains that rules of ours leave, as they were before the first left."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._before: dict[Place, tuple[Words, ...]] = {}

    def note(self, leaving: Iterable[Resource]) -> None:
        """Look at the chains that these are about to leave, unless that was done before."""
        places = {_place(rule) for rule in leaving if isinstance(rule, SingleRule)} - self._before.keys()
        if places:
            kernel = Kernel(self._runner)
            self._before.update({place: _held(kernel, place) for place in places})

    def back(self, coming: Sequence[Resource]) -> Mapping[Resource, Operations]:
        """What puts those of these that are such rules back, one after the other, as the chains are now."""
        rules = [rule for rule in coming if isinstance(rule, SingleRule) and _place(rule) in self._before]
        if not rules:
            return {}
        kernel = Kernel(self._runner)
        now = {place: list(_held(kernel, place)) for place in map(_place, rules)}
        told: dict[Resource, Operations] = {}
        for rule in rules:
            chain = now[_place(rule)]
            index = position(words(rule.rule), self._before[_place(rule)], chain)
            chain.insert(index, words(rule.rule))
            told[rule] = rule.put(index + 1)
        return told


def _place(rule: SingleRule) -> Place:
    return (rule.table, rule.chain)


def _held(kernel: Kernel, place: Place) -> tuple[Words, ...]:
    chain = kernel.chain(HOST, *place)
    return chain.rules if chain else ()


def position(rule: Words, before: Sequence[Words], now: Sequence[Words]) -> int:
    """The index at which a rule goes back: behind all that stood before it and still stands there.

    What others put at the top or at the end meanwhile keeps its place; a rule that was not there goes last.
    """
    if rule not in before:
        return len(now)
    index = 0
    for other in before[:before.index(rule)]:
        if other in now[index:]:
            index = now.index(other, index) + 1
    return index
