"""The topology file: from YAML to what it asks for, and the current topology as such a file."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

from vpcctl_lib.files import keys
from vpcctl_lib.files.documents import Document, Place
from vpcctl_lib.files.keys import Reading
from vpcctl_lib.files.topology_keys import TOPOLOGY, VERSIONS
from vpcctl_lib.files.topology_values import AUTO
from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.topology import Peering, Topology, Vpc


@frozen
class Wanted:
    """A VPC as the file asks for it, with nothing in it that the host decides."""

    vpc: Vpc
    place: Place

    @property
    def name(self) -> str:
        """Its name."""
        return self.vpc.name

    @property
    def cidr(self) -> IPv4Network:
        """Its CIDR."""
        return self.vpc.cidr

    @property
    def interface(self) -> str | None:
        """The uplink of its NAT: None without NAT, empty for the way out."""
        nat = self.vpc.nat
        return None if nat is None else AUTO if nat.follows else nat.interface

    @property
    def allow_overlap(self) -> bool:
        """Whether it may overlap a route of the host."""
        return not self.vpc.routed


@frozen
class TopologyFile:
    """Everything that a file asks for."""

    place: Place
    topology: Topology
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
        vpcs = tuple(Wanted(vpc, top.at("vpcs").named(vpc.name)) for vpc in found.vpcs)
        return TopologyFile(top, found, vpcs, peerings, tuple(whole.warnings))


def to_document(topology: Topology) -> dict[str, object]:
    """The topology as a file has it, in the oldest version that can; reading it back asks for the same."""
    document = keys.write(TOPOLOGY, topology, version=VERSIONS[0])
    return {**document, "version": keys.version_of(TOPOLOGY, document)}
