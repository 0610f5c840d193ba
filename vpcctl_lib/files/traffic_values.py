"""What a topology file says of a machine's packets: how fast they may be, and who gets copies."""

from __future__ import annotations

from typing import Any

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import Key, Kind, Reading, Value, alone, read, reference, write
from vpcctl_lib.files.topology_values import FLAG
from vpcctl_lib.model import mirroring
from vpcctl_lib.model.mirrors import LAST_VNI, Mirror
from vpcctl_lib.model.quantities import parse_rate


def _bandwidth(data: object, place: Place) -> str:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not a bandwidth", "write for example 100mbit")
    return told(place, lambda: parse_rate(data))


def _target(data: object, place: Place) -> str:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not a machine of the VPC",
                            "write SUBNET/NAME, or SUBNET for a subnet's own machine")
    return told(place, lambda: mirroring.parse_target(data))


def _vni(data: object, place: Place) -> int:
    if type(data) is not int:
        raise place.refusal(f"{shown(data)} is not a VNI", f"use a number from 1 to {LAST_VNI}")
    return told(place, lambda: mirroring.check_vni(data))


BANDWIDTH = alone(_bandwidth, str, {"type": "string", "pattern": "^[0-9]{1,12}[KMGkmg]?[Bb][Ii][Tt]$"})

MIRROR = Kind("mirror", "a mirror", Mirror, "A copy of all that a machine sends and gets, for another one.", (
    Key("to", alone(_target, str, {"type": "string", "minLength": 1}),
        "The machine that gets it: SUBNET/NAME, or SUBNET for a subnet's own machine.",
        required=("it has no to", "write for example to: tools/sniffer")),
    Key("vni", alone(_vni, int, {"type": "integer", "minimum": 1, "maximum": LAST_VNI}),
        "The number of its VXLAN. The lowest free one if missing."),
    Key("plain", FLAG, "Whether the frames come as they are, and not inside of VXLAN."),
))


def _mirrors(data: object, place: Place, here: Reading) -> Any:
    if not isinstance(data, list):
        raise place.refusal(f"{shown(data)} is not a list of mirrors",
                            "write for example [{to: tools/sniffer}]")
    found = tuple(read(MIRROR, one, place.at(number), here) for number, one in enumerate(data))
    for number, one in enumerate(found):
        if one.to in [other.to for other in found[:number]]:
            raise place.at(number).at("to").refusal(f"{one.to} gets a copy already", "leave one of them out")
    return found


MIRRORS = Value(_mirrors, lambda found: [write(MIRROR, one) for one in found],
                {"type": "array", "items": reference(MIRROR)}, (MIRROR,))
