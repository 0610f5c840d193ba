"""The tap of a virtual machine, which has the addresses that its namespace forwards to it; pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vpcctl_lib.kernel import sysctls
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import Address
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources import Discovery, Neighbour, Port, Resource, Route, Settings, Tap


class Needed(NamedTuple):
    """What a guest must set, of one family."""

    addresses: list[str]
    gateway: str

    def __str__(self) -> str:
        return f"{', '.join(self.addresses)} and gateway {self.gateway}"


def needs(one: Endpoint) -> Iterator[Needed]:
    """What the guest of a tap must set: of IPv4, and of IPv6 if its VPC has it."""
    yield _needed(one, 4, one.addresses[0].network[1])
    if one.ipv6:
        # Imported late, as below.
        from vpcctl_lib.blueprint.dual import ENDS

        yield _needed(one, 6, ENDS[0])


def _needed(one: Endpoint, version: int, gateway: Address) -> Needed:
    return Needed([str(each) for each in one.addresses if each.version == version], str(gateway))


def tap(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """The link, and what leads to it: the namespace's link to the bridge has no address of its own."""
    yield Tap(one.namespace, one.tap)
    yield Settings(one.namespace, sysctls.tap(one.tap), device=one.tap)
    # Its MAC is that of the router, which the guest would see on the bridge.
    yield Port(one.namespace, one.tap, one.site.owner, mac=naming.mac(vpc.name))
    if one.ipv6:
        # Imported late: few VPCs have IPv6 and virtual machines.
        from vpcctl_lib.blueprint import dual

        yield from dual.tap(one)
    for address in one.ips:
        yield Route(one.namespace, addressing.single(address), one.tap)
        yield Neighbour(one.namespace, one.tap, address, one.mac)


def discovery(vpc: Vpc, one: Endpoint) -> Iterator[Resource]:
    """How it asks for its address in a VPC with DHCP."""
    yield Discovery(one.namespace, one.tap, one.interface, one.mac, one.address,
                    addressing.gateway(vpc.cidr))
