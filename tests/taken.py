"""Takes the support of a kind of thing away from one part of the program, as if nobody had written it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar

import jsonschema
import pytest

from tests.fields import Field
from tests.unit import test_fields, test_keys, test_views
from vpcctl_lib.cli import completion
from vpcctl_lib.engine.rebuild import Rebuilder
from vpcctl_lib.files.keys import Kind as Table
from vpcctl_lib.model import comparison, kinds
from vpcctl_lib.model.kinds import Kind

T = TypeVar("T")
Patch = pytest.MonkeyPatch


def less(home: T, kind: Kind) -> T:
    """The home without things of that kind, nor any in what it holds."""
    for inner in kinds.inside(type(home)):
        kept = () if inner is kind else [less(one, kind) for one in inner.things(home)]
        home = inner.put(home, kept)
    return home


def blind(function: Callable[..., Any], kind: Kind) -> Callable[..., Any]:
    """The function as it would be without a line for that kind."""
    return lambda first, *rest: function(less(first, kind), *rest)


def tables(kind: Kind) -> Iterator[tuple[Table, set[str]]]:
    """The tables with keys for that kind, and the names of these keys."""
    for table in test_keys.KINDS:
        ends = {key.name for key in table.keys for path in key.stands_for
                if _end(table, path) == Field(kind.home, kind.field)}
        if ends:
            yield table, ends


def _end(table: Table, path: str) -> Field:
    model: Any = table.model
    *steps, last = path.split(".")
    for step in steps:
        model = next(test_keys.parts(test_keys.hints(model)[step]))
    return Field(model, last)


def from_export(kind: Kind, patch: Patch) -> None:
    """No table writes it."""
    for table, names in tables(kind):
        patch.setitem(vars(table), "columns", [one for one in table.columns if one.key.name not in names])


def from_apply(kind: Kind, patch: Patch) -> None:
    """No table reads it."""
    for table, names in tables(kind):
        assert table.columns
        for name in ("names", "listed", "in_turn"):
            patch.setitem(vars(table), name, getattr(table, name))
            patch.delitem(vars(table), name)
        patch.setitem(vars(table), "keys", tuple(key for key in table.keys if key.name not in names))


def from_comparison(kind: Kind, patch: Patch) -> None:
    """The plan's words pass it over."""
    patch.setattr(comparison, "inside", lambda home: [one for one in kinds.inside(home) if one is not kind])


def from_blueprint(kind: Kind, patch: Patch) -> None:
    """It needs nothing in the kernel."""
    patch.setattr(test_fields, "blueprint", blind(test_fields.blueprint, kind))


def from_rebuild(kind: Kind, patch: Patch) -> None:
    """No mark tells of it."""
    topology = Rebuilder.topology
    patch.setattr(Rebuilder, "topology", lambda reader: less(topology(reader), kind))


def from_graph(kind: Kind, patch: Patch) -> None:
    """No picture has it."""
    patch.setattr(test_fields, "graph", blind(test_fields.graph, kind))


def from_completion(kind: Kind, patch: Patch) -> None:
    """Tab knows none."""
    topology = completion._topology
    patch.setattr(completion, "_topology", lambda ctx: less(topology(ctx), kind))


def from_views(kind: Kind, patch: Patch) -> None:
    """No command lists or shows it."""
    patch.setattr(test_views, "listed", blind(test_views.listed, kind))


def from_schema(kind: Kind, patch: Patch) -> None:
    """The schema of what is printed does not name it."""
    schema = deepcopy(test_views.SCHEMA)
    for one in schema["$defs"].values():
        one.get("properties", {}).pop(kind.plural, None)
    schema["properties"].pop(kind.plural, None)
    patch.setattr(test_views, "SCHEMA", schema)


def from_editors(kind: Kind, patch: Patch) -> None:
    """The schema of files does not name it."""
    schema = json.loads(json.dumps(test_keys.schemas()["topology"]))
    for table, names in tables(kind):
        one = schema["definitions"].get(table.id, schema)
        for name in names:
            del one["properties"][name]
    patch.setitem(test_keys.SCHEMAS, "topology", jsonschema.Draft7Validator(schema))


@contextmanager
def from_names(kind: Kind) -> Iterator[None]:
    """Nothing says what it takes in the kernel."""
    kinds.register(replace(kind, in_kernel=lambda _: ()))
    for home in kinds.REGISTERED.values():
        vars(home).pop("takes", None)
    try:
        yield
    finally:
        kinds.register(kind)
        for home in kinds.REGISTERED.values():
            vars(home).pop("takes", None)
