"""What we own in the kernel and on disk: how each kind is made, changed and unmade."""

from vpcctl_lib.resources.base import Facts, Operation, Operations, Place, Resource
from vpcctl_lib.resources.host import File, Folder, Forwarding
from vpcctl_lib.resources.links import Address, Bridge, Namespace, Port, Route, Settings, Veth
from vpcctl_lib.resources.rules import Chain, SingleRule
from vpcctl_lib.resources.workload import Program

KINDS: dict[str, type[Resource]] = {
    "namespace": Namespace, "veth": Veth, "bridge": Bridge, "port": Port, "address": Address, "route": Route,
    "settings": Settings, "chain": Chain, "rule": SingleRule, "forwarding": Forwarding, "folder": Folder,
    "file": File, "program": Program,
}
"""How the record names each kind."""

NAMES = {kind: name for name, kind in KINDS.items()}

__all__ = ["KINDS", "NAMES", "Address", "Bridge", "Chain", "Facts", "File", "Folder", "Forwarding",
           "Namespace", "Operation", "Operations", "Place", "Port", "Program", "Resource", "Route", "Settings",
           "SingleRule", "Veth"]
