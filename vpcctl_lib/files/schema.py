"""JSON Schemas of topology and policy files, by which editors complete and check them; made from the keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING

from vpcctl_lib.files.acl_keys import ACL
from vpcctl_lib.files.keys import Column, Kind, Schema
from vpcctl_lib.files.policy_keys import GROUP, POLICY
from vpcctl_lib.files.topology_keys import TOPOLOGY
from vpcctl_lib.model.naming import NAME

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The one that editors and the YAML language server know best."""

NAMES = {"type": "string", "pattern": f"^{NAME.pattern}$", "not": {"pattern": "-$"}}


def schemas() -> dict[str, dict[str, object]]:
    """The schema of each kind of file, by the name of its kind."""
    return {kind.id: _schema(kind) for kind in (TOPOLOGY, POLICY, GROUP, ACL)}


def within(kind: Kind) -> Iterator[Kind]:
    """The kind, and those of all that it holds."""
    yield kind
    for key in kind.keys:
        for inner in key.value.kinds:
            yield from within(inner)


def _schema(kind: Kind) -> dict[str, object]:
    inner = {one.id: _object(one) for one in within(kind) if one is not kind}
    version = max(key.since for one in within(kind) for key in one.keys)
    return {"$schema": DRAFT, "$id": f"urn:vpcctl:{kind.id}:{version}", "title": f"vpcctl: {kind.what}",
            **_object(kind), "definitions": {"name": NAMES, **inner}}


def _object(kind: Kind) -> dict[str, object]:
    found: dict[str, object] = {
        "description": kind.about, "type": "object",
        "properties": {column.key.name: _property(column) for column in kind.columns},
        "additionalProperties": False}
    required = [key.name for key in kind.keys if key.required]
    if required:
        found["required"] = required
    if kind.either:
        found["oneOf"] = [{"required": [key]} for key in kind.either]
        found["dependencies"] = {key.name: [key.of] for key in kind.keys if key.of}
    return {**found, **kind.rules}


def _property(column: Column) -> dict[str, object]:
    key = column.key
    schema = _or_null(key.value.schema) if key.blank else dict(key.value.schema)
    if column.ways and None not in column.defaults and MISSING not in column.defaults:
        default = key.value.write(*column.defaults)
        if default not in ("", [], {}):
            schema["default"] = default
    return {"description": key.about, **schema}


def _or_null(schema: Schema) -> dict[str, object]:
    """The schema of the same, or nothing."""
    types, choices, others = (_listed(schema.get(word)) for word in ("type", "enum", "anyOf"))
    return {**schema, **({"type": [*types, "null"]} if types else {}),
            **({"enum": [*choices, None]} if choices else {}),
            **({"anyOf": [*others, {"type": "null"}]} if others else {})}


def _listed(found: object) -> list[object]:
    return found if isinstance(found, list) else [found] if found else []
