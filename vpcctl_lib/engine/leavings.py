"""What is gone leaves files in the state folder: logs, and folders that are empty without them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.resources import Leavings, Resource
from vpcctl_lib.resources.operations import Remove
from vpcctl_lib.workloads import logs


def leavings(gone: Iterable[Resource], state: Path) -> list[Leavings]:
    """What these leave in the state folder."""
    return [left for one in gone if (left := one.leavings(state))]


def sweep(found: Iterable[Leavings], state: Path) -> None:
    """Remove it, and the folders above that are empty by it."""
    try:
        for left in found:
            for file in left.files:
                file.unlink(missing_ok=True)
            for folder in (left.folder, left.folder.parent, state / "logs"):
                Remove(folder, folder=True).do()
    except OSError as error:
        raise VpcctlError(f"can't remove {error.filename}: {error.strerror}") from None


def sweep_undone(found: Iterable[Leavings], state: Path, evidence: Collection[Path]) -> list[Path]:
    """As `sweep`, but a log that tells why something failed stays; returns these logs.

    Not where more goes that it belongs to: a subnet's logs go with the subnet.
    """
    found = list(found)
    owners = {log: [left for left in found if log in left.files] for log in evidence if logs.is_written(log)}
    stays = {log: owner for log, owner in owners.items() if len(owner) == 1}
    sweep((left for left in found if [left] not in stays.values()), state)
    return sorted(stays)
