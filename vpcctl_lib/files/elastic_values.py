"""Pools and elastic addresses in a topology file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import MAPPING_HINT, alone
from vpcctl_lib.model.addressing import parse_address, parse_network
from vpcctl_lib.model.naming import is_name
from vpcctl_lib.model.outside import Elastic, Pool

T = TypeVar("T")
_MACHINE = "[a-z][a-z0-9-]*/[a-z][a-z0-9-]*(/[a-z][a-z0-9-]*)?"
_ADDRESS = r"[0-9]{1,3}(\.[0-9]{1,3}){3}"
_PLACES = (2, 3)
"""Of a machine: VPC and subnet, and its name if it has one."""


def _each(read: Callable[[str, object, Place], T], what: str) -> Callable[[object, Place], tuple[T, ...]]:
    def read_all(data: object, place: Place) -> tuple[T, ...]:
        if not isinstance(data, Mapping):
            raise place.refusal(f"{shown(data)} is not {what}", MAPPING_HINT)
        return tuple(read(str(name), one, place.named(str(name))) for name, one in data.items())

    return read_all


def _pool(name: str, data: object, place: Place) -> Pool:
    if not isinstance(data, str) or not data:
        raise place.refusal(f"{shown(data)} is not an interface", "write for example eth0")
    return Pool(told(place, partial(parse_network, name)), data)


def _eip(name: str, data: object, place: Place) -> Elastic:
    address = told(place, partial(parse_address, name))
    if data is None:
        return Elastic(address)
    parts = data.split("/") if isinstance(data, str) else []
    if len(parts) not in _PLACES or not all(map(is_name, parts)):
        raise place.refusal(f"{shown(data)} is not a machine",
                            "write VPC/SUBNET/NAME, or VPC/SUBNET for the subnet's own, or nothing")
    return Elastic(address, *parts)


POOLS = alone(_each(_pool, "pools by CIDR"), lambda found: {str(one.cidr): one.interface for one in found}, {
    "type": "object", "propertyNames": {"pattern": rf"^{_ADDRESS}/[0-9]{{1,2}}$"},
    "additionalProperties": {"type": "string", "minLength": 1}}, (Pool,))
EIPS = alone(_each(_eip, "machines by address"), lambda found: {
    str(one.address): one.associated or None for one in found}, {
    "type": "object", "propertyNames": {"pattern": f"^{_ADDRESS}$"},
    "additionalProperties": {"anyOf": [{"type": "null"}, {"type": "string", "pattern": f"^{_MACHINE}$"}]}},
    (Elastic,))
