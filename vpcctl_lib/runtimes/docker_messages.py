"""What Docker tells its network drivers (libnetwork's remote protocol), and what it is answered; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from vpcctl_lib.errors import BadInput
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.runtimes.docker_book import Network
from vpcctl_lib.runtimes.guests import published
from vpcctl_lib.runtimes.values import inner, names_in

Document = dict[str, Any]

GENERIC = "com.docker.network.generic"
"""Where the options of `docker network create -o` are (libnetwork's netlabel.GenericData)."""

PORTS = "com.docker.network.portmap"
"""The ports that `docker run -p` publishes (netlabel.PortMap)."""

SPACE = "vpcctl"
"""The address space of our own IPAM driver: what it gives are a subnet's addresses."""

ANY_POOL = IPv4Network("0.0.0.0/0")
"""What Docker's IPAM driver `null` gives a network: no addresses."""

PROTOCOLS = {"6": "tcp", "17": "udp"}
"""By their numbers (RFC 1700)."""

NETWORK_KEYS, ENDPOINT_KEYS = ("vpc", "subnet", "groups"), ("address", "groups", "name")
CONNECTED, BY_GATEWAY = 1, 0
"""RouteType of a static route (libnetwork's types.CONNECTED and types.NEXTHOP)."""

CREATE = "docker network create -d vpcctl --ipam-driver null -o vpc=vpc1 -o subnet=public NAME"


@frozen
class Wish:
    """What a container asks for."""

    address: IPv4Address | None = None
    groups: tuple[str, ...] = ()
    name: str = ""
    ports: tuple[str, ...] = ()


def text(request: Mapping[str, Any], key: str) -> str:
    """A text that a request must have."""
    found = request.get(key)
    if not isinstance(found, str) or not found:
        raise BadInput(f"the request has no {key}")
    return found


def network(request: Mapping[str, Any]) -> Network:
    """The subnet that a new network stands for; BadInput if its options can't be right."""
    options = inner(inner(request, "Options"), GENERIC)
    wrong = next((key for key in options if key not in NETWORK_KEYS
                  and not key.startswith("com.docker.network.")), None)
    if wrong is not None:
        raise BadInput(f"vpcctl's networks have no option {wrong!r}", f"use: {', '.join(NETWORK_KEYS)}")
    missing = next((key for key in ("vpc", "subnet") if not options.get(key)), None)
    if missing:
        raise BadInput(f"the network has no option '{missing}'", CREATE)
    return Network(str(options["vpc"]), str(options["subnet"]), tuple(names_in(options.get("groups"))))


def check_pool(request: Mapping[str, Any], cidr: IPv4Network) -> None:
    """Refuse addresses of Docker's, which does not know which ones others have, and of another subnet."""
    for space, pool in _pools(request):
        if space != SPACE and pool != str(ANY_POOL):
            raise BadInput(f"Docker would give its containers addresses of {pool}, without asking vpcctl",
                           f"create the network with --ipam-driver null: {CREATE}")
        if space == SPACE and pool != str(cidr):
            raise BadInput(f"the subnet's CIDR is {cidr}, not {pool}", f"say --subnet {cidr}")
    if request.get("IPv6Data"):
        raise BadInput("vpcctl's networks have no IPv6", "create the network without --ipv6")


def _pools(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each pool of a new network, after its address space."""
    pools = request.get("IPv4Data")
    for one in pools if isinstance(pools, list) else ():
        if isinstance(one, Mapping) and one.get("Pool"):
            yield str(one.get("AddressSpace", "")), str(one["Pool"])


def wish(request: Mapping[str, Any], standing: Network) -> Wish:
    """What a container asks for; BadInput for what it can't have."""
    options, interface = inner(request, "Options"), inner(request, "Interface")
    held = str(interface.get("Address") or "").partition("/")[0]
    wanted = options.get("address")
    if held and wanted and held != wanted:
        raise BadInput(f"the container can't have two addresses, {held} and {wanted}", "say --ip alone")
    name = options.get("name")
    wanted = held or wanted
    return Wish(parse_address(str(wanted)) if wanted else None,
                tuple(names_in(options.get("groups"))) or standing.groups,
                naming.check_name(str(name), "machine") if name else "",
                tuple(dict.fromkeys(map(str, _ports(options.get(PORTS))))))


def _ports(listed: object) -> Iterator[Publish]:
    """Those of `docker run -p` (libnetwork's types.PortBinding)."""
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping):
            protocol = PROTOCOLS.get(str(one.get("Proto")), "another protocol")
            yield from published(one.get("HostPort"), one.get("Port"), protocol, one.get("HostIP"))


def check_mac(request: Mapping[str, Any], mac: str) -> None:
    """Refuse another MAC than the one that follows from the address."""
    chosen = str(inner(request, "Interface").get("MacAddress") or "")
    if chosen and chosen.lower() != mac:
        raise BadInput(f"the container can't have the MAC {chosen}: it follows from its address, {mac}",
                       "leave --mac-address away")


def endpoint(address: IPv4Address, prefixlen: int, mac: str, request: Mapping[str, Any]) -> Document:
    """The answer to CreateEndpoint; what Docker knows already must not be in it."""
    known, told = inner(request, "Interface"), {"Address": f"{address}/{prefixlen}", "MacAddress": mac}
    return {"Interface": {key: value for key, value in told.items() if not known.get(key)}}


def joined(vpc: Vpc, device: str) -> Document:
    """The answer to Join, if Docker moves our link into the container and gives it address and routes."""
    gateway = addressing.gateway(vpc.cidr)
    return {"InterfaceName": {"SrcName": device, "DstPrefix": "eth"}, "Gateway": str(gateway),
            "StaticRoutes": [
                {"Destination": f"{gateway}/32", "RouteType": CONNECTED},
                *({"Destination": str(network), "RouteType": BY_GATEWAY, "NextHop": str(gateway)}
                  for network in vpc.networks)]}


PLUGGED: Document = {"DisableGatewayService": True}
"""The answer to Join, if the container has its link already: Docker must not add a bridge of its own."""
