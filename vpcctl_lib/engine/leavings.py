"""Files that removed things leave in the state folder: logs, and folders that become empty without them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.resources import Leavings, Resource
from vpcctl_lib.resources.operations import Remove


def leavings(gone: Iterable[Resource], state: Path) -> list[Leavings]:
    """What these leave in the state folder."""
    return [left for one in gone if (left := one.leavings(state))]


def sweep(found: Iterable[Leavings], state: Path) -> None:
    """Remove it, and the folders above that become empty."""
    try:
        for left in found:
            for file in left.files:
                file.unlink(missing_ok=True)
            for folder in (left.folder, left.folder.parent, state / "logs"):
                Remove(folder, folder=True).do()
    except OSError as error:
        raise VpcctlError(f"can't remove {error.filename}: {error.strerror}") from None


def sweep_undone(found: Iterable[Leavings], state: Path, evidence: Collection[Path]) -> list[Path]:
    """Like `sweep`, but keeps a log that says why something failed; returns these logs.

    Except if what it belongs to goes, too: a subnet's logs go with the subnet.
    """
    # Imported late: most changes come through.
    from vpcctl_lib.workloads import logs

    found = list(found)
    owners = {log: [left for left in found if log in left.files] for log in evidence if logs.is_written(log)}
    stays = {log: owner for log, owner in owners.items() if len(owner) == 1}
    sweep((left for left in found if [left] not in stays.values()), state)
    return sorted(stays)
