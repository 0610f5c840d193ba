"""The topology file: from YAML to what it asks for, and the current topology as such a file."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from vpcctl_lib.files import keys
from vpcctl_lib.files.documents import Document, Place
from vpcctl_lib.files.keys import Reading
from vpcctl_lib.files.topology_keys import TOPOLOGY, VERSION
from vpcctl_lib.files.topology_values import AUTO
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import Peering, Subnet, Topology, Vpc


@frozen
class Wanted:
    """A VPC as the file asks for it; `interface` is None without NAT, empty for the way out."""

    name: str
    cidr: IPv4Network
    interface: str | None
    allow_overlap: bool
    subnets: tuple[Subnet, ...]
    place: Place


@frozen
class TopologyFile:
    """Everything that a file asks for."""

    vpcs: tuple[Wanted, ...]
    peerings: tuple[tuple[Peering, Place], ...]
    warnings: tuple[str, ...]


class Reader:
    """Reads one document; policies that it names by path are looked for in that folder."""

    def __init__(self, document: Document, folder: Path) -> None:
        self._folder = folder
        self._document = document

    def read(self) -> TopologyFile:
        """What the file asks for; BadInput with file, line and place if it can't be right."""
        top = self._document.top
        whole = Reading(top, folder=self._folder)
        found: Topology = keys.read(TOPOLOGY, self._document.data, top, whole)
        peerings = tuple((peering, top.at("peerings").at(number))
                         for number, peering in enumerate(found.peerings))
        vpcs = tuple(_wanted(vpc, top.at("vpcs").named(vpc.name)) for vpc in found.vpcs)
        return TopologyFile(vpcs, peerings, tuple(whole.warnings))


def _wanted(vpc: Vpc, place: Place) -> Wanted:
    interface = None if vpc.nat is None else AUTO if vpc.nat.follows else vpc.nat.interface
    return Wanted(vpc.name, vpc.cidr, interface, not vpc.routed, vpc.subnets, place)


def to_document(topology: Topology) -> dict[str, object]:
    """The topology as a file has it; reading it back asks for the same."""
    return keys.write(TOPOLOGY, topology, version=VERSION)
