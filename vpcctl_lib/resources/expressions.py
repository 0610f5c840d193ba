"""Parts of rules as nft lists them in JSON (libnftables-json(5)), and in a script; pure."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any

from vpcctl_lib.model.addressing import Family, Network

Expression = list[dict[str, Any]]
ACCEPT: dict[str, Any] = {"accept": None}
RETURN: dict[str, Any] = {"return": None}


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


def of(one: Network) -> str:
    """What nft calls the family of a network."""
    return (Family.INET if one.version == 4 else Family.INET6).nft


def networks(end: str, operator: str, those: Iterable[Network]) -> Expression:
    """A test for each, that one end of a packet is in it or is not; none for all addresses."""
    return [match(operator, field(of(one), end), _network(one)) for one in those if one.prefixlen]


def _network(one: Network) -> Any:
    if one.prefixlen == one.max_prefixlen:
        return str(one.network_address)
    return {"prefix": {"addr": str(one.network_address), "len": one.prefixlen}}


def read(said: Any) -> Network:
    """A network, or a single address, that nft has listed."""
    held = said["prefix"] if isinstance(said, dict) else {"addr": said}
    return ip_network(f"{held['addr']}/{held['len']}" if "len" in held else held["addr"])


def plain(one: Network) -> str:
    """A network in a script."""
    return str(one.network_address) if one.prefixlen == one.max_prefixlen else str(one)


def beyond(end: str, inside: Iterable[Network]) -> str:
    """The tests in a script that one end of a packet is outside."""
    return " ".join(f"{of(one)} {end} != {one}" for one in inside)
