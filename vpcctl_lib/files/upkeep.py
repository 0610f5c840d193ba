"""How a workload is looked after, in a topology file: read, and written back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.files.documents import Place, shown
from vpcctl_lib.model.quantities import parse_log_size, spelt
from vpcctl_lib.model.topology import Restart, Upkeep
from vpcctl_lib.workloads.upkeep import (
    check_variable,
    check_workdir,
    environment,
    parse_seconds,
    parse_signal,
    variables,
)

T = TypeVar("T")
SHARED = ("restart", "stop_timeout", "log_max")
"""The keys that a web server has, too."""


def read(entries: Mapping[str, object], place: Place) -> Upkeep:
    """What the keys of a workload say; BadInput with file, line and place where they can't be right."""
    timeout, size = entries.get("stop_timeout"), entries.get("log_max")
    return Upkeep(
        _environment(entries.get("env"), place.at("env")),
        _text(entries.get("workdir"), place.at("workdir"), "/srv", _workdir),
        _text(entries.get("stop_signal"), place.at("stop_signal"), "INT", parse_signal),
        None if timeout is None else _timeout(timeout, place.at("stop_timeout")),
        _restart(entries.get("restart"), place.at("restart")),
        None if size is None else _size(size, place.at("log_max")))


def to_document(upkeep: Upkeep) -> dict[str, object]:
    """The keys that say the same."""
    document: dict[str, object] = {}
    if upkeep.env:
        document["env"] = variables(upkeep.env)
    if upkeep.workdir:
        document["workdir"] = upkeep.workdir
    if upkeep.stop_signal:
        document["stop_signal"] = upkeep.stop_signal
    if upkeep.stop_timeout is not None:
        document["stop_timeout"] = f"{upkeep.stop_timeout}s"
    if upkeep.restart is not Restart.NO:
        document["restart"] = upkeep.restart.value
    if upkeep.log_max is not None:
        document["log_max"] = spelt(upkeep.log_max)
    return document


def _placed(place: Place, check: Callable[[], T]) -> T:
    try:
        return check()
    except VpcctlError as error:
        raise place.refusal(*error.told) from None


def _environment(data: object, place: Place) -> tuple[str, ...]:
    if data is None:
        return ()
    if not isinstance(data, Mapping):
        raise place.refusal(f"{shown(data)} is not variables by name", "write {PORT: 8080}")
    found = {str(name): _value(value, place.named(str(name))) for name, value in data.items()}
    for name, value in found.items():
        _placed(place.named(name), lambda name=name, value=value: check_variable(name, value))  # type: ignore[misc]
    return environment(found)


def _value(data: object, place: Place) -> str:
    """Text; a whole number may go without quotes, as it is read as it was written."""
    if isinstance(data, str) or type(data) is int:
        return str(data)
    raise place.refusal(f"{shown(data)} is not text", "write it in quotes")


def _text(data: object, place: Place, example: str, parse: Callable[[str], str]) -> str:
    if data is None:
        return ""
    if type(data) is int:
        data = str(data)
    if not isinstance(data, str) or not data:
        raise place.refusal(f"{shown(data)} is not right here", f"write for example {example}")
    return _placed(place, lambda: parse(data))


def _workdir(path: str) -> str:
    check_workdir(path)
    return path


def _timeout(data: object, place: Place) -> int:
    if not isinstance(data, str) and type(data) is not int:
        raise place.refusal(f"{shown(data)} is not a time", "write for example 10s or 2m")
    return _placed(place, lambda: parse_seconds(str(data)))


def _restart(data: object, place: Place) -> Restart:
    kinds = [kind.value for kind in Restart]
    if data is None or data is False:
        # Other programs write YAML's `no` as false.
        return Restart.NO
    if data not in kinds:
        raise place.refusal(f"{shown(data)} is not a way to restart", f"use {', '.join(kinds)}")
    return Restart(data)


def _size(data: object, place: Place) -> int:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not the size of a log", "write for example 10M")
    return _placed(place, lambda: parse_log_size(data))
