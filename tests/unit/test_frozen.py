"""Frozen dataclasses as they are made here: what `dataclass(frozen=True)` promises holds."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, field, fields, replace

import pytest

from vpcctl_lib.frozen import frozen


@frozen
class Point:
    """With each kind of field that we use."""

    x: int
    y: int = 2
    names: list[str] = field(default_factory=list, compare=False)
    hidden: str = field(default="h", repr=False)


@frozen
class Space(Point):
    """One that inherits, and adds."""

    z: int = 3


class Named(Point):
    """One that inherits, and is no dataclass of its own."""


def test_an_object_is_made_of_values_names_and_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(1).names, Point(x=1, y=5).y) == (1, 2, [], 5)
    assert Space(1, z=7) == Space(1, 2, [], "h", 7)
    assert isinstance(Named(4), Named)
    assert [one.name for one in fields(Space)] == ["x", "y", "names", "hidden", "z"]


def test_each_object_has_a_default_of_its_own() -> None:
    first, second = Point(1), Point(1)
    first.names.append("a")
    assert second.names == []


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2, [], "h", 9), {}), ((1,), {"x": 1}),
                                               ((1,), {"w": 1})])
def test_what_does_not_fit_is_a_type_error(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)  # type: ignore[arg-type]


def test_nothing_can_be_changed() -> None:
    point = Point(1)
    for change in (lambda: setattr(point, "x", 2), lambda: delattr(point, "x")):
        with pytest.raises(FrozenInstanceError):
            change()
    assert replace(point, x=2) == Point(2)
    assert point == Point(1)


def test_what_is_compared_makes_equal_and_hash() -> None:
    assert Point(1, names=["a"]) == Point(1)
    assert hash(Point(1, names=["a"])) == hash(Point(1))
    assert Point(1) != Point(2)
    assert Space(1) != Point(1)


def test_it_shows_its_fields() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2, names=[])"
