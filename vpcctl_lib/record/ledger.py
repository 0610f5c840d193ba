"""What we own, in the order in which it was made, and the topology that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field
from enum import Enum
from json import JSONDecoder
from re import Pattern
from typing import TYPE_CHECKING, Any, ClassVar

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import Topology, Variant
from vpcctl_lib.record.codec import Misfit, decode, expect
from vpcctl_lib.resources import Resource, kind_named, name_of

KIND = '{"kind": "'
"""How each line begins."""

_whole_line = JSONDecoder().raw_decode


class Verb(Enum):
    """What happens to a resource."""

    MAKE = "make"
    CHANGE = "change"
    UNMAKE = "unmake"


@frozen
class Entry:
    """A resource that we own, the facts about it, and what was being done to it when this was written."""

    resource: Resource
    found: dict[str, str] = field(default_factory=dict)
    under_way: Verb | None = None

    line: ClassVar[str] = ""
    """The line that it was read from, if we wrote that; empty for any other."""

    @classmethod
    def on(cls, lines: Iterable[str]) -> Iterator[Entry]:
        """The entries of lines that we wrote ourselves; each is only decoded if somebody looks at it.

        Nothing is under way with them.
        """
        made = object.__new__
        for line in lines:
            entry = made(cls)
            entry.__dict__["line"] = line
            yield entry

    @property
    def kind(self) -> str:
        """How the record names its kind; known without decoding it."""
        line = self.line
        return line[len(KIND):line.index('"', len(KIND))] if line else name_of(self.resource)

    def may_name(self, names: Pattern[str]) -> bool:
        """Whether one of these may be in it: of an entry that is not decoded, its line decides."""
        return "resource" in self.__dict__ or names.search(self.line) is not None

    if not TYPE_CHECKING:
        def __getattr__(self, name: str) -> Any:
            """What is not there yet: the fields of an entry that was not decoded so far."""
            if name not in ("resource", "found") or not self.line:
                raise AttributeError(name)
            read = _entry(_whole_line(self.line)[0])
            self.__dict__.update(resource=read.resource, found=read.found)
            return self.__dict__[name]


@frozen
class State:
    """The topology that was asked for, and the ledger of what we own, in the order of making."""

    topology: Topology = Topology()
    ledger: tuple[Entry, ...] = ()
    previous: Topology | None = None
    """While a change is under way: the topology before it."""

    parts: tuple[int, ...] = field(default=(), compare=False)
    """If the ledger is exactly what this version of vpcctl makes of the topology: how many entries belong to
    each part of the blueprint. Empty otherwise, or if that is not known."""

    @property
    def settled(self) -> Topology:
        """The topology that is fully in place: without a change that is under way."""
        return self.topology if self.previous is None else self.previous

    @property
    def iptables(self) -> Variant | None:
        """Which of the two iptables has our rules; None if none were made yet."""
        return self.topology.iptables or (self.previous.iptables if self.previous else None)


def read(lines: object) -> tuple[Entry, ...]:
    """The ledger in a record; Misfit says which place can't be understood."""
    entries: list[Entry] = []
    given = expect(list, lines, "ledger")
    try:
        for line in given:
            entries.append(_entry(line))
    except Misfit as misfit:
        raise misfit.within(f"ledger[{len(entries)}]") from None
    return tuple(entries)


def _entry(line: object) -> Entry:
    fields = dict(expect(dict, line))
    name, found, verb = fields.pop("kind", None), fields.pop("found", None), fields.pop("under_way", None)
    kind = kind_named(name) if isinstance(name, str) else None
    if kind is None:
        raise Misfit(f"{name!r} is not a kind of resource")
    return Entry(decode(kind, fields), {} if found is None else decode(dict[str, str], found, ".found"),
                 None if verb is None else decode(Verb, verb, ".under_way"))
