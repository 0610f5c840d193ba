"""The error if somebody else's thing is in the place of ours."""

from __future__ import annotations

from vpcctl_lib.engine.inspection import TAKE_UP
from vpcctl_lib.engine.strays import is_marked
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources import Resource


def refusal(resource: Resource, kernel: Kernel) -> VpcctlError:
    """The error for a thing that already exists: what it is, whose, and how to go on."""
    try:
        if resource.is_left_over(kernel):
            return VpcctlError(f"{resource} already exists: an earlier VPC left it, and it is not recorded",
                               "remove it: vpcctl restore")
        owner, removal = resource.owner_found(kernel)
        if any(is_marked(kernel, space, device) for space, device in resource.places):
            # What --dry-run prints was typed, or the record is older than the network.
            return VpcctlError(f"{resource} bears vpcctl's mark, but is not in the record",
                               f"{TAKE_UP}; or remove it: {removal}")
    except (VpcctlError, OSError):
        owner, removal = "", ""
    what = f"{resource} already exists, and vpcctl did not make it"
    away = f"choose another name, or remove it: {removal}" if removal else "rename or remove one of the two"
    return VpcctlError(f"{what}: {owner}" if owner else what, away)
