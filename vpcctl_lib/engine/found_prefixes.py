"""The prefixes of IPv6 of a VPC whose record is lost, read from its router."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from vpcctl_lib.errors import BadInput
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import addressing6, endpoints, naming
from vpcctl_lib.model.topology import Subnet, Vpc
from vpcctl_lib.resources.guard import ranges_of


def prefix(kernel: Kernel, vpc: str) -> IPv6Network | None:
    """That of the VPC, from its router's own address."""
    link = kernel.link(vpc, naming.device("br-", vpc)) or {}
    for one in link.get("addr_info", ()):
        if one.get("family") == "inet6" and one.get("prefixlen") == addressing6.VPC_LENGTH:
            address = IPv6Address(one["local"])
            found = IPv6Network((address, addressing6.VPC_LENGTH), strict=False)
            if address == addressing6.router(found):
                return found
    return None


def with_parts(kernel: Kernel, vpc: Vpc, notes: list[str]) -> Vpc:
    """The VPC with the prefixes of its subnets, as its router knows their machines and the empty ones."""
    if vpc.ipv6 is None:
        return vpc
    try:
        guard = kernel.bridge_table(vpc.name, naming.BRIDGE_TABLE) or []
        told = {one.name: one.ipv6 for one in ranges_of(guard)}
        found = {one.name: _part(kernel, vpc, one, told.get(one.name, "")) for one in vpc.subnets}
    except Unreadable as error:
        notes.append(f"the prefixes of the subnets of VPC '{vpc.name}' are unknown: {error.message}")
        found = {}
    lost = [one.name for one in vpc.subnets if found.get(one.name) is None]
    if lost:
        notes.append(f"the IPv6 prefixes of {', '.join(lost)} in VPC '{vpc.name}' are unknown: "
                     "they get free ones")
    return addressing6.with_parts(replace(vpc, subnets=tuple(
        replace(one, ipv6=found.get(one.name)) for one in vpc.subnets)))


def _part(kernel: Kernel, vpc: Vpc, subnet: Subnet, told: str) -> IPv6Network | None:
    for one in (*_by_machines(kernel, vpc, subnet), *_parsed(told)):
        try:
            addressing6.check_subnet(one, vpc.ipv6, ())
        except BadInput:
            continue
        return one
    return None


def _parsed(text: str) -> Iterator[IPv6Network]:
    try:
        yield from (addressing6.parse(text, addressing6.SUBNET_LENGTH),) if text else ()
    except BadInput:
        return


def _by_machines(kernel: Kernel, vpc: Vpc, subnet: Subnet) -> Iterator[IPv6Network]:
    """By the neighbours with a machine's MAC whose addresses follow from the machine's."""
    machines = {one.mac: one.ipv4 for one in endpoints.in_subnet(vpc, subnet)}
    for (device, text), entry in kernel.neighbours6(vpc.name).items():
        if device != naming.device("br-", vpc.name):
            continue
        address = IPv6Address(text)
        found = IPv6Network((address, addressing6.SUBNET_LENGTH), strict=False)
        if address in [addressing6.machine(found, subnet.cidr, one)
                       for one in machines.get(entry.get("lladdr", ""), ())]:
            yield found
