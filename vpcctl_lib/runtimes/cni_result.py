"""What the plugin answers, in the form of each version of the specification; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.model import addressing
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.resources.links import DEFAULT_MTU
from vpcctl_lib.runtimes.cni_request import VERSIONS, Request
from vpcctl_lib.runtimes.guests import name_servers, search_domains

Document = dict[str, Any]


def versions(version: str) -> Document:
    """The answer to VERSION."""
    return {"cniVersion": version, "supportedVersions": list(VERSIONS)}


def failure(version: str, number: int, message: str, details: str) -> Document:
    """An error."""
    more = {"details": details} if details else {}
    return {"cniVersion": version, "code": number, "msg": message, **more}


def added(request: Request, topology: Topology, where: Endpoint) -> Document:
    """The answer to ADD: what plugins before us made, and the machine's link, addresses and routes."""
    before = request.previous or {}
    interfaces = [*listed(before, "interfaces"), _interface(request, where)]
    vpc = next(vpc for vpc in topology.vpcs if vpc.name == where.site.vpc)
    gateway = str(addressing.gateway(vpc.cidr))
    family = {} if request.version >= "1.0.0" else {"version": "4"}
    ips = [{**family, "address": str(one), "gateway": gateway, "interface": len(interfaces) - 1}
           for one in where.addresses if isinstance(one.ip, IPv4Address)]
    routes = [{"dst": str(network), "gw": gateway} for network in (*vpc.networks, "0.0.0.0/0")]
    return {"cniVersion": request.version, "interfaces": interfaces, "ips": [*listed(before, "ips"), *ips],
            "routes": [*listed(before, "routes"), *routes], "dns": _dns(request, topology, where)}


def listed(before: Mapping[str, Any], key: str) -> Sequence[Any]:
    """What a previous result has of a kind; nothing if it is no list."""
    found = before.get(key)
    return found if isinstance(found, list) else ()


def _interface(request: Request, where: Endpoint) -> Document:
    mtu = {"mtu": DEFAULT_MTU} if request.version >= "1.1.0" else {}
    return {"name": where.interface, "mac": where.mac, **mtu, "sandbox": request.namespace}


def _dns(request: Request, topology: Topology, where: Endpoint) -> Mapping[str, Any]:
    """The configuration's, or else the servers that machines of the subnet ask."""
    if request.dns:
        return request.dns
    servers = name_servers(topology, where.site)
    search = search_domains(topology, where.site)
    return {**({"nameservers": list(map(str, servers))} if servers else {}),
            **({"search": search} if search else {})}
