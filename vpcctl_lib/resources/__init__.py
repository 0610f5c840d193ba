"""What we own in the kernel and on disk: how each kind is made, changed and unmade."""

from vpcctl_lib.resources.addresses import Address, Route
from vpcctl_lib.resources.base import (
    EMPTY,
    MISSING,
    Condition,
    Fault,
    Leavings,
    Operations,
    Place,
    Resource,
    changed,
)
from vpcctl_lib.resources.guard import Guard, Member
from vpcctl_lib.resources.host import File, Folder, Forwarding
from vpcctl_lib.resources.links import Altname, Bridge, Port, Veth
from vpcctl_lib.resources.marking import Marking
from vpcctl_lib.resources.namespaces import Namespace
from vpcctl_lib.resources.neighbours import Neighbour, Station, Switching
from vpcctl_lib.resources.operation import Facts, Operation
from vpcctl_lib.resources.roster import Roster
from vpcctl_lib.resources.rules import Chain, SingleRule
from vpcctl_lib.resources.settings import Settings
from vpcctl_lib.resources.workload import Program

KINDS: dict[str, type[Resource]] = {
    "namespace": Namespace, "veth": Veth, "bridge": Bridge, "port": Port,
    "switching": Switching, "station": Station, "neighbour": Neighbour, "guard": Guard,
    "altname": Altname, "address": Address, "route": Route,
    "settings": Settings, "chain": Chain, "rule": SingleRule, "forwarding": Forwarding, "folder": Folder,
    "file": File, "program": Program, "marking": Marking, "roster": Roster,
}
"""How the record names each kind."""

NAMES = {kind: name for name, kind in KINDS.items()}

__all__ = ["EMPTY", "KINDS", "MISSING", "NAMES", "Address", "Altname", "Bridge", "Chain", "Condition",
           "Facts", "Fault", "File", "Folder", "Forwarding", "Guard", "Leavings", "Marking", "Member",
           "Namespace", "Neighbour", "Operation", "Operations", "Place", "Port", "Program", "Resource",
           "Roster", "Route", "Settings", "SingleRule", "Station", "Switching", "Veth", "changed"]
