"""The route tables of a VPC whose record is lost, from the list that its router keeps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import naming, route_checks, tables
from vpcctl_lib.model.routes import BUILT_IN, RouteTable, VpcRoute
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources.steering import Listed, listed_in


def with_routes(kernel: Kernel, notes: list[str], vpc: Vpc) -> Vpc:
    """The VPC with the tables that are listed, as far as a person could have asked for them."""
    try:
        listed = listed_in(kernel.bridge_table(vpc.name, naming.ROUTES_TABLE) or ())
    except Unreadable:
        return vpc
    found: list[RouteTable] = []
    for one in listed:
        table = _table(vpc, one, {other.number for other in found})
        if table is None:
            notes.append(f"route table '{one.name}' of VPC '{vpc.name}' can't be rebuilt: it is not as "
                         "vpcctl lists it")
            continue
        found.append(table)
        if table.name not in BUILT_IN:
            for subnet in (vpc.subnet(name) for name in _said(one, "subnet")):
                vpc = vpc.with_subnet(replace(subnet, route_table=table.name)) if subnet else vpc
    return replace(vpc, route_tables=tuple(found))


def _said(one: Listed, word: str) -> list[str]:
    return [text.removeprefix(f"{word} ") for text in one.words if text.startswith(f"{word} ")]


def _table(vpc: Vpc, one: Listed, taken: Iterable[int]) -> RouteTable | None:
    try:
        number = int(next(iter(_said(one, "number")), "0"))
        routes = tables.in_order(_route(text) for text in _said(one, "route"))
        for route in routes:
            route_checks.check_destination(vpc, route.destination)
    except (ValueError, VpcctlError):
        return None
    is_right = naming.is_name(one.name) and 0 < number <= tables.MOST and number not in taken
    return RouteTable(one.name, number, routes) if is_right else None


def _route(text: str) -> VpcRoute:
    destination, _, target = text.partition(" ")
    return VpcRoute(route_checks.parse_destination(destination), *route_checks.parse_target(target))
