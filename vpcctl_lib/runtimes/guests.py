"""What all runtimes' plugins share: names for containers' machines, free addresses, name servers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from ipaddress import IPv4Address

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.base import Context
from vpcctl_lib.managers.instance import InstanceManager
from vpcctl_lib.model import addressing, publishing, resolving, tables
from vpcctl_lib.model.endpoints import Site, owners
from vpcctl_lib.model.lookup import find_subnet
from vpcctl_lib.model.names import RESOLVER
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.topology import Subnet, Topology, Vpc


def short(text: str, digits: int) -> str:
    """The first hexadecimal digits of a text's hash."""
    # A variable may have any bytes, and JSON has halves of characters.
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:digits]


def name_servers(topology: Topology, site: Site) -> tuple[IPv4Address, ...]:
    """The name servers that machines of the subnet ask: the VPC's own, or else those that NAT lets them."""
    vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
    if vpc.dns:
        return (RESOLVER,)
    return tuple(vpc.nat.resolvers) if vpc.nat and tables.gets_out(vpc, subnet) else ()


def search_domains(topology: Topology, site: Site) -> list[str]:
    """Where they look for names that are not whole; nowhere without DNS."""
    vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
    return resolving.search(vpc, subnet) if vpc.dns else []


def address_for(vpc: Vpc, subnet: Subnet, wish: IPv4Address | None,
                promised: Collection[IPv4Address]) -> IPv4Address:
    """The address that was asked for, or the lowest free one; BadInput if another machine has it."""
    taken = owners(vpc, subnet) | dict.fromkeys(promised, "another container")
    if wish is None:
        return addressing.free_address(subnet.cidr, taken)
    addressing.check_address(wish, subnet.cidr, vpc.cidr, taken)
    return wish


def published(port: object, to: object, protocol: object, listen: object) -> Iterator[Publish]:
    """A port of the host that leads to a container, as runtimes say it; none for any address of IPv6."""
    if listen == "::":
        return
    if not port:
        raise BadInput(f"no port of the host is said for port {to} of the container", f"write -p 8080:{to}")
    host = f"[{listen}]" if ":" in str(listen) else listen
    at = f"{host}:" if listen and listen != "0.0.0.0" else ""  # noqa: S104 - it is compared
    yield publishing.parse(f"{at}{port}:{to}/{protocol}")


def check_ports(wanted: Iterable[Publish], topology: Topology, promised: Iterable[Publish]) -> None:
    """Refuse a port of the host that leads elsewhere already, or twice."""
    held = [*(one.publish for one in publishing.published(topology)), *promised]
    for one in wanted:
        if any(one.meets(other) for other in held):
            port = f"{one.protocol.value} port {one.port} of the host"
            raise VpcctlError(f"{port} already leads to another machine",
                              "use another port; see: vpcctl publish list")
        held.append(one)


def detach(context: Context, site: Site) -> None:
    """Take a container out of its subnet; one that is gone, or whose subnet is, is out already."""
    manager = InstanceManager(context)
    vpc = manager.state().topology.vpc(site.vpc)
    subnet = vpc.subnet(site.subnet) if vpc else None
    if subnet and subnet.machine(site.machine):
        manager.detach(site)
