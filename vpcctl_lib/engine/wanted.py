"""What a topology needs: the record's own entries where nothing has changed, resources elsewhere; pure."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import Any

from vpcctl_lib.blueprint import Frames, parts
from vpcctl_lib.blueprint.parts import Part
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Resource

Needs = Sequence[Resource | Entry]


@frozen
class Wanted:
    """Everything wanted, in the order of making."""

    all: list[Resource | Entry]
    parts: tuple[int, ...]
    """How much of it each thing of each part of the blueprint needs."""


@frozen
class _Recorded:
    """A part of the blueprint of the recorded topology, and the entries for each of its things."""

    part: Part
    entries: Sequence[Sequence[Entry]]


def wanted(state: State, topology: Topology) -> Wanted:
    """What the topology needs: an entry of the ledger stands for a resource that follows from the same."""
    frames = Frames()
    known = _recorded(state, frames) if state.parts else {}
    needs = [need for part in parts(topology, frames) for need in _needs(part, known.get(part.key))]
    return Wanted(list(chain.from_iterable(needs)), tuple(map(len, needs)))


def _recorded(state: State, frames: Frames) -> dict[Hashable, _Recorded]:
    """The recorded parts, by key."""
    found: dict[Hashable, _Recorded] = {}
    sizes, place = iter(state.parts), 0
    for part in parts(state.topology, frames):
        entries = []
        for size in map(next, [sizes] * len(part.units)):
            entries.append(state.ledger[place:place + size])
            place += size
        found[part.key] = _Recorded(part, entries)
    return found


def _needs(part: Part, there: _Recorded | None) -> list[Needs]:
    """What each of the part's units needs."""
    if part.line and there:
        return [_together(part, there)]
    # The host's own part belongs to no VPC, and is always compared: what was found there may be outlived.
    if not part.names or there is None or there.part.values != part.values:
        return [part.resources(unit) for unit in part.units]
    head, tail = _common(there.part.things, part.things)
    between = part.things[head:len(part.things) - tail]
    return [*there.entries[:head], *map(part.resources, between), *there.entries[len(there.entries) - tail:]]


def _together(part: Part, there: _Recorded) -> Needs:
    """What all of the part's things need together: of those that stay, the record has the lines."""
    old, new = there.part.things, part.things
    head, tail = _common(old, new)
    if there.part.values == part.values and head == len(old) == len(new):
        return there.entries[0]
    known = [line for entry in there.entries[0] for line in entry.resource.lines]
    if len(known) != len(old):
        return part.resources(new)
    between = part.lines(new[head:len(new) - tail])
    return part.together([*known[:head], *between, *known[len(known) - tail:]])


def _common(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int]:
    """How many things both begin with, and how many of the rest both end with."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    return head, next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)
