"""Network ACLs as plain values; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vpcctl_lib.files.acl import to_document
from vpcctl_lib.model.topology import Subnet

if TYPE_CHECKING:
    from vpcctl_lib.managers.acl import Counted, Listed

View = dict[str, Any]


def acl(listed: Listed) -> View:
    """An ACL with its rules and the subnets that have it."""
    return {"vpc": listed.vpc, "name": listed.acl.name, "subnets": list(listed.subnets),
            **to_document(listed.acl)}


def shown(counted: Counted) -> View:
    """An ACL, with the counters of its rules."""
    return {**acl(counted.listed), "counters": {
        rule: {"packets": packets, "bytes": size} for rule, (packets, size) in counted.counters.items()}}


def edge(vpc: str, subnet: Subnet) -> View:
    """A subnet, and the ACL at its edge."""
    return {"vpc": vpc, "subnet": subnet.name, "acl": subnet.acl or None}
