"""Rules about names: which names people may use, and the names of the kernel's objects for them."""

from __future__ import annotations

import re
import sys
from functools import cache
from importlib import import_module
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.errors import BadInput, quoted

DEVICE_LENGTH = 15
"""The kernel's IFNAMSIZ is 16, with the closing zero."""

NAME = re.compile(r"[a-z][a-z0-9-]{0,30}", re.ASCII)
MARK = "vpcctl:"
"""The start of every link's alias and every host rule's comment, with which a lost record can be rebuilt."""

UPLINK = "uplink"
INSTANCE = "eth0"
HOST_FORWARD = "VPCCTL-FORWARD"
HOST_INPUT = "VPCCTL-INPUT"
HOST_GUARD = "VPCCTL-GUARD"
HOST_GUARD_OUT = "VPCCTL-GUARD-OUT"
HOST_GUARD_IN = "VPCCTL-GUARD-IN"
HOST_GUARD_FROM = "VPCCTL-GUARD-FROM"
"""What the guard has to look at of what comes in: what VPCs send, and what is no part of a connection."""

HOST_GUARD_AWAY = "VPCCTL-GUARD-AWAY"
"""Made by an older vpcctl, for what is in HOST_GUARD_OUT since."""

HOST_REFUSED = "VPCCTL-REFUSED"
"""What is refused even where it comes from a subnet that may send: metadata, what tracking calls INVALID."""

HOST_NAT = "VPCCTL-POSTROUTING"
HOST_PUBLISH = "VPCCTL-PUBLISH"
"""Who gets to the published ports."""

HOST_PORTS = "VPCCTL-PORTS"
"""Where each published port leads."""

HOST_PUBLISHED = "VPCCTL-PUBLISHED"
"""Which connections by published ports are accepted (`filter`), and what source they get (`nat`)."""

HOST_SOURCES = "VPCCTL-SOURCES"
"""Which source connections into VPCs get, and which sources stay."""

HOST_ELASTIC = "VPCCTL-ELASTIC"
"""Who may send by way of elastic addresses, and to them."""

HOST_ELASTIC_TO = "VPCCTL-ELASTIC-TO"
"""Which elastic addresses there are (`filter`), and whom their machines see (`nat`)."""

HOST_CHAINS = frozenset({HOST_FORWARD, HOST_INPUT, HOST_GUARD, HOST_GUARD_OUT, HOST_GUARD_IN, HOST_NAT,
                         HOST_GUARD_FROM, HOST_GUARD_AWAY, HOST_REFUSED, HOST_PUBLISH, HOST_PORTS,
                         HOST_PUBLISHED, HOST_SOURCES, HOST_ELASTIC, HOST_ELASTIC_TO})
"""The chains on the host that are entirely ours."""

POLICY_IN = "VPCCTL-IN"
POLICY_OUT = "VPCCTL-OUT"
"""The chains with a subnet's policy in a namespace that somebody else made."""

POLICY_TABLE = "mangle"
"""Where they are: a packet that they let through still meets the owner's own rules, in `filter`."""

BRIDGE_TABLE = "vpcctl"
"""The nft table of family bridge that guards the ports of a VPC's bridge."""

ACL_TABLE = "vpcctl-acls"
"""The nft table of family bridge with a VPC's network ACLs."""

ROUTES_TABLE, ROUTES_SET = "vpcctl-routes", "table-"
"""The nft table of family bridge that leads packets to route tables, and how the names of its lists begin."""

TAP_TABLE = "vpcctl"
"""The nft table of family netdev that carries DHCP to a virtual machine behind a tap."""

GROUP_TABLE, GROUP_SET = "vpcctl", "group-"
"""The nft table of family ip of a machine in groups, and of a router, and how its sets' names begin."""


def is_name(text: str) -> bool:
    """Whether a thing may be called so: names become device and namespace names."""
    return NAME.fullmatch(text) is not None and not text.endswith("-")


def check_name(name: str, what: str) -> str:
    """Return `name`, or refuse it."""
    if is_name(name):
        return name
    raise BadInput(f"{quoted(repr(name))} can't be a {what} name",
                   "use up to 31 of a-z, 0-9 and -, beginning with a letter and not ending in -")


def device(prefix: str, name: str) -> str:
    """The device's name: the readable one if the kernel accepts it, else prefix and hash."""
    full = prefix + name
    if len(full) <= DEVICE_LENGTH:
        return full
    return prefix + digest(name).hex()[:DEVICE_LENGTH - len(prefix)]


def altname(prefix: str, name: str) -> str:
    """The full name to set as `altname` where `device` had to hash; else empty."""
    full = prefix + name
    return "" if device(prefix, name) == full else full


def mac(vpc: str) -> str:
    """A fixed, locally administered address for the VPC's bridge (IEEE 802's second bit)."""
    return bytes((0x02, *digest(vpc)[:5])).hex(":")


def instance_mac(vpc: str, address: IPv4Address) -> str:
    """The MAC of a machine's link: fixed, so that its neighbours' entries stay valid when it is recreated.

    It always differs from the bridge's own MAC, whatever the VPC's name: the second bytes differ.
    """
    return bytes((0x02, digest(vpc)[0] ^ 0xFF, *address.packed)).hex(":")


@cache
def digest(name: str) -> bytes:
    """SHA-256 of a name: what is derived from it differs from that of other names."""
    found: bytes = _sha256()(name.encode()).digest()
    return found


@cache
def _sha256() -> Any:
    # Imported late, and without hashlib's OpenSSL, which takes 2 ms to load; `random` does the same.
    try:
        return import_module("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256
    except ImportError:
        return import_module("hashlib").sha256


def namespace(vpc: str, subnet: str, machine: str = "") -> str:
    """The namespace of a machine; the VPC's own has the VPC's name. Names have no dot, so none collides."""
    return f"{vpc}-{subnet}.{machine}" if machine else f"{vpc}-{subnet}"


def port(subnet: str, machine: str = "") -> str:
    """The port of the VPC's bridge that leads to a machine."""
    return device(*_port(subnet, machine))


def port_altname(subnet: str, machine: str = "") -> str:
    """The port's full name if `port` had to hash; else empty."""
    return altname(*_port(subnet, machine))


def _port(subnet: str, machine: str) -> tuple[str, str]:
    return ("i-", f"{subnet}.{machine}") if machine else ("s-", subnet)


def owner(vpc: str, subnet: str = "", machine: str = "") -> str:
    """The mark of what belongs to a VPC, to one of its subnets, or to a machine that has a name."""
    return MARK + "/".join(filter(None, (vpc, subnet, machine)))


def guest_mark(interface: str, source: str) -> str:
    """What is behind the mark of the port to an attached machine: its link, and its container or path."""
    return f"~{interface}~{source}"


TAP_MARK = "~tap~"
"""What is behind the mark of the port to a virtual machine, before its tap. (An attached machine's mark has a
container with its runtime, or a path, in that place.)"""

def shaper_owner(vpc: str, subnet: str, machine: str = "") -> str:
    """The mark of the link where what a machine sends waits: not that of a port."""
    return f"{MARK}{vpc}~limit/" + "/".join(filter(None, (subnet, machine)))


def shaper(subnet: str, machine: str = "") -> str:
    """The link of the VPC's router where what a machine sends waits, if its bandwidth is limited."""
    return device("q-", f"{subnet}.{machine}" if machine else subnet)


def mirror_owner(vpc: str, subnet: str, machine: str, to: str) -> str:
    """The mark of the link that takes copies of a machine's packets to another one."""
    return f"{MARK}{vpc}~mirror/" + "/".join(filter(None, (subnet, machine))) + f"~{to}"


def mirror(vni: int) -> str:
    """The link of the VPC's router for the copies of a mirror."""
    return f"copy{vni}"


def mirror_end(vni: int) -> str:
    """Its other end, if copies are plain."""
    return f"{mirror(vni)}-in"


MIRROR_MAC = 0x0E << 40
"""Plain copies are for a MAC that nobody has: this, and the mirror's number."""


def mirror_mac(vni: int) -> str:
    """The MAC that plain copies are for; locally administered, and no machine's nor bridge's."""
    return (MIRROR_MAC + vni).to_bytes(6, "big").hex(":")


MIRROR_TABLE = "vpcctl-"
"""How the nft table of family netdev that sends plain copies on begins; the link is the rest of its name."""

GATEWAY_MARK = "~nat-gateway"
"""What is behind the mark of the port to a NAT gateway."""


def publish_mark(*names: str) -> str:
    """The mark of rules for a machine's published ports: those of its subnet say that it is public."""
    return f"{owner(*names)}~publish"


def elastic_mark(names: tuple[str, ...]) -> str:
    """The mark of rules for an elastic address: the machine that has it; empty names: nobody has."""
    return f"{MARK}{'/'.join(filter(None, names))}~eip"


def pool_mark(interface: str) -> str:
    """The mark of a pool of elastic addresses on that link."""
    return f"{MARK}~pool~{interface}"


def host_mark(forwarding: str | None = None) -> str:
    """The mark of what belongs to all VPCs; with the host's previous ip_forward, if known."""
    return f"{MARK}host" if forwarding is None else f"{MARK}host ip_forward={forwarding}"


def forwarding_in(mark: str) -> str | None:
    """The ip_forward in such a mark; None if it has none."""
    told = re.fullmatch(rf"{MARK}host ip_forward=([01])", mark)
    return told[1] if told else None


def peering_owner(vpc1: str, vpc2: str) -> str:
    """The mark of what belongs to a peering."""
    return f"{MARK}{vpc1}+{vpc2}"


def vpc_names(names: tuple[str, ...]) -> tuple[str, str]:
    """What a VPC takes in the kernel, in words."""
    return f"namespace {names[0]}", f"link {device('vpc-', names[0])}"


def machine_names(names: tuple[str, ...]) -> tuple[str, str]:
    """What a machine takes in the kernel, in words."""
    return f"namespace {namespace(*names)}", f"port {port(*names[1:])} of {names[0]}"
