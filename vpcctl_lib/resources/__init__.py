"""What we own in the kernel and on disk: how each kind is made, changed and unmade."""

from importlib import import_module
from typing import TYPE_CHECKING

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
from vpcctl_lib.resources.guard import Guard
from vpcctl_lib.resources.guarded import Member
from vpcctl_lib.resources.host import File, Folder, Forwarding
from vpcctl_lib.resources.links import Altname, Bridge, Port, Veth
from vpcctl_lib.resources.namespaces import Namespace
from vpcctl_lib.resources.neighbours import Neighbour, Station, Switching
from vpcctl_lib.resources.operation import Facts, Operation
from vpcctl_lib.resources.rules import Chain, SingleRule
from vpcctl_lib.resources.settings import Settings
from vpcctl_lib.resources.workload import Program

KINDS: dict[str, type[Resource]] = {
    "namespace": Namespace, "veth": Veth, "bridge": Bridge, "port": Port,
    "switching": Switching, "station": Station, "neighbour": Neighbour, "guard": Guard,
    "altname": Altname, "address": Address, "route": Route,
    "settings": Settings, "chain": Chain, "rule": SingleRule, "forwarding": Forwarding, "folder": Folder,
    "file": File, "program": Program,
}
"""How the record names each kind."""

LATE = {"acls": "Acls", "announced": "Announced", "attached": "Attached", "collector": "Collector",
        "copying": "Copying", "counting": "Counting", "discovery": "Discovery", "flowfile": "FlowFile",
        "forwarding6": "Forwarding6", "hooks": "Hooks", "hosts": "Hosts", "ifb": "Ifb", "ipv6": "Ipv6",
        "leases": "Leases", "localnet": "Localnet", "localnet6": "Localnet6", "loop": "Loop",
        "marking": "Marking", "otherline": "OtherLine", "passing": "Passing", "rate": "Rate",
        "redirect": "Redirect", "relay": "Relay", "resolver": "Resolver", "roster": "Roster",
        "steering": "Steering", "tap": "Tap", "vxlan": "Vxlan", "watch": "Watch", "way": "Way",
        "wayrule": "WayRule", "whole6": "Whole6"}
"""The same, for kinds that few networks have: the module of that name is loaded when it is needed."""

NAMES = {kind: name for name, kind in KINDS.items()}


def kind_named(name: str) -> type[Resource] | None:
    """The kind that the record names so."""
    if name not in LATE:
        return KINDS.get(name)
    found: type[Resource] = getattr(import_module(f"{__name__}.{name}"), LATE[name])
    return found


def name_of(resource: Resource) -> str:
    """How the record names the kind of a resource."""
    kind = type(resource)
    return NAMES.get(kind) or next(name for name, late in LATE.items() if late == kind.__name__)


if TYPE_CHECKING:
    from vpcctl_lib.resources.acls import Acls as Acls
    from vpcctl_lib.resources.announced import Announced as Announced
    from vpcctl_lib.resources.attached import Attached as Attached
    from vpcctl_lib.resources.collector import Collector as Collector
    from vpcctl_lib.resources.copying import Copying as Copying
    from vpcctl_lib.resources.counting import Counting as Counting
    from vpcctl_lib.resources.discovery import Discovery as Discovery
    from vpcctl_lib.resources.flowfile import FlowFile as FlowFile
    from vpcctl_lib.resources.forwarding6 import Forwarding6 as Forwarding6
    from vpcctl_lib.resources.hooks import Hooks as Hooks
    from vpcctl_lib.resources.hosts import Hosts as Hosts
    from vpcctl_lib.resources.ifb import Ifb as Ifb
    from vpcctl_lib.resources.ipv6 import Ipv6 as Ipv6
    from vpcctl_lib.resources.leases import Leases as Leases
    from vpcctl_lib.resources.localnet import Localnet as Localnet
    from vpcctl_lib.resources.localnet6 import Localnet6 as Localnet6
    from vpcctl_lib.resources.loop import Loop as Loop
    from vpcctl_lib.resources.marking import Marking as Marking
    from vpcctl_lib.resources.otherline import OtherLine as OtherLine
    from vpcctl_lib.resources.passing import Passing as Passing
    from vpcctl_lib.resources.rate import Rate as Rate
    from vpcctl_lib.resources.redirect import Redirect as Redirect
    from vpcctl_lib.resources.relay import Relay as Relay
    from vpcctl_lib.resources.resolver import Resolver as Resolver
    from vpcctl_lib.resources.roster import Roster as Roster
    from vpcctl_lib.resources.steering import Steering as Steering
    from vpcctl_lib.resources.tap import Tap as Tap
    from vpcctl_lib.resources.vxlan import Vxlan as Vxlan
    from vpcctl_lib.resources.watch import Watch as Watch
    from vpcctl_lib.resources.way import Way as Way
    from vpcctl_lib.resources.wayrule import WayRule as WayRule
    from vpcctl_lib.resources.whole6 import Whole6 as Whole6
else:
    def __getattr__(name: str) -> type:
        """The late kinds, from their modules (PEP 562)."""
        if name not in LATE.values():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return kind_named(name.lower())


__all__ = ["EMPTY", "KINDS", "LATE", "MISSING", "NAMES", "Acls", "Address", "Altname", "Announced",
           "Attached", "Bridge", "Chain", "Collector", "Condition", "Copying", "Counting", "Discovery",
           "Facts", "Fault", "File", "FlowFile", "Folder", "Forwarding", "Forwarding6", "Guard", "Hooks",
           "Hosts", "Ifb", "Ipv6", "Leases", "Leavings", "Localnet", "Loop", "Marking", "Member",
           "Namespace", "Neighbour", "Operation", "Operations", "OtherLine", "Passing", "Place", "Port",
           "Program", "Rate", "Redirect", "Relay", "Resolver", "Resource", "Roster", "Route", "Settings",
           "SingleRule", "Station", "Steering", "Switching", "Tap", "Veth", "Vxlan", "Watch", "Way",
           "WayRule", "changed", "kind_named", "name_of"]
