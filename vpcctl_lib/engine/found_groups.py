"""The security groups of a VPC whose record is lost, from the list that its router keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vpcctl_lib.firewall.filter_rules import INGRESS, default_line
from vpcctl_lib.firewall.group_rules import EVERY
from vpcctl_lib.firewall.group_words import from_words
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.kernel.saves import words
from vpcctl_lib.model import naming
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.policies import Action, Group
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.resources.roster import Listed, listed_in


def groups(kernel: Kernel, vpc: Vpc, _: Names, notes: list[str]) -> Iterator[Group]:
    """The groups of a VPC."""
    for one in _roster(kernel, vpc.name):
        found = _group(one)
        if found is None:
            notes.append(f"group '{one.name}' of VPC '{vpc.name}' can't be rebuilt: its rules are not as "
                         "vpcctl lists them")
            continue
        if found.policy.ingress or found.policy.egress:
            notes.append(f"descriptions in group '{one.name}' of VPC '{vpc.name}' are unknown")
        yield found


INCOMING = (("filter", "INPUT"), (naming.POLICY_TABLE, naming.POLICY_IN))
"""The table and the chain with the rules of a machine; those where others may have rules, too."""


def memberships(kernel: Kernel, vpc: str) -> Mapping[str, tuple[str, ...]]:
    """By port, the groups that the machine there is in."""
    found: dict[str, list[str]] = {}
    for one in _roster(kernel, vpc):
        for port in one.ports if _group(one) else ():
            found.setdefault(port, []).append(one.name)
    return {port: tuple(sorted(names)) for port, names in found.items()}


def is_governed(kernel: Kernel, space: str, beside: bool) -> bool:
    """Whether a namespace has the rules of a machine in groups."""
    held = kernel.chain(space, *INCOMING[beside])
    return held is not None and words(default_line(INGRESS, Action.DENY, EVERY)) in held.rules


def _roster(kernel: Kernel, vpc: str) -> tuple[Listed, ...]:
    try:
        return listed_in(kernel.ip_table(vpc, naming.GROUP_TABLE) or [])
    except Unreadable:
        return ()


def _group(one: Listed) -> Group | None:
    try:
        return Group(one.name, from_words(one.rules)) if naming.is_name(one.name) else None
    except ValueError:
        return None
