"""Namespaces of somebody else's: what their root does there is mended by `restore` alone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping

from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import Fault, Place, Resource


def among(entries: Iterable[Entry], names: Collection[str]) -> list[Entry]:
    """What is in these namespaces or on a cable to them, and they themselves; in the ledger's order."""
    places = {(name, "") for name in names}
    return [entry for entry in entries if _is_there(entry.resource, names, places)]


def _is_there(one: Resource, names: Collection[str], places: set[Place]) -> bool:
    there = one.guest in names if one.guest else bool(one.stands_in & places)
    if there:
        places |= one.places
    return there


def apart_from(entries: Iterable[Entry], faults: Mapping[Hashable, Fault],
               names: Collection[str]) -> Mapping[Hashable, Fault]:
    """The faults without those in such namespaces: what their owners did stops no other command."""
    if not faults or not names:
        return faults
    theirs = {entry.resource.key for entry in among(entries, names)}
    return {key: fault for key, fault in faults.items() if key not in theirs}


def calm(entries: Iterable[Entry], names: Collection[str]) -> set[str]:
    """Those of the namespaces in which nothing is half-made."""
    entries = list(entries)
    return {name for name in names if not any(entry.under_way for entry in among(entries, (name,)))}
