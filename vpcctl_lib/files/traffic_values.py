"""What a topology file says of a machine's packets: how many there may be in a second."""

from __future__ import annotations

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import alone
from vpcctl_lib.model.quantities import parse_rate


def _bandwidth(data: object, place: Place) -> str:
    if not isinstance(data, str):
        raise place.refusal(f"{shown(data)} is not a bandwidth", "write for example 100mbit")
    return told(place, lambda: parse_rate(data))


BANDWIDTH = alone(_bandwidth, str, {"type": "string", "pattern": "^[0-9]{1,12}[KMGkmg]?[Bb][Ii][Tt]$"})
