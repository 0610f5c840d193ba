"""netavark's plugin: Podman's containers join subnets as attached machines (its plugin API 1.0.0)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib import __version__
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.managers.base import Context
from vpcctl_lib.managers.instance import InstanceManager, Standing
from vpcctl_lib.model import addressing
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.groups import find_group
from vpcctl_lib.model.guests import check_interface, check_path
from vpcctl_lib.model.lookup import find_endpoint, find_subnet
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.model.topology import Attachment, Topology
from vpcctl_lib.runtimes.guests import detach, name_servers, published, search_domains, short
from vpcctl_lib.runtimes.values import inner, names_in

Document = dict[str, Any]

API = "1.0.0"
NETWORK_KEYS, CONTAINER_KEYS = ("vpc", "subnet", "groups"), ("address", "groups")
CREATE = "podman network create -d vpcctl --opt vpc=vpc1 --opt subnet=public NAME"


@frozen
class Order:
    """A container that joins or leaves."""

    site: Site
    interface: str
    address: IPv4Address | None
    groups: tuple[str, ...]


def info() -> Document:
    """What plugin this is."""
    return {"version": __version__, "api_version": API}


def created(network: Document, topology: Topology) -> Document:
    """The network, which stands for a subnet that exists already; BadInput for what it can't have."""
    options = inner(network, "options")
    wrong = next((key for key in options if key not in NETWORK_KEYS), None)
    if wrong is not None:
        raise BadInput(f"vpcctl's networks have no option {wrong!r}", f"use: {', '.join(NETWORK_KEYS)}")
    vpc, subnet, groups = _place(network)
    find_subnet(topology, vpc, subnet)
    for group in groups:
        find_group(topology, vpc, group)
    if network.get("subnets"):
        raise BadInput("Podman would give addresses without asking vpcctl",
                       f"create the network without --subnet: {CREATE}")
    if network.get("ipv6_enabled"):
        raise BadInput("vpcctl's networks have no IPv6", "create the network without --ipv6")
    # Addresses are ours to give, and names nobody's: netavark starts no name server for a plugin's network.
    return {**network, "subnets": [], "ipam_options": {"driver": "none"}, "dns_enabled": False}


def ordered(request: Document) -> Order:
    """What `setup` and `teardown` are asked for; BadInput if that can't be right."""
    network, wishes = inner(request, "network"), inner(request, "network_options")
    options = inner(wishes, "options")
    wrong = next((key for key in options if key not in CONTAINER_KEYS), None)
    if wrong is not None:
        raise BadInput(f"a container in a network of vpcctl's has no option {wrong!r}",
                       f"use: {', '.join(CONTAINER_KEYS)}")
    vpc, subnet, groups = _place(network)
    interface = check_interface(str(wishes.get("interface_name") or ""))
    container = request.get("container_id")
    if not isinstance(container, str) or not container:
        raise BadInput("container_id is missing", "Podman starts this program")
    machine = short(f"{network.get('id')}/{container}/{interface}", 12)
    return Order(Site(vpc, subnet, f"podman-{machine}"), interface, _address(wishes, options),
                 tuple(names_in(options.get("groups"))) or groups)


def set_up(request: Document, namespace: str, context: Context) -> Document:
    """Attach the container; the status block."""
    order = ordered(request)
    if inner(request, "network_options").get("static_mac"):
        raise BadInput("the container can't have a MAC of its own: it follows from its address",
                       "leave --mac-address away")
    manager = InstanceManager(context)
    vpc, subnet = find_subnet(manager.state().topology, order.site.vpc, order.site.subnet)
    if subnet.machine(order.site.machine):
        if manager.show(order.site).state is Standing.ATTACHED:
            raise VpcctlError(f"the container already has {order.interface} in {vpc.name}/{subnet.name}",
                              "teardown comes first")
        # The host was started again, and Podman starts the same container.
        manager.detach(order.site)
    wanted = Attachment(path=check_path(namespace), interface=order.interface)
    addresses = (order.address,) if order.address else ()
    change = InstanceManager(context).attach(
        order.site, wanted, addresses, order.groups, tuple(_ports(request.get("port_mappings"))))
    return status(change.topology, order.site)


def tear_down(request: Document, context: Context) -> None:
    """Detach the container; what is gone already is detached."""
    detach(context, ordered(request).site)


def status(topology: Topology, site: Site) -> Document:
    """What Podman shows of the container's link."""
    where = find_endpoint(topology, site)
    vpc, _ = find_subnet(topology, site.vpc, site.subnet)
    gateway = str(addressing.gateway(vpc.cidr))
    subnets = [{"gateway": gateway, "ipnet": str(one)} for one in where.addresses]
    servers = [str(one) for one in name_servers(topology, site)]
    return {"dns_search_domains": search_domains(topology, site), "dns_server_ips": servers,
            "interfaces": {where.interface: {"mac_address": where.mac, "subnets": subnets}}}


def _ports(listed: object) -> Iterator[Publish]:
    """Those of `podman run -p`: a mapping may have a range of ports, and several protocols."""
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, Mapping):
            ports = [one.get(key) for key in ("host_port", "container_port")]
            if not all(isinstance(port, int) for port in ports):
                raise BadInput("a port mapping has no ports", "Podman writes them")
            for number in range(max(int(one.get("range") or 1), 1)):
                for protocol in names_in(one.get("protocol") or "tcp"):
                    host, container = (port and port + number for port in ports)
                    yield from published(host, container, protocol, one.get("host_ip"))


def _place(network: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    options = inner(network, "options")
    missing = next((key for key in ("vpc", "subnet") if not options.get(key)), None)
    if missing:
        raise BadInput(f"the network has no option '{missing}'", CREATE)
    return str(options["vpc"]), str(options["subnet"]), tuple(names_in(options.get("groups")))


def _address(wishes: Mapping[str, Any], options: Mapping[str, Any]) -> IPv4Address | None:
    """The address of `podman run --ip`, or of the option."""
    given = [*(wishes.get("static_ips") or ()), *filter(None, (options.get("address"),))]
    if len(given) > 1:
        raise BadInput("the container has several addresses", "give it one")
    return parse_address(str(given[0])) if given else None
