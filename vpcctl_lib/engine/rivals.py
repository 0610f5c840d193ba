"""What is said where another's thing stands in the place of one of ours."""

from __future__ import annotations

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.resources import Resource


def refusal(resource: Resource, kernel: Kernel) -> VpcctlError:
    """The error for a thing that is there already: what it is, whose, and how to go on."""
    try:
        if resource.is_left_over(kernel):
            return VpcctlError(f"{resource} already exists: an earlier VPC left it, and it is not recorded",
                               "vpcctl restore removes what bears vpcctl's mark and is nobody's")
        owner, removal = resource.owner_found(kernel)
    except (VpcctlError, OSError):
        owner, removal = "", ""
    what = f"{resource} already exists, and vpcctl did not make it"
    away = f"choose another name, or remove it: {removal}" if removal else "rename or remove one of the two"
    return VpcctlError(f"{what}: {owner}" if owner else what, away)
