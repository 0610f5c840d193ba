"""Every field of the model shows in a view, and the schema names every key of the views."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

from tests.fields import FULL, Field, changes, each_field
from vpcctl_lib.files.topology import to_document
from vpcctl_lib.managers import acl, group
from vpcctl_lib.managers.deploy import Life, Running
from vpcctl_lib.managers.firewall import InForce
from vpcctl_lib.managers.instance import Instance, Standing
from vpcctl_lib.managers.overview import Overview
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.topology import Nat, Subnet, Topology, Vpc
from vpcctl_lib.views import acls, flows, grouped, names, plain, routed, things

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema.json").read_text())

NOT_SHOWN = {
    Field(Nat, "mtu"): "`ip link` tells it of the interface",
    Field(Nat, "resolvers"): "the subnet's /etc/resolv.conf tells them",
    Field(Topology, "iptables"): "`iptables --version` tells what is in use",
    Field(Topology, "quotes"): "it is a part of the guard",
    Field(Topology, "forwarding"): "it is for when the last NAT goes",
    Field(Topology, "front"): "`ip addr` shows it",
    Field(Topology, "front6"): "`ip addr` shows it",
    Field(Topology, "entrances"): "`ip addr` shows which links have addresses of IPv6",
    Field(Topology, "whole6"): "`sysctl` shows it",
}
"""What no view shows: all of it is found on the host, and asked for by nobody."""


def listed(topology: Topology) -> Iterator[tuple[str, Any]]:
    """What the commands that list and show print of it, by the key in the document, less what runs."""
    for vpc in topology.vpcs:
        workloads = tuple(running(vpc, subnet) for subnet in vpc.subnets)
        policies = (*(InForce(subnet, {}) for subnet in vpc.subnets if subnet.policy is not None),
                    *(InForce(subnet, {"web:ingress[0]": (1, 60)}, groups=vpc.groups)
                      for subnet in vpc.subnets[:1] if vpc.groups))
        flat = tuple(one for some in workloads for one in some)
        yield "vpcs", [plain.vpc(topology, vpc)]
        yield "subnets", [plain.subnet(vpc, subnet) for subnet in vpc.subnets]
        yield "workloads", [plain.workload(one) for one in flat]
        machines = tuple(Instance(one, Standing.MISSING) for subnet in vpc.subnets
                         for one in endpoints.in_subnet(vpc, subnet) if one.site.machine)
        yield "instances", [plain.instance(one) for one in machines]
        for one in machines:
            yield "instance", plain.instance_shown(one)
        yield "flow_logs", flows.flow_logs(vpc)
        groups = tuple(group.listed(topology, vpc))
        yield "groups", [grouped.group(one) for one in groups]
        for one in groups:
            yield "group", grouped.shown(group.Counted(one, {"ingress[0]": (1, 60)}))
        edges = tuple(acl.listed(topology, vpc.name, one.name) for one in vpc.acls)
        yield "acls", [acls.acl(one) for one in edges]
        for edge in edges:
            yield "acl", acls.shown(acl.Counted(edge, {"ingress 100": (1, 60)}))
        yield "route_tables", routed.all_tables(topology, vpc)
        yield "nat_gateways", [routed.gateway(topology, vpc, one) for one in vpc.nat_gateways]
        if vpc.dns:
            yield "dns", names.server(topology, vpc.name)
        if vpc.dhcp:
            yield "dhcp", names.leases(topology, vpc.name)
        yield "records", list(names.records(vpc))
        yield "vpc", plain.overview(Overview(topology, vpc, policies, flat, machines, groups, edges))
        for one in policies:
            yield "firewall", plain.firewall(vpc.name, one)
    for kind in things.others():
        if kind.home is Topology:
            yield kind.plural, things.listed(topology, kind)
    yield "peerings", [plain.peering(topology, peering) for peering in topology.peerings]


def running(vpc: Vpc, subnet: Subnet) -> tuple[Running, ...]:
    """The workloads of a subnet, stopped."""
    return tuple(Running(where.site, one, Life.STOPPED, None, Path("/log"))
                 for where in endpoints.in_subnet(vpc, subnet) for one in where.workloads)


@cache
def full() -> list[tuple[str, Any]]:
    """What they print of the network that has everything."""
    return list(listed(FULL))


@each_field
def test_a_view_shows_every_field(field: Field) -> None:
    for changed in changes(field):
        assert (list(listed(changed)) == full()) == (field in NOT_SHOWN)


def closed(schema: Any) -> Any:
    """The schema with no key allowed that it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(one) for key, one in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return {"additionalProperties": False, **inner} if named else inner


def test_the_schema_names_every_key() -> None:
    validator = jsonschema.Draft202012Validator(closed(SCHEMA))
    for key, view in [*listed(FULL), ("topology", to_document(FULL))]:
        assert [error.message for error in validator.iter_errors({"version": 1, key: view})] == []
