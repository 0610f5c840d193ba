"""What a topology file says of machines in namespaces that others made: a container or a path, and a link."""

from __future__ import annotations

from collections.abc import Callable

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import alone
from vpcctl_lib.model import guests
from vpcctl_lib.model.naming import INSTANCE
from vpcctl_lib.model.topology import Attachment, Machine


def _checked_text(example: str, check: Callable[[str], str]) -> Callable[[object, Place], str]:
    def read(data: object, place: Place) -> str:
        if not isinstance(data, str):
            raise place.refusal(f"{shown(data)} is not valid here", f"write for example {example}")
        return told(place, lambda: check(data))

    return read


def check_attached(machine: Machine, place: Place) -> None:
    """Refuse what only one of ours can have, and what only an attached one can."""
    if machine.attached.container and machine.attached.path:
        raise place.refusal("it has both a container and a netns", "write one of them")
    if machine.tap and machine.attached:
        raise place.at("tap").refusal("it has a tap, and a container or netns", "write one of them")
    if machine.tap and machine.forwards:
        raise place.at("forwards").refusal("a virtual machine with a tap can't forward packets of others",
                                           "leave it out")
    if machine.tap and machine.workloads:
        raise place.at("workloads").refusal("a virtual machine with a tap runs no workloads of vpcctl's",
                                            "start them in the virtual machine")
    if machine.attached and machine.workloads:
        raise place.at("workloads").refusal("an attached machine runs no workloads of vpcctl's",
                                            "start them in the container")
    if not machine.attached and machine.attached != Attachment():
        raise place.at("interface").refusal("only an attached machine has another interface",
                                            "leave it out, or name a container or netns")


CONTAINER = alone(_checked_text("docker:web", guests.check_container), str,
                  {"type": "string", "minLength": 1})
NETNS = alone(_checked_text("/run/netns/web", guests.check_path), str, {"type": "string", "pattern": "^/"})
TAP = alone(_checked_text("vm0", guests.check_tap), str, {"type": "string", "minLength": 1, "maxLength": 15})
LINK = alone(_checked_text("eth0", guests.check_interface), str,
             {"type": "string", "minLength": 1, "maxLength": 15})
_NO_WORKLOADS = {"properties": {"workloads": {"maxProperties": 0}}}
ONE_NAMESPACE: dict[str, object] = {
    "not": {"anyOf": [{"required": ["container", "netns"]}, {"required": ["tap", "netns"]},
                      {"required": ["tap", "container"]}]},
    "dependencies": {
        "interface": {"anyOf": [{"required": ["container"]}, {"required": ["netns"]},
                                {"properties": {"interface": {"const": INSTANCE}}}]},
        "container": _NO_WORKLOADS, "netns": _NO_WORKLOADS,
        "tap": {"properties": {"workloads": {"maxProperties": 0}, "forwards": {"const": False}}}}}
"""What `check_attached` refuses, for editors."""
