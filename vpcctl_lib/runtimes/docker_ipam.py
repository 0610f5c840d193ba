"""Docker's IPAM driver `vpcctl`: a subnet's addresses, for networks whose containers may choose theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.base import Context
from vpcctl_lib.managers.instance import InstanceManager
from vpcctl_lib.model import addressing
from vpcctl_lib.model.addressing import parse_address, parse_network
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.topology import Subnet, Vpc
from vpcctl_lib.runtimes.docker_book import Book, Shelf
from vpcctl_lib.runtimes.docker_messages import SPACE, Document, text
from vpcctl_lib.runtimes.guests import address_for
from vpcctl_lib.runtimes.values import inner

GATEWAY = "com.docker.network.gateway"
"""In the data of a pool its gateway; in a request for an address, that it is for one (netlabel.Gateway)."""

FOR, ITS_GATEWAY = "RequestAddressType", "com.docker.network.gateway"

Request = Mapping[str, Any]


class Pools:
    """Each pool is a subnet of a VPC; its name is VPC/SUBNET."""

    def __init__(self, context: Context, shelf: Shelf, swept: Callable[[], Book]) -> None:
        """With what gives the book without containers that ended unnoticed."""
        self._context = context
        self._shelf = shelf
        self._swept = swept

    @property
    def operations(self) -> dict[str, Callable[[Request], Document]]:
        """By their names in Docker's protocol."""
        spaces = {"LocalDefaultAddressSpace": SPACE, "GlobalDefaultAddressSpace": f"{SPACE}-global"}
        return {"IpamDriver.GetCapabilities": lambda _: {"RequiresMACAddress": False},
                "IpamDriver.GetDefaultAddressSpaces": lambda _: spaces,
                "IpamDriver.RequestPool": self._pool, "IpamDriver.ReleasePool": lambda _: {},
                "IpamDriver.RequestAddress": self._request, "IpamDriver.ReleaseAddress": self._release}

    def _pool(self, request: Request) -> Document:
        """The subnet with that CIDR; `--ipam-opt vpc=` says of which VPC, if several have one."""
        if request.get("V6"):
            raise BadInput("vpcctl's networks have no IPv6", "create the network without --ipv6")
        if request.get("SubPool"):
            raise BadInput("vpcctl's networks have no range of their own", "leave --ip-range away")
        pool = request.get("Pool")
        if not isinstance(pool, str) or not pool:
            raise BadInput("the IPAM driver vpcctl needs the CIDR of the network's subnet",
                           "say --subnet 10.0.1.0/24, or take --ipam-driver null")
        vpc, subnet = self._found(pool, str(inner(request, "Options").get("vpc") or ""))
        gateway = f"{addressing.gateway(vpc.cidr)}/{vpc.cidr.prefixlen}"
        return {"PoolID": f"{vpc.name}/{subnet.name}", "Pool": pool, "Data": {GATEWAY: gateway}}

    def _found(self, pool: str, name: str) -> tuple[Vpc, Subnet]:
        cidr = parse_network(pool)
        found = [(vpc, subnet) for vpc in InstanceManager(self._context).state().topology.vpcs
                 for subnet in vpc.subnets if subnet.cidr == cidr and name in ("", vpc.name)]
        if not found:
            raise VpcctlError(f"no subnet has the CIDR {pool}", "see: vpcctl subnet list")
        if len(found) > 1:
            names = " or ".join(vpc.name for vpc, _ in found)
            raise VpcctlError(f"subnets of several VPCs have the CIDR {pool}", f"say --ipam-opt vpc={names}")
        return found[0]

    def _request(self, request: Request) -> Document:
        pool, wish = text(request, "PoolID"), request.get("Address")
        vpc, subnet = self._subnet(pool)
        if inner(request, "Options").get(FOR) == ITS_GATEWAY:
            router = addressing.gateway(vpc.cidr)
            if wish and wish != str(router):
                raise BadInput(f"the gateway of {pool} is {router}", "leave --gateway away")
            return {"Address": f"{router}/{vpc.cidr.prefixlen}"}
        with self._shelf.locked():
            book = self._swept()
            # It may have freed addresses.
            vpc, subnet = self._subnet(pool)
            wanted = parse_address(str(wish)) if wish else None
            address = address_for(vpc, subnet, wanted, book.taken(vpc.name, subnet.name, wanted))
            self._shelf.write(book.with_reserved(pool, address))
        return {"Address": f"{address}/{subnet.cidr.prefixlen}"}

    def _subnet(self, pool: str) -> tuple[Vpc, Subnet]:
        vpc, _, subnet = pool.partition("/")
        return find_subnet(InstanceManager(self._context).state().topology, vpc, subnet)

    def _release(self, request: Request) -> Document:
        with self._shelf.locked():
            address = str(request.get("Address") or "")
            self._shelf.write(self._shelf.read().without_reserved(text(request, "PoolID"), address))
        return {}
