"""The network ACLs of a VPC whose record is lost, from the table in its namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vpcctl_lib.firewall.acl_words import from_words
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import naming
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.policies import Acl
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources.acl_table import EDGES, Held, held_in


def acls(kernel: Kernel, vpc: Vpc, _: Names, notes: list[str]) -> Iterator[Acl]:
    """The ACLs of a VPC."""
    held = _held(kernel, vpc.name)
    if held is None:
        notes.append(f"the network ACLs of VPC '{vpc.name}' can't be rebuilt: something in their nft "
                     "table is not vpcctl's; it stays as it is, until: "
                     f"vpcctl acl create --vpc {vpc.name} --name …")
        return
    for one in held.acls:
        if one.ingress or one.egress:
            notes.append(f"descriptions in network ACL '{one.name}' of VPC '{vpc.name}' are unknown")
        yield Acl(one.name, tuple(map(from_words, one.ingress)), tuple(map(from_words, one.egress)))


def associations(kernel: Kernel, vpc: str) -> Mapping[str, str]:
    """By subnet, the ACL at its edge."""
    held = _held(kernel, vpc)
    known = {one.name for one in held.acls} if held else set()
    edges = (told.partition(" ") for told in held.edges.values()) if held else ()
    return {subnet: name for subnet, _, name in edges if name in known}


NOTHING = Held((), (), {EDGES: frozenset()})


def _held(kernel: Kernel, vpc: str) -> Held | None:
    """What the table has, which may be nothing; None if it can't be understood."""
    try:
        listed = kernel.bridge_table(vpc, naming.ACL_TABLE)
    except Unreadable:
        return NOTHING
    found = held_in(listed) if listed is not None else NOTHING
    return found if found and all(naming.is_name(one.name) for one in found.acls) else None
