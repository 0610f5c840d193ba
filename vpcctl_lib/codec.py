"""Frozen dataclasses to plain JSON values and back, by their type hints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
TEXTUAL = (IPv4Address, IPv4Interface, IPv4Network)


class Misfit(ValueError):
    """A value that does not fit the type it is read as; the message names the place."""


def encode(value: Any) -> Any:
    """A JSON value for `value`; fields that hold their default are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)
                if field.default is MISSING or getattr(value, field.name) != field.default}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, TEXTUAL):
        return str(value)
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    return value


def decode(kind: type[T], data: Any, place: str = "") -> T:
    """The `kind` that `data` spells; Misfit where it does not."""
    value: T = _decode(kind, data, place)
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, data: Any, place: str) -> Any:
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _optional(kind, data, place)
    if origin is tuple:
        return _tuple(get_args(kind), data, place)
    if origin is dict:
        return {str(key): _decode(get_args(kind)[1], item, f"{place}.{key}")
                for key, item in expect(dict, data, place).items()}
    if is_dataclass(kind):
        return _dataclass(kind, data, place)
    if issubclass(kind, Enum) or kind in TEXTUAL:
        return _textual(kind, data, place)
    return expect(kind, data, place)


def _optional(kind: Any, data: Any, place: str) -> Any:
    if data is None:
        return None
    (inner,) = (option for option in get_args(kind) if option is not NoneType)
    return _decode(inner, data, place)


def _tuple(kinds: tuple[Any, ...], data: Any, place: str) -> tuple[Any, ...]:
    items = expect(list, data, place)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(items)
    if len(kinds) != len(items):
        raise Misfit(f"{place}: {len(kinds)} values belong here, not {len(items)}")
    return tuple(_decode(kind, item, f"{place}[{number}]")
                 for number, (kind, item) in enumerate(zip(kinds, items, strict=True)))


def _dataclass(kind: Any, data: Any, place: str) -> Any:
    given = expect(dict, data, place)
    hints = _hints(kind)
    unknown = sorted(given.keys() - hints.keys())
    if unknown:
        raise Misfit(f"{place}.{unknown[0]}: not a field of {kind.__name__}")
    try:
        return kind(**{name: _decode(hints[name], item, f"{place}.{name}") for name, item in given.items()})
    except TypeError as error:
        raise Misfit(f"{place}: {error}") from None


def _textual(kind: Any, data: Any, place: str) -> Any:
    text = expect(str, data, place)
    try:
        return kind(text)
    except ValueError as error:
        raise Misfit(f"{place}: {error}") from None


def expect(kind: type[T], data: Any, place: str) -> T:
    """The data, if it is of that kind; Misfit where it is not."""
    if isinstance(data, kind) and (kind is not int or not isinstance(data, bool)):
        return data
    raise Misfit(f"{place}: {kind.__name__} belongs here, not {data!r:.40}")
