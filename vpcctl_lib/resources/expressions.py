"""Parts of rules as nft lists them in JSON (libnftables-json(5)); pure."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from vpcctl_lib.model.routing import EVERYWHERE

Expression = list[dict[str, Any]]
ACCEPT: dict[str, Any] = {"accept": None}


def field(protocol: str, name: str) -> dict[str, Any]:
    """A field of a header."""
    return {"payload": {"protocol": protocol, "field": name}}


def meta(key: str) -> dict[str, Any]:
    """What the kernel knows about a packet besides."""
    return {"meta": {"key": key}}


def match(operator: str, left: Any, right: Any) -> dict[str, Any]:
    """A test."""
    return {"match": {"op": operator, "left": left, "right": right}}


def setting(key: Any, value: Any) -> dict[str, Any]:
    """What changes a packet."""
    return {"mangle": {"key": key, "value": value}}


def network(one: IPv4Network) -> Any:
    """Addresses that a test compares with."""
    if one.prefixlen == one.max_prefixlen:
        return str(one.network_address)
    return {"prefix": {"addr": str(one.network_address), "len": one.prefixlen}}


def networks(end: str, operator: str, those: tuple[IPv4Network, ...]) -> Expression:
    """A test for each, that one end of a packet is in it or is not."""
    return [match(operator, field("ip", end), network(one)) for one in those if one != EVERYWHERE]


def read(right: Any) -> IPv4Network:
    """What `network` has written."""
    prefix = right["prefix"] if isinstance(right, dict) else {"addr": right, "len": 32}
    return IPv4Network((prefix["addr"], prefix["len"]))


def plain(one: IPv4Network) -> str:
    """The same in a script."""
    return str(one.network_address) if one.prefixlen == one.max_prefixlen else str(one)
