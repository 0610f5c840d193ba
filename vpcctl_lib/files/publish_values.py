"""Published ports in a topology file, as docker's -p writes them."""

from __future__ import annotations

from functools import partial

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import Reading, alone
from vpcctl_lib.model import publishing
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.publishing import Published
from vpcctl_lib.model.topology import Vpc

WRITTEN = (r"([0-9]{1,3}(\.[0-9]{1,3}){3}:|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]:)?"
           r"[0-9]{1,5}:[0-9]{1,5}(/(tcp|udp))?")


def _publishes(data: object, place: Place) -> tuple[Publish, ...]:
    if not isinstance(data, list):
        raise place.refusal(f"{shown(data)} is not a list of ports", publishing.EXAMPLE)
    return tuple(_publish(one, place.at(number)) for number, one in enumerate(data))


def _publish(data: object, place: Place) -> Publish:
    if not isinstance(data, str):
        # YAML 1.1 reads 22:22 as a number.
        raise place.refusal(f"{shown(data)} is not a published port", f"{publishing.EXAMPLE}, in quotes")
    return told(place, partial(publishing.parse, data))


def check_vpcs(vpcs: tuple[Vpc, ...], place: Place, _: Reading) -> None:
    """Refuse a port of the host that leads to two machines of the file, at the second."""
    found: list[Published] = []
    for vpc in vpcs:
        for one in publishing.in_vpc(vpc):
            here = place.named(vpc.name).at("subnets").named(one.site.subnet)
            here = here.at("instances").named(one.site.machine) if one.site.machine else here
            twin = next((other for other in found if one.publish.meets(other.publish)), None)
            if twin:
                told(here.at("publish"), partial(publishing.refuse, twin, one))
            found.append(one)


def _short(one: Publish) -> str:
    """Without the protocol that it has anyway."""
    return str(one).removesuffix(f"/{Transport.TCP.value}")


PUBLISHES = alone(_publishes, lambda found: list(map(_short, found)), {
    "type": "array", "items": {"type": "string", "pattern": f"^{WRITTEN}$"}, "uniqueItems": True}, (Publish,))
