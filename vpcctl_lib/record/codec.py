"""Frozen dataclasses to plain JSON values and back, by their type hints.

Each type's conversion is built once, as a function: a record of 2,000 subnets has 14,000 entries.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from inspect import get_annotations
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from vpcctl_lib.model.addressing import parse_interface

T = TypeVar("T")
Writer = Callable[[Any], str]
Decoder = Callable[[Any], Any]
TEXTUAL = (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface, IPv4Network, IPv6Network)
EITHER: dict[frozenset[type], Decoder] = {
    frozenset({IPv4Address, IPv6Address}): ip_address, frozenset({IPv4Network, IPv6Network}): ip_network,
    frozenset({IPv4Interface, IPv6Interface}): lambda text: (
        IPv6Interface(text) if ":" in text else parse_interface(text))}
"""How values of either family are read."""

NAMED = {None: "null", False: "false", True: "true"}

_string = json.encoder.encode_basestring_ascii


class Misfit(ValueError):
    """A value that does not fit its type, and its place."""

    def __init__(self, problem: str, place: str = "") -> None:
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.place = place

    def within(self, place: str) -> Misfit:
        """The same with the outer place in front: places are only built for an error."""
        return Misfit(self.problem, place + self.place)


def written(value: Any, kind: str = "") -> str:
    """The JSON of `value`, with the name of its kind first; fields with their default are left out.

    As json.dumps would write it, but without the objects in between: a change writes thousands of resources.
    """
    cls: Any = type(value)
    text = _writer(cls)(value)
    if not kind:
        return text
    first = f'"kind": {_string(kind)}'
    return f"{{{first}, {text[1:]}" if text != "{}" else f"{{{first}}}"


@cache
def _writer(kind: Any) -> Writer:
    if is_dataclass(kind):
        return _dataclass_writer(kind)
    if issubclass(kind, bool | NoneType):
        return lambda value: NAMED[value]
    if issubclass(kind, int | str):
        return _string if issubclass(kind, str) else str
    if issubclass(kind, Enum):
        return lambda value: written(value.value)
    if issubclass(kind, TEXTUAL):
        return lambda value: _string(str(value))
    if issubclass(kind, tuple):
        return lambda value: f"[{', '.join(map(written, value))}]"
    return json.dumps


def _dataclass_writer(kind: Any) -> Writer:
    parts = [(field.name, field.default, f"{_string(field.name)}: ") for field in fields(kind)]

    def text(value: Any) -> str:
        found = []
        for name, default, begin in parts:
            item = getattr(value, name)
            if item != default:
                found.append(begin + (_string(item) if type(item) is str else written(item)))
        return f"{{{', '.join(found)}}}"

    return text


def decode(kind: type[T], data: Any, place: str = "") -> T:
    """The `kind` that `data` encodes; Misfit if it does not."""
    wanted: Any = kind
    try:
        value: T = _decoder(wanted)(data)
    except Misfit as misfit:
        raise misfit.within(place) from None
    return value


@cache
def _decoder(kind: Any) -> Decoder:
    origin = get_origin(kind)
    if origin is UnionType:
        return _union(kind)
    if origin is tuple:
        return _tuple(get_args(kind))
    if origin is dict:
        return _dict(get_args(kind)[1])
    if is_dataclass(kind):
        return _dataclass(kind)
    if issubclass(kind, Enum) or kind in TEXTUAL:
        return _textual(parse_interface if kind is IPv4Interface else kind)
    return lambda data: data if type(data) is kind else expect(kind, data)


def _union(kind: Any) -> Decoder:
    """Something of either family, or a value that may be none."""
    options = [option for option in get_args(kind) if option is not NoneType]
    either = EITHER.get(frozenset(options))
    decoder = _textual(either) if either else _decoder(*options)
    return decoder if NoneType not in get_args(kind) else lambda data: None if data is None else decoder(data)


def _tuple(kinds: tuple[Any, ...]) -> Decoder:
    endless = kinds[-1] is Ellipsis
    decoders = [_decoder(kind) for kind in kinds if kind is not Ellipsis]

    def decoded(data: Any) -> tuple[Any, ...]:
        items = expect(list, data)
        ways = decoders * len(items) if endless else decoders
        if len(ways) != len(items):
            raise Misfit(f"{len(ways)} values belong here, not {len(items)}")
        done: list[Any] = []
        try:
            for way, item in zip(ways, items, strict=True):
                done.append(way(item))
        except Misfit as misfit:
            raise misfit.within(f"[{len(done)}]") from None
        return tuple(done)

    return decoded


def _dict(kind: Any) -> Decoder:
    decoder = _decoder(kind)

    def decoded(data: Any) -> dict[str, Any]:
        done = {}
        entries = expect(dict, data)
        try:
            for key, item in entries.items():
                done[str(key)] = decoder(item)
        except Misfit as misfit:
            raise misfit.within(f".{key}") from None
        return done

    return decoded


def _dataclass(kind: Any) -> Decoder:
    decoders = _Fields(kind)

    def decoded(data: Any) -> Any:
        given = {}
        entries = expect(dict, data)
        try:
            for name, item in entries.items():
                given[name] = decoders[name](item)
        except Misfit as misfit:
            raise misfit.within(f".{name}") from None
        try:
            return kind(**given)
        except TypeError as error:
            raise Misfit(str(error)) from None

    return decoded


class _Fields(dict[str, Decoder]):
    """The ways of a dataclass's fields; a hint is only looked into once a field with it is there to be read.

    Most fields hold their default, and are left out: to work out the hints of all, as `get_type_hints` does,
    takes a command longer than to read a small record.
    """

    def __init__(self, kind: Any) -> None:
        self._kind = kind
        self._names = {field.name for field in fields(kind)}

    def __missing__(self, name: str) -> Decoder:
        if name not in self._names:
            raise Misfit(f"not a field of {self._kind.__name__}")
        home = next(kind for kind in self._kind.__mro__ if name in get_annotations(kind))
        self[name] = _decoder(_hint(get_annotations(home)[name], home.__module__))
        return self[name]


@cache
def _hint(text: str, module: str) -> Any:
    """The type that a hint of that module writes."""
    return eval(text, vars(sys.modules[module]))  # noqa: S307  as typing does; the text is of our own code


def _textual(kind: Any) -> Decoder:
    @cache
    def known(text: str) -> Any:
        return kind(text)

    def decoded(data: Any) -> Any:
        text = expect(str, data)
        try:
            return known(text)
        except ValueError as error:
            raise Misfit(str(error)) from None

    return decoded


def expect(kind: type[T], data: Any, place: str = "") -> T:
    """The data, if it is of exactly that kind (true is no number); Misfit if it is not."""
    if type(data) is kind:
        return data
    raise Misfit(f"{kind.__name__} belongs here, not {data!r:.40}", place)
