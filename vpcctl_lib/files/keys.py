"""What tables of keys consist of: kinds of things and their keys; how a thing is read and written by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from vpcctl_lib.errors import quoted
from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.lookup import close
from vpcctl_lib.model.naming import check_name

Refusal = tuple[str, str]
"""A problem, and the hint on what would be right."""

Schema = Mapping[str, object]
"""A part of a JSON Schema."""


class Reading:
    """A thing while it is read: where it stands, its name, and what its keys have said so far."""

    def __init__(self, place: Place, name: str = "", outer: Reading | None = None,
                 folder: Path = Path()) -> None:
        self.place = place
        self.name = name
        self.found: dict[str, Any] = {}
        self.warnings: list[str] = outer.warnings if outer else []
        self.folder: Path = outer.folder if outer else folder
        self._outer = outer

    @property
    def outside_name(self) -> str:
        """The name of what is around it."""
        return self._outer.name if self._outer else ""

    def outside(self, key: str) -> Any:
        """What the nearest thing around this one has said with that key."""
        outer = self._outer
        while outer is not None and key not in outer.found:
            outer = outer._outer
        return outer.found[key] if outer else None


@frozen
class Value:
    """What may stand after a key."""

    read: Callable[[object, Place, Reading], Any]
    """What the model gets: one value for each field that the key stands for, several as a tuple."""

    write: Callable[..., object]
    """What a file has for these values."""

    schema: Schema
    kinds: tuple[Kind, ...] = ()
    """The kinds of things that may stand there."""

    whole: tuple[type, ...] = ()
    """The classes of the model whose fields all are in this one value."""

    several: bool = False
    """Whether they stand there by name."""


def alone(read: Callable[[object, Place], Any], write: Callable[..., object], schema: Schema,
          whole: tuple[type, ...] = ()) -> Value:
    """A value whose reading depends on nothing around it."""
    return Value(lambda data, place, _: read(data, place), write, schema, whole=whole)


LACKED = ""


@frozen
class Key:
    """One line of the table: a key of a kind of thing."""

    name: str
    value: Value
    about: str
    """One line for editors."""

    fields: tuple[str, ...] | None = None
    """Those of the model that it stands for, if not the one of its name; with a dot for one of a part.

    With nothing after the dot: whether the part is lacked.
    """

    required: bool | Refusal = False
    """The refusal of a thing without it, or True: then the value is read as if it were null."""

    blank: bool = False
    """Whether a key with nothing after it is as good as none."""

    kept: bool = False
    """Whether it is written when it has its default, too."""

    of: str = ""
    """The alternative (`Kind.either`) that has this key; empty for all."""

    since: int = 1
    """The first version of the format that has it."""

    listed: int = 0
    """Where messages list it: after keys of a lower number, and otherwise as in the table."""

    @property
    def stands_for(self) -> tuple[str, ...]:
        """The fields of the model that it stands for."""
        return (self.name,) if self.fields is None else self.fields


@frozen
class Words:
    """In which words what is not of a kind, and a key that the kind does not have, are refused."""

    no_thing: Callable[[Kind, object], Refusal]
    no_key: Callable[[Kind, str], Refusal]


def _no_thing(kind: Kind, data: object) -> Refusal:
    return f"{shown(data)} is not {kind.what}", kind.hint


def _no_key(kind: Kind, key: str) -> Refusal:
    meant = close(key, kind.names)
    known = f"use one of: {', '.join(kind.names)}"
    hint = quoted(f"did you mean {meant}?", known) if meant else known
    return f"{shown(key)} is not a key of {kind.what}", hint


MAPPING_HINT = "write a mapping of keys to values"
TOPOLOGY_WORDS = Words(_no_thing, _no_key)


@frozen
class Kind:
    """A kind of thing that people write, a mapping of keys: what it is in the model, and its keys.

    The keys stand in the order in which a file gets them. They are read in that order, the required first.
    """

    id: str
    what: str
    model: type
    about: str
    keys: tuple[Key, ...]
    named: str = ""
    """What its name is called, where it stands in a mapping by name."""

    found: Mapping[str, str] = field(default_factory=dict)
    """The fields of the model that no key stands for, and why."""

    either: Mapping[str, str] = field(default_factory=dict)
    """Keys of which it has exactly one, and what it is with each."""

    either_hint: str = ""
    elsewhere: Mapping[str, Refusal] = field(default_factory=dict)
    """Keys of other kinds that it is likely to be given, with their refusals."""

    words: Words = TOPOLOGY_WORDS
    hint: str = MAPPING_HINT
    rules: Schema = field(default_factory=dict)
    """What a schema says of several keys together."""

    @cached_property
    def names(self) -> list[str]:
        """The names of its keys as messages list them."""
        return [key.name for key in self.listed]

    @cached_property
    def listed(self) -> list[Key]:
        """Its keys as messages list them."""
        return sorted(self.keys, key=lambda key: key.listed)

    @cached_property
    def in_turn(self) -> list[Key]:
        """Its keys as they are read."""
        return sorted(self.keys, key=lambda key: not key.required)

    @cached_property
    def columns(self) -> list[Column]:
        """Its keys, each with where in the model its values are."""
        found = []
        for key in self.keys:
            ways = tuple(tuple(path.split(".")) for path in key.stands_for)
            defaults = tuple(() if way in self.others else _reached(self.defaults[way[0]], way[1:], MISSING)
                             for way in ways)
            found.append(Column(key, ways, defaults))
        return found

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """What the fields of the model are by default."""
        return {one.name: one.default for one in fields(self.model)}

    @cached_property
    def others(self) -> set[tuple[str, ...]]:
        """Fields of which other keys lead into the part without a name: their own key has the other parts."""
        heads = {path.partition(".")[0] for key in self.keys for path in key.stands_for if "." in path}
        return {(one.name,) for one in fields(self.model)
                if one.name in heads and isinstance(one.default, tuple)}

    def made(self, here: Reading) -> Any:
        """The thing of the model, with what has been read of it."""
        values: dict[str, Any] = {"name": here.name} if self.named else {}
        parts: dict[str, dict[str, Any]] = {}
        for key, ways, _ in self.columns:
            if key.name not in here.found:
                continue
            found = here.found[key.name]
            for way, value in zip(ways, found if len(ways) > 1 else (found,), strict=False):
                if len(way) == 1:
                    values[way[0]] = value
                else:
                    parts.setdefault(way[0], {})[way[1]] = value
        for head in {*parts, *(way[0] for way in self.others)}:
            whole, some = self.defaults[head], parts.get(head, {})
            if (head,) not in self.others:
                values[head] = replace(whole, **some)
                continue
            lacked = some.pop(LACKED, False)
            values[head] = (*(replace(one, **some) for one in whole if not lacked), *values.get(head, ()))
        return self.model(**values)


class Column(NamedTuple):
    """A key with the ways to its values in the model, and what these are where it is missing."""

    key: Key
    ways: tuple[tuple[str, ...], ...]
    defaults: tuple[object, ...]
    """MISSING where it must not be missing."""


def _reached(value: Any, way: tuple[str, ...], otherwise: object) -> Any:
    """What is at the end of that way; among several parts it leads through the one without a name."""
    for step in way:
        if isinstance(value, tuple):
            value = next((part for part in value if not part.name), MISSING)
        if step == LACKED:
            return value is MISSING
        if value is MISSING:
            return otherwise
        value = getattr(value, step)
    return value


def read(kind: Kind, data: object, place: Place, outer: Reading, name: str = "") -> Any:
    """The thing of that kind; BadInput with file, line and place if it can't be right."""
    if kind.named:
        told(place, lambda: check_name(name, kind.named))
    entries = _entries(kind, data, place)
    here = Reading(place, name, outer)
    for key in kind.in_turn:
        _check_version(key, entries, place, here)
        found = entries.get(key.name)
        given = key.name in entries and not (key.blank and found is None)
        if given or key.required is True:
            here.found[key.name] = key.value.read(found, place.at(key.name), here)
        elif key.required:
            raise place.refusal(*key.required)
    return kind.made(here)


def _entries(kind: Kind, data: object, place: Place) -> Mapping[str, object]:
    if not isinstance(data, Mapping):
        raise place.refusal(*kind.words.no_thing(kind, data))
    for key, refusal in kind.elsewhere.items():
        if key in data:
            raise place.at(key).refusal(*refusal)
    for key in data:
        if key not in kind.names:
            raise place.named(str(key)).refusal(*kind.words.no_key(kind, str(key)))
    if kind.either:
        _check_either(kind, data, place)
    return data


def _check_version(key: Key, entries: Mapping[str, object], place: Place, here: Reading) -> None:
    """Refuse a key that the version of the file does not have: an older vpcctl would not know it."""
    version = here.outside("version") if key.since > 1 and key.name in entries else None
    if version is not None and version < key.since:
        raise place.at(key.name).refusal(f"version {version} of the format has no {key.name}",
                                         f"write version: {key.since}")


def _check_either(kind: Kind, entries: Mapping[str, object], place: Place) -> None:
    given = [key for key in kind.either if key in entries]
    if len(given) != 1:
        raise place.refusal(f"it must have one of {' and '.join(kind.either)}", kind.either_hint)
    for key in kind.listed:
        if key.of not in ("", given[0]) and key.name in entries:
            raise place.at(key.name).refusal(f"{kind.either[given[0]]} has no {key.name}",
                                             f"leave it out, or use {key.of}")


def write(kind: Kind, thing: object, **given: object) -> dict[str, object]:
    """The thing as a file has it; `given` are the values of keys that stand for no field."""
    document: dict[str, object] = {}
    for key, ways, defaults in kind.columns:
        values = (given[key.name],) if key.name in given else tuple([
            tuple(part for part in getattr(thing, way[0]) if part.name) if way in kind.others
            else _reached(thing, way, default) for way, default in zip(ways, defaults, strict=True)])
        if key.kept or values != defaults:
            document[key.name] = key.value.write(*values)
    return document


def version_of(kind: Kind, data: object) -> int:
    """The first version of the format that has every key of what a file has there."""
    if not isinstance(data, Mapping):
        return 1
    found = 1
    for key in kind.keys:
        if key.name in data:
            held = data[key.name]
            parts = held.values() if key.value.several and isinstance(held, Mapping) else (held,)
            found = max(found, key.since, *(version_of(inner, part) for inner in key.value.kinds
                                            for part in parts))
    return found


def reference(kind: Kind) -> dict[str, object]:
    """What a schema has in the place of a thing of that kind."""
    return {"$ref": f"#/definitions/{kind.id}"}


ByPath = Callable[[str, Place, Reading, str], Any]
"""Given a path, its place, what is around it, and a name: the thing in that file."""


def by_name(kind: Kind, what: str, then: Callable[[Any, Place, Reading], None] | None = None,
            by_path: ByPath | None = None) -> Value:
    """Things in a mapping by name; `then` judges all of them together. With `by_path`, a text is a path."""
    def read_one(one: object, place: Place, here: Reading, name: str) -> Any:
        if by_path is not None and isinstance(one, str):
            return by_path(one, place, here, name)
        return read(kind, one, place, here, name)

    def read_all(data: object, place: Place, here: Reading) -> Any:
        if not isinstance(data, Mapping):
            raise place.refusal(f"{shown(data)} is not {what}", MAPPING_HINT)
        found = tuple(read_one(one, place.named(name), here, name) for name, one in data.items())
        if then is not None:
            then(found, place, here)
        return found

    one = reference(kind) if by_path is None else or_a_path(kind)
    schema = {"type": "object", "propertyNames": {"$ref": "#/definitions/name"}, "additionalProperties": one}
    return Value(read_all, lambda things: {one.name: write(kind, one) for one in things}, schema, (kind,),
                 several=True)


def or_a_path(kind: Kind) -> dict[str, object]:
    """What a schema has for such a thing, or the path of its file."""
    return {"anyOf": [{"type": "string", "minLength": 1}, reference(kind)]}
