"""The views of DNS: its settings, and all names of a VPC; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vpcctl_lib.model import endpoints, names, resolving
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.names import Record
from vpcctl_lib.model.topology import Topology, Vpc

View = dict[str, Any]


def server(topology: Topology, name: str) -> View | None:
    """A VPC's DNS; None if it has none."""
    vpc = topology.vpc(name)
    if vpc is None or vpc.dns is None:
        return None
    return {"vpc": vpc.name, "domain": resolving.domain(vpc),
            "addresses": [str(one) for one in resolving.resolvers(vpc)],
            "forward": [str(one) for one in vpc.dns.forward],
            "peers": [resolving.domain(peer) for peer in resolving.asked(topology, vpc)]}


def leases(topology: Topology, name: str) -> View | None:
    """A VPC's DHCP; None if it has none."""
    vpc = topology.vpc(name)
    if vpc is None or vpc.dhcp is None:
        return None
    return {"vpc": vpc.name, "ntp": [str(one) for one in vpc.dhcp.ntp],
            "lease": vpc.dhcp.lease or names.LEASE}


def record(vpc: Vpc, one: Record) -> View:
    """A record of a person's own."""
    target = f"{one.cname}.{resolving.domain(vpc)}" if one.cname else None
    return _view(vpc, one.name, [str(address) for address in one.addresses], target, None)


def records(vpc: Vpc) -> Iterator[View]:
    """All names of a VPC: those of its machines, then records of a person's own."""
    for name, subnet, machine in resolving.machines(vpc) if vpc.dns else ():
        one = endpoints.endpoint(vpc, subnet, machine)
        yield _view(vpc, name, [str(address.ip) for address in one.addresses], None, one.site)
    yield from (record(vpc, one) for one in (vpc.dns.records if vpc.dns else ()))


def _view(vpc: Vpc, name: str, addresses: list[str], cname: str | None, site: Site | None) -> View:
    full = f"{name}.{names.domain(vpc.name, vpc.dns)}" if vpc.dns else name
    return {"vpc": vpc.name, "name": name, "fqdn": full, "addresses": addresses, "cname": cname,
            "machine": str(site) if site else None}
