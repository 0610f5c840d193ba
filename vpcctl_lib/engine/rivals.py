"""Whose a thing is that stands where one of ours is to be, and how it goes away."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.engine.strays import is_ours
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model.naming import HOST_CHAINS, MARK
from vpcctl_lib.resources import Address, Bridge, Chain, Namespace, Port, Resource, Route, Veth
from vpcctl_lib.resources.operations import HOST
from vpcctl_lib.workloads import processes

MAKERS = {"dhcp": "a DHCP client", "ra": "a router's advertisement", "bird": "bird", "zebra": "FRR",
          "static": "somebody's configuration", "boot": "somebody's ip route add", "kernel": "the kernel"}
"""Who writes routes of which protocol (rtnetlink(7), /etc/iproute2/rt_protos)."""


def refusal(resource: Resource, kernel: Kernel) -> VpcctlError:
    """The error for a thing that is there already: what it is, whose, and how to go on."""
    try:
        if _is_left_over(resource, kernel):
            return VpcctlError(f"{resource} already exists: an earlier VPC left it, and it is not recorded",
                               "vpcctl restore removes what bears vpcctl's mark and is nobody's")
        owner, removal = _owner(resource, kernel)
    except (VpcctlError, OSError):
        owner, removal = "", ""
    what = f"{resource} already exists, and vpcctl did not make it"
    away = f"choose another name, or remove it: {removal}" if removal else "rename or remove one of the two"
    return VpcctlError(f"{what}: {owner}" if owner else what, away)


def _is_left_over(resource: Resource, kernel: Kernel) -> bool:
    return isinstance(resource, Chain) and resource.namespace == HOST and resource.name in HOST_CHAINS \
        and is_ours(kernel.chains(HOST).lines((resource.table, resource.name)))


def _owner(resource: Resource, kernel: Kernel) -> tuple[str, str]:
    if isinstance(resource, Namespace):
        programs = ", ".join(sorted({one.program() for one in processes.inside(resource.name)}))
        return f"{programs} runs in it" if programs else "", f"ip netns del {resource.name}"
    if isinstance(resource, Veth | Bridge | Port):
        return _link(resource.namespace, resource.device, kernel)
    if isinstance(resource, Route):
        return _route(resource, kernel)
    if isinstance(resource, Address):
        return "", f"{_ip(resource.namespace)} addr del {resource.address} dev {resource.device}"
    if isinstance(resource, Chain):
        inside = f"ip netns exec {resource.namespace} " if resource.namespace else ""
        return "", f"{inside}iptables -t {resource.table} -F {resource.name}"
    return "", ""


def _link(namespace: str, device: str, kernel: Kernel) -> tuple[str, str]:
    link: dict[str, Any] = kernel.link(namespace, device) or {}
    kind = link.get("linkinfo", {}).get("info_kind", "")
    alias = link.get("ifalias", "")
    told = " ".join(filter(None, (f"a {kind}" if kind else "", f"with the alias '{alias}'" if alias else "")))
    if alias.startswith(MARK):
        told += ", which marks it as an older vpcctl's"
    return told, f"{_ip(namespace)} link del {device}"


def _route(route: Route, kernel: Kernel) -> tuple[str, str]:
    destination = "default" if route.destination.prefixlen == 0 else str(route.destination)
    held = next((one for one in kernel.routes(route.namespace)
                 if one["dst"] == destination and one.get("metric", 0) == route.metric), {})
    words = (("via", "gateway"), ("dev", "dev"))
    leads = " ".join(f"{word} {held[key]}" for word, key in words if key in held)
    # ip-route(8) leaves out what it was typed in with.
    protocol = str(held.get("protocol", "boot" if held else ""))
    maker = MAKERS.get(protocol, protocol)
    told = ", ".join(filter(None, (leads and f"it leads {leads}", maker and f"made by {maker}")))
    return told, f"{_ip(route.namespace)} route del {destination} {leads}".strip()


def _ip(namespace: str) -> str:
    return f"ip -n {namespace}" if namespace else "ip"
