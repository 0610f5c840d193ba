"""DNS in a VPC: its server, and records of a person's own."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import names, resolving
from vpcctl_lib.model.lookup import find_vpc, nearest
from vpcctl_lib.model.names import Addresses, Dns, Record
from vpcctl_lib.model.topology import Topology, Vpc


class DnsManager(Manager):
    """Turns DNS on and off, adds and deletes records."""

    def enable(self, vpc_name: str, domain: str | None, forward: Addresses) -> Change:
        """Turn it on, or give it another domain or other servers to ask; its records stay."""
        chosen = "" if domain in (None, names.domain(vpc_name, Dns())) else domain or ""
        return self.change_vpc(vpc_name, lambda vpc: replace(
            vpc, dns=replace(vpc.dns or Dns(), domain=chosen, forward=forward)))

    def disable(self, vpc_name: str) -> Change:
        """Turn it off, and forget its records."""
        return self.change_vpc(vpc_name, lambda vpc: replace(vpc, dns=None))

    def add(self, vpc_name: str, name: str, addresses: Addresses, cname: str) -> Change:
        """Add a record; repeating it changes nothing."""
        def decide(topology: Topology) -> Topology:
            vpc, dns = _found(topology, vpc_name)
            record = Record(names.parse_name(name, resolving.domain(vpc)), addresses,
                            _target(vpc, dns, cname) if cname else "")
            existing = dns.record(record.name)
            if existing == record:
                return topology
            if existing:
                raise VpcctlError(f"record '{record.name}' already exists in VPC '{vpc_name}'",
                                  f"delete it first: vpcctl dns delete --vpc {vpc_name} --name {record.name}")
            return topology.with_vpc(replace(vpc, dns=replace(dns, records=(*dns.records, record))))

        return self.change(decide)

    def delete(self, vpc_name: str, name: str) -> Change:
        """Delete a record."""
        def decide(topology: Topology) -> Topology:
            if _record(topology, vpc_name, name) is None \
                    and self.was_finished(lambda before: _record(before, vpc_name, name) is not None):
                return topology
            vpc, dns = _found(topology, vpc_name)
            record = dns.record(names.parse_name(name, resolving.domain(vpc)))
            if record is None:
                raise VpcctlError(f"record '{name}' does not exist in VPC '{vpc_name}'",
                                  nearest(name, [one.name for one in dns.records],
                                          f"see: vpcctl dns list --vpc {vpc_name}"))
            kept = tuple(one for one in dns.records if one != record)
            return topology.with_vpc(replace(vpc, dns=replace(dns, records=kept)))

        return self.change(decide)


def _found(topology: Topology, vpc_name: str) -> tuple[Vpc, Dns]:
    vpc = find_vpc(topology, vpc_name)
    if vpc.dns is None:
        raise VpcctlError(f"VPC '{vpc_name}' has no DNS", f"turn it on: vpcctl dns enable --vpc {vpc_name}")
    return vpc, vpc.dns


def _record(topology: Topology, vpc_name: str, name: str) -> Record | None:
    vpc = topology.vpc(vpc_name)
    return vpc.dns.record(names.parse_name(name, resolving.domain(vpc))) if vpc and vpc.dns else None


def _target(vpc: Vpc, dns: Dns, text: str) -> str:
    """The name below the domain that a record stands for; it must exist."""
    domain = resolving.domain(vpc)
    name = names.parse_name(text, domain)
    known = [*(one for one, _, _ in resolving.machines(vpc)), *(one.name for one in dns.records)]
    if name not in known:
        raise VpcctlError(f"'{text}' does not exist below {domain}, and a record can stand for a name there "
                          "only", nearest(name, known, f"see: vpcctl dns list --vpc {vpc.name}"))
    return name
