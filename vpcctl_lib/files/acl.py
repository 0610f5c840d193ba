"""A network ACL: from a file to the model, and back."""

from __future__ import annotations

from pathlib import Path

from vpcctl_lib.files import documents, keys
from vpcctl_lib.files.acl_keys import ACL
from vpcctl_lib.files.keys import Reading
from vpcctl_lib.model.policies import Acl


def load(path: Path, name: str) -> Acl:
    """The ACL of that name as the file has it."""
    document = documents.read(path)
    acl: Acl = keys.read(ACL, document.data, document.top, Reading(document.top), name)
    return acl


def to_document(acl: Acl) -> dict[str, object]:
    """The ACL as a file has it; `load` reads it back unchanged."""
    return keys.write(ACL, acl)
