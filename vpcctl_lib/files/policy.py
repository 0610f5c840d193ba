"""A policy of a subnet or a group: from a file, or a part of one, to the model, and back."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path

from vpcctl_lib.files import documents, keys
from vpcctl_lib.files.documents import Document, Place
from vpcctl_lib.files.keys import Reading
from vpcctl_lib.files.policy_keys import GROUP, INGRESS_RULE, POLICY
from vpcctl_lib.model.policies import Group, Policy, Rule


def load(path: Path, subnet: IPv4Network) -> Policy:
    """The policy in that file, for the subnet with that CIDR."""
    document = documents.read(path)
    return parse(document.data, document.top, subnet)


def load_group(path: Path, name: str) -> Group:
    """The group of that name as the file has it: the same format, with groups in the place of networks."""
    document = documents.read(path)
    group: Group = keys.read(GROUP, document.data, document.top, Reading(document.top), name)
    return group


def parse(data: object, where: Place, subnet: IPv4Network) -> Policy:
    """The policy in data read from a document; `where` is its place there, for errors to name."""
    around = Reading(where)
    around.found["cidr"] = subnet
    policy: Policy = keys.read(POLICY, data, where, around)
    return policy


def rule(options: Mapping[str, object]) -> Rule:
    """An ingress rule whose keys were typed as options; BadInput names the option."""
    where = Document("the rule", options).top
    made: Rule = keys.read(INGRESS_RULE, options, where, Reading(where))
    return made


def group_to_document(group: Group) -> dict[str, object]:
    """The group as a file has it; `load_group` reads it back unchanged."""
    return keys.write(GROUP, group)


def to_document(policy: Policy, subnet: IPv4Network | None = None) -> dict[str, object]:
    """The policy as a file has it; `parse` reads it back unchanged."""
    given = {} if subnet is None else {"subnet": subnet}
    return keys.write(POLICY, policy, **given)
