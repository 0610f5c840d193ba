"""Route tables and NAT gateways as plain values; pure."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.model import endpoints, tables
from vpcctl_lib.model.routes import BUILT_IN, NatGateway
from vpcctl_lib.model.route_checks import uses
from vpcctl_lib.model.topology import Topology, Vpc

View = dict[str, Any]


def names(vpc: Vpc) -> list[str]:
    """The names of a VPC's tables, the built-in ones first."""
    return [*BUILT_IN, *(table.name for table in vpc.route_tables if table.name not in BUILT_IN)]


def table(topology: Topology, vpc: Vpc, name: str) -> View:
    """A route table as AWS lists it."""
    return {
        "vpc": vpc.name, "name": name, "built_in": name in BUILT_IN,
        "subnets": [subnet.name for subnet in tables.subnets(vpc, name)],
        "routes": [{"destination": str(row.destination), "target": row.target, "state": row.state.value}
                   for row in tables.rows(topology, vpc, name)],
    }


def all_tables(topology: Topology, vpc: Vpc) -> list[View]:
    """All route tables of a VPC."""
    return [table(topology, vpc, name) for name in names(vpc)]


def gateway(vpc: Vpc, one: NatGateway) -> View:
    """A NAT gateway."""
    where = next(found for found in endpoints.in_vpc(vpc)
                 if found.translates and found.site.machine == one.name)
    return {"vpc": vpc.name, "name": one.name, "subnet": one.subnet, "address": str(where.address),
            "mac": where.mac, "namespace": where.namespace, "routes": uses(vpc, one.name)}
