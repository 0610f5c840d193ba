"""Network ACLs: which subnets have one, how their rules are read, and what is wrong with them; pure.

The semantics are those of AWS (https://docs.aws.amazon.com/vpc/latest/userguide/nacl-basics.html).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.groups import some
from vpcctl_lib.model.lookup import find_vpc, nearest
from vpcctl_lib.model.policies import Acl, AclRule, Action, Protocol
from vpcctl_lib.model.topology import Topology, Vpc

FIRST, LAST = 1, 32766
"""The numbers that a rule may have (CreateNetworkAclEntry of the EC2 API)."""

REST = AclRule(LAST + 1, Protocol.ALL, Action.DENY)
"""The last rule of each direction, which nobody can change; AWS, too, gives it this number."""


def called(rule: AclRule) -> str:
    """What people call a rule: its number, or `*`."""
    return "*" if rule.number > LAST else str(rule.number)


def in_force(rules: Sequence[AclRule]) -> tuple[AclRule, ...]:
    """The rules of a direction as packets meet them."""
    return (*sorted(rules, key=lambda rule: rule.number), REST)


def users(vpc: Vpc, name: str) -> list[str]:
    """The subnets with an ACL."""
    return [subnet.name for subnet in vpc.subnets if subnet.acl == name]


def find_acl(topology: Topology, vpc_name: str, name: str) -> tuple[Vpc, Acl]:
    """The ACL of that name with its VPC; VpcctlError with the nearest right name if there is none."""
    vpc = find_vpc(topology, vpc_name)
    check_known(vpc_name, name, [one.name for one in vpc.acls])
    return vpc, next(one for one in vpc.acls if one.name == name)


def check_known(vpc: str, name: str, known: Collection[str]) -> None:
    """Refuse an ACL that its VPC does not have."""
    if name not in known:
        raise VpcctlError(f"network ACL '{name}' does not exist in VPC '{vpc}'", nearest(
            name, known, f"create it: vpcctl acl create --vpc {vpc} --name …"))


def check_unused(vpc: Vpc, name: str) -> None:
    """Refuse to delete an ACL that subnets have."""
    found = users(vpc, name)
    if found:
        raise VpcctlError(f"network ACL '{name}' of VPC '{vpc.name}' is in use by {some(found)}",
                          f"vpcctl acl dissociate --vpc {vpc.name} --subnet {found[0]}")
