"""Things of any kind as plain values, for kinds that have no view of their own; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from vpcctl_lib.model import elastic, kinds
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.endpoints import Site, endpoint
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.kinds import Kind, Names, Placed
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.outside import Elastic, Pool, Publish
from vpcctl_lib.model.policies import Acl, Group, Policy
from vpcctl_lib.model.routes import NatGateway, RouteTable
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

View = dict[str, Any]
SHOWN = (Vpc, Nat, Dns, Dhcp, Record, Group, Acl, RouteTable, NatGateway, Subnet, Policy, Machine, Workload,
         Peering, FlowLog)
"""Those with a view of their own, in `views/plain.py`, `grouped.py`, `acls.py`, `names.py`, `routed.py` or
`flows.py`."""


def others() -> list[Kind]:
    """The kinds without a view of their own."""
    return [kind for kind in kinds.REGISTERED.values() if kind.model not in SHOWN]


def listed(topology: Topology, kind: Kind, vpc: str = "") -> list[View]:
    """The things of a kind, all or those of one VPC; without those that have no name among several."""
    return [thing(topology, one) for one in kinds.everything(topology)
            if one.kind is kind and vpc in ("", one.names[0]) and (one.names[-1] or not kind.several)]


def thing(topology: Topology, one: Placed) -> View:
    """A thing: where it is, its name, what its fields say, and what follows from them."""
    view = WHOLE.get(one.kind.model)
    if view:
        return view(topology, one.thing)
    words = [kind.option or kind.word for kind in kinds.way(one.kind)[:-1]]
    name = {"name": one.names[-1]} if hasattr(one.thing, "name") else {}
    more = MORE.get(one.kind.model)
    return {**dict(zip(words, one.names, strict=False)), **name,
            **{field: plain(getattr(one.thing, field)) for field in one.kind.own},
            **(more(topology, one.names) if more else {})}


def plain(value: Any) -> Any:
    """The value as JSON has it; null for an empty text."""
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    return value if value is None or isinstance(value, (bool, int)) else str(value) or None


def _publish(topology: Topology, names: Names) -> View:
    """The machine's addresses; a subnet's own machine is null, as everywhere."""
    vpc, subnet, machine, name = names
    where = find_endpoint(topology, Site(vpc, subnet, machine))
    publish = next(one for one in where.publishes if one.name == name)
    found = [str(address) for family in Family if publish.is_of(family) and (address := where.at(family))]
    return {"instance": machine or None, "address": found[0], "addresses": found}


def _pool(topology: Topology, pool: Pool) -> View:
    return {"name": pool.name, "cidr": str(pool.cidr), "interface": pool.interface,
            "allocated": sum(eip.address in pool.cidr for eip in topology.eips)}


def _eip(topology: Topology, eip: Elastic) -> View:
    """An elastic address, the machine that has it, and whether it works there."""
    found, pool = elastic.held(topology, eip), elastic.pool_of(topology, eip.address)
    idle = elastic.why_idle(*found[:2]) if found else None
    return {"address": str(eip.address), "associated": eip.associated or None, "vpc": eip.vpc or None,
            "subnet": eip.subnet or None, "instance": eip.machine or None,
            "private": str(endpoint(*found).address) if found else None,
            "pool": str(pool.cidr) if pool else None, "interface": pool.interface if pool else None,
            "works": bool(found) and not idle, "idle": str(idle) if idle else None}


def _mirror(topology: Topology, names: Names) -> View:
    """The address of the machine that gets the copies."""
    vpc, _, machine, to = names
    return {"instance": machine or None,
            "address": str(find_endpoint(topology, Site(vpc, *to.split("/"))).address)}


WHOLE: Mapping[type, Callable[[Topology, Any], View]] = {Pool: _pool, Elastic: _eip}
"""Kinds whose fields alone do not say it well."""

MORE: Mapping[type, Callable[[Topology, Names], View]] = {Publish: _publish, Mirror: _mirror}
"""What else is shown of a kind."""


def rows(found: list[View]) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
    """The columns of a table of them, and its rows; the VPC is not shown."""
    keys = found[0] if found else ()
    names = [name for name in keys if name != "vpc" and any(one[name] for one in found)]
    return (tuple(name.replace("_", " ").upper() for name in names),
            (tuple(_cell(one[name]) for name in names) for one in found))


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_cell, value)) or "-"
    return "-" if value in (None, False, "") else "yes" if value is True else str(value)
