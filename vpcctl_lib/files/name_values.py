"""DNS in a topology file: its records by name, the servers that it asks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.errors import BadInput
from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import MAPPING_HINT, Kind, Reading, Value, alone, read, reference, write
from vpcctl_lib.model import names, resolving
from vpcctl_lib.model.addressing import parse_address
from vpcctl_lib.model.names import Addresses, Dhcp, Dns, Record
from vpcctl_lib.model.topology import Vpc

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_LABELS = rf"{_LABEL}(\.{_LABEL})*\.?"
_ADDRESS = {"type": "string", "minLength": 1}
_ADDRESSES = {"type": "array", "items": _ADDRESS, "minItems": 1, "uniqueItems": True}
_RECORD = "write an address, a list of addresses, or the name that it stands for"


def _domain(data: object, place: Place) -> str:
    return told(place, partial(names.parse_domain, data if isinstance(data, str) else shown(data)))


def _addresses(data: object, place: Place) -> Addresses:
    if not isinstance(data, list) or not data:
        raise place.refusal(f"{shown(data)} is not a list of addresses", "write for example [1.1.1.1]")
    found = tuple(told(place.at(number), partial(names.parse_address, str(one)))
                  for number, one in enumerate(data))
    if len(set(found)) < len(found):
        raise place.refusal("an address is written twice", "leave one of the two out")
    return found


def _records(data: object, place: Place, here: Reading) -> tuple[Record, ...]:
    if not isinstance(data, Mapping):
        raise place.refusal(f"{shown(data)} is not records by name", MAPPING_HINT)
    domain = here.found.get("domain") or f"{here.outside_name}.{names.SUFFIX}"
    return tuple(_record(str(name), one, place.named(str(name)), domain) for name, one in data.items())


def _record(name: str, data: object, place: Place, domain: str) -> Record:
    called = told(place, partial(names.parse_name, name, domain))
    if isinstance(data, list):
        return Record(called, _addresses(data, place))
    if not isinstance(data, str) or not data:
        raise place.refusal(f"{shown(data)} is not a record", _RECORD)
    try:
        return Record(called, (names.parse_address(data),))
    except BadInput:
        return Record(called, cname=told(place, partial(names.parse_name, data, domain)))


def _written(found: tuple[Record, ...]) -> dict[str, object]:
    return {one.name: one.cname or (str(one.addresses[0]) if len(one.addresses) == 1
                                    else list(map(str, one.addresses))) for one in found}


def check_vpcs(found: tuple[Vpc, ...], place: Place, _: Reading) -> None:
    """Refuse records that no server can have, where they stand."""
    for vpc in found:
        if vpc.dhcp and not vpc.dns:
            here = place.named(vpc.name).at("dhcp")
            raise here.refusal("there is no DHCP without DNS: one server does both", "write dns: true")
        if vpc.dns and vpc.dns.records:
            taken = {name for name, _, _ in resolving.machines(vpc)}
            told(place.named(vpc.name).at("dns").at("records"),
                 partial(names.check_records, vpc.dns.records, taken))


def or_flag(kind: Kind, usual: Dns | Dhcp) -> Value:
    """A thing of that kind, or true for the usual one and false for none."""
    def read_one(data: object, place: Place, here: Reading) -> Any:
        if isinstance(data, bool):
            return usual if data else None
        return read(kind, data, place, here)

    return Value(read_one, lambda one: True if one == usual else write(kind, one),
                 {"anyOf": [{"type": "boolean"}, reference(kind)]}, (kind,))


def _times(data: object, place: Place) -> tuple[IPv4Address, ...]:
    if not isinstance(data, list) or not data:
        raise place.refusal(f"{shown(data)} is not a list of addresses", "write for example [10.0.1.10]")
    return tuple(told(place.at(number), partial(parse_address, str(one))) for number, one in enumerate(data))


def _lease(data: object, place: Place) -> int:
    return told(place, partial(names.parse_lease, data if isinstance(data, str) else shown(data)))


_ON = {"not": {"enum": [False, None]}}
DHCP_NEEDS_DNS = {"if": {"required": ["dhcp"], "properties": {"dhcp": _ON}},
                  "then": {"required": ["dns"], "properties": {"dns": _ON}}}
"""What a schema says of the two together."""

TIMES: Value = alone(_times, lambda found: list(map(str, found)), {
    "type": "array", "items": _ADDRESS, "minItems": 1})
LEASE: Value = alone(_lease, names.lease_of, {"type": "string", "pattern": "^[0-9]{1,8}[smhd]$"})
DOMAIN: Value = alone(_domain, str, {"type": "string", "pattern": f"^{_LABELS}$"})
SERVERS: Value = alone(_addresses, lambda found: list(map(str, found)), _ADDRESSES)
RECORDS = Value(_records, _written, {
    "type": "object", "propertyNames": {"pattern": f"^{_LABELS}$"},
    "additionalProperties": {"anyOf": [_ADDRESS, _ADDRESSES]}}, whole=(Record,))
