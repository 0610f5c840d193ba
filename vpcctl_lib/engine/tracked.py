"""What a plan does about connections that are older than the rules it makes; pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from vpcctl_lib.engine.step import Step
from vpcctl_lib.model.naming import UPLINK
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.record.ledger import Verb
from vpcctl_lib.resources import Address, Chain, Namespace, Operations, Resource, Route, SingleRule
from vpcctl_lib.resources.tracking import Forget, Keep

_OUTWARD = re.compile(rf"-s (\S+) .*-o {UPLINK} .*-j ACCEPT$")
_SOURCE = re.compile(r"-s (\S+) .*-j MASQUERADE\b")


def tended(steps: Sequence[Step], shall: Iterable[Resource],
           broken: Collection[Hashable]) -> tuple[Step, ...]:
    """The steps, with what has to be done before and behind some of them.

    `shall` is all there will be, `broken` has the keys of what is not as recorded.
    """
    done = [(number, step.entry.resource) for number, step in enumerate(steps)
            if step.verb is not Verb.UNMAKE]
    translating: dict[str, int] = {}
    filtering: dict[str, list[int]] = {}
    fresh = {resource.name for (number, resource) in done if isinstance(resource, Namespace)
             and steps[number].verb is Verb.MAKE}
    for number, resource in done:
        if isinstance(resource, SingleRule) and resource.table == "nat":
            translating[""] = number
        elif isinstance(resource, Chain) and resource.table == "nat":
            translating[resource.namespace] = number
        elif isinstance(resource, Chain) and resource.is_policy and resource.namespace not in fresh \
                and (steps[number].verb is Verb.MAKE or resource.key in broken):
            # A policy that is changed has tracked all along.
            filtering.setdefault(resource.namespace, []).append(number)
    closing = {number: work for number, step in enumerate(steps)
               if step.verb is Verb.CHANGE and (work := _closing(step, shall))}
    if not translating and not filtering and not closing:
        return tuple(steps)
    behind = {number: _forgetting(space, shall) for space, number in translating.items()
              if space not in fresh} | closing
    before: dict[int, Operations] = {}
    for space, numbers in filtering.items():
        before[numbers[0]] = behind[numbers[-1]] = (Keep(space),)
    return _with(steps, before, behind)


def _with(steps: Sequence[Step], before: Mapping[int, Operations],
          behind: Mapping[int, Operations]) -> tuple[Step, ...]:
    return tuple(replace(step, work=(*before.get(number, ()), *step.work, *behind.get(number, ())))
                 if number in before or number in behind else step for number, step in enumerate(steps))


def _closing(step: Step, shall: Iterable[Resource]) -> Operations:
    """For a subnet of a router that may get out no more: what it has open there."""
    chain, old = step.entry.resource, step.old.resource if step.old else None
    if not isinstance(chain, Chain) or not isinstance(old, Chain) or not chain.namespace:
        return ()
    gone = tuple(found[1] for rule in old.rules
                 if rule not in chain.rules and (found := _OUTWARD.match(rule)))
    return (Forget(chain.namespace, gone, _near(chain.namespace, shall), whole=True),) if gone else ()


def _forgetting(space: str, shall: Iterable[Resource]) -> Operations:
    """For what is translated there: connections that began while the rules were gone."""
    rules = [rule for one in shall if isinstance(one, Chain) and (one.namespace, one.table) == (space, "nat")
             for rule in one.rules]
    sources = tuple(found[1] for rule in rules if (found := _SOURCE.match(rule)))
    return (Forget(space, sources, _near(space, shall)),) if sources else ()


def _near(space: str, shall: Iterable[Resource]) -> tuple[str, ...]:
    """Where no address of the outside is needed: all that has a route of its own."""
    here = [one for one in shall if isinstance(one, (Route, Address)) and one.namespace == space]
    near = [one.destination if isinstance(one, Route) else one.address.network for one in here]
    return tuple(str(one) for one in near if one != EVERYWHERE)
