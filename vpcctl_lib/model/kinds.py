"""The kinds of things in a topology: where each kind is, what it is called, its names in the kernel; pure.

`model/topology.py` registers them. The comparison, views, pictures, completion and the check of names learn
from here what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen

Names = tuple[str, ...]
"""The names of a thing and of all that it is in, the outermost first: VPC, subnet, machine."""

T = TypeVar("T")


def _name(thing: Any) -> str:
    """The name, or nothing: what has no name is the only one of its kind there."""
    return getattr(thing, "name", "")


def _none(*_: object) -> tuple[Any, ...]:
    return ()


@frozen
class Kind:
    """A kind of thing that a person asks for."""

    model: type
    home: type
    """The class of what it is in."""

    field: str
    """The field of its home: a tuple of things, or one thing or None."""

    word: str
    """What plans and pictures call one."""

    key: str = ""
    """What files and JSON documents call several; by default the field's name."""

    option: str = ""
    """The option that names one; by default the word."""

    title: str = ""
    """What refusals call one; by default the word."""

    named: Callable[[Any], str] = _name
    """What distinguishes a thing from others of its kind in the same home."""

    in_kernel: Callable[[Names], Iterable[str]] = _none
    """What it takes in the kernel that no other thing may have, each in words that a refusal can use."""

    seat: Callable[[Any], Names] | None = None
    """Its names in the kernel below those of its home, if not its own name alone."""

    given: Callable[[Any], tuple[Any, ...]] = _none
    """Those that a home of its kind has from the start: no plan reports them."""

    @cached_property
    def several(self) -> bool:
        """Whether a home can have more than one."""
        return isinstance(next(one.default for one in fields(self.home) if one.name == self.field), tuple)

    @cached_property
    def plural(self) -> str:
        """What files and JSON documents call several."""
        return self.key or self.field

    @cached_property
    def own(self) -> tuple[str, ...]:
        """The fields that say what a thing is: neither its name nor other things in it."""
        inner = {kind.field for kind in inside(self.model)}
        return tuple(one.name for one in fields(self.model) if one.name != "name" and one.name not in inner)

    @cached_property
    def takes(self) -> bool:
        """Whether one, or something in it, takes something in the kernel."""
        return self.in_kernel is not _none or any(kind.takes for kind in inside(self.model))

    def things(self, home: Any) -> tuple[Any, ...]:
        """Those in a home."""
        held = getattr(home, self.field)
        return held if isinstance(held, tuple) else () if held is None else (held,)

    def put(self, home: T, things: Iterable[Any]) -> T:
        """The home with those in it instead."""
        held = tuple(things)
        found: T = replace(home, **{self.field: held if self.several else next(iter(held), None)})  # type: ignore[type-var]
        return found


REGISTERED: dict[type, Kind] = {}
"""Each kind by its class, in the order in which plans and documents report them."""

_INSIDE: dict[type, tuple[Kind, ...]] = {}


def register(*found: Kind) -> None:
    """Make kinds known; one of the same class takes the place of the one before it."""
    REGISTERED.update({kind.model: kind for kind in found})
    _INSIDE.clear()
    for kind in REGISTERED.values():
        _INSIDE[kind.home] = (*_INSIDE.get(kind.home, ()), kind)


def inside(home: type) -> tuple[Kind, ...]:
    """The kinds of what can be in a home."""
    return _INSIDE.get(home, ())


def way(kind: Kind) -> list[Kind]:
    """The kinds of all that a thing is in, the outermost first, and its own."""
    outer = REGISTERED.get(kind.home)
    return [*(way(outer) if outer else ()), kind]


class Placed(NamedTuple):
    """A thing in its place."""

    kind: Kind
    names: Names
    thing: Any

    @property
    def path(self) -> str:
        """The names in one word, such as vpc1/public; what has no name has that of its home."""
        return "/".join(filter(None, self.names))

    @property
    def in_kernel(self) -> Names:
        """Its names in the kernel."""
        return self.names if self.kind.seat is None else (*self.names[:-1], *self.kind.seat(self.thing))

    @property
    def called(self) -> str:
        """What a plan calls it."""
        return f"{self.kind.word} {'' if self.kind.several else 'of '}{self.path}"

    def __str__(self) -> str:
        return _titled(self.kind, self.names)


def _titled(kind: Kind, names: Names) -> str:
    outer, (*around, name) = REGISTERED.get(kind.home), names
    if outer is None:
        return f"{kind.title or kind.word} '{name}'"
    if not name:
        return _titled(outer, tuple(around))
    return f"{kind.title or kind.word} '{name}' of {outer.title or outer.word} '{'/'.join(around)}'"


def placed(kind: Kind, things: Iterable[Any], names: Names) -> Iterator[Placed]:
    """Things of a kind in a home of those names."""
    return (Placed(kind, (*names, kind.named(one)), one) for one in things)


def everything(home: Any, names: Names = ()) -> Iterator[Placed]:
    """All things in a home, each before what is in it."""
    for kind in inside(type(home)):
        for one in placed(kind, kind.things(home), names):
            yield one
            yield from everything(one.thing, one.names)


def _takers(home: Any, names: Names = ()) -> Iterator[Placed]:
    """All things of kinds that take something in the kernel; others are passed over, as there can be many."""
    for kind in inside(type(home)):
        more = any(inner.takes for inner in inside(kind.model))
        for one in placed(kind, kind.things(home), names) if kind.takes else ():
            yield one
            if more:
                yield from _takers(one.thing, one.names)


def in_order_of(old: T, new: T) -> T:
    """The new thing with what is in it, and in that, in the order of the old one; what is new comes last."""
    if old == new:
        return new
    for kind in inside(type(new)):
        there = {kind.named(one): (number, one) for number, one in enumerate(kind.things(old))}
        found = sorted(kind.things(new), key=lambda one: there.get(kind.named(one), (len(there), one))[0])
        new = kind.put(new, (in_order_of(there.get(kind.named(one), (0, one))[1], one) for one in found))
    return new


class Collision(NamedTuple):
    """Two things whose kernel objects would have the same name."""

    first: Placed
    second: Placed
    name: str

    def refusal(self, which: Placed) -> VpcctlError:
        """The error for that one of the two."""
        other = self.first if which == self.second else self.second
        return VpcctlError(f"{which} would have the same {self.name} as {other}", "choose another name")


def collision(topology: Any) -> Collision | None:
    """The first two things whose kernel objects would have the same name, such as a-b/c and a/b-c."""
    seen: dict[str, Placed] = {}
    for one in _takers(topology):
        for name in one.kind.in_kernel(one.in_kernel):
            if name in seen:
                return Collision(seen[name], one, name)
            seen[name] = one
    return None


def check_collisions(topology: Any) -> None:
    """Refuse two things whose kernel objects would have the same name."""
    found = collision(topology)
    if found:
        raise found.refusal(found.second)
