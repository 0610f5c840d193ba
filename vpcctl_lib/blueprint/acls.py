"""A VPC's network ACLs, and the subnets that have one; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from vpcctl_lib.blueprint.parts import Seat
from vpcctl_lib.firewall.acl_words import in_words
from vpcctl_lib.model import addressing
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Acls, Resource
from vpcctl_lib.resources.acl_table import Edge, Listed

EVERYBODY = IPv4Address(2**32 - 1)
"""Whom a machine asks that has no address yet."""


def acls(vpc: Vpc, seats: Sequence[Seat]) -> Iterator[Resource]:
    """The table with all of them, also those that no subnet has: a lost record is rebuilt from it."""
    associated = {one.name for one in vpc.subnets if one.acl}
    ports: dict[str, list[str]] = {}
    for seat in seats:
        if seat.subnet.name in associated:
            ports.setdefault(seat.subnet.name, []).append(seat.endpoint.port)
    edges = tuple(Edge(one.name, one.cidr.network_address, one.acl, tuple(ports.get(one.name, ())))
                  for one in vpc.subnets if one.acl)
    listed = tuple(Listed(one.name, tuple(map(in_words, one.ingress)), tuple(map(in_words, one.egress)))
                   for one in vpc.acls)
    yield Acls(vpc.name, addressing.gateway(vpc.cidr), listed, edges, _resolvers(vpc), vpc.ipv6,
               bool(vpc.flow_logs))


def _resolvers(vpc: Vpc) -> tuple[IPv4Address, ...]:
    if vpc.dns is None:
        return ()
    # Imported late: most VPCs have no DNS.
    from vpcctl_lib.model.resolving import resolvers

    return (*resolvers(vpc), *((EVERYBODY,) if vpc.dhcp else ()))
