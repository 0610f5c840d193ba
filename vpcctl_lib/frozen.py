"""Frozen dataclasses that are faster to define: every command defines some eighty of them as it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    # typing has it from Python 3.11 on.
    from typing_extensions import dataclass_transform
else:
    def dataclass_transform(**_how: object) -> object:
        """Only for type checkers."""
        return lambda decorator: decorator

Kind = TypeVar("Kind")
COMPARED = "__compared__"


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[Kind]) -> type[Kind]:
    """Like `dataclass(frozen=True)`, which compiles six functions for each class.

    Here five of them are shared, and `__init__` is compiled for the first object: in one command, most kinds
    have none.
    """
    made = dataclass(init=False, eq=False, repr=False)(kind)
    compared = [one.name for one in fields(made) if one.compare]  # type: ignore[arg-type]
    setattr(made, COMPARED, attrgetter(*(compared or ["__class__"])))
    for name, function in SHARED.items():
        setattr(made, name, function)
    return made


def _made_first(self: object, *values: object, **named: object) -> None:
    """The `__init__` of a kind without objects: compiles the real one and continues with it."""
    kind: Any = type(self)
    kind.__init__ = _compiled(fields(kind))
    kind.__init__(self, *values, **named)


def _compiled(parts: tuple[Field[Any], ...]) -> Callable[..., None]:
    places: dict[str, Any] = {f"default_{one.name}": one.default for one in parts}
    places |= {f"make_{one.name}": one.default_factory for one in parts}
    lines = ["def __init__(self, " + ", ".join(map(_parameter, parts)) + "):", "  known = self.__dict__",
             *(f"  known[{one.name!r}] = {_value(one)}" for one in parts)]
    exec("\n".join(lines), places)  # noqa: S102  as dataclasses does; it contains only the names of fields
    made: Callable[..., None] = places["__init__"]
    return made


def _parameter(one: Field[Any]) -> str:
    required = one.default is MISSING and one.default_factory is MISSING
    return one.name if required else f"{one.name}=default_{one.name}"


def _value(one: Field[Any]) -> str:
    if one.default_factory is MISSING:
        return one.name
    return f"make_{one.name}() if {one.name} is default_{one.name} else {one.name}"


def _equals(self: object, other: object) -> bool:
    if type(other) is not type(self):
        return NotImplemented  # type: ignore[no-any-return]
    compared: attrgetter[object] = getattr(self, COMPARED)
    return bool(compared(self) == compared(other))


def _hash(self: object) -> int:
    return hash(getattr(self, COMPARED)(self))


def _shown(self: object) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)  # type: ignore[arg-type]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse(self: object, name: str, *_value: object) -> None:
    raise FrozenInstanceError(f"cannot change {name!r} of a {type(self).__qualname__}")


SHARED = {"__init__": _made_first, "__eq__": _equals, "__hash__": _hash, "__repr__": _shown,
          "__setattr__": _refuse, "__delattr__": _refuse}
