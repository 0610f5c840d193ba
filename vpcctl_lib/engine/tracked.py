"""What a plan does about connections that are older than its rules; pure."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

from vpcctl_lib.engine.shall import Shall
from vpcctl_lib.engine.step import Step
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.record.ledger import Verb
from vpcctl_lib.resources import Operations, Resource
from vpcctl_lib.resources.base import Freed
from vpcctl_lib.resources.tracking import Disown, Forget, Keep, Release


def tended(steps: Sequence[Step], shall: Shall, broken: Collection[Hashable]) -> tuple[Step, ...]:
    """The steps, with extra work before and after some of them.

    `shall` is everything wanted, `broken` has the keys of things that are not as recorded.
    """
    done = [(number, step.entry.resource) for number, step in enumerate(steps)
            if step.verb is not Verb.UNMAKE]
    translating: dict[str, int] = {}
    filtering: dict[str, list[int]] = {}
    fresh = {resource.space for number, resource in done if steps[number].verb is Verb.MAKE} - {""}
    for number, resource in done:
        translated, policy_of = resource.translates, resource.policy_of
        if translated:
            translating[translated.namespace] = number
        elif policy_of and policy_of not in fresh \
                and (steps[number].verb is Verb.MAKE or resource.key in broken):
            # A policy that changes has already tracked its connections.
            filtering.setdefault(policy_of, []).append(number)
    closing = {number: work for number, step in enumerate(steps)
               if step.verb is Verb.CHANGE and (work := _closing(step, shall))}
    closing |= _disowning(steps, shall)
    released = _released(steps)
    if not translating and not filtering and not closing and not released:
        return tuple(steps)
    behind = {number: _forgetting(space, shall) for space, number in translating.items()
              if space not in fresh} | closing
    before: dict[int, Operations] = {}
    for space, numbers in filtering.items():
        held = (steps[number].entry.resource.rules_at for number in numbers)
        fourth = not any(one and one[1] is Family.INET6 for one in held)
        before[numbers[0]] = behind[numbers[-1]] = (Keep(space, fourth),)
    if released:
        # Once all rules are there: until then a packet may begin a connection that is led nowhere.
        behind[len(steps) - 1] = (*behind.get(len(steps) - 1, ()), *released)
    return _with(steps, before, behind)


def _with(steps: Sequence[Step], before: Mapping[int, Operations],
          behind: Mapping[int, Operations]) -> tuple[Step, ...]:
    return tuple(step.doing((*before.get(number, ()), *step.work, *behind.get(number, ())))
                 if number in before or number in behind else step for number, step in enumerate(steps))


def _closing(step: Step, shall: Iterable[Resource]) -> Operations:
    """For a subnet of a router that may get out no more: what it has open there."""
    shut = step.entry.resource.shuts_in(step.old.resource) if step.old else None
    return (Forget(shut.namespace, shut.sources, _near(shut.namespace, shall), whole=True),) if shut else ()


def _disowning(steps: Sequence[Step], shall: Shall) -> Mapping[int, Operations]:
    """For machines that go: what those in groups have open with them, also from an earlier membership."""
    going = [(number, step.entry.resource) for number, step in enumerate(steps) if step.verb is Verb.UNMAKE]
    lent = [one for _, one in going if one.lends]
    if not lent:
        return {}
    stays = {step.entry.resource.key for step in steps if step.verb is not Verb.UNMAKE}
    gone = tuple(sorted({one.lends for one in lent if one.key not in stays}))
    spaces = tuple(dict.fromkeys(space for space, *_ in shall.tables()))
    # Behind a removal that has a command of its own: one without goes with another.
    last = next((number for number, _ in reversed(going) if steps[number].work), None)
    return {} if last is None or not (gone and spaces) else {last: (Disown(spaces, gone),)}


def _released(steps: Sequence[Step]) -> Operations:
    """For what leads elsewhere from now on: a connection is led at its first packet, and stays there."""
    olds = (step.old.resource if step.old and step.verb is Verb.CHANGE else None for step in steps)
    freed = [one for step, old in zip(steps, olds, strict=True) if (one := step.entry.resource.frees(old))]
    # A namespace takes its connections along.
    gone = {place for step in steps if step.verb is Verb.UNMAKE for place in step.entry.resource.places}
    places: dict[tuple[str, Family], list[Freed]] = {}
    for one in freed:
        if (one.namespace, "") not in gone:
            places.setdefault((one.namespace, one.family), []).append(one)
    return tuple(Release(space, tuple(dict.fromkeys(port for one in held for port in one.ports)),
                         tuple(dict.fromkeys(address for one in held for address in one.addresses)), family)
                 for (space, family), held in places.items())


def _forgetting(space: str, shall: Iterable[Resource]) -> Operations:
    """For translated sources: forget connections that began while the rules were missing."""
    translated = filter(None, (one.translates for one in shall))
    sources = tuple(source for one in translated if one.namespace == space for source in one.sources)
    return (Forget(space, sources, _near(space, shall)),) if sources else ()


def _near(space: str, shall: Iterable[Resource]) -> tuple[str, ...]:
    """Destinations that need no translation: everything with a route of its own."""
    reached = filter(None, (one.reaches for one in shall))
    return tuple(str(network) for where, network in reached if where == space and network != EVERYWHERE)
