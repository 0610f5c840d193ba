"""Route tables and NAT gateways as plain values; pure."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.model import naming, tables
from vpcctl_lib.model.elastic import of_machine
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.route_checks import uses
from vpcctl_lib.model.routes import BUILT_IN, NatGateway
from vpcctl_lib.model.topology import Topology, Vpc

View = dict[str, Any]


def names(vpc: Vpc) -> list[str]:
    """The names of a VPC's tables, the built-in ones first."""
    return [*BUILT_IN, *(table.name for table in vpc.route_tables if table.name not in BUILT_IN)]


def table(topology: Topology, vpc: Vpc, name: str) -> View:
    """A route table as AWS lists it."""
    own = tables.own(vpc, name)
    return {
        "vpc": vpc.name, "name": name, "built_in": name in BUILT_IN,
        "number": own.number if own else None,
        "subnets": [subnet.name for subnet in tables.subnets(vpc, name)],
        "routes": [{"destination": str(row.destination), "target": row.target, "state": row.state.value}
                   for row in tables.rows(topology, vpc, name)],
    }


def all_tables(topology: Topology, vpc: Vpc) -> list[View]:
    """All route tables of a VPC."""
    return [table(topology, vpc, name) for name in names(vpc)]


def gateway(topology: Topology, vpc: Vpc, one: NatGateway) -> View:
    """A NAT gateway."""
    seen_as = of_machine(topology, Site(vpc.name, one.subnet, one.name))
    mac = naming.instance_mac(vpc.name, one.address) if one.address else None
    return {"vpc": vpc.name, "name": one.name, "subnet": one.subnet,
            "address": str(one.address) if one.address else None, "mac": mac,
            "elastic_ip": str(seen_as.address) if seen_as else None,
            "namespace": naming.namespace(vpc.name, one.subnet, one.name), "routes": uses(vpc, one.name)}
