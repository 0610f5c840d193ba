"""The prefixes of IPv6 in a topology file."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv6Network

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import Reading, Value
from vpcctl_lib.model import addressing6

AUTO = "auto"


def _prefix(data: object, place: Place, length: int) -> IPv6Network:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not an IPv6 prefix", "write auto, or a prefix")
    return told(place, partial(addressing6.parse, data, length))


def _of_vpc(data: object, place: Place, here: Reading) -> IPv6Network:
    if data == AUTO:
        return addressing6.AUTO
    prefix = _prefix(data, place, addressing6.VPC_LENGTH)
    here.warnings += told(place, partial(addressing6.check_vpc, prefix))
    return prefix


def _of_subnet(data: object, place: Place, here: Reading) -> IPv6Network | None:
    vpc = here.outside("ipv6")
    if data == AUTO and vpc is not None:
        return None
    prefix = addressing6.AUTO if data == AUTO else _prefix(data, place, addressing6.SUBNET_LENGTH)
    told(place, partial(addressing6.check_subnet, prefix, vpc, ()))
    return prefix


_SCHEMA = {"type": "string", "pattern": r"^(auto|[0-9a-fA-F:]+/[0-9]{2})$"}
VPC_PREFIX = Value(_of_vpc, str, _SCHEMA)
SUBNET_PREFIX = Value(_of_subnet, str, _SCHEMA)
