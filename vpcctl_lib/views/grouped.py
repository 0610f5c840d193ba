"""Security groups as plain values; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vpcctl_lib.files.policy import group_to_document
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.policies import Group

if TYPE_CHECKING:
    from vpcctl_lib.managers.group import Counted, Listed

View = dict[str, Any]


def group(listed: Listed) -> View:
    """A group with its rules and members."""
    return {"vpc": listed.vpc, "name": listed.group.name, "members": [str(site) for site in listed.members],
            "policy": group_to_document(listed.group), "stale": list(listed.stale)}


def shown(counted: Counted) -> View:
    """A group, with the counters of its rules."""
    return {**group(counted.listed), "counters": _counters(counted.counters)}


def in_force(one: Group, counters: Mapping[str, tuple[int, int]]) -> View:
    """One of a machine's groups, with its rules' counters at the machine."""
    return {"name": one.name, "policy": group_to_document(one), "counters": _counters(counters)}


def _counters(found: Mapping[str, tuple[int, int]]) -> View:
    return {index: {"packets": packets, "bytes": size} for index, (packets, size) in found.items()}


def member(site: Site, groups: Iterable[str]) -> View:
    """A machine, and all groups that it is in."""
    return {"vpc": site.vpc, "subnet": site.subnet, "instance": site.machine or None, "groups": list(groups)}
